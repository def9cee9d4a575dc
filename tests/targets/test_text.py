"""Texts as a target: symbols, vocabulary, several references, what is usual."""

from __future__ import annotations

import json

import numpy as np
import pytest

from polymodal.core.errors import BadArgument, BadData
from polymodal.metrics import METRICS
from polymodal.metrics.build import fits, judged, undefined
from polymodal.metrics.consensus import Likeness, medoid
from polymodal.metrics.words import words
from polymodal.targets.base import Target, fitted
from polymodal.targets.words import Coder, spelt
from polymodal.testing import check_target

CAPTIONS = [
    ["A brown dog runs through the grass .", "A dog is running outside ."],
    ["Two boys play football .", "Boys can't stop playing ."],
    ["A dog jumps over a log .", None, "The brown dog jumps ."],
    '["A girl sings .", "A girl on a stage ."]',
]


@pytest.mark.parametrize("symbols", ["auto", "words", "characters", "bpe"])
def test_it_keeps_the_laws_whatever_the_symbols(symbols: str):
    check_target({"name": "text", "symbols": symbols, "least": 1}, CAPTIONS * 3)


def test_words_are_those_of_the_metrics():
    target = fitted("y", "text", CAPTIONS)
    assert target.truth(target.encode(CAPTIONS)).tolist() == [
        ["a brown dog runs through the grass", "a dog is running outside"],
        ["two boys play football", "boys can't stop playing"],
        ["a dog jumps over a log", "the brown dog jumps"],
        ["a girl sings", "a girl on a stage"],
    ]
    assert target.several
    assert not target.short
    assert target.metrics[0] == "cider"
    assert target.column_names() == ["y", "y_logp"]


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("C++ ($5)", "c++ ($5)"),
        ("Don't know (100 %)!", "don't know (100%)"),
        ("5 + 3 = 8; 18+ only?!", "5 + 3 = 8 18+ only?!"),
        ("C# and F# [#1, ~2 km]", "c# and f# [#1 ~2 km]"),
        ("We're gonna say the dog's cannot.", "we're gonna say the dog's cannot"),
    ],
)
def test_words_are_written_as_people_write_them(cell, written):
    target = fitted("y", "text", [cell, "a dog"])
    assert target.truth(target.encode([cell])).tolist() == [written]
    assert words(written) == words(cell), "metrics read the same words"


def test_words_written_together_are_read_as_the_same_words():
    some = [
        *["c", "+", "$", "5", "%", "(", ")", "[", "n't", "can", "not", "'s", "dog", "?!", "...", "#", "'", "日", "mr."],
        *["^", "~", "&", "'tis", "gonna", "3,000", "ß", "😀", "-lrb-"],
    ]
    drawn, read = np.random.default_rng(0), 0
    for _ in range(2000):
        text = " ".join(some[i] for i in drawn.integers(len(some), size=drawn.integers(1, 7)))
        said = words(text)
        if words(" ".join(said)) == said:
            assert words(spelt(said)) == said
            read += 1
    assert read > 1500


def test_one_long_word_or_text_does_not_widen_all_rows():
    cells = [["a dog runs", "the dog"]] * 40 + [["z" * 5000, "a dog"], " ".join(["dog"] * 900), ["a cat"] * 50]
    target = fitted("y", {"name": "text", "least": 2}, cells)
    assert target.longest == 256, "a word that is unknown is one symbol, and no more are written"
    encoded = target.encode(cells)
    assert encoded.shape == (43, 32, 512)
    assert target.room == 512
    assert target.remarks(cells) == [
        "y: of 1 answer only the first 512 symbols are learned from (the longest has 900); metrics compare up to "
        "10,000 letters.",
        "y: in 1 row only the first 32 references are learned from.",
    ]
    assert target.truth(encoded)[40].tolist()[:2] == ["z" * 40, "a dog"]
    whole = target.wanted(cells, encoded, np.arange(43))
    assert whole.shape == (43, 50)
    assert max(whole.nbytes, target.truth(encoded).nbytes) <= whole.size * 8, "as many bytes as there are references"
    assert whole[40].tolist()[:2] == ["z" * 5000, "a dog"]
    assert len(whole[41, 0].split()) == 900
    few = fitted("y", "text", ["a dog"] * 40)
    assert (few.longest, few.room, few.remarks(["a dog"])) == (2, 64, [])
    assert few.wanted(["a dog", None], few.encode(["a dog", None]), np.arange(2)).tolist() == ["a dog", ""]


