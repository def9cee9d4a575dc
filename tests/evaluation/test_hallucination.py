"""Objects that no reference names, copied answers, different n-grams: against what is told by hand."""

from __future__ import annotations

import numpy as np
import pytest

from polymodal.core.errors import BadData
from polymodal.evaluation.hallucination import hallucinations, nouns, read_objects, singular
from polymodal.evaluation.novelty import copied, distinct

NAMES = {"dog": "dog", "puppy": "dog", "ball": "ball", "traffic light": "traffic light", "light": "light", "man": "man"}


def test_objects_that_no_reference_names():
    answers = ["A puppy with two balls.", "A man near traffic lights", "nothing here", "dogs and a light"]
    references = np.array([["the dog runs", "a ball"], ["a man", ""], ["a dog", ""], ["a traffic light", "a dog"]])
    found = hallucinations(answers, references, NAMES)
    assert found.invented == (frozenset(), {"traffic light"}, frozenset(), {"light"})
    assert found.most == {"traffic light": 1, "light": 1}
    assert found.answers.mean == 2 / 4
    assert found.objects.mean == 2 / 6
    assert 0 <= found.answers.low < found.answers.mean < found.answers.high
    assert hallucinations(answers, references[:, ::-1], NAMES).invented == found.invented
    nothing = hallucinations(answers, references, {})
    assert nothing.answers.mean == 0
    assert np.isnan(nothing.objects.mean)
    with pytest.raises(BadData, match="There are 4 answers, and references of 3 rows"):
        hallucinations(answers, references[:3], NAMES)


def test_objects_from_a_file(tmp_path):
    path = tmp_path / "objects.txt"
    path.write_text("person, man, woman\n\nTraffic light\n", encoding="utf-8")
    assert read_objects(path) == {
        "person": "person", "man": "person", "woman": "person", "traffic light": "traffic light",
    }  # fmt: skip
    found = hallucinations(["Two women", "a man"], [["a man"], ["a dog"]], read_objects(path))
    assert found.invented == (frozenset(), {"person"})
    path.write_text("person, man\ndog, man", encoding="utf-8")
    with pytest.raises(BadData, match="line 2: 'man' names 'person' and 'dog'"):
        read_objects(path)
    path.write_text(" \n, ,\n", encoding="utf-8")
    with pytest.raises(BadData, match="names no object"):
        read_objects(path)
    with pytest.raises(BadData, match="does not exist"):
        read_objects(tmp_path / "none.txt")


def test_nouns_of_training_answers():
    answers = [
        "A brown dog jumps over a red fence in front of two boys",
        "The dog jumps near the fences",
        "A boy with a dog",
    ]
    names = nouns(answers * 5)
    assert {word for word, name in names.items() if name} == {"dog", "fence", "fences", "boy", "boys"}
    assert names["boys"] == names["boy"] == "person"
    assert names["fences"] == names["fence"] == "fence"
    assert "front" not in names, "places are no objects"
    assert not names.get("jumps"), "what the tagger takes for a noun, no article stands before"
    assert nouns(answers, least=4) == {}
    found = hallucinations(["a girl jumps a fence", "a dog"], [["a boy and a dog"], ["two dogs"]], names)
    assert found.invented == ({"fence"}, frozenset())


def test_nouns_of_chinese_answers():
    names = nouns(["小狗在草地上跑", "男人和小狗"] * 5)
    assert names["小狗"] == "小狗"
    assert "跑" not in names
    found = hallucinations(["小狗在草地上"], [["男人和小狗"]], names, segment="jieba")
    assert found.invented == ({"草地"},)


@pytest.mark.parametrize(
    ("word", "one"),
    [("dogs", "dog"), ("boxes", "box"), ("ponies", "pony"), ("women", "woman"), ("glass", "glass"), ("buses", "bus"),
     ("toys", "toy"), ("shoes", "shoe"), ("bus", "bus"), ("tennis", "tennis"), ("benches", "bench"),
     ("horses", "horse"), ("glasses", "glass"),
     ("tomatoes", "tomato"), ("potatoes", "potato"), ("toes", "toe"), ("gas", "gas"), ("lens", "lens"),
     ("cookies", "cookie"), ("radios", "radio"), ("zoos", "zoo"), ("horseshoes", "horseshoe")],
)  # fmt: skip
def test_singular(word, one):
    assert singular(word) == one


def test_copied_answers():
    found = copied(["A dog runs.", "a cat sits", "a dog RUNS"], ["a dog runs", "a cat"])
    assert found.mean == pytest.approx(2 / 3)
    assert found.low < 2 / 3 < found.high
    assert np.isnan(copied([], ["a"]).mean)
    assert copied(["两只狗"], ["两只狗。"], segment="jieba").mean == 1


def test_distinct_ngrams():
    found = distinct(["a dog runs", "A dog runs.", "a cat"], n=3)
    assert found == {"answers": 2 / 3, "1": 4 / 8, "2": 3 / 5, "3": 1 / 2}
    assert np.isnan(distinct([""])["2"])
