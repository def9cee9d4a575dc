"""Answers in words against several references: official figures, the wrong ways to get them, and odd texts."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pytest
from metrics.own_captions import captions
from rapidfuzz.distance import Levenshtein

from polymodal.core.errors import BadArgument, BadData, MissingExtra
from polymodal.evaluation.statistics import bootstrap, resample
from polymodal.metrics import METRICS
from polymodal.metrics import captions as caption_metrics
from polymodal.metrics.base import check, labelled
from polymodal.metrics.build import build_metric
from polymodal.metrics.ngrams import grams
from polymodal.metrics.words import normal, words
from polymodal.testing import NotConformant, check_metric
from polymodal.testing.metric import TEXT, example_forms

REFERENCES, SAID = captions()
OFFICIAL = {  # pycocoevalcap 1.2 with Stanford's PTBTokenizer 3.4.1 on Java 17, and sacrebleu 2.6.0 (chrF2)
    "bleu_1": 0.658992279, "bleu_2": 0.587231664, "bleu_3": 0.536226714, "bleu_4": 0.489533024,  # to nine decimals
    "cider": 1.7765498167139084, "rouge_l": 0.5592205898502391, "chrf": 55.17019134211293,
}  # fmt: skip


def build(name, **options):
    return build_metric({"name": name, **options} if options else name, example_forms()["text"])


@pytest.mark.parametrize("name", OFFICIAL)
def test_equals_the_official_program(name):
    assert build(name)(REFERENCES, SAID) == pytest.approx(OFFICIAL[name], abs=1e-9)


def test_equals_sacrebleu():
    import sacrebleu

    columns = REFERENCES.T.tolist()
    assert build("chrf")(REFERENCES, SAID) == pytest.approx(
        sacrebleu.corpus_chrf(SAID.tolist(), columns).score, abs=1e-9
    )
    assert build("chrf", n=3, beta=1.0)(REFERENCES, SAID) == pytest.approx(
        sacrebleu.corpus_chrf(SAID.tolist(), columns, char_order=3, beta=1).score, abs=1e-9
    )
    cut = [[" ".join(words(text)) for text in column] for column in (SAID.tolist(), *columns)]
    theirs = sacrebleu.corpus_bleu(cut[0], cut[1:], tokenize="none", force=True).score / 100
    assert build("bleu")(REFERENCES, SAID) == pytest.approx(theirs, abs=1e-6)


def sentences_bleu():
    return np.mean([build("bleu")(REFERENCES[i : i + 1], SAID[i : i + 1]) for i in range(60)])


def best_reference(name):
    metric = build(name)
    return np.mean([max(metric(REFERENCES[i : i + 1, j], SAID[i : i + 1]) for j in range(5)) for i in range(60)])


WRONG = {
    "a mean of sentences' BLEU": ("bleu_4", sentences_bleu),
    "BLEU of the first reference": ("bleu_4", lambda: build("bleu")(REFERENCES[:, 0], SAID)),
    "rare by references, not rows": (
        "cider",
        lambda: build("cider", documents=[[text] for text in REFERENCES.reshape(-1).tolist()])(REFERENCES, SAID),
    ),
    "CIDEr without the penalty of length": ("cider", lambda: build("cider", sigma=1e6)(REFERENCES, SAID)),
    "CIDEr of words alone": ("cider", lambda: build("cider", n=1)(REFERENCES, SAID)),
    "rare by the answers": ("cider", lambda: build("cider", documents=SAID[:, None].tolist())(REFERENCES, SAID)),
    "F1 of the best reference": ("rouge_l", lambda: build("rouge_l", beta=1.0)(REFERENCES, SAID)),
    "ROUGE of the best reference": ("rouge_l", lambda: best_reference("rouge_l")),
    "chrF as a mean of sentences": (
        "chrf",
        lambda: np.mean([build("chrf")(REFERENCES[i : i + 1], SAID[i : i + 1]) for i in range(60)]),
    ),
}


@pytest.mark.parametrize("way", WRONG)
def test_wrong_ways_give_another_number(way):
    name, wrong = WRONG[way]
    assert abs(wrong() - OFFICIAL[name]) > 1e-3 * max(1.0, OFFICIAL[name])


@pytest.mark.parametrize(
    "cut", [lambda text, segment="": tuple(text.split()), lambda text, segment="": tuple(text.lower().split())]
)
@pytest.mark.parametrize("name", ["bleu_4", "cider"])
def test_words_cut_by_spaces_or_with_capitals_give_another_number(name, cut, monkeypatch):
    monkeypatch.setattr(caption_metrics, "words", cut)
    assert abs(build(name)(REFERENCES, SAID) - OFFICIAL[name]) > 1e-2


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("The dogs' owner can't; he's gonna go.", "the dogs owner ca n't he 's gon na go"),
        ("A “cannot” (U.S.) man – it’s 3:30 p.m.", "a can not -lrb- u.s. -rrb- man it 's 3:30 p.m."),
        ("1,000 red,blue T-shirts -- what?! etc.", "1,000 red blue t-shirts what ?! etc."),
        ("50% off… the '90s, o'clock", "50 % off the '90s o'clock"),
        ("两只狗在草地上跑，OK。", "两 只 狗 在 草 地 上 跑 ok"),
        ("...", ""),
        ("", ""),
    ],
)
def test_words(text, cut):
    assert " ".join(words(text)) == cut


@pytest.mark.parametrize("segment", ["characters", "jieba"])
def test_words_that_are_cut_are_cut_the_same_again(segment):
    """So that an answer that was stored as words gets the same score."""
    odd = ["the dogs' (big) U.S. team can't; 'tis 3:30 p.m. ... the '90s?! -- \"cannot\" boy's-eye-view [x]", "狗 ok"]
    for text in [*REFERENCES.reshape(-1).tolist(), *odd]:
        cut = words(text, segment)
        assert words(" ".join(cut), segment) == cut


def test_chinese_is_read_by_characters_or_by_jieba():
    truth, said = np.array(["两个男人在踢足球"] * 3), np.array(["两个男人踢足球"] * 3)
    assert build("bleu", n=1)(truth, said) == pytest.approx(np.exp(1 - 8 / 7), abs=1e-6)
    jieba = build("bleu", n=1, segment="jieba")
    assert jieba(truth, said) == pytest.approx(np.exp(1 - 4 / 3), abs=1e-6)
    assert jieba.name == "bleu(n=1, segment=jieba)"
    for name in ("cider", "bleu", "rouge_l"):
        with pytest.raises(BadArgument, match=f"{name} takes segment='characters' or 'jieba'; got 'words'"):
            build(name, segment="words")
    check_metric({"name": "rouge_l", "segment": "jieba"}, kinds=["text"])


@pytest.mark.parametrize(
    ("said", "cut"),
    [
        ("ผู้ชายเดิน 2 กม.", "ผู้ ช า ย เ ดิ น 2 ก ม"),
        ("๓๘.๕ องศา", "๓๘.๕ อ ง ศ า"),
        ("ភាសាខ្មែរ។", "ភា សា ខ្មែ រ"),
        ("မြန်မာဘာသာ။", "မြ န် မာ ဘာ သာ"),
        ("ພາສາລາວ", "ພ າ ສ າ ລ າ ວ"),
        ("犬が走る", "犬 が 走 る"),
        ("体温38.5度", "体 温 38.5 度"),
    ],
)
def test_scripts_without_spaces_are_read_by_characters(said, cut):
    assert words(said) == tuple(cut.split())
    for name in ("rouge_l", "wer", "token_f1"):
        changed = "".join(words(said)[:-1])
        assert 0 < build(name)(np.array([said]), np.array([changed])) < 1, name


def test_jieba_leaves_other_scripts_to_characters():
    assert words("人们看ผู้ชาย", "jieba") == ("人们", "看", "ผู้", "ช", "า", "ย")


def test_jieba_is_an_extra(monkeypatch):
    import sys

    from polymodal.metrics import words as module

    module.jieba_tokenizer.cache_clear()
    monkeypatch.setitem(sys.modules, "jieba", None)
    with pytest.raises(MissingExtra, match=r"polymodal\[language\]"):
        build("cider", segment="jieba")
    module.jieba_tokenizer.cache_clear()


@pytest.mark.parametrize("spec", [*TEXT, "cer", {"name": "exact_match", "normalise": True}, "bleu_1"])
def test_text_metrics_keep_the_laws(spec):
    check_metric(spec, kinds=["text"])


@pytest.mark.parametrize("name", TEXT)
def test_an_answer_that_is_a_reference_is_best(name):
    metric = build(name)
    best = metric(REFERENCES, REFERENCES[:, 2])
    assert metric.turned(best) > metric.turned(metric(REFERENCES, SAID))
    if name not in ("cider", "vqa_accuracy"):
        bound = metric.bounds[1 if metric.greater_is_better else 0]
        assert best == pytest.approx(bound, abs=1e-6)
    assert build("cider")(REFERENCES[:, 2], REFERENCES[:, 2]) == pytest.approx(10)


@pytest.mark.parametrize("name", TEXT)
def test_an_empty_answer_gets_nothing(name):
    metric = build(name)
    some = np.where(np.arange(60) < 5, "", SAID)
    for said in (np.full(60, ""), np.full(60, " ... " if name != "chrf" else " ")):
        assert metric(REFERENCES, said) == pytest.approx(1 if name == "wer" else 0, abs=0.02)
    assert metric.turned(metric(REFERENCES, some)) <= metric.turned(metric(REFERENCES, SAID))
    assert np.isfinite(metric(np.full((60, 2), "..."), SAID)) or name == "wer"  # references without a word
    assert np.isnan(build("wer")(np.full(60, "..."), SAID))


@pytest.mark.parametrize("name", TEXT)
@pytest.mark.parametrize("rows", [1, 2, 7])
def test_few_rows(name, rows):
    value = build(name)(REFERENCES[:rows], SAID[:rows])
    assert np.isnan(value) if name == "cider" else value >= 0


def test_cider_needs_fifty_rows_or_documents():
    cider = build("cider")
    assert np.isnan(cider(REFERENCES[:49], SAID[:49]))
    assert np.isfinite(cider(REFERENCES[:50], SAID[:50]))
    told = build("cider", documents=REFERENCES.tolist())
    assert told(REFERENCES, SAID) == pytest.approx(OFFICIAL["cider"], abs=1e-6)
    assert told.name == "cider(documents=60)"
    rows = [told(REFERENCES[i : i + 1], SAID[i : i + 1]) for i in range(60)]
    assert np.mean(rows) == pytest.approx(OFFICIAL["cider"], abs=1e-6)
    with pytest.raises(BadArgument, match="documents of at least 50 things; got 3"):
        build("cider", documents=REFERENCES[:3].tolist())


def test_resamples_keep_what_is_rare():
    """Documents are not drawn again: the interval is that of the rows' scores."""
    draws = resample(build("cider"), REFERENCES, SAID[None], seed=0, resamples=500)
    each = np.array([build("cider").settled(REFERENCES)(REFERENCES[i : i + 1], SAID[i : i + 1]) for i in range(60)])
    assert draws.draws.std() == pytest.approx(each.std() / 60**0.5, rel=0.1)
    found = bootstrap(build("bleu"), REFERENCES, SAID[None], seed=0, resamples=500)
    assert found.low < OFFICIAL["bleu_4"] < found.high
    assert 0.02 < found.high - found.low < 0.2


