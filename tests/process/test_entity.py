import numpy as np
import pytest
import torch

from polymodal.core.errors import BadArgument, BadCell
from polymodal.encoders.entity import EntityEmbedding, EntityPlain
from polymodal.encoders.scoring import Answering, Member
from polymodal.learners.sparse import Sparse
from polymodal.process.entity import EntityProcessor


def made(cells, **options):
    processor = EntityProcessor(**options)
    processor.fit([processor.read(cell) for cell in cells])
    return processor, lambda some: processor.process([processor.read(cell) for cell in some])


def test_one_entity_however_it_is_written():
    _, process = made([7, "7", 7.0, "8", "8"])
    found = process(["7.0", 8, "9"])
    assert found["entity"][:, 0].tolist() == [1, 2, 0]
    np.testing.assert_allclose(found["count"][:, 0], np.log1p([3, 2, 0]), rtol=1e-6)


def test_rare_ones_share_a_number_with_new_ones():
    processor, process = made(["a", "a", "a", "b", "b", "c"])
    assert process(["a", "b", "c", "d"])["entity"][:, 0].tolist() == [1, 2, 0, 0]
    assert processor.facts() == {"entities": 3}
    assert made(["a", "a", "b", "b"], most=1)[1](["a", "b"])["entity"][:, 0].tolist() == [1, 0]
    assert made(["a", "b"])[1](["b", "c"])["entity"][:, 0].tolist() == [2, 0]  # none is more common


def test_state_restores_it():
    processor, process = made(["a", "a", "b", "b", "b"])
    other = EntityProcessor()
    other.load_state(processor.state())
    assert other.facts() == processor.facts()
    assert (other.process(["a", "b", "z"])["entity"] == process(["a", "b", "z"])["entity"]).all()


def test_an_empty_name_is_a_bad_cell():
    with pytest.raises(BadCell, match="names nothing"):
        EntityProcessor().read("  ")
    with pytest.raises(BadArgument, match="rare must be"):
        EntityProcessor(rare=0)


def test_answers_of_few_rows_are_drawn_to_that_of_all():
    """Smoothed: of an entity with one row that is yes less is said than of one with twenty."""
    cells = ["often"] * 20 + ["once"] * 2 + [f"rest {i // 4}" for i in range(200)]
    truth = np.array([1] * 22 + [i % 2 for i in range(200)])
    processor, process = made(cells)
    inputs = {name: torch.from_numpy(value) for name, value in process(cells).items()}
    encoder = EntityPlain(processor.facts(), 16)
    encoder.fit_statistics(inputs)
    learner = Sparse(strength=1.0).fit(encoder.design(inputs), truth, "classes")
    told = encoder.answering({"y": Answering("classes", 2, [Member("sparse", learner)])})
    asked = {n: torch.from_numpy(v) for n, v in process(["often", "once", "rest 1", "new"]).items()}
    scores = told.says["y"].read(told.encode(asked).pooled).softmax(1)[:, 1]
    assert scores[0] > scores[1] > scores[2]
    assert scores[3] == pytest.approx(float(learner.bias.softmax(0)[1]), abs=1e-4)
    assert told.encode(asked).pooled[3, :32].eq(0).all()


def test_codes_tell_entities_apart():
    encoder = EntityPlain({"entities": 2000}, 16)
    assert len(torch.unique(encoder.table, dim=0)) == 2000


def test_new_ones_are_learned_from_hidden_ones():
    torch.manual_seed(0)
    encoder = EntityEmbedding({"entities": 5}, 8, drop=0.5)
    inputs = {"entity": torch.arange(1, 5, dtype=torch.int32)[:, None].repeat(50, 1), "count": torch.ones(200, 1)}
    changed = encoder.augment(inputs)
    hidden = (changed["entity"] == 0).float().mean()
    assert 0.35 < hidden < 0.65
    assert (changed["count"][changed["entity"] == 0] == 0).all()
    assert (inputs["entity"] > 0).all()