def test_a_word_that_training_did_not_have_is_one_word():
    rare = ["extraordinarily", *(f"incomprehensib{letter}" for letter in "abcdefgh")]
    captions = [f"a dog and the man {rare[i % 9]} run" for i in range(20)]
    target = fitted("y", {"name": "text", "least": 2}, captions)
    assert target.longest == 7
    unknown = "qwertyuiop " * 30
    assert target.truth(target.encode([unknown]))[0] == " ".join(["qwertyuiop"] * 12), "twice 64 codes"
    names = [["alice", "bob", "carol"][i % 3] + f" smith{i}son" for i in range(60)]
    for symbols in ("words", "bpe"):
        short = fitted("y", {"name": "text", "symbols": symbols, "pieces": 40}, names)
        assert short.short, symbols
        assert short.metrics[0] == "exact_match"
    assert fitted("y", "text", ["ใช่ครับ", "ไม่ใช่", "ไม่"]).short, "letters with their marks, as metrics count them"
    assert not fitted("y", "text", ["一群人正在踢足球", "两个男孩在跑"]).short


def test_numbers_keep_their_point_in_characters():
    target = fitted("y", "text", ["体温38.5度，血压120/80。", "体温 3,000、2；5（3）12：30", "？！"])
    assert target.written_in == "characters"
    cells = ["体温38.5度，血压120/80。", "体温 3,000、2；5（3）12：30", "？！"]
    said = target.truth(target.encode(cells)).tolist()
    assert said == ["体温38.5度血压120/80", "体温3,000 2 5 3 12：30", "？！"]
    assert target.truth(target.encode(said)).tolist() == said
    assert words(said[0]) == words(cells[0])


def test_symbols_of_a_target_of_before_mean_the_same():
    told = fitted("y", "text", ["体温385度", "度数"]).to_json()
    told["vocabulary"] = ["度", "体", "温", "3", "8", "5"]
    target = Target.from_json(told)
    assert target.encode(["体温385度"]).tolist() == [[[5, 6, 7, 8, 9, 4]]]
    assert target.truth(target.encode(["体温38.5度", "38、5"])).tolist() == ["体温38.5度", "38 5"]


def test_a_long_word_is_cut_in_pieces_in_linear_time():
    target = fitted("y", {"name": "text", "symbols": "bpe", "pieces": 30}, ["abab baab abba"] * 3)
    word = "abba" * 5000
    codes = target.coder.codes(word)
    assert target.coder.text(codes) == word
    assert len(codes) < len(word)
    assert max(codes) < target.words


def test_what_is_no_text_is_named_and_not_written():
    cells = ["a dog", {"a": 1}, [["a", "b"], "a cat"], float("nan"), [float("nan"), "a cat"], "  ", b"\xff", 3, None]
    target = fitted("y", "text", cells)
    assert target.vocabulary == ("a", "cat", "3", "dog")
    assert target.known(target.encode(cells)).tolist() == [True, False, True, False, True, False, False, True, False]
    told = " where the target is a text or a list of them"
    assert target.survey(cells)[1] == {
        1: f"holds a mapping, \"{{'a': 1}}\",{told}",
        2: f"holds a list within a list, \"['a', 'b']\",{told}",
        3: "is 'nan', but the target is a text",
        5: "is '  ', but the target is a text",
        6: f"holds bytes, \"b'\\\\xff'\",{told}",
    }
    assert target.unseen(cells) == {"{'a': 1}": 1, "nan": 1, "  ": 1, "b'\\xff'": 1}


def test_nothing_is_lost_that_training_did_not_have():
    target = fitted("y", {"name": "text", "least": 2}, ["a dog", "a dog", "a cat"])
    assert target.vocabulary == ("a", "dog")
    unseen = ["a zebra", "Zebras, zebras!", "über 9000 \U0001f600"]
    assert target.truth(target.encode(unseen)).tolist() == ["a zebra", "zebras zebras", "über 9000 \U0001f600"]


def test_a_text_alone_is_encoded_as_beside_longer_ones():
    target = fitted("y", "text", CAPTIONS)
    beside = target.encode([*CAPTIONS, None])
    alone = target.encode(["a dog jumps"])
    assert (beside[-1] == -1).all()
    assert target.known(beside).tolist() == [True] * 4 + [False]
    assert alone.shape == (1, 1, 3)
    assert target.truth(alone).tolist() == ["a dog jumps"]


def test_scripts_without_spaces_are_written_by_characters():
    target = fitted("y", "text", ["一群人正在踢足球。", "两个 男孩在 T 台上 dance 。"])
    assert target.written_in == "characters"
    assert target.truth(target.encode(["踢足球的人。", "dance floor"])).tolist() == ["踢足球的人", "dance floor"]
    assert fitted("y", "text", ["개가 달린다", "a dog"]).written_in == "words"


