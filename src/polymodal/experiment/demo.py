"""The demonstration: the main job on data that an installed package brings."""

from __future__ import annotations

import json
import random
from pathlib import Path

from polymodal.core.errors import require
from polymodal.core.shown import tell
from polymodal.experiment.fit import fit
from polymodal.inference.run import Run

ROWS = {"train": 4000, "valid": 700, "test": 1200}


def demo(out: str | Path = "runs/demo", *, resume: bool = False, quiet: bool = False) -> Run:
    """Answer questions about pictures: easy-VQA (Zhou 2019, MIT), drawn shapes and generated questions.

    Neither the picture nor the question alone tells the answer, so fusing must help; the report shows by how much.
    Pictures of validation and test are not among those of training. Raises `MissingExtra` without the extra `demo`.
    """
    package = require("easy_vqa", "demo")
    folder = Path(package.__file__).parent / "data"
    rows = _rows(folder, "train", "train", ROWS["train"]) + _rows(folder, "test", "valid", ROWS["valid"])
    rows += _rows(folder, "test", "test", ROWS["test"])
    if not quiet:
        tell(
            "polymodal demo: what is the answer to a question about a picture?\n"
            f"{ROWS['train']} training rows of easy-VQA (drawn shapes, generated questions; V. Zhou 2019, MIT).\n"
            "Then try your own table: polymodal fit TABLE.csv --target COLUMN --out runs/mine\n"
        )
    return fit(
        rows,
        "answer",
        out=out,
        resume=resume,
        quiet=quiet,
        schema={
            "fields": {"picture": "image", "question": "text"},
            "target": {"answer": "classes"},
            "group": "picture",
            "split": "split",
        },
        encoders={
            "picture": {"name": "image_resnet", "stride": 4},
            "question": {"name": "text_tfidf", "noise": 0.0},  # without its "not" a question has another answer
        },
        fusion=["gated", "attention", "product", "mlb"],
        crossfit=0,
        joint=True,
        joint_on=["mlb"],
        joint_training={"modality_dropout": 0.0},  # no row lacks a stream
    )


def _rows(folder: Path, source: str, split: str, count: int) -> list[dict[str, str]]:
    """`count` questions, drawn with a fixed seed; valid and test halve the package's test pictures."""
    questions = json.loads((folder / source / "questions.json").read_text(encoding="utf-8"))
    if source == "test":
        questions = [q for q in questions if (q[2] % 2 == 0) == (split == "valid")]
    chosen = random.Random(0).sample(questions, count)
    return [
        {
            "id": f"{split}_{i}",
            "picture": str(folder / source / "images" / f"{picture}.png"),
            "question": question,
            "answer": answer,
            "split": split,
        }
        for i, (question, answer, picture) in enumerate(chosen)
    ]
