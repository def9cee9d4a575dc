"""Every catalogued op keeps the laws of ops on a table of its kinds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from test_clean_audio import VOICES
from test_clean_image import PHOTOS, photo
from test_clean_medical import CT
from test_clean_video import FILM

from polymodal.core.errors import MissingExtra
from polymodal.data.examples import points
from polymodal.data.media.cell import Media
from polymodal.data.media.cloud import read_cloud
from polymodal.ops import ANNOTATE, AUGMENT, CLEAN
from polymodal.ops.base import BatchOp
from polymodal.ops.rows import Row, Rows
from polymodal.testing import NotConformant, check_op

WORDS = [
    "A brown dog runs over the wet grass near the house", "A brown dog runs over the wet grass, near the HOUSE",
    "Zwei Männer",
    "  two   men\tare talking ", "<p>call me at +44 20 7946 0958</p>", "cafÃ© on the left", None,
    "the hosue is old and the dgo is left",
]  # fmt: skip
SERIES = np.stack([np.sin(np.linspace(0, 20, 120)), np.linspace(0, 1, 120)], 1).astype(np.float32)
HOLES = SERIES.copy()
HOLES[10:14] = np.nan
CELLS: dict[str, list[Any]] = {
    "text": WORDS,
    "category": ["red", "Red", "blue", "blue", "blue", None, "red", "blue"],
    "number": [1, 2.5, "3", 4, 500, None, -3, 2],
    "image": [*(photo(i) for i in range(6)), None, PHOTOS[0].copy()],
    "audio": [*VOICES[:5], None, VOICES[0], VOICES[1]],
    "series": [SERIES, HOLES, None, SERIES * 2, SERIES, SERIES + 1, HOLES, SERIES],
    "video": [Media("video", FILM)] * 4 + [None] * 4,
    "volume": [Media("volume", CT)] * 4 + [None] * 4,
    "points": [*(Media("points", b"", read_cloud(points(np.random.default_rng(i), i))) for i in range(4)), *[None] * 4],
}
# Options that have no default. LIST is a file of synonyms.
NEEDS: dict[str, dict[str, Any]] = {
    "units": {"columns": "number", "unit": "m"}, "range": {"most": 100}, "series_resample": {"factor": 0.5},
    "mixup": {"label": "category"}, "cutmix": {"label": "category"}, "smote": {"label": "category", "balance": False},
    "label_errors": {"label": "category", "folds": 2},
    "synonyms": {"source": "LIST"}, "insert_words": {"source": "LIST"},
}  # fmt: skip
NEED_MODELS = {
    "transcribe",
    "parse",
    "roles",
    "back_translate",
    "fill_in",
    "mismatched",
}  # tried with small models in tests of their own
OPS = [name for parts in (CLEAN, ANNOTATE, AUGMENT) for name in parts if name not in NEED_MODELS]


@pytest.mark.parametrize("name", OPS)
def test_the_laws_are_kept(name, tmp_path):
    parts = next(p for p in (CLEAN, ANNOTATE, AUGMENT) if name in p)
    words = tmp_path / "list.txt"
    words.write_text("dog hound\nhouse home\nold aged\nmen guys\n")
    given = {k: str(words) if v == "LIST" else v for k, v in NEEDS.get(name, {}).items()}
    try:
        kinds = [kind for kind in CELLS if kind in parts.load(name).kinds]
        kinds += [kind for kind in ("category", "text") if kind not in kinds]
        check_op({"name": name, **given}, {kind: CELLS[kind] for kind in kinds}, {kind: kind for kind in kinds})
    except MissingExtra as error:
        pytest.skip(f"{name} needs an extra: {error}")


class Forgetful(BatchOp):
    """Breaks one law, as `fault` says."""

    kinds = ("text",)
    seen = 0

    def __init__(self, *, fault: str = ""):
        super().__init__()
        self.fault = fault

    def work(self, rows: Rows) -> None:
        if self.fault == "loses a row":
            rows.kept = rows.kept[1:]
        if self.fault == "turns the order":
            rows.kept = rows.kept[::-1]
        if self.fault == "counts the batch":
            for i, row in enumerate(rows):
                row.put("text", str(i))
        if self.fault == "draws anew":
            Forgetful.seen += 1
            for row in rows:
                row.put("text", str(Forgetful.seen))
        if self.fault == "gives no reason":
            self.refuse(rows, {0: ""} if len(rows) else {})
        if self.fault == "stumbles over None":
            for row in rows:
                row.put("text", row.get("text").upper())
        if self.fault == "names twice" and len(rows):
            rows.kept.append(Row(rows.kept[0].id, 0, {}, {}, copy=5))


@pytest.mark.parametrize(
    ("fault", "law"),
    [
        ("loses a row", "nothing lost"), ("turns the order", "order kept"),
        ("counts the batch", "batches do not matter"),
        ("draws anew", "reproducible"), ("gives no reason", "reasons given"), ("stumbles over None", "missing cells"),
        ("names twice", "ids unique"),
    ],
)  # fmt: skip
def test_what_breaks_a_law_is_caught(fault, law):
    table = {"text": ["a", "b", "c", "d"]}
    with pytest.raises(NotConformant) as caught:
        check_op({"name": Forgetful, "fault": fault}, table, {"text": "text"})
    assert law in {v.law for v in caught.value.violations}
    check_op(Forgetful, table, {"text": "text"})
