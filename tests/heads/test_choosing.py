"""Drafts: the one is kept that is most like what was said of like rows, where validation rows show that it helps."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from tiny_writers import SMALL, TARGET, built, learned, tokens
from torch import Tensor

from polymodal.core.errors import BadData
from polymodal.core.types import Tokens
from polymodal.heads.choosing import NEIGHBOURS, Memory, Trial
from polymodal.metrics.captions import Cider
from polymodal.metrics.consensus import Likeness
from polymodal.targets.base import fitted
from polymodal.testing.head import example_truth

SAID = [[[4, 5, 6], [4, 7]], [[8, 9], []], [[4, 5, 9, 9], [6, 6, 6, 6, 6]], [[5], [4, 5, 6]]]


def ids(texts: list) -> Tensor:
    """Texts of rows as ids, padded."""
    length = max(len(text) for row in texts for text in row)
    return torch.tensor([[text + [0] * (length - len(text)) for text in row] for row in texts])


def grams(text: list[int], n: int) -> Counter:
    return Counter(tuple(text[i : i + n]) for i in range(len(text) - n + 1))


def alike(a: list[int], b: list[int]) -> float:
    """The mean over n of the cosine of n-grams weighed by how few rows of SAID have them, by the definition."""

    def weight(gram: tuple) -> float:
        return np.log(len(SAID)) - np.log(max(1, sum(any(gram in grams(t, len(gram)) for t in row) for row in SAID)))

    cosines = []
    for n in range(1, 5):
        each = [{gram: count * weight(gram) for gram, count in grams(text, n).items()} for text in (a, b)]
        dot = sum(value * each[1].get(gram, 0) for gram, value in each[0].items())
        norms = [np.sqrt(sum(value**2 for value in one.values())) for one in each]
        cosines.append(dot / np.prod(norms) if np.prod(norms) else 0.0)
    return float(np.mean(cosines))


def test_likeness_is_that_of_its_definition():
    texts, rows = zip(*((text, row) for row, each in enumerate(SAID) for text in each))
    likeness = Likeness(texts, np.array(rows))
    new = [[4, 5, 6], [4, 5, 9], [11, 4, 11], [], [6, 6, 6]]  # 11 is in no text, and lengthens what has it
    found = (likeness.vectors(new) @ likeness.vectors(texts).T).toarray()
    np.testing.assert_allclose(found, [[alike(a, b) for b in texts] for a in new], atol=1e-6)


def memory() -> tuple[Memory, Tensor]:
    """Of the four rows of SAID; the vectors of two more."""
    draw = torch.Generator().manual_seed(0)
    vectors = torch.randn(6, 3, generator=draw)
    found = Memory(3)
    found.remember(vectors[:4], ids(SAID))
    return found, vectors[4:]


def test_what_a_draft_is_worth_is_that_of_its_definition():
    found, rows = memory()
    drafts = [[[4, 5, 6], [9, 9, 8], [4, 5]], [[6, 6, 6], [8, 9], []]]
    worth = found.worth(rows, ids(drafts), (2, 100))
    near = torch.nn.functional.normalize(rows - found.middle, dim=1) @ found.vectors.T
    for count in (2, 100):
        for row in range(2):
            nearest = near[row].argsort(descending=True)[:count].tolist()
            for draft, text in enumerate(drafts[row]):
                each = [np.mean([alike(text, said) for said in SAID[i] if said]) for i in nearest]
                assert worth[count][row, draft] == (pytest.approx(np.mean(each), abs=1e-6) if text else -np.inf)
        found.neighbours.fill_(count)
        assert found.choose(rows, ids(drafts)).tolist() == worth[count].argmax(1).tolist()


def test_of_many_rows_some_are_remembered(monkeypatch):
    monkeypatch.setattr("polymodal.heads.choosing.REMEMBERED", 3)
    found = Memory(2)
    texts = ids([[[i]] for i in range(4, 14)])
    texts[2] = 0  # of which nothing was said
    found.remember(torch.randn(10, 2), texts)
    assert found.texts.flatten().tolist() == [4, 9, 13]
    assert found.bytes == 3 * (2 * 4 + 4) + 2 * 4 + 8 + 1


def trial(good: float, rows: int = 60) -> Trial:
    """Rows whose first draft is what is written without, and whose second, most like the neighbours' texts, is right in
    a share `good` of them."""
    right = [f"a dog {i} runs over grass {i % 7}" for i in range(rows)]
    wrong = [f"two cats {i} sleep" for i in range(rows)]
    chosen = [a if i < good * rows else b for i, (a, b) in enumerate(zip(right, wrong))]
    worth = dict.fromkeys(NEIGHBOURS, np.tile([0.1, 0.2], (rows, 1)))
    found = Trial()
    found.add(worth, np.array([wrong, chosen]).T, np.array(wrong), np.array(right)[:, None])
    return found


def test_the_gain_is_that_of_the_metric_with_its_interval():
    gain = trial(0.5).gain()
    right = np.array([f"a dog {i} runs over grass {i % 7}" for i in range(60)])
    said = np.array([right[i] if i < 30 else f"two cats {i} sleep" for i in range(60)])
    values = Cider().settled(right)
    assert gain.before == pytest.approx(values(right, np.array([f"two cats {i} sleep" for i in range(60)])))
    assert gain.before + gain.added == pytest.approx(values(right, said))
    assert gain.low > 0
    assert gain.added - gain.low == pytest.approx(gain.high - gain.added)
    assert trial(0.0).gain().low == 0
    assert trial(1.0, rows=49).gain() is None


def remembering(**options) -> torch.nn.Module:
    """A head that chooses by the nearest row, and remembers of its rows what was said of others."""
    head = learned("writer", voices=2, **{"decoding": {"beams": 3}, **options})
    head.memory.remember(tokens().pooled[2:], head._plain(example_truth(TARGET)[:6]))
    head.memory.neighbours.fill_(1)
    head.memory.taken.fill_(True)
    return head


def test_what_is_chosen_hangs_on_the_row_alone():
    head, seen = remembering(), tokens()
    said = head(seen)
    words, plain = (head.decode(one)["label"].tolist() for one in (said, learned("writer", voices=2)(seen)))
    assert [words[row] for row in (2, 5, 6)] == ["a dog", "the dog", "the cat"], "what was said of the nearest"
    assert words[2:] != plain[2:]
    order = torch.tensor([5, 2, 7, 0, 1, 6, 3, 4])
    head.number(order)
    torch.testing.assert_close(head(seen.select(order)), said[order])
    head.number(torch.tensor([6]))
    torch.testing.assert_close(head(seen.select(slice(6, 7))), said[6:7])


def test_who_sees_nothing_is_answered_as_by_the_search():
    head, nothing = remembering(), tokens().keep(torch.zeros(8, dtype=torch.bool)).cleared()
    wide = {"beams": 8, "drafts": 1}
    assert torch.equal(head(nothing), learned("writer", voices=2, decoding=wide)(nothing))


def test_drafts_may_be_switched_off_and_hasty_answers_have_none():
    head, seen = remembering(decoding={"beams": 3, "drafts": 1}), tokens()
    assert torch.equal(head(seen), learned("writer", voices=2, decoding={"beams": 3})(seen))
    head = remembering()
    head.quick = True
    assert torch.equal(head(seen), learned("writer", voices=2, decoding={"beams": 1})(seen))


def test_the_memory_goes_with_the_weights():
    head, seen = remembering(), tokens()
    spec = {"name": "writer", **SMALL, "voices": 2, "decoding": {"beams": 3}}
    other = built(spec)
    other.load_state_dict(head.state_dict())
    assert torch.equal(other(seen), head(seen))
    older = {name: value for name, value in head.state_dict().items() if not name.startswith("memory.")}
    other.load_state_dict(older)  # of a bundle from before there was a memory
    assert len(other.memory) == len(head.memory), "what is not told stays"
    fresh = built(spec)
    fresh.load_state_dict(older)
    assert torch.equal(fresh(seen), learned("writer", voices=2, decoding={"beams": 3})(seen))


LONG = fitted("y", "text", [[f"a dog {i} runs over the grass", f"the dog {i} runs fast"] for i in range(80)])


def concluded(rows: int, **options) -> torch.nn.Module:
    """A head without training, whose validation rows are its training rows: what is said of the nearest is right."""
    head = built({"name": "writer", **SMALL, **options}, target=LONG)
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(rows, 2, 6, generator=draw)
    seen = Tokens(x, torch.ones(rows, 2, dtype=torch.bool), x.mean(1))
    truth = torch.from_numpy(LONG.encode([[f"a dog {i} runs over the grass"] for i in range(rows)]))
    head.conclude([(seen, truth)], [(seen, truth)])
    return head


def test_it_is_settled_on_validation_rows():
    head = concluded(60)
    assert head.memory.taken == (len(head.memory) > 0)
    assert "CIDEr-D" in head.remark
    few = concluded(20)
    assert len(few.memory) == 0
    assert "fewer than 50 validation rows" in few.remark
    assert len(concluded(20, decoding={"drafts": 4}).memory) == 20, "who asks for drafts gets them"
    for never in ({"drafts": 1}, {"beams": 1}, {"temperature": 0.5}):
        head = concluded(60, decoding=never)
        assert (len(head.memory), head.remark) == (0, "")


def test_a_part_without_a_row_to_judge_by_is_passed_over(monkeypatch):
    """The rows behind those that are judged, and those that see nothing; and an answer of no row."""
    monkeypatch.setattr("polymodal.heads.writing.JUDGED", 60)
    head = built({"name": "writer", **SMALL, "decoding": {"drafts": 2}}, target=LONG)
    x = torch.randn(60, 2, 6, generator=torch.Generator().manual_seed(1))
    seen = Tokens(x, torch.ones(60, 2, dtype=torch.bool), x.mean(1))
    truth = torch.from_numpy(LONG.encode([[f"a dog {i} runs over the grass"] for i in range(60)]))
    nothing = seen.keep(torch.zeros(60, dtype=torch.bool)).cleared()
    head.conclude([(seen, truth)], [(nothing, truth), (seen, truth), (seen, truth)])
    assert "CIDEr-D" in head.remark
    assert len(head(seen.select(slice(0, 0)))) == 0


@pytest.mark.parametrize(
    ("name", "shape"), [("vectors", (4, 2)), ("vectors", (5, 3)), ("texts", (4, 6)), ("vectors", (12,))]
)
def test_a_memory_whose_sizes_do_not_fit_is_refused(name, shape):
    kept = Memory(3)
    kept.remember(torch.randn(4, 3), torch.full((4, 1, 6), 5))
    Memory(3).load_state_dict(kept.state_dict())
    with pytest.raises(BadData, match=rf"{name} \[{', '.join(map(str, shape))}\].* no memory of a head of width 3"):
        Memory(3).load_state_dict({**kept.state_dict(), name: torch.zeros(shape)})
