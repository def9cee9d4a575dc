"""Segmenter, tagger and parser: the mathematics, planted corpora, bad CoNLL-U."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
from planted_corpus import planted, projective, write_conllu

from polymodal.core.errors import BadArgument, BadData
from polymodal.evaluation.language import language_scores, parse_counts, segment_counts, tag_counts
from polymodal.evaluation.means import share_interval
from polymodal.ops.language.conllu import Sentence, read_conllu
from polymodal.ops.language.hmm import posteriors, viterbi
from polymodal.ops.language.labels import METHODS, Segmenter, Tagger, cuttable
from polymodal.ops.language.parser import Parser
from polymodal.ops.language.train import load_parser, load_segmenter, load_tagger, retagged, train_language
from polymodal.ops.language.transitions import LEFT, RIGHT, SHIFT, State, dependents, inside, outside

TRAIN, TEST = planted(200, seed=1), planted(60, seed=2)


def needs(method):
    if method == "crf":
        pytest.importorskip("pycrfsuite")


@pytest.mark.parametrize("seed", range(5))
def test_viterbi_and_posteriors_against_every_path(seed):
    rng = np.random.default_rng(seed)
    length, k = 5, 3
    start, step, emit = (np.log(rng.dirichlet(np.ones(k), n)) for n in (1, k, length))
    paths = list(itertools.product(range(k), repeat=length))
    scores = [
        start[0, p[0]] + sum(step[a, b] for a, b in itertools.pairwise(p)) + sum(emit[range(length), p]) for p in paths
    ]
    assert tuple(viterbi(start[0], step, emit)) == paths[int(np.argmax(scores))]
    weights = np.exp(scores) / np.exp(scores).sum()
    by_hand = np.zeros((length, k))
    for path, weight in zip(paths, weights):
        by_hand[range(length), path] += weight
    np.testing.assert_allclose(posteriors(start[0], step, emit), by_hand, atol=1e-12)


def tree(n, rng):
    """Heads of a random projective tree, the root as number n."""
    heads = [n] * n

    def below(first, last, head):
        for low, high in ((first, head), (head + 1, last)):
            while low < high:
                end = rng.randint(low + 1, high)
                child = rng.randrange(low, end)
                heads[child] = head
                below(low, end, child)
                low = end

    below(0, n, rng.randrange(n))
    return heads


def test_any_path_that_loses_nothing_makes_the_tree():
    rng = random.Random(0)
    for _ in range(300):
        gold = tree(rng.randint(1, 12), rng)
        state = State(len(gold))
        while not state.done():
            costs = state.costs(gold, dependents(gold))
            state.take(rng.choice([move for move, cost in costs.items() if not cost]))
        assert state.heads == gold
        assert inside(outside(gold)) == gold
        assert projective(outside(gold))


def test_costs_are_the_arcs_that_no_later_path_can_make():
    """Against a search of every continuation, from random states, after mistakes too."""

    def reachable(state, gold):
        if state.done():
            return sum(a == b for a, b in zip(state.heads, gold))
        return max(reachable(after(state, move), gold) for move in moves(state))

    def moves(state):  # without the rule of one root, which adds losses of its own
        return [SHIFT] * (state.buffer < state.n) + [LEFT] * bool(state.stack) + [RIGHT] * (len(state.stack) > 1)

    def after(state, move):
        other = State(state.n)
        other.stack, other.buffer, other.heads = [*state.stack], state.buffer, [*state.heads]
        other.take(move)
        return other

    rng = random.Random(1)
    for _ in range(15):
        gold = tree(5, rng)
        state = State(5)
        while not state.done():
            now = reachable(state, gold)
            costs = state.costs(gold, dependents(gold))
            assert {m: now - reachable(after(state, m), gold) for m in costs} == costs
            state = after(state, rng.choice(list(costs)))


@pytest.mark.parametrize("method", METHODS)
def test_a_tagger_learns_the_planted_grammar(method):
    needs(method)
    tagger = Tagger.train(TRAIN, method=method)
    found = [tagger.tag(one.words) for one in TEST]
    known = {word for one in TRAIN for word in one.words}
    assert share_interval(tag_counts(TEST, [tags for tags, _ in found])).mean > 0.95
    new = [a == b for s, (tags, _) in zip(TEST, found) for w, a, b in zip(s.words, s.tags, tags) if w not in known]
    assert np.mean(new) > 0.9
    sure = [c for _, chances in found for c in chances]
    assert all(0 <= c <= 1 + 1e-6 for c in sure)
    wrong = [c for one, (tags, cs) in zip(TEST, found) for t, g, c in zip(one.tags, tags, cs) if t != g]
    assert not wrong or np.mean(wrong) < np.mean(sure)
    assert tagger.tag([]) == ([], [])


@pytest.mark.parametrize("method", METHODS)
def test_a_segmenter_learns_where_words_end(method):
    needs(method)
    glued = [Sentence(one.words, one.tags, spaces=[False] * len(one)) for one in TRAIN]
    segmenter = Segmenter.train(glued, method=method)
    found = [segmenter.segment("".join(one.words))[0] for one in TEST]
    f1 = share_interval(segment_counts([one.words for one in TEST], found)).mean
    assert f1 > (0.9 if method == "crf" else 0.2)
    assert all("".join(f) == "".join(one.words) for f, one in zip(found, TEST))
    words, sure = segmenter.segment("thedog  sawa ship")
    assert "".join(words) == "thedogsawaship"
    assert len(words) == len(sure)
    assert segmenter.segment(" \n") == ([], [])


def test_a_parser_learns_the_planted_grammar():
    parser = Parser.train(TRAIN, epochs=3)
    found = [parser.parse(one.words, one.tags) for one in TEST]
    parses = [(heads, relations) for heads, relations, _ in found]
    for labelled in (False, True):
        assert share_interval(parse_counts(TEST, parses, labelled=labelled)).mean > 0.97
    assert all(heads.count(0) == 1 and projective(heads) for heads, _, _ in found)
    assert parser.parse([], []) == ([], [], [])


def test_a_parser_takes_trees_that_cross():
    crossed = Sentence(["a", "b", "c", "d"], ["X"] * 4, [3, 4, 0, 3], ["x"] * 4)
    assert not projective(crossed.heads)
    heads, _, _ = Parser.train([crossed], epochs=3).parse(crossed.words, crossed.tags)
    assert projective(heads)


@pytest.mark.parametrize("method", METHODS)
def test_what_is_learnt_is_kept_in_a_folder(tmp_path, method):
    needs(method)
    write_conllu(tmp_path / "a.conllu", TRAIN[:60])
    assert [(s.words, s.heads, s.spaces) for s in read_conllu(tmp_path / "a.conllu")] == [
        (s.words, s.heads, s.spaces) for s in TRAIN[:60]
    ]
    first, second = (train_language(tmp_path / "a.conllu", tmp_path / n, method=method, epochs=2) for n in "xy")
    assert sorted(p.name for p in first.iterdir()) == sorted(
        f"{n}.{e}" for n in ("segment", "tags", "parse") for e in ("json", "npz")
    )
    words = TEST[0].words
    tags = Tagger.train(TRAIN[:60], method=method).tag(words)
    for folder in (first, second):
        assert load_tagger(folder).tag(words) == tags
        assert load_segmenter(folder).segment("the dog .")[0]
    assert load_parser(first).parse(words, tags[0]) == load_parser(second).parse(words, tags[0])
    with pytest.raises(BadData, match="holds nothing"):
        load_tagger(tmp_path)


def test_a_parser_learns_from_tags_as_it_will_get_them():
    again = retagged(TRAIN[:6], "hmm")
    assert sorted(s.text() for s in again) == sorted(s.text() for s in TRAIN[:6])
    assert [s.tags for s in again] != [s.tags for s in [*TRAIN[:6:2], *TRAIN[1:6:2]]]


def test_tokens_of_several_words_are_written_as_they_were(tmp_path):
    rows = [
        "# text = Du vin, donc.", "1-2\tDu" + 8 * "\t_", "1\tDe\t_\tADP\t_\t_\t3\tcase\t_\t_",
        "2\tle\t_\tDET\t_\t_\t3\tdet\t_\t_", "3\tvin\t_\tNOUN\t_\t_\t0\troot\t_\tSpaceAfter=No",
        "4\t,\t_\tPUNCT\t_\t_\t3\tpunct\t_\t_", "5-6\tdonc." + 7 * "\t_" + "\tSpaceAfter=No",
        "5\tdonc\t_\tADV\t_\t_\t3\tadvmod\t_\t_", "6\t.\t_\tPUNCT\t_\t_\t3\tpunct\t_\t_", "", "",
    ]  # fmt: skip
    (tmp_path / "m.conllu").write_text("\r\n".join(rows), encoding="utf-8", newline="")
    (one,) = read_conllu(tmp_path / "m.conllu")
    assert one.text() == "Du vin, donc."
    assert one.spaces == [False, True, False, True, False, False]
    write_conllu(tmp_path / "again.conllu", [one])
    (again,) = read_conllu(tmp_path / "again.conllu")
    assert (again.joined, again.spaces) == ([(1, 2, "Du"), (5, 6, "donc.")], one.spaces)
    segmenter = Segmenter.train([one], method="hmm")
    assert segmenter.segment("Du")[0] == ["Du"], "its words are not its letters"
    assert cuttable(one) == [["Du"], ["vin", ","], ["donc", "."]]


def test_crossing_arcs_are_found():
    rng = random.Random(3)
    for _ in range(500):
        heads = [rng.choice([h for h in range(7) if h != i]) for i in range(1, 7)]
        arcs = [(min(i, h), max(i, h)) for i, h in enumerate(heads, 1)]
        assert projective(heads) == (not any(a < c < b < d for a, b in arcs for c, d in arcs)), heads


WORD = "{}\tdog\t_\tNOUN\t_\t_\t{}\troot\t_\t_\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (WORD.format(1, 0) + "2\tdog\n", "line 2: 2 fields"),
        (WORD.format(1, 0) + WORD.format(3, 1), "line 2: the word's number is '3'; 2 was due"),
        ("# x\n" + WORD.format(1, 7), "line 2: HEAD is '7'; allowed are 0 to 1"),
        (WORD.format(1, "_") + WORD.format(2, 0), "line 1: HEAD is '_'"),
        (WORD.format(1, 2) + WORD.format(2, 1), "line 1: word 1 is its own ancestor"),
        ("1\t\t_\tNOUN\t_\t_\t0\troot\t_\t_\n", "line 1: FORM is empty"),
        ("# nothing\n\n", "no sentence"),
        ("1-x\tdel" + 8 * "\t_" + "\n" + WORD.format(1, 0), "line 1: the token's range is '1-x'"),
        ("1-3\tdel" + 8 * "\t_" + "\n" + WORD.format(1, 0), "ends at word 3 of 1"),
        (WORD.format(1, "²"), "line 1: HEAD is '²'"),
    ],
)
def test_bad_conllu_is_named_by_its_line(tmp_path, text, said):
    file = tmp_path / "bad.conllu"
    file.write_text(text)
    with pytest.raises(BadData, match=said):
        read_conllu(file)


def test_what_cannot_be_read_or_learnt_is_said(tmp_path):
    with pytest.raises(BadData, match="cannot be read"):
        read_conllu(tmp_path / "absent")
    (tmp_path / "latin").write_bytes("1\tcaf\xe9".encode("latin-1"))
    with pytest.raises(BadData, match="not UTF-8"):
        read_conllu(tmp_path / "latin")
    bare = [Sentence(["dog"], ["_"])]
    with pytest.raises(BadData, match="no UPOS"):
        Tagger.train(bare, method="hmm")
    with pytest.raises(BadData, match="no HEADs"):
        Parser.train(bare)
    with pytest.raises(BadArgument, match="crf"):
        Tagger.train(TRAIN, method="crff")
    with pytest.raises(BadArgument, match="epochs"):
        Parser.train(TRAIN, epochs=0)
    with pytest.raises(BadArgument, match="Did you mean 'tags'"):
        train_language(TRAIN, tmp_path / "out", what="tag")


def test_multiword_tokens_and_empty_nodes(tmp_path):
    rows = [
        "1-2\tdel" + 8 * "\t_", "1\tde\t_\tADP\t_\t_\t2\tcase\t_\t_", "2\tel\t_\tDET\t_\t_\t0\troot\t_\tSpaceAfter=No",
        "2.1\tx" + 8 * "\t_",
    ]  # fmt: skip
    (tmp_path / "m.conllu").write_text("\n".join(rows))
    (one,) = read_conllu(tmp_path / "m.conllu")
    assert one.words == ["de", "el"]
    assert one.spaces == [False, False]


def test_scores_by_hand():
    gold = [Sentence(["a", "b"], ["X", "Y"], [2, 0], ["x", "root"])]
    assert tag_counts(gold, [["X", "X"]]).tolist() == [[1, 2]]
    assert parse_counts(gold, [([2, 1], ["y", "root"])], labelled=False).tolist() == [[1, 2]]
    assert parse_counts(gold, [([2, 1], ["y", "root"])], labelled=True).tolist() == [[0, 2]]
    assert share_interval(segment_counts([["ab", "c", "d"]], [["ab", "cd"]])).mean == pytest.approx(0.4)
    with pytest.raises(BadData, match="the same letters"):
        segment_counts([["ab"]], [["abc"]])
    with pytest.raises(BadData, match="In sentence 1"):
        tag_counts(gold, [["X"]])


def test_the_command(tmp_path, monkeypatch, capsys):
    import sys

    from polymodal import cli

    write_conllu(tmp_path / "a.conllu", TRAIN[:20])
    given = ["train-language", str(tmp_path / "a.conllu"), "--out", str(tmp_path / "m"), "--what", "tags", "--method"]
    monkeypatch.setattr(sys, "argv", ["polymodal", *given, "hmm"])
    with pytest.raises(SystemExit) as left:
        sys.exit(cli.main())
    assert not left.value.code
    assert load_tagger(tmp_path / "m").tag(["the"])[0] == ["DET"]
    assert "tags:" in capsys.readouterr().out
    write_conllu(tmp_path / "b.conllu", TEST[:20])
    (tmp_path / "d.conllu").write_text("no treebank", encoding="utf-8")
    given[given.index("tags")] = "segment,tags,parse"
    monkeypatch.setattr(
        sys, "argv", ["polymodal", *given, "hmm", "--epochs", "2", "--test", str(tmp_path / "b.conllu")]
    )
    with pytest.raises(SystemExit):
        sys.exit(cli.main())
    said = capsys.readouterr().out
    scores = language_scores(tmp_path / "m", TEST[:20])
    assert list(scores) == ["segment", "tags", "uas", "las"]
    assert scores["las"].mean <= scores["uas"].mean <= 1
    for name, score in scores.items():
        assert f"{name} {score.mean:.1%} ({score.low:.1%} to {score.high:.1%})" in said
    with pytest.raises(BadData):
        language_scores(tmp_path / "m", tmp_path / "d.conllu")
