"""A dependency parser learnt from a treebank: arc-hybrid transitions chosen by an averaged perceptron.

Training follows the parser's own choices, mistakes too, and a dynamic oracle says what is still best (Goldberg & Nivre
2012, 2013). Its trees have no crossing arcs; of a treebank that has some it learns the arcs that can be reached (about
99 in 100 of the Turkish and Hebrew ones tried). Features after Zhang & Nivre 2011, weights averaged after Freund &
Schapire 1999 and Collins 2002.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from polymodal.core.errors import BadData
from polymodal.core.values import check_range
from polymodal.ops.language.conllu import Sentence
from polymodal.ops.language.transitions import LEFT, SHIFT, State, dependents, inside, outside

Feature = tuple[int, ...]
UNKNOWN, NONE, ROOT = 0, 1, 2  # of words and tags
WIDTH = 6  # of a feature as stored: its template and up to five values
GROWTH = 4096
ENDINGS = (3, 2)  # letters


class Seen(NamedTuple):
    """Numbers of a sentence's words, tags and endings, the root's after the last and that of no word at the end."""

    words: list[int]
    tags: list[int]
    long: list[int]  # endings of three letters
    short: list[int]  # of two


class Parser:
    """Heads and relations of tagged words. The k-th action is SHIFT, LEFT by each relation, RIGHT by each relation."""

    def __init__(
        self, words: Sequence[str], endings: Sequence[str], tags: Sequence[str], relations: Sequence[str],
        keys: np.ndarray, weights: np.ndarray,
    ):  # fmt: skip
        self.words, self.endings, self.tags, self.relations = list(words), list(endings), list(tags), list(relations)
        self.keys, self.weights = keys, weights
        self._word = {word: i + 3 for i, word in enumerate(words)}
        self._ending = {ending: i + 3 for i, ending in enumerate(endings)}
        self._tag = {tag: i + 3 for i, tag in enumerate(tags)}
        self._rows = {tuple(v for v in key if v >= 0): i for i, key in enumerate(keys.tolist())}

    @classmethod
    def train(cls, corpus: Sequence[Sentence], *, epochs: int = 8, seed: int = 0, explore: float = 0.9) -> Parser:
        """Learn from trees. From the second epoch on the parser's own choice is followed with chance `explore`.

        Raises `BadData` where the corpus has no trees, `BadArgument` for numbers that cannot be.
        """
        check_range("[1, inf)", epochs=epochs)
        check_range("[0, 1]", explore=explore)
        used = [one for one in corpus if one.heads]
        if not used:
            raise BadData("The corpus has no HEADs to learn from.")
        words = sorted({word.lower() for one in used for word in one.words})
        tags = sorted({tag for one in used for tag in one.tags})
        relations = sorted({relation for one in used for relation in one.relations})
        endings = sorted({word[-n:] for word in words for n in ENDINGS if len(word) > n})
        blank = cls(words, endings, tags, relations, np.zeros((0, WIDTH), np.int32), np.zeros((0, 0), np.float32))
        return _Lesson(blank, seed, explore).run(used, epochs)

    def seen(self, words: Sequence[str], tags: Sequence[str]) -> Seen:
        """A sentence in numbers."""
        low = [word.lower() for word in words]
        long, short = ([self._ending.get(word[-n:], UNKNOWN) for word in low] for n in ENDINGS)
        each = [self._word.get(word, UNKNOWN) for word in low], [self._tag.get(tag, UNKNOWN) for tag in tags]
        return Seen(*([*one, ROOT, NONE] for one in (*each, long, short)))

    def parse(self, words: Sequence[str], tags: Sequence[str]) -> tuple[list[int], list[str], list[float]]:
        """Heads (from 1, the root 0), relations, and for each arc the share of the softmax of the scores that its
        transition had: a measure of confidence, not calibrated."""
        state = State(len(words))
        seen = self.seen(words, tags)
        sure = [1.0] * len(words)
        count = len(self.relations)
        while not state.done():
            rows = [self._rows[f] for f in features(state, seen) if f in self._rows]
            scores = self.weights[rows].sum(0)
            legal = _allowed(state.legal(), count)
            action = int(legal[scores[legal].argmax()])
            move, relation = _move(action, count)
            if move != SHIFT:
                sure[state.stack[-1]] = float(1 / np.exp(scores[legal] - scores[action]).sum())
            state.take(move, relation)
        return outside(state.heads), [self.relations[r] for r in state.relations], sure

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """What JSON holds, and what the arrays hold."""
        told = {"words": self.words, "endings": self.endings, "tags": self.tags, "relations": self.relations}
        return told, {"keys": self.keys, "weights": self.weights}

    @classmethod
    def load(cls, told: dict[str, Any], arrays: dict[str, np.ndarray]) -> Parser:
        """The parser that `state` told of."""
        words, endings, tags, relations = (told[name] for name in ("words", "endings", "tags", "relations"))
        return cls(words, endings, tags, relations, arrays["keys"], arrays["weights"])


class _Lesson:
    """The weights while they are learnt, and their sums over time, from which the average comes."""

    def __init__(self, parser: Parser, seed: int, explore: float):
        self.parser, self.explore = parser, explore
        self.rng = np.random.default_rng(seed)
        self.count = len(parser.relations)
        self.actions = 1 + 2 * self.count
        self.rows: dict[Feature, int] = {}
        self.now = np.zeros((GROWTH, self.actions), np.float32)
        self.sums = np.zeros((GROWTH, self.actions))
        self.steps = 1

    def run(self, corpus: Sequence[Sentence], epochs: int) -> Parser:
        relation = {name: i for i, name in enumerate(self.parser.relations)}
        ready = [
            (self.parser.seen(one.words, one.tags), inside(one.heads), [relation[r] for r in one.relations])
            for one in corpus
        ]
        for epoch in range(epochs):
            for i in self.rng.permutation(len(ready)):
                seen, heads, named = ready[i]
                self.sentence(seen, heads, named, self.explore if epoch else 0.0)
        size = len(self.rows)
        weights = (self.now[:size] - self.sums[:size] / self.steps).astype(np.float32)
        kept = np.flatnonzero(np.abs(weights).max(1) > 0)
        names = list(self.rows)
        keys = np.full((len(kept), WIDTH), -1, np.int32)
        for i, row in enumerate(kept):
            keys[i, : len(names[row])] = names[row]
        told, _ = self.parser.state()
        return Parser.load(told, {"keys": keys, "weights": weights[kept]})

    def sentence(self, seen: Seen, heads: list[int], relations: list[int], explore: float) -> None:
        state, children = State(len(heads)), dependents(heads)
        while not state.done():
            rows = [self.row(f) for f in features(state, seen)]
            scores = self.now[rows].sum(0)
            costs = state.costs(heads, children)
            legal = _allowed(list(costs), self.count)
            best = self.best(state, costs, heads, relations)
            guess = int(legal[scores[legal].argmax()])
            good = int(best[scores[best].argmax()])
            if guess not in best:
                self.sums[rows, good] += self.steps
                self.sums[rows, guess] -= self.steps
                self.now[rows, good] += 1
                self.now[rows, guess] -= 1
                if self.rng.random() >= explore:
                    guess = good
            self.steps += 1
            state.take(*_move(guess, self.count))

    def best(self, state: State, costs: dict[int, int], heads: list[int], relations: list[int]) -> np.ndarray:
        """The actions that lose the fewest arcs; where they make a gold arc, by its relation only."""
        least = min(costs.values())
        actions: list[int] = []
        for move in (m for m, cost in costs.items() if cost == least):
            first = 1 + (move - LEFT) * self.count
            if move == SHIFT:
                actions.append(0)
                continue
            top = state.stack[-1]
            made = state.buffer if move == LEFT else state.stack[-2]
            actions += [first + relations[top]] if heads[top] == made else range(first, first + self.count)
        return np.array(actions)

    def row(self, feature: Feature) -> int:
        row = self.rows.get(feature)
        if row is None:
            row = self.rows[feature] = len(self.rows)
            if row >= len(self.now):
                self.now = np.concatenate([self.now, np.zeros_like(self.now)])
                self.sums = np.concatenate([self.sums, np.zeros_like(self.sums)])
        return row


def _move(action: int, count: int) -> tuple[int, int]:
    return (SHIFT, -1) if action == 0 else (LEFT + (action - 1) // count, (action - 1) % count)


def _allowed(moves: Sequence[int], count: int) -> np.ndarray:
    actions: list[int] = []
    for move in moves:
        actions += [0] if move == SHIFT else range(1 + (move - LEFT) * count, 1 + (move - LEFT + 1) * count)
    return np.array(actions)


def features(state: State, seen: Seen) -> list[Feature]:
    """What the classifier sees: words, tags and endings around the top of the stack and the front of the buffer, their
    newest dependents with relations, their distance and how many dependents they have."""
    word, tag, long, short = seen
    stack, n = state.stack, state.n
    none = n + 1
    s0 = stack[-1] if stack else none
    s1 = stack[-2] if len(stack) > 1 else none
    s2 = stack[-3] if len(stack) > 2 else none
    b0 = state.buffer
    b1 = b0 + 1 if b0 < n else none
    b2 = b0 + 2 if b0 + 1 < n else none
    w0, w1, wb, wc = word[s0], word[s1], word[b0], word[b1]
    t0, t1, t2, tb, tc, td = tag[s0], tag[s1], tag[s2], tag[b0], tag[b1], tag[b2]
    left0, right0, left1, right1, leftb = none, none, none, none, none
    l0 = r0 = l1 = r1 = lb = 0  # relations from 1, 0 where there is no dependent
    v0 = v1 = vb = 0
    relation = state.relations
    if s0 != none:
        if state.left[s0]:
            left0 = state.left[s0][-1]
            l0 = relation[left0] + 1
        if state.right[s0]:
            right0 = state.right[s0][-1]
            r0 = relation[right0] + 1
        v0 = min(len(state.left[s0]), 3) * 4 + min(len(state.right[s0]), 3)
    if s1 != none:
        if state.left[s1]:
            left1 = state.left[s1][-1]
            l1 = relation[left1] + 1
        if state.right[s1]:
            right1 = state.right[s1][-1]
            r1 = relation[right1] + 1
        v1 = min(len(state.left[s1]), 3) * 4 + min(len(state.right[s1]), 3)
    if state.left[b0]:
        leftb = state.left[b0][-1]
        lb = relation[leftb] + 1
        vb = min(len(state.left[b0]), 3)
    far = min(b0 - s0, 7) if s0 != none else 0
    apart = min(s0 - s1, 7) if s1 != none else 0
    return [
        (0,), (1, w0), (2, t0), (3, w0, t0), (4, w1), (5, t1), (6, w1, t1), (7, wb), (8, tb), (9, wb, tb),
        (10, wc), (11, tc), (12, td), (13, t2), (14, w0, wb), (15, t0, tb), (16, w0, tb), (17, t0, wb),
        (18, w0, w1), (19, t0, t1), (20, w0, t1), (21, t0, w1), (22, t0, tb, tc), (23, t1, t0, tb), (24, t2, t1, t0),
        (25, tb, tc, td), (26, t1, t0, tb, tc), (27, t0, tag[left0], tb), (28, t0, tag[right0], tb),
        (29, t1, tag[right1], t0), (30, t1, tag[left1], t0), (31, t0, tb, tag[leftb]), (32, t0, l0), (33, t0, r0),
        (34, t1, l1), (35, t1, r1), (36, tb, lb), (37, w0, l0), (38, w0, r0), (39, w1, r1), (40, wb, lb),
        (41, t0, tb, far), (42, t1, t0, apart), (43, t0, v0), (44, t1, v1), (45, tb, vb), (46, w0, wb, far),
        (47, w0, w1, apart), (48, w0, v0), (49, t0, w1, tb), (50, t0, r0, tb, wb),
        (51, long[s0]), (52, long[s1]), (53, long[b0]), (54, t0, short[s0]), (55, t1, short[s1]), (56, tb, short[b0]),
    ]  # fmt: skip
