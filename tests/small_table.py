"""A small shop: 12x12 pictures, short words, numbers and a label, with the faults that real tables have."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

COLORS = {"red": (200, 40, 40), "green": (40, 180, 60), "blue": (40, 60, 200)}
THINGS = {"shoe": ("shoe", "boot", "sandal"), "bag": ("bag", "purse", "satchel")}
ADJECTIVES = ("nice", "old", "good", "plain", "light", "heavy", "fine", "rare")
ENDS = ("for you", "of our own make", "seen nowhere else", "at a fair price", "with a story")
BROKEN, ABSENT, EMPTY = 5, 9, 13  # rows whose picture is no picture, does not exist, is not given


def write_shop(folder: Path, rows: int = 200, seed: int = 0) -> Path:
    """`shop.csv` and its `pictures/` in `folder`; the label joins the picture's colour and the words' thing."""
    rng = np.random.default_rng(seed)
    (folder / "pictures").mkdir(parents=True)
    table = folder / "shop.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "photo", "title", "price", "weight", "category"])
        for i in range(rows):
            color, thing = list(COLORS)[rng.integers(3)], list(THINGS)[rng.integers(2)]
            name = f"pictures/{i}.png"
            pixels = np.clip(np.array(COLORS[color]) + rng.normal(0, 30, (12, 12, 3)), 0, 255).astype(np.uint8)
            if i == BROKEN:
                (folder / name).write_bytes(b"this is no picture")
            elif i != ABSENT:
                Image.fromarray(pixels).save(folder / name)
            words = [ADJECTIVES[rng.integers(8)], THINGS[thing][rng.integers(3)], ENDS[rng.integers(5)]]
            price = "" if rng.random() < 0.05 else f"{rng.normal(30 if thing == 'bag' else 25, 8):.2f}"
            title = "" if rng.random() < 0.03 else f"a {' '.join(words)}"
            writer.writerow(
                [f"r{i}", "" if i == EMPTY else name, title, price, f"{rng.normal():.3f}", f"{color} {thing}"]
            )
    return table


QUICK = {
    "seeds": 1,
    "crossfit": 2,
    "dim": 16,
    "workers": 0,
    "trackers": "none",
    "fusion": ["gated"],
    "encoder_training": {"epochs": 2},
    "answer_training": {"epochs": 4},
}
SHOP = {**QUICK, "encoders": {"photo": "image_resnet"}}  # what the finished run of `shop` was made with


class Shop(NamedTuple):
    """The small shop on the disk, with a finished run on it."""

    folder: Path
    table: Path
    run: Path
    store: Path