@pytest.mark.parametrize("name", TEXT)
def test_rows_without_a_reference_do_not_count(name):
    metric = build(name)
    truth = np.vstack([REFERENCES, np.full((3, 5), "")])
    said = np.append(SAID, ["a dog"] * 3)
    assert metric(truth, said) == pytest.approx(metric(REFERENCES, SAID))
    assert labelled(truth).sum() == 60
    assert np.isnan(metric(np.full((3, 2), ""), np.array(["a"] * 3)))
    with pytest.raises(BadData, match=r"texts of 60 rows, so predictions must be as many texts; got <U\d+ \(59,\)"):
        metric(REFERENCES, SAID[:-1])
    with pytest.raises(BadData, match=r"as many texts; got float64 \(60,\)"):
        check(REFERENCES, np.zeros(60))


# --- short answers ----------------------------------------------------------------------------------------------------


def leave_one_out(answers, said):
    """The official way, one annotator after the other."""
    each = [min(1, sum(a == said for a in answers[:i] + answers[i + 1 :]) / 3) for i in range(len(answers))]
    return sum(each) / len(each)


@pytest.mark.parametrize("same", range(11))
def test_vqa_accuracy_is_the_official_one(same):
    answers = ["red"] * same + ["blue"] * (10 - same)
    found = build("vqa")(np.array([answers]), np.array(["Red."]))
    assert found == pytest.approx(leave_one_out(answers, "red"))


