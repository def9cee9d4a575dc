"""The tree of allowed answers."""

import pytest
import torch

from polymodal.core.errors import BadArgument
from polymodal.nn.layers.state import END
from polymodal.nn.trie import Trie


def test_what_follows_is_what_some_answer_goes_on_with():
    answers = [[5, 6], [5, 7, 8], [9], [5], [9, END]]
    trie = Trie(answers)
    assert (trie.longest, trie.words) == (4, 10)
    walks = {(): {5, 9}, (5,): {6, 7, END}, (5, 7): {8}, (5, 6): {END}, (5, 7, 8): {END}, (9,): {END}}
    nodes = []
    for walk in walks:
        node = torch.zeros(1, dtype=torch.int64)
        for word in walk:
            node = trie.follow(node, torch.tensor([word]))
        nodes.append(node)
    mask = trie.mask(torch.cat(nodes), 12)
    assert [set(row.nonzero()[:, 0].tolist()) for row in mask] == list(walks.values())


def test_many_answers_against_the_definition():
    torch.manual_seed(1)
    answers = [torch.randint(4, 9, (int(torch.randint(1, 5, ())),)).tolist() for _ in range(200)]
    trie = Trie(answers)
    closed = [(*tuple(a), END) for a in answers]
    for some in (answers[i] for i in range(0, 200, 9)):
        node = torch.zeros(1, dtype=torch.int64)
        for t, word in enumerate(some):
            wanted = {a[t] for a in closed if a[:t] == tuple(some[:t]) and len(a) > t}
            assert set(trie.mask(node, 9)[0].nonzero()[:, 0].tolist()) == wanted
            node = trie.follow(node, torch.tensor([word]))


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        ([], "the set is empty"),
        ([[4], []], "answer 1 cannot be written: it has no word"),
        ([[END]], "answer 0 cannot be written: it has no word"),
        ([[4, 3]], r"answer 0 cannot be written: \[4, 3\]"),
        ([[4, END, 5]], r"answer 0 cannot be written: \[4, 2, 5\]"),
    ],
)
def test_what_no_decoder_writes_is_refused(answers: list, says: str):
    with pytest.raises(BadArgument, match=says):
        Trie(answers)
