"""Users who like kinds of films, each of other ones, and films that training lacks."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

KINDS = ("war", "love", "space", "ghost")
USERS, FILMS, EACH = 40, 60, 36
CUT = (42, 50)  # films before are for training, those behind for the test


def write_films(folder: Path, *, shuffled: bool = False, seed: int = 0) -> dict[str, Path]:
    """train.csv, valid.csv and test.csv: user_id, film_id, title and liked; `shuffled`: labels that mean nothing."""
    draw = np.random.default_rng(seed)
    kind, taste = draw.integers(0, 4, FILMS), draw.choice([-3.0, 3.0], (USERS, 4))
    rows: list[tuple[int, int, bool]] = []
    for user in range(USERS):
        for film in draw.permutation(FILMS)[:EACH]:
            rows.append((user, int(film), bool(draw.random() < 1 / (1 + np.exp(-taste[user, kind[film]])))))
    liked = np.array([row[2] for row in rows])
    liked = draw.permutation(liked) if shuffled else liked
    paths = {}
    for part, (low, high) in {"train": (0, CUT[0]), "valid": CUT, "test": (CUT[1], FILMS)}.items():
        paths[part] = folder / f"{part}.csv"
        with paths[part].open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["user_id", "film_id", "title", "liked"])
            for (user, film, _), like in zip(rows, liked):
                if low <= film < high:
                    title = f"a film of {KINDS[kind[film]]} and number {film}"
                    writer.writerow([f"u{user}", f"m{film}", title, "yes" if like else "no"])
    return paths