def test_vqa_accuracy_of_few_people():
    vqa = build("vqa_accuracy")
    assert vqa(np.array(["two", "a cat"]), np.array(["2", "the dog"])) == 0.5
    assert vqa(np.array([["2", "two", "2", ""]]), np.array(["2"])) == 1
    assert vqa(np.array([["2", "3"]]), np.array(["2"])) == 0.5


def test_exact_match_of_any_reference_and_normalised():
    truth, said = np.array([["Two dogs.", "2 dogs"], ["a cat", ""]]), np.array(["the 2 dogs", "cat"])
    assert build("em")(truth, said) == 0
    assert build("em")(truth, np.array(["2 dogs", "a cat"])) == 1
    assert build("exact_match", normalise=True)(truth, said) == 1
    assert normal("A") == "a", "an answer of nothing but an article stays"
    assert normal("Isn't it 1,000 black/white T-shirts, at 2.5m?") == "isnt it 1000 black white t shirts at 2.5m"
    with pytest.raises(BadArgument, match="normalise"):
        build("exact_match", normalise="yes")


def test_token_f1_is_that_of_the_best_reference():
    truth = np.array([["a big dog", "cat"], ["red", ""]])
    assert build("squad_f1")(truth, np.array(["the big cat", "red car"])) == pytest.approx((2 / 3 + 2 / 3) / 2)


