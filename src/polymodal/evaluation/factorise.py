"""Collaborative filtering in closed steps: who answered what, and nothing of what it is about."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

PENALTIES = (3.0, 10.0, 30.0)
HELD = 10  # one training row of so many says which penalty
ROUNDS = 12
AT_ONCE = 65_536  # rows whose products are held together


@dataclass(frozen=True, eq=False)
class Factorised:
    """`mean` + b_u + b_i + p_u · q_i (Koren, Bell & Volinsky 2009), of users and items by number, -1 for nobody's.

    `users` [U, 1 + F] and `items` [I, 1 + F] hold the bias first. Whoever the rows lack has zeros.
    """

    mean: float
    users: np.ndarray
    items: np.ndarray

    @classmethod
    def of(cls, users: np.ndarray, items: np.ndarray, values: np.ndarray, *, factors: int = 8) -> Factorised:
        """Found by alternating least squares (Zhou et al. 2008) from the `values` [N] of `users` [N] and `items` [N].

        The penalty is the one of `PENALTIES` by which a tenth of the rows is told best from the others.
        """
        out = np.arange(len(values)) % HELD == HELD - 1
        order = np.random.default_rng(0).permutation(len(values))
        held, rest = order[out], order[~out]
        errors = []
        for penalty in PENALTIES if len(held) and len(rest) else PENALTIES[:1]:
            one = cls._solved(users[rest], items[rest], values[rest], factors, penalty)
            errors.append(float(np.square(one.values(users[held], items[held]) - values[held]).sum()))
        return cls._solved(users, items, values, factors, PENALTIES[int(np.argmin(errors))])

    def values(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """[N] what they would answer."""
        u, i = _rows(self.users, users), _rows(self.items, items)
        return self.mean + u[:, 0] + i[:, 0] + (u[:, 1:] * i[:, 1:]).sum(1)

    @classmethod
    def _solved(
        cls, users: np.ndarray, items: np.ndarray, values: np.ndarray, factors: int, penalty: float
    ) -> Factorised:
        mean = float(values.mean()) if len(values) else 0.0
        rng = np.random.default_rng(0)
        each = [np.zeros((int(some.max(initial=-1)) + 1, 1 + factors)) for some in (users, items)]
        each[1][:, 1:] = 0.1 * rng.standard_normal(each[1][:, 1:].shape)
        for _ in range(ROUNDS):
            for own, keys, others in ((0, users, items), (1, items, users)):
                other = _rows(each[1 - own], others)
                each[own] = _ridge(keys, other[:, 1:], values - mean - other[:, 0], len(each[own]), penalty)
        return cls(mean, *each)


def _rows(table: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Rows of a table by number; zeros for numbers that it lacks."""
    padded = np.concatenate([table, np.zeros((1, table.shape[1]))])
    return padded[np.where((numbers >= 0) & (numbers < len(table)), numbers, len(table))]


def _ridge(keys: np.ndarray, x: np.ndarray, y: np.ndarray, count: int, penalty: float) -> np.ndarray:
    """[count, 1 + F] the bias and the weights of x [N, F] by which each key's rows tell y [N]; zeros for no row."""
    wide = x.shape[1] + 1
    gram, told = np.zeros((count, wide * wide)), np.zeros((count, wide))
    known = np.flatnonzero(keys >= 0)
    for rows in np.array_split(known, max(1, -(-len(known) // AT_ONCE))):
        row = np.concatenate([np.ones((len(rows), 1)), x[rows]], 1)
        of = sparse.csr_array((np.ones(len(rows)), (keys[rows], np.arange(len(rows)))), shape=(count, len(rows)))
        gram += of @ (row[:, :, None] * row[:, None, :]).reshape(len(rows), wide * wide)
        told += of @ (row * y[rows, None])
    return np.linalg.solve(gram.reshape(count, wide, wide) + penalty * np.eye(wide), told[..., None])[..., 0]
