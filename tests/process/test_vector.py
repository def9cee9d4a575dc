"""Vector processor: width, missing components, spread."""

import json

import numpy as np
import pytest
import torch

from polymodal.core.errors import BadArgument, BadCell
from polymodal.process.vector import VectorProcessor


def vectors(rows=50, width=6, seed=0):
    return list(np.random.default_rng(seed).normal(3, 2, (rows, width)).astype(np.float32))


def fitted(cells=None, **options):
    processor = VectorProcessor(**options)
    processor.fit(vectors() if cells is None else cells)
    return processor


def test_training_vectors_come_out_standardised():
    vector = fitted().process(vectors())["vector"]
    assert np.allclose(vector.mean(0), 0, atol=1e-5)
    assert np.allclose(vector.std(0), 1, atol=1e-4)


def test_unstandardised_vectors_keep_their_values():
    processor = fitted(standardize=False)
    assert np.array_equal(processor.process(vectors())["vector"], np.stack(vectors()))
    hole = vectors()[0].copy()
    hole[2] = np.nan
    filled = processor.process([hole])["vector"][0]
    assert filled[2] == pytest.approx(np.stack(vectors())[:, 2].mean(), rel=1e-3)


def test_a_missing_component_is_the_mean_and_constants_do_no_harm():
    cells = [np.append(v, 7.0) for v in vectors()]
    cells[0][1] = np.inf
    vector = fitted(cells).process(cells)["vector"]
    assert vector[0, 1] == 0
    assert (vector[:, -1] == 0).all()
    assert np.isfinite(vector).all()


@pytest.mark.parametrize(
    ("cell", "reason"),
    [([1.0, 2.0], "2 numbers; 6 are expected"), ("red", "not a list"), ([[1, 2], [3, 4]], "one axis"), ([], "one axis"),
     ([np.nan] * 6, "no finite number"), (3.0, "one axis")],
)  # fmt: skip
def test_bad_cells_say_why(cell, reason):
    with pytest.raises(BadCell, match=reason):
        fitted().read(cell)


def test_width_is_the_commonest_or_the_option():
    odd = [*vectors(), np.ones(3, np.float32)]
    assert fitted(odd).facts() == {"width": 6}
    with pytest.raises(BadCell, match="3 numbers; 6"):
        fitted(odd).process(odd)
    with pytest.raises(BadCell, match="6 numbers; 4"):
        VectorProcessor(width=4).read(vectors()[0])
    with pytest.raises(BadArgument, match="at least 1"):
        VectorProcessor(width=0)
    with pytest.raises(BadArgument, match="not fitted"):
        VectorProcessor().process(vectors())


def test_one_row_of_a_matrix_is_a_vector():
    assert fitted().read(np.ones((1, 6))).shape == (6,)


def test_state_restores_everything():
    processor, other = fitted(), VectorProcessor()
    other.load_state(json.loads(json.dumps(processor.state())))
    assert np.array_equal(other.process(vectors(seed=1))["vector"], processor.process(vectors(seed=1))["vector"])


@pytest.mark.parametrize("standardize", [True, False])
def test_corrupt_keeps_the_spread(standardize):
    processor = fitted(vectors(2000), standardize=standardize)
    inputs = {"vector": torch.from_numpy(processor.process(vectors(2000))["vector"])}
    generator = torch.Generator().manual_seed(0)
    assert torch.equal(processor.corrupt(inputs, 0.0, generator)["vector"], inputs["vector"])
    gone = processor.corrupt(inputs, 1.0, generator)["vector"]
    assert gone.std().item() == pytest.approx(inputs["vector"].std().item(), rel=0.1)
    assert gone.mean().item() == pytest.approx(inputs["vector"].mean().item(), abs=0.1)
    assert abs(torch.corrcoef(torch.stack([gone[:, 0], inputs["vector"][:, 0]]))[0, 1]) < 0.1


def test_vectors_that_lie_in_files(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[1.0, 2.0, 3.0]]))
    (tmp_path / "b.csv").write_text("4\n5\n6\n")
    processor = VectorProcessor()
    cells = [processor.read(tmp_path / "a.npy"), processor.read(tmp_path / "b.csv")]
    assert [cell.tolist() for cell in cells] == [[1, 2, 3], [4, 5, 6]]
    (tmp_path / "c.npy").write_bytes(b"\x93NUMPY")
    for name, reason in (("c.npy", "cut short"), ("d.npy", "does not exist"), ("e.png", "is neither an array")):
        if name == "e.png":
            (tmp_path / name).write_bytes(b"x")
        with pytest.raises(BadCell, match=reason):
            processor.read(tmp_path / name)
