"""Objects that an answer names and no reference of its row does (CHAIR; Rohrbach, Hendricks et al. 2018).

Which words are objects, and which name the same, is told by a file, or read off the training answers. A person's own
caption names things too that others leave out: judge that beside, as the floor.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from polymodal.core.errors import BadData
from polymodal.core.limits import open_table
from polymodal.evaluation.means import mean_interval, share_interval
from polymodal.evaluation.statistics import Interval
from polymodal.metrics.words import words
from polymodal.ops.language.tokens import chinese, tag_chinese, tag_english

Names = Mapping[str, str]  # a name, its words parted by spaces, to the object that it names; to "" where to none

_ALIKE = (  # what is called in several ways: a name of the first is one of all
    "person man woman boy girl child kid baby toddler infant guy lady gentleman adult teenager teen youth male female "
    "mother father mom dad parent son daughter brother sister friend couple family crowd group team pedestrian "
    "player athlete rider biker cyclist bicyclist skier snowboarder skateboarder skater surfer climber hiker swimmer "
    "runner racer driver worker student performer dancer musician officer policeman soldier fan spectator",
    "dog puppy", "cat kitten", "horse pony", "bike bicycle", "motorcycle motorbike", "car automobile", "boat ship",
    "sea ocean", "lake pond", "road street", "hill mountain", "forest woods", "picture photo photograph",
    "sofa couch", "shore beach seashore", "coat jacket", "pants trousers", "sneaker shoe", "cap hat", "field meadow",
    "grass lawn", "rock stone boulder",
)  # fmt: skip
_KIND = {name: line.split()[0] for line in _ALIKE for name in line.split()}
_PLACES_AND_TIMES = (
    "air area attempt background bottom bunch camera center centre color corner course day direction distance edge end "
    "event front fun game half kind left life line look lot middle midair mid-air moment motion night number other "
    "pair part piece place race rest right scene set show side something someone sort sport stunt sun sunset time top "
    "trick turn variety view way while whilst winter"
)
_NO_OBJECT = frozenset(_PLACES_AND_TIMES.split())
_IRREGULAR = {
    "men": "man", "women": "woman", "children": "child", "people": "person", "feet": "foot", "teeth": "tooth",
    "mice": "mouse", "geese": "goose", "knives": "knife", "wolves": "wolf", "leaves": "leaf", "calves": "calf",
    "shelves": "shelf", "scarves": "scarf", "clothes": "clothes", "bus": "bus", "buses": "bus", "woods": "woods",
    "gas": "gas", "gases": "gas", "lens": "lens", "lenses": "lens", "canvas": "canvas", "halves": "half",
    "loaves": "loaf", "series": "series", "species": "species",
}  # fmt: skip
_KEEP_E = (  # which the rules for -oes and -ies would cut
    "toe tiptoe canoe hoe oboe foe floe aloe doe roe brownie calorie collie cookie doggie genie hoodie magpie movie "
    "necktie pixie prairie selfie sweetie zombie"
)
_ENDS_IN_E = frozenset(_KEEP_E.split())
_LEADS = ("DT", "PRP$", "CD", "JJ", "IN", "CC")  # tags of what stands before an object: a, his, two, red, on, and
LED, LED_ING = 0.2, 0.5  # share of its places in which a noun stands behind one; else it is a verb (jumps, rides)


@dataclass(frozen=True, eq=False)
class Hallucinations:
    """`answers` is the share of answers with an object that no reference names (CHAIRs), `objects` the share of the
    objects named (CHAIRi); `invented` [N] the objects of each answer, `most` how often each, the most frequent first.
    """

    answers: Interval
    objects: Interval
    invented: tuple[frozenset[str], ...]
    most: dict[str, int]


def hallucinations(
    answers: Sequence[str],
    references: Sequence[Sequence[str]] | np.ndarray,
    names: Names,
    *,
    segment: str = "characters",
    **options: Any,
) -> Hallucinations:
    """Objects that answers [N] name and no reference of the row [N, R] does, "" counting for nothing.

    `names` says which words are objects: `read_objects` or `nouns`. Intervals are over rows, with
    `options` as in `bootstrap`. Raises `BadData` where the numbers of rows differ.
    """
    if len(answers) != len(references):
        raise BadData(f"There are {len(answers)} answers, and references of {len(references)} rows.")
    longest = max((name.count(" ") + 1 for name in names), default=1)
    named = [_objects(text, names, longest, segment) for text in answers]
    right = [frozenset().union(*(_objects(text, names, longest, segment) for text in row)) for row in references]
    invented = tuple(said - known for said, known in zip(named, right))
    counts = np.array([(len(extra), len(said)) for extra, said in zip(invented, named)], dtype=np.float64).reshape(
        -1, 2
    )
    often = Counter(name for extra in invented for name in sorted(extra))
    return Hallucinations(
        mean_interval(counts[:, 0] > 0, proportion=True, **options),
        share_interval(counts, **options),
        invented,
        dict(often.most_common()),
    )


def read_objects(path: str | Path) -> dict[str, str]:
    """Names of objects from a text file: an object a line, its names parted by commas, the first the object's own.

    Raises `BadData` for a file that is missing, holds none, or gives a name to two objects.
    """
    path = Path(path)
    if not path.is_file():
        raise BadData(f"{path} does not exist. Give a file with an object a line, its names parted by commas.")
    names: dict[str, str] = {}
    with open_table(path) as file:
        for number, line in enumerate(file.read().decode("utf-8-sig", "replace").splitlines(), 1):
            alike = [" ".join(words(name)) for name in line.split(",")]
            for name in filter(None, alike):
                if names.setdefault(name, alike[0]) != alike[0]:
                    raise BadData(f"{path}, line {number}: {name!r} names {names[name]!r} and {alike[0]!r}.")
    if not names:
        raise BadData(f"{path} names no object.")
    return names


def nouns(answers: Iterable[str], *, least: int = 5) -> dict[str, str]:
    """Names of objects from training answers: nouns that occur at least `least` times, singular and plural one object,
    and some everyday names too (a boy is a person).

    By the taggers of the extra `language`, for English and Chinese. An English word counts where it is a noun as a
    rule and stands behind an article, a number, an adjective or the like often enough, since "jumps" is tagged as one.
    Directions, parts and times ("front", "lot", "day") are left out. Raises `MissingExtra`.
    """
    total: Counter[str] = Counter()
    noun: Counter[str] = Counter()
    behind: Counter[str] = Counter()
    led: Counter[str] = Counter()
    for text in answers:
        if chinese(text):
            said, tags, _ = tag_chinese(text)
            found = [word for word, tag in zip(said, tags) if tag[:1] == "n" or tag == "an"]
            total.update(said)
            noun.update(found)
            led.update(found)
            behind.update(found)
            continue
        cut = list(words(text))
        tags, _ = tag_english(cut)
        total.update(cut)
        noun.update(word for word, tag in zip(cut, tags) if tag in ("NN", "NNS"))
        behind.update(cut[1:])
        led.update(word for word, before in zip(cut[1:], tags) if before in _LEADS)
    accepted: set[str] = set()
    for word, count in total.items():
        often = led[word] > (LED_ING if word.endswith("ing") else LED) * behind[word]
        if count >= least and noun[word] > count / 2 and often and singular(word) not in _NO_OBJECT:
            accepted.add(word)
    names: dict[str, str] = {}
    for word in sorted(accepted):
        one = singular(word)
        names[word] = _KIND.get(one, one if one in accepted or one not in total else word)
        names.setdefault(one, "" if one in total and one not in accepted else names[word])
    return names | {word: "" for word in total if word not in names and singular(word) in names}


def singular(word: str) -> str:
    """An English noun's singular, by rule; other words as they are."""
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if word[:-1] in _ENDS_IN_E or word.endswith("shoes"):
        return word[:-1]
    if word.endswith("ies") and len(word) > 4:
        return f"{word[:-3]}y"
    if re.search(r"(?:ss|x|ch|sh|[^aeiou]o)es$", word) and word != "does":
        return word[:-2]
    return word[:-1] if re.search(r"[^suiy']s$|[aeo]ys$|[^aeiou]ys$", word) else word


def _objects(text: str, names: Names, longest: int, segment: str) -> frozenset[str]:
    """The objects that a text names, longer names before shorter ones."""
    said, found, at = words(text, segment), set(), 0
    while at < len(said):
        for length in range(min(longest, len(said) - at), 0, -1):
            *before, last = said[at : at + length]
            forms = (" ".join((*before, form)) for form in (last, singular(last)))
            if (name := next((names[form] for form in forms if form in names), None)) is not None:
                found.add(name)
                at += length - 1
                break
        at += 1
    return frozenset(found - {""})
