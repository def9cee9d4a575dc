"""Boxes and areas beside a picture move with what the picture shows."""

from __future__ import annotations

import json

import numpy as np
import pytest
from ops import applied
from PIL import Image

from polymodal.core.errors import BadArgument

WIDE, HIGH = 160, 120
RED, BLUE = [20, 30, 60, 80], [100, 20, 150, 50]
KINDS = {
    "photo": "image", "caption": "text", "photo_objects": "text", "photo_boxes": "other", "photo_objects_count":
    "number", "photo_objects_confidence": "number", "photo_segments": "image", "photo_parts": "other",
    "photo_segments_count": "number",
}  # fmt: skip
MOVES = [
    {"name": "flip"}, {"name": "rotate", "degrees": 25}, {"name": "crop", "least": 0.7}, {"name": "affine"},
    {"name": "perspective", "most": 0.15},
]  # fmt: skip


def scene() -> dict[str, list]:
    """A red and a blue rectangle on green, their boxes and their areas."""
    pixels = np.full((HIGH, WIDE, 3), (0, 200, 0), np.uint8)
    areas = np.zeros((HIGH, WIDE), np.uint8)
    for number, (box, colour) in enumerate(((RED, (255, 0, 0)), (BLUE, (0, 0, 255))), start=1):
        left, top, right, bottom = box
        pixels[top:bottom, left:right] = colour
        areas[top:bottom, left:right] = number
    parts = [[k, name, None, round(float((areas == k).mean()), 4)] for k, name in enumerate(("green", "red", "blue"))]
    return {
        "photo": [Image.fromarray(pixels)], "caption": ["a red box to the left of a blue one"],
        "photo_objects": ["red, blue"], "photo_boxes": [json.dumps([["red", 0.9, RED], ["blue", 0.8, BLUE]])],
        "photo_objects_count": [2], "photo_objects_confidence": [0.9], "photo_segments": [Image.fromarray(areas)],
        "photo_parts": [json.dumps(parts)], "photo_segments_count": [3],
    }  # fmt: skip


def copies(spec: dict, columns: dict[str, list]) -> list:
    rows, _ = applied({"copies": 1 if spec["name"] == "flip" else 12, **spec}, columns, KINDS)
    assert not rows.refused
    return rows.kept[1:]


@pytest.mark.parametrize("spec", MOVES, ids=lambda spec: spec["name"])
def test_boxes_and_areas_stay_on_their_things(spec):
    for copy in copies(spec, scene()):
        pixels = np.asarray(copy.get("photo"), int)
        things = {"red": pixels[..., 0] - pixels[..., 1] > 150, "blue": pixels[..., 2] - pixels[..., 1] > 150}
        boxes = {label: box for label, _, box in json.loads(copy.get("photo_boxes"))}
        areas = np.asarray(copy.get("photo_segments"))
        for number, (label, thing) in enumerate(things.items(), start=1):
            assert (areas == number)[thing].mean() > 0.95, "each pixel keeps the number of its part"
            if label in boxes:
                down, across = np.nonzero(thing)
                seen = [across.min(), down.min(), across.max() + 1, down.max() + 1]
                np.testing.assert_allclose(boxes[label], seen, atol=2.5)
        assert copy.get("photo_objects") == ", ".join(boxes)
        assert copy.get("photo_objects_count") == len(boxes)
        parts = json.loads(copy.get("photo_parts"))
        assert {k: share for k, _, _, share in parts} == {
            k: pytest.approx((areas == k).mean(), abs=1e-4) for k in np.unique(areas).tolist()
        }
        assert copy.get("photo_segments_count") == len(parts)


def test_a_mirrored_row_is_mirrored_whole():
    (copy,) = copies({"name": "flip"}, scene())
    red, blue = json.loads(copy.get("photo_boxes"))
    assert red == ["red", 0.9, [WIDE - 60, 30, WIDE - 20, 80]]
    assert blue == ["blue", 0.8, [WIDE - 150, 20, WIDE - 100, 50]]
    assert copy.get("caption") == "a red box to the right of a blue one"


def test_boxes_that_leave_the_picture_are_dropped():
    columns = scene() | {"photo_boxes": [json.dumps([["red", 0.9, [0, 0, 8, 8]], ["blue", 0.8, BLUE]])]}
    rows = copies({"name": "crop", "least": 0.5, "copies": 40}, columns)
    left = [[label for label, _, _ in json.loads(copy.get("photo_boxes"))] for copy in rows]
    assert ["blue"] in left
    assert ["red", "blue"] in left
    gone = next(copy for copy in rows if copy.get("photo_objects") == "blue")
    assert (gone.get("photo_objects_count"), gone.get("photo_objects_confidence")) == (1, 0.8)
    for copy in rows:
        for _, _, (a, b, c, d) in json.loads(copy.get("photo_boxes")):
            assert 0 <= a < c <= WIDE
            assert 0 <= b < d <= HIGH


@pytest.mark.parametrize("name", ["color", "blur", "noise", "erase"])
def test_another_look_leaves_boxes_and_areas_alone(name):
    columns = scene()
    for copy in copies({"name": name}, columns):
        assert copy.cells["photo_boxes"] == columns["photo_boxes"][0]
        assert copy.get("photo_segments") is columns["photo_segments"][0], "areas are no photo"
        assert copy.get("photo") is not columns["photo"][0]


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
def test_pictures_are_not_mixed_where_boxes_would_not_know(name):
    with pytest.raises(BadArgument, match="'photo_boxes' would not know: annotate after it"):
        applied({"name": name, "label": "caption"}, scene(), KINDS)


def test_boxes_of_another_form_are_said():
    rows, _ = applied("flip", scene() | {"photo_boxes": ['{"x": 3}']}, KINDS)
    assert "does not hold boxes as `objects` writes them" in rows.refused[0].reason