def test_pieces_keep_capitals_and_signs():
    texts = ["The Dog, running!", "A dog runs.", "Running dogs (two)"] * 3
    target = fitted("y", {"name": "text", "symbols": "bpe", "pieces": 60}, texts)
    assert len(target.vocabulary) <= 60
    assert target.truth(target.encode([*texts, "Zoé's §1"])).tolist() == [*texts, "Zoé's §1"]
    longest = max(target.encode(["running"])[0, 0].tolist())
    assert longest < target.words, "known letters make known pieces"


def test_an_answer_of_signs_alone_is_an_answer():
    target = fitted("y", "text", ["-", "?", "yes", "Yes."])
    assert target.truth(target.encode(["-", "?", "YES!"])).tolist() == ["-", "?", "yes"]


def test_short_answers_are_right_or_wrong():
    one = fitted("y", "text", ["yes", "no", "yes", "two dogs"])
    assert one.short
    assert one.metrics[0] == "exact_match"
    assert one.chance().tolist() == "yes"
    several = fitted("y", "text", [["yes", "yes", "no"], ["no", "2", "2"]])
    assert several.metrics[0] == "vqa_accuracy"


@pytest.mark.parametrize("cells", [CAPTIONS, ["yes", "no"], [["yes", "yes"], ["no", "no"]]])
def test_usual_metrics_are_there_and_fit(cells: list):
    target = fitted("y", "text", cells)
    assert all(fits(METRICS.build(name), judged(target)) for name in target.metrics)


def test_the_usual_long_answer_is_the_one_most_like_all_others():
    texts = ["a dog runs in the park", "a dog plays in the park", "a brown dog runs in a park", "three kings on ice"]
    assert fitted("y", "text", texts).chance().tolist() == texts[0]
    coder = fitted("y", "text", texts).coder
    codes = [coder.codes(text) for text in texts]
    vectors = Likeness(codes).vectors(codes)
    alike = np.asarray((vectors @ vectors.T).todense())
    np.testing.assert_allclose(alike.diagonal(), 1, atol=1e-6)
    assert alike[0, 1] > alike[0, 2] > alike[0, 3] == 0
    assert medoid(vectors) == int(alike.sum(1).argmax())


def test_worst_first_and_how_alike():
    target = fitted("y", "text", CAPTIONS)
    truth = np.array([["a dog runs", "the dog"], ["a cat", ""], ["a girl sings", "a girl"]])
    said = np.array(["a dog walks", "two boys", "a girl"])
    assert target.likeness("a dog walks", truth[0]) == pytest.approx(2 / 3)
    assert target.mistakes(truth, said, np.ones(3, bool), 8).tolist() == [1, 0]
    assert target.told(truth[1], said[1]) == {"truth": "a cat", "prediction": "two boys", "probability": None}
    subsets = np.array([["a dog"], ["a dog runs"]])
    np.testing.assert_allclose(target.explained(subsets), [[0.8], [1.0]])


def test_it_comes_back_from_json_with_its_pieces():
    target = fitted("y", {"name": "text", "symbols": "bpe", "pieces": 50}, ["a dog runs", "a cat runs"] * 4)
    again = Target.from_json(json.loads(json.dumps(target.to_json())))
    assert again == target
    assert np.array_equal(again.encode(["a cat"]), target.encode(["a cat"]))


def test_marks_part_words_that_are_unknown_and_stand_together():
    coder = Coder("words", ["a"])
    codes = coder.codes("xy zw a")
    assert len(codes) == 5
    assert coder.text(codes) == "xy zw a"


@pytest.mark.parametrize(
    ("spec", "cells", "error", "match"),
    [
        ({"symbols": "word"}, ["a"], BadArgument, r"unknown symbols 'word' of text\. Did you mean 'words'"),
        ({"least": 0}, ["a"], BadArgument, "least is at least 1; got 0"),
        ({"least": 9}, ["a", "b"], BadData, "no symbol occurs 9 times"),
        ({"pieces": 0}, ["a"], BadArgument, "pieces is at least 1"),
        ({}, ["  ", [None, ""]], BadData, "holds no text in any training row"),
    ],
)
def test_what_cannot_be_is_said(spec: dict, cells: list, error: type, match: str):
    with pytest.raises(error, match=match):
        fitted("y", {"name": "text", **spec}, cells)


def test_few_rows_do_not_define_how_rare_words_are():
    target = fitted("y", "text", CAPTIONS)
    truth = target.truth(target.encode(CAPTIONS))
    said = np.broadcast_to(target.chance(), len(truth))
    assert undefined(target, [(truth, said)]) == ["cider"]
    assert undefined(target, [(np.tile(truth, (13, 1)), np.tile(said, 13))]) == []
