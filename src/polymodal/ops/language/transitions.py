"""The arc-hybrid system (Kuhlmann, Gómez-Rodríguez & Satta 2011) and its dynamic oracle (Goldberg & Nivre 2013).

Words are numbered from 0; the root is number n, after the last word (Ballesteros & Nivre 2013). Three transitions:
SHIFT moves the front of the buffer to the stack; LEFT makes the stack's top a dependent of the buffer's front, RIGHT
of the word below it on the stack; both take it off. A tree built so has one word under the root.
"""

from __future__ import annotations

from collections.abc import Sequence

SHIFT, LEFT, RIGHT = 0, 1, 2


class State:
    """A sentence half read: the stack, the front of the buffer, and the arcs so far (-1 where none)."""

    __slots__ = ("buffer", "heads", "left", "n", "relations", "right", "stack")

    def __init__(self, n: int):
        self.n = n
        self.stack: list[int] = []
        self.buffer = 0
        self.heads = [-1] * n
        self.relations = [-1] * n
        self.left: list[list[int]] = [[] for _ in range(n + 1)]  # dependents, the newest last
        self.right: list[list[int]] = [[] for _ in range(n + 1)]

    def done(self) -> bool:
        """Whether every word has its head."""
        return self.buffer == self.n and not self.stack

    def legal(self) -> list[int]:
        """The transitions that may be taken now."""
        moves = []
        if self.buffer < self.n:
            moves.append(SHIFT)
        if self.stack and (self.buffer < self.n or len(self.stack) == 1):
            moves.append(LEFT)
        if len(self.stack) > 1:
            moves.append(RIGHT)
        return moves

    def take(self, move: int, relation: int = -1) -> None:
        """Take a transition; `relation` is the number of the new arc's relation."""
        if move == SHIFT:
            self.stack.append(self.buffer)
            self.buffer += 1
            return
        word = self.stack.pop()
        head = self.buffer if move == LEFT else self.stack[-1]
        self.heads[word] = head
        self.relations[word] = relation
        (self.left if word < head else self.right)[head].append(word)

    def costs(self, gold: Sequence[int], children: Sequence[Sequence[int]]) -> dict[int, int]:
        """How many gold arcs each legal transition puts out of reach (`gold` [n] heads, `children` [n + 1])."""
        costs: dict[int, int] = {}
        stack, front = self.stack, self.buffer
        for move in self.legal():
            if move == SHIFT:  # the front loses heads below the top, and dependents on the whole stack
                head = gold[front]
                lost = sum(child in stack for child in children[front])
                costs[move] = lost + (head in stack[:-1])
                continue
            top = stack[-1]
            head = gold[top]
            lost = sum(child >= front for child in children[top])
            below = stack[-2] if len(stack) > 1 else -1
            if move == LEFT:
                lost += head == below or head > front
            else:
                lost += head >= front
            costs[move] = lost
        return costs


def dependents(heads: Sequence[int]) -> list[list[int]]:
    """The dependents [n + 1] of each word and of the root, for heads [n] numbered as above."""
    children: list[list[int]] = [[] for _ in range(len(heads) + 1)]
    for word, head in enumerate(heads):
        children[head].append(word)
    return children


def inside(heads: Sequence[int]) -> list[int]:
    """Heads of CoNLL-U (from 1, the root 0) to the numbering above."""
    return [head - 1 if head else len(heads) for head in heads]


def outside(heads: Sequence[int]) -> list[int]:
    """The other way round."""
    return [0 if head == len(heads) else head + 1 for head in heads]