def test_wer_is_plain_edits_of_all_rows_together():
    def plain(a, b):
        table = np.zeros((len(a) + 1, len(b) + 1), int)
        table[:, 0], table[0] = np.arange(len(a) + 1), np.arange(len(b) + 1)
        for i, j in np.ndindex(len(a), len(b)):
            table[i + 1, j + 1] = min(table[i, j] + (a[i] != b[j]), table[i, j + 1] + 1, table[i + 1, j] + 1)
        return table[-1, -1]

    rng = np.random.default_rng(0)
    truth, said = ([list(rng.choice(list("abc"), rng.integers(1, 8))) for _ in range(50)] for _ in range(2))
    expected = sum(map(plain, truth, said)) / sum(map(len, truth))
    found = build("wer")(np.array([" ".join(t) for t in truth]), np.array([" ".join(s) for s in said]))
    assert found == pytest.approx(expected)
    wer = build("wer")
    assert wer(np.array(["One, two", "three"]), np.array(["one TWO", ""])) == pytest.approx(1 / 3)
    assert wer(np.array(["a"]), np.array(["a b b"])) == 2, "words put in may make it more than one"
    assert wer(np.array([["the red dog", "a dog runs"]]), np.array(["a dog ran"])) == pytest.approx(1 / 3)
    assert build("cer")(np.array(["kitten"]), np.array(["sitting"])) == Levenshtein.distance("kitten", "sitting") / 6
    with pytest.raises(BadArgument, match="wer takes unit='word' or 'character'; got 'letter'"):
        build("wer", unit="letter")


# --- the rest ---------------------------------------------------------------------------------------------------------


def test_grams_are_counted_as_by_hand():
    found = list(grams(["aab", "", "ab", "a"], 3))
    assert [(int(t), int(c)) for t, c in zip(found[0].text, found[0].count)] == [(0, 2), (0, 1), (2, 1), (2, 1), (3, 1)]
    assert found[1].totals(4).tolist() == [2, 0, 1, 0]
    assert found[1].gram[found[1].text == 2][0] in found[1].gram[found[1].text == 0]
    assert found[2].totals(4).tolist() == [1, 0, 0, 0]
    assert [len(g.text) for g in grams([[], []], 4)] == [0, 0, 0, 0]
    assert [len(g.text) for g in grams([["a"], ["b", "c"]], 6)] == [3, 1, 0, 0, 0, 0]


def test_options_are_checked():
    for name, options, said in (
        ("bleu", {"n": 0}, "n must be between 1 and 20"),
        ("cider", {"sigma": 0.0}, "sigma must be above 0"),
        ("rouge_l", {"beta": -1.0}, "beta must be above 0"),
        ("chrf", {"beta": 0.0}, "beta must be above 0"),
    ):
        with pytest.raises(BadArgument, match=said):
            build(name, **options)


class FirstOnly(METRICS.load("token_f1")):
    """Reads the first reference alone."""

    def rows(self, references, said):
        return super().rows(references[:, :1], said)


def test_the_check_catches_a_metric_that_reads_references_by_their_place():
    with pytest.raises(NotConformant) as caught:
        check_metric(FirstOnly)
    assert "the order of references changes nothing" in {one.law for one in caught.value.violations}


def test_a_function_of_several_references_finds_its_direction():
    def hits(truth, prediction):
        return float((truth == prediction[:, None]).any(1).mean())

    assert build_metric(hits, example_forms()["text"]).direction(REFERENCES) is True


FLICKR = Path(os.environ.get("POLYMODAL_DATA", Path(__file__).parents[3] / "shared" / "data")) / "flickr" / "test.csv"


@pytest.mark.skipif(not FLICKR.exists(), reason="the captions of Flickr8k are not here (POLYMODAL_DATA)")
def test_a_person_against_four_others_on_flickr():
    """As pycocoevalcap and sacrebleu have it."""
    with open(FLICKR, encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    truth = np.array([[row[f"caption_{k}"] for k in range(1, 5)] for row in rows])
    said = np.array([row["caption_0"] for row in rows])
    for name, official in {"cider": 0.776280, "bleu": 0.199740, "rouge_l": 0.486286, "chrf": 40.026777}.items():
        assert build(name)(truth, said) == pytest.approx(official, abs=1e-6 if name != "chrf" else 1e-4)
