"""Semantic roles by rules over a dependency tree (after Gildea & Jurafsky 2002: most roles follow from syntax).

Relations are those of Universal Dependencies, and of ClearNLP as spaCy's English models give them, where a preposition
stands between a verb and its noun (prep, pobj).
"""

from __future__ import annotations

from collections.abc import Sequence

from polymodal.ops.language.conllu import Sentence

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
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_MONTHS = ("january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
           "december")  # fmt: skip
TIMES = frozenset((
    *_DAYS, *_MONTHS, "today", "yesterday", "tomorrow", "now", "then", "soon", "often", "always", "never", "morning",
    "evening", "night", "week", "month", "year", "今天", "昨天", "明天", "现在", "去年", "今年", "明年",
))  # fmt: skip
NOT = frozenset(("not", "n't", "n’t", "never", "不", "没", "没有", "沒", "沒有", "未", "别", "別"))
NONE = frozenset(("no", "nobody", "nothing", "none", "neither"))  # denied by who or what it is about
RELATIVE = frozenset(("who", "whom", "which", "that"))
CLAUSE = ("acl:relcl", "relcl", "acl")
SUBJECTS = ("nsubj", "csubj")
PASSIVE = ("nsubj:pass", "nsubjpass", "aux:pass", "auxpass")


def roles(one: Sentence) -> list[dict[str, str]]:
    """For each verb its predicate and, where the tree has them, agent, patient, recipient, place, time and others.

    Conjoined verbs share the subject of the first, and its passive where they have neither auxiliary nor object;
    the subject of an open complement ("wants to go") is the object of the verb above, or else its subject; a relative
    pronoun stands for its noun, and so does a participle's ("a ship seen by men"; English). `negated` says yes where
    the verb, its subject or its object is denied.
    """
    children: dict[int, list[int]] = {}
    for i, head in enumerate(one.heads):
        children.setdefault(head - 1, []).append(i)
    verbs = [i for i, tag in enumerate(one.tags) if tag in PREDICATES]
    passive: dict[int, bool] = {}
    for i in _from_the_root(one, verbs):
        passive[i] = _passive(one, children, i, passive.get(one.heads[i] - 1, False))
    frames = {i: _of(one, children, i, passive[i]) for i in verbs}
    for i in _from_the_root(one, verbs):
        above, role, relation = frames.get(one.heads[i] - 1), frames[i], one.relations[i]
        own = "patient" if passive[i] else "agent"
        if above is None or own in role or any(_is_subject(one, c) for c in children.get(i, [])):
            continue
        if relation == "conj" and (shared := above.get("patient" if passive[one.heads[i] - 1] else "agent")):
            role[own] = shared
        elif relation == "xcomp" and not passive[one.heads[i] - 1]:
            shared = above.get("recipient", above.get("patient", above.get("agent", "")))
            role.update({own: shared} if shared else {})
    return [frames[i] for i in verbs]


def _from_the_root(one: Sentence, verbs: Sequence[int]) -> list[int]:
    """Verbs, each behind the one that it hangs on."""
    depth: dict[int, int] = {-1: 0}

    def deep(word: int) -> int:
        path = []
        while word not in depth:
            path.append(word)
            word = one.heads[word] - 1
        for below in reversed(path):
            depth[below] = depth[one.heads[below] - 1] + 1
        return depth[path[0]] if path else depth[word]

    return sorted(verbs, key=deep)


def _is_subject(one: Sentence, word: int) -> bool:
    return one.relations[word].split(":")[0] in SUBJECTS or one.relations[word] in ("nsubjpass", "csubjpass")


def _passive(one: Sentence, children: dict[int, list[int]], verb: int, above: bool) -> bool:
    mine = children.get(verb, [])
    named = [one.relations[c] for c in mine]
    if any(name in PASSIVE for name in named):
        return True
    if one.relations[verb] == "conj":
        return above and not any(n.split(":")[0] in ("aux", "obj", "dobj") or n.startswith("nsubj") for n in named)
    word = one.words[verb].lower()
    return (
        one.relations[verb] == "acl"
        and "mark" not in named
        and word.isascii()
        and word.endswith(("ed", "en", "wn", "ght", "lt", "de"))
    )


def _of(one: Sentence, children: dict[int, list[int]], verb: int, passive: bool) -> dict[str, str]:
    mine = children.get(verb, [])
    particles = [c for c in mine if one.relations[c] in ("compound:prt", "prt") and one.tags[c] in ("ADP", "ADV")]
    role = {"predicate": _joined([one.words[w] for w in sorted([verb, *particles])])}
    above = one.heads[verb] - 1
    clause = above >= 0 and one.relations[verb] in CLAUSE
    for child in mine:
        word = one.words[child].lower()
        if word in NOT:
            role["negated"] = "yes"
            continue
        name = _name(one, children, child, passive)
        if name in ("agent", "patient") and (word in NONE or _denied(one, children, child)):
            role["negated"] = "yes"
        if name and clause and word in RELATIVE:
            role.setdefault(name, _phrase(one, children, above, CLAUSE))
        elif name:
            inner = (c for c in children.get(child, []) if one.relations[c] == "pobj")
            role.setdefault(name, _phrase(one, children, next(inner, child)))
    if clause and one.relations[verb] == "acl" and one.words[verb].isascii():
        own = "patient" if passive else "agent" if one.words[verb].lower().endswith("ing") else ""
        if own:
            role.setdefault(own, _phrase(one, children, above, CLAUSE))
    return role


def _denied(one: Sentence, children: dict[int, list[int]], noun: int) -> bool:
    return any(one.words[c].lower() in NONE and one.relations[c] in ("det", "neg") for c in children.get(noun, []))


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
            role = "agent" if passive and form in ("by", "被") else CASES.get(form)
            return "time" if role == "place" and word in TIMES else role
    return None


def _phrase(one: Sentence, children: dict[int, list[int]], top: int, without: Sequence[str] = ()) -> str:
    """The words under one, without the case marking it, without signs, and `without` what hangs on it so."""
    left_out = ("case", "punct", *without)
    places: list[int] = []
    todo = [top]
    while todo:
        at = todo.pop()
        places.append(at)
        todo += [c for c in children.get(at, []) if not (at == top and one.relations[c] in left_out)]
    return _joined([one.words[p] for p in sorted(places)])


def _joined(words: Sequence[str]) -> str:
    chinese = any("\u3400" <= c <= "\u9fff" for word in words for c in word)
    return ("" if chinese else " ").join(words)
