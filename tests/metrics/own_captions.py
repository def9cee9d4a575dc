"""Sixty scenes told five times each, and an answer a scene: sentences of our own, for parity with other programs.

Beside plain ones stand those on which programs differ: capitals, contractions, brackets, hyphens, figures, quotes.
"""

from __future__ import annotations

from random import Random

import numpy as np

WHO = ["a man", "two men", "a woman", "a young girl", "the boy's dog", "a brown dog", "three children",
       "an old couple", "Dr. Smith", "a child in a T-shirt", "people who can't swim",
       "a black-and-white cat"]  # fmt: skip
DOES = ["runs", "is running", "jumps", "is jumping", "sits", "is sitting down", "isn't moving", "plays",
        "is gonna play", "stands", "cannot stand", "is walking slowly"]  # fmt: skip
WHERE = ["on the grass", "in a field", "on a beach", "near the water's edge", "in the snow (at 3:30 p.m.)",
         "beside 1,000 balloons", 'under a "no dogs" sign', "across the street", "in the park",
         "on a red/white bench"]  # fmt: skip
ENDS = ["", ".", " .", "!", "...", ", looking up.", " while it's raining.", "; others don't care.", " - alone",
        " with a ball"]  # fmt: skip


def captions() -> tuple[np.ndarray, np.ndarray]:
    """References [60, 5] and answers [60]."""
    draw = Random(13)

    def one(values: list[str]) -> str:
        return values[int(draw.random() * len(values))]

    references, answers = [], []
    for _ in range(60):
        scene = [one(WHO), one(DOES), one(WHERE)]
        told = []
        for _ in range(6):
            who, does, where = (word if draw.random() < 0.6 else one(of) for word, of in zip(scene, (WHO, DOES, WHERE)))
            order = f"{who} {does} {where}" if draw.random() < 0.7 else f"{where}, {who} {does}"
            told.append(order[0].upper() + order[1:] + one(ENDS))
        references.append(told[1:])
        answers.append(told[0] if draw.random() < 0.9 else one(WHO))
    return np.array(references), np.array(answers)
