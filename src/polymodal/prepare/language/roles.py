"""Semantic roles by rules over a dependency tree (after Gildea & Jurafsky 2002: most roles follow from syntax).

Relations are those of Universal Dependencies, and of ClearNLP as spaCy's English models give them, where a preposition
stands between a verb and its noun (prep, pobj).
"""

from __future__ import annotations

from collections.abc import Sequence

from polymodal.prepare.language.conllu import Sentence

PREDICATES = frozenset({"VERB"})
PLAIN = {
    "nsubj": "agent", "nsubj:pass": "patient", "nsubjpass": "patient", "obj": "patient", "dobj": "patient",
    "iobj": "recipient", "dative": "recipient", "obl:agent": "agent", "agent": "agent", "advmod": "manner",
    "obl:tmod": "time", "nmod:tmod": "time", "npadvmod": "time", "ccomp": "content", "xcomp": "content",
}  # fmt: skip
CASES = {
    **dict.fromkeys(("in", "at", "on", "near", "under", "over", "behind", "inside", "在", "于"), "place"),
    **dict.fromkeys(("from", "从"), "source"),
    **dict.fromkeys(("to", "into", "onto", "towards", "到", "向"), "goal"),
    **dict.fromkeys(("with", "by", "using", "用", "以"), "instrument"),
    **dict.fromkeys(("for", "给", "为"), "beneficiary"),
    **dict.fromkeys(("because", "due"), "cause"),
    **dict.fromkeys(("during", "since", "until", "before", "after"), "time"),
}
TIMES = frozenset(
    [
        "today",
        "yesterday",
        "tomorrow",
        "now",
        "then",
        "soon",
        "often",
        "always",
        "never",
        "monday",
        "tuesday",
        "wednesday",
        "thursday",
        "friday",
        "saturday",
        "sunday",
        "morning",
        "evening",
        "night",
        "week",
        "month",
        "year",
        "今天",
        "昨天",
        "明天",
        "现在",
        "去年",
        "今年",
    ]
)
NOT = frozenset(("not", "n't", "never", "不", "没", "没有"))
PASSIVE = ("nsubj:pass", "nsubjpass", "aux:pass", "auxpass")


def roles(one: Sentence) -> list[dict[str, str]]:
    """For each verb its predicate and, where the tree has them, agent, patient, recipient, place, time and others.

    Conjoined verbs share the subject of the first. `negated` says yes where the verb is denied.
    """
    children: dict[int, list[int]] = {}
    for i, head in enumerate(one.heads):
        children.setdefault(head - 1, []).append(i)
    found: dict[int, dict[str, str]] = {}
    for i, tag in enumerate(one.tags):
        if tag in PREDICATES:
            found[i] = _of(one, children, i)
    for i, role in found.items():
        first = one.heads[i] - 1
        if one.relations[i] == "conj" and "agent" not in role and first in found and "agent" in found[first]:
            role["agent"] = found[first]["agent"]
    return list(found.values())


def _of(one: Sentence, children: dict[int, list[int]], verb: int) -> dict[str, str]:
    role = {"predicate": one.words[verb]}
    mine = children.get(verb, [])
    passive = any(one.relations[c] in PASSIVE for c in mine)
    for child in mine:
        word = one.words[child].lower()
        if word in NOT:
            role["negated"] = "yes"
            continue
        name = _name(one, children, child, passive)
        if name:
            inner = (c for c in children.get(child, []) if one.relations[c] == "pobj")
            role.setdefault(name, _phrase(one, children, next(inner, child)))
    return role


def _name(one: Sentence, children: dict[int, list[int]], child: int, passive: bool) -> str | None:
    relation, word = one.relations[child], one.words[child].lower()
    if relation in ("advmod", "obl", "nmod", "npadvmod", "obl:tmod") and word in TIMES:
        return "time"
    if relation == "prep":
        return CASES.get(word)
    if relation in PLAIN:
        return PLAIN[relation]
    if relation.split(":")[0] in ("obl", "nmod"):
        for case in (c for c in children.get(child, []) if one.relations[c] == "case"):
            form = one.words[case].lower()
            return "agent" if passive and form in ("by", "被") else CASES.get(form)
    return None


def _phrase(one: Sentence, children: dict[int, list[int]], top: int) -> str:
    """The words under one, without the case marking it and without signs."""
    places: list[int] = []
    todo = [top]
    while todo:
        at = todo.pop()
        places.append(at)
        todo += [c for c in children.get(at, []) if not (at == top and one.relations[c] in ("case", "punct"))]
    return _joined([one.words[p] for p in sorted(places)])


def _joined(words: Sequence[str]) -> str:
    chinese = any("\u3400" <= c <= "\u9fff" for word in words for c in word)
    return ("" if chinese else " ").join(words)
