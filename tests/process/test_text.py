"""Text processor: any unicode, spans that point back, levels, saving, noise."""

import csv
import json
import unicodedata

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from polymodal.core.errors import BadArgument, BadCell
from polymodal.process.text import TextProcessor, choose_level

LEADS = ("sounds like", "they said", "i think i heard")
NOISY = [f"{lead} {word}" for lead in LEADS for word in ["four", "seven", "nine", "three"] * 5]
NOISY += [f"sounds like {word}" for word in ("fuor", "sevn", "ninne", "thre", "fourr", "tseven", "nin")]
PLAIN = [
    "the weather in spring was mild and the harvest came early that year",
    "a committee of nine members met on thursday to discuss the new bridge",
    "she plays the violin in an orchestra which tours three continents",
    "his report on marine biology surprised every reader of the journal",
] * 3


def fitted(texts=NOISY, **options):
    processor = TextProcessor(**options)
    processor.fit(texts)
    return processor


FITTED = fitted()


@pytest.mark.parametrize("level", ["characters", "subwords"])
@pytest.mark.parametrize("text", ["Sounds  like\tFocr", "日本語 😀 ünï", "e\u0301clair ﬁn", "a", "🏳️‍🌈" * 3])
def test_spans_point_back_to_the_cell(level, text):
    arrays = fitted(level=level).process([text])
    real = arrays["ids"][0] != 0
    spans = arrays["spans"][0][real]
    assert real.sum() >= 1
    assert (spans[:, 0] < spans[:, 1]).all()
    assert spans.max() <= len(text)
    covered = {i for first, last in spans for i in range(first, last)}
    letters = [i for i, c in enumerate(text) if not c.isspace() and not unicodedata.combining(c)]
    assert covered.issuperset(letters[: len(covered)] if real.all() else letters)
    assert (np.diff(arrays["word"][0][real]) >= 0).all()


@settings(max_examples=60, deadline=None)
@given(st.text(min_size=1, max_size=40))
def test_any_text_is_read_or_refused(text):
    if not unicodedata.normalize("NFKC", text).strip():
        with pytest.raises(BadCell, match="empty"):
            FITTED.read(text)
    else:
        assert (FITTED.process([FITTED.read(text)])["ids"] != 0).any()


@pytest.mark.parametrize("cell", ["", "  \n", b"\xff\xfe"])
def test_cells_without_text_are_bad(cell):
    with pytest.raises(BadCell):
        TextProcessor().read(cell)


def test_half_a_surrogate_pair_is_read():
    processor = fitted()
    assert processor.process([processor.read("four \ud800")])["ids"].any()


def test_level_is_chosen_by_noise_and_length():
    assert choose_level(NOISY) == "characters"
    assert choose_level(PLAIN) == "subwords"
    assert choose_level(["red shoe", "shoe", "blue sock"]) == "characters"
    assert choose_level([" ".join(NOISY)] * 3) == "subwords"
    assert fitted(level="subwords").facts()["level"] == "subwords"


def test_lowercase_length_and_vocabulary_change_something():
    assert (fitted().process(["FOUR"])["ids"] == fitted().process(["four"])["ids"]).all()
    keep = fitted(lowercase=False)
    assert (keep.process(["FOUR"])["ids"] != keep.process(["four"])["ids"]).any()
    assert fitted(length=5).process(["i think i heard four"])["ids"].shape == (1, 5)
    assert fitted(PLAIN, level="subwords", vocabulary=300).facts()["vocabulary"] <= 300
    assert fitted(PLAIN, level="subwords").facts()["vocabulary"] > 300


def test_few_long_texts_do_not_make_all_rows_long():
    texts = ["four seven"] * 300 + ["nine " * 400] * 2
    assert fitted(texts, level="characters", length=3000).facts()["length"] == 432
    half = ["four seven", "nine " * 400] * 20
    assert fitted(half, level="characters", length=3000).facts()["length"] > 1999


def test_spans_of_short_texts_are_narrow_and_older_states_keep_theirs():
    processor = fitted()
    assert processor.process(["it is four"])["spans"].dtype == np.int16
    far = processor.process([" " * 40_000 + "four"])["spans"]
    assert far.max() == 2**15 - 1
    assert far.min() >= 0
    assert fitted(["a", "b " * 20_000]).process(["a"])["spans"].dtype == np.int32
    older = {name: value for name, value in processor.state().items() if name != "spans"}
    other = TextProcessor()
    other.load_state(older)
    assert other.process(["it is four"])["spans"].dtype == np.int32
    with pytest.raises(ValueError, match="spans are 'int8'"):
        other.load_state({**older, "spans": "int8"})


def test_vocabulary_is_the_training_split_s_only():
    processor = fitted()
    before = processor.state()
    processor.process(["zebra quixotic жук"])
    assert processor.state() == before


@pytest.mark.parametrize("level", ["characters", "subwords"])
def test_state_is_json_and_restores_everything(level):
    processor = fitted(level=level)
    other = TextProcessor()
    other.load_state(json.loads(json.dumps(processor.state())))
    assert other.facts() == processor.facts()
    for name, array in processor.process([*NOISY, "x 日"]).items():
        assert (array == other.process([*NOISY, "x 日"])[name]).all()


def test_long_runs_are_cut_into_words():
    word = fitted(["x" * 100]).process(["x" * 100])["word"][0]
    assert word.max() >= 3


def test_corrupt_replaces_the_share_it_says_and_no_padding():
    inputs = {k: torch.from_numpy(v) for k, v in fitted().process(NOISY).items()}
    generator = torch.Generator().manual_seed(0)
    changed = fitted().corrupt(inputs, 0.5, generator)["ids"]
    real = inputs["ids"] != 0
    assert torch.equal(changed != 0, real)
    assert 0.35 < (changed != inputs["ids"])[real].float().mean() < 0.5
    assert torch.equal(fitted().corrupt(inputs, 0.0, generator)["ids"], inputs["ids"])


def test_errors_name_what_is_allowed():
    with pytest.raises(BadArgument, match="Did you mean 'characters'"):
        TextProcessor(level="character")
    with pytest.raises(BadArgument, match="too small"):
        TextProcessor(vocabulary=10)
    with pytest.raises(BadArgument, match="at least 1"):
        TextProcessor(length=0)
    with pytest.raises(BadArgument, match="not fitted"):
        TextProcessor().process(["a"])
    with pytest.raises(BadArgument, match="at least one training text"):
        TextProcessor().fit([])


def test_real_transcripts_choose_characters_and_reviews_subwords(real_data):
    for name, column, level in (("avdigits", "text", "characters"), ("mosi", "transcript", "subwords")):
        with (real_data(name) / "train.csv").open(encoding="utf-8") as file:
            texts = [row[column] for row in csv.DictReader(file)]
        assert choose_level(texts) == level


@pytest.mark.parametrize(
    ("level", "text", "strange"),
    [
        ("subwords", "a dog runs", []),
        ("subwords", "ein Hund", ["ein", "hund"]),
        ("subwords", "猫", ["猫"]),
        ("characters", "a god", []),  # another order of letters that it knows
        ("characters", "dog 猫", ["猫"]),
        ("characters", "Ж", ["ж"]),
    ],
)
def test_words_that_hardly_stood_in_the_training_texts(level: str, text: str, strange: list[str]):
    processor = TextProcessor(level=level)
    processor.fit(["a dog runs", "the dog sleeps", "a man runs", "the man sleeps"] * 3)
    assert [word.lower() for word in processor.strange(text)] == strange
