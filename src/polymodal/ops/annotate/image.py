"""Annotating pictures: what they show, where, and in which parts.

Networks see one picture at a time: on a CPU batches gain a tenth at most, and their last digits would change the result
with the size of the batch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, ClassVar

import numpy as np
from PIL import Image, ImageOps

from polymodal.core.errors import BadArgument, require
from polymodal.core.values import check_range
from polymodal.data.media.cell import Media
from polymodal.data.media.picture import flat
from polymodal.ops.annotate import lite
from polymodal.ops.annotate.base import CellAnnotate, called, needs_model, one_of
from polymodal.ops.networks import network

LARGEST = 1024  # pixels a side at which parts are found: more takes seconds and finds no other parts
Found = list[tuple[str, float, list[int]]]  # label, how sure, left top right bottom in pixels


class _Pictures(CellAnnotate):
    """What the three share: `engine`, and `model` for the engine `transformers`."""

    kinds = ("image",)
    engines: ClassVar[Mapping[str, str]] = {}  # without a model of the user's: name -> extra
    loader: ClassVar[str]  # the class of transformers that reads the user's model

    def __init__(self, *, columns: Sequence[str] | str | None, engine: str, model: str):
        super().__init__(columns=columns)
        self.engine = one_of("engine", engine, ("transformers", *self.engines))
        self.model = model
        if engine == "transformers":
            needs_model(engine, model)
            network(self.loader, "AutoImageProcessor", model)  # a model that cannot be read is said before any row is
        elif model:
            raise BadArgument(f"model is of the engine transformers; {engine} has its own.")
        elif self.engines[engine] == "image":
            require("skimage", "image")
        else:
            lite.check()

    def _called(self, ours: str) -> str:
        return called(self.model) if self.engine == "transformers" else ours


class ImageClass(_Pictures):
    """What a picture shows. New columns: `_class` (category), `_class_confidence` (0..1), `_class_model`.

    Engines: `litert` brings EfficientNet-Lite0 along (Tan & Le 2019; 1,000 classes of ImageNet); `transformers` takes
    an image classification `model`, a Hugging Face hub name or a local folder, as in `google/vit-base-patch16-224`.
    Answers less sure than `least` stay missing.
    """

    gives: ClassVar[Mapping[str, str]] = {
        "class": "category", "class_confidence": "number", "class_model": "category",
    }  # fmt: skip
    engines: ClassVar[Mapping[str, str]] = {"litert": "vision"}
    loader = "AutoModelForImageClassification"

    def __init__(
        self, *, columns: Sequence[str] | str | None = None, engine: str = "litert", model: str = "", least: float = 0.0
    ):
        super().__init__(columns=columns, engine=engine, model=model)
        self.least = least
        check_range("[0, 1)", least=least)

    def told(self, value: Image.Image) -> Mapping[str, Any]:
        if self.engine == "litert":
            label, sure = lite.classify(_colour(value))[0]
        else:
            label, sure = _classes(self.model, _colour(value))
        if sure < self.least:
            return {}
        return {
            "class": label, "class_confidence": round(sure, 4), "class_model": self._called("EfficientNet-Lite0"),
        }  # fmt: skip


class Objects(_Pictures):
    """What is where. New columns: `_objects` (text: the labels, surest first), `_boxes` (JSON: label, confidence, and
    left, top, right, bottom in pixels), `_objects_count`, `_objects_confidence` (of the surest), `_objects_model`.

    Engines: `faces` finds frontal faces only, by the cascade that scikit-image brings along (Viola & Jones 2001 with
    local binary patterns, Liao et al. 2007; it gives no confidence); `litert` draws boxes round the areas that DeepLab
    v3, brought along, gives one of the 20 classes of PASCAL VOC (Chen et al. 2017): things of a class that touch are
    one, and areas below a hundredth of the picture are none; `transformers` takes an object detection `model`, a
    Hugging Face hub name or a local folder, as in `facebook/detr-resnet-50` (Carion et al. 2020). Boxes less sure than
    `least` are left out.
    """

    gives: ClassVar[Mapping[str, str]] = {
        "objects": "text", "boxes": "other", "objects_count": "number", "objects_confidence": "number",
        "objects_model": "category",
    }  # fmt: skip
    engines: ClassVar[Mapping[str, str]] = {"faces": "image", "litert": "vision"}
    loader = "AutoModelForObjectDetection"

    def __init__(
        self, *, columns: Sequence[str] | str | None = None, engine: str = "faces", model: str = "", least: float = 0.5
    ):
        super().__init__(columns=columns, engine=engine, model=model)
        self.least = least
        check_range("[0, 1)", least=least)

    def told(self, value: Image.Image) -> Mapping[str, Any]:
        faces = self.engine == "faces"
        if faces:
            objects = _faces(value)
        elif self.engine == "litert":
            objects = [one for one in _things(value) if one[1] >= self.least]
        else:
            objects = _boxes(self.model, _colour(value), self.least)
        objects = sorted(objects, key=lambda one: (-one[1], one[2]))
        return {
            "objects": ", ".join(label for label, _, _ in objects),
            "boxes": json.dumps([[label, None if faces else round(sure, 4), box] for label, sure, box in objects]),
            "objects_count": len(objects),
            "objects_confidence": round(objects[0][1], 4) if objects and not faces else None,
            "objects_model": self._called("LBP face cascade" if faces else "DeepLab v3"),
        }


class Segments(_Pictures):
    """The parts of a picture. New columns: `_segments` (image: each pixel its part's number, 0 the first),
    `_parts` (JSON: number, label, confidence, share of the picture), `_segments_count`, `_segments_model`.

    Engines: `felzenszwalb` (Felzenszwalb & Huttenlocher 2004) and `slic` (Achanta et al. 2012), classical, from
    scikit-image: parts of one colour, about `parts` of them for SLIC, without labels, of a picture above 1,024 pixels
    a side found in a smaller copy; `litert` brings DeepLab v3 along
    (Chen et al. 2017; the 20 classes of PASCAL VOC); `transformers` takes a semantic segmentation `model`, a Hugging
    Face hub name or a local folder, as in `nvidia/segformer-b0-finetuned-ade-512-512` (Xie et al. 2021).
    """

    gives: ClassVar[Mapping[str, str]] = {
        "segments": "image", "parts": "other", "segments_count": "number", "segments_model": "category",
    }  # fmt: skip
    engines: ClassVar[Mapping[str, str]] = {"felzenszwalb": "image", "slic": "image", "litert": "vision"}
    loader = "AutoModelForSemanticSegmentation"

    def __init__(
        self, *, columns: Sequence[str] | str | None = None, engine: str = "felzenszwalb", model: str = "",
        parts: int = 50,
    ):  # fmt: skip
        super().__init__(columns=columns, engine=engine, model=model)
        self.parts = parts
        check_range("[2, 5000]", parts=parts)

    def told(self, value: Image.Image) -> Mapping[str, Any]:
        labels: list[str] | dict[int, str] = []
        sure = None
        if self.engine == "litert":
            area, sure, labels = lite.segment(_colour(value))
        elif self.engine == "transformers":
            area, sure, labels = _areas(self.model, _colour(value))
        else:
            area = _colours(self.engine, value, self.parts)
        parts = []
        for k in np.unique(area).tolist():
            inside = area == k
            label = labels[k] if labels else None
            certain = round(float(sure[inside].mean()), 4) if sure is not None else None
            parts.append([k, label, certain, round(float(inside.mean()), 4)])
        drawn = area.astype(np.uint8 if area.max() < 256 else np.uint16)
        return {
            "segments": Media("image", b"", Image.fromarray(drawn)),
            "parts": json.dumps(sorted(parts, key=lambda part: -part[3])),
            "segments_count": len(parts),
            "segments_model": self._called("DeepLab v3" if self.engine == "litert" else self.engine),
        }


def _colour(picture: Image.Image) -> Image.Image:
    return flat(picture).convert("RGB")


@cache
def _cascade() -> Any:
    from skimage.data import lbp_frontal_face_cascade_filename
    from skimage.feature import Cascade

    return Cascade(lbp_frontal_face_cascade_filename())


def _faces(picture: Image.Image) -> Found:
    if min(picture.size) < 24:
        return []
    small = _colour(picture)
    small = ImageOps.contain(small, (640, 640)) if max(small.size) > 640 else small
    least = max(24, min(small.size) // 8)  # smaller ones are mostly none
    faces = _cascade().detect_multi_scale(
        np.asarray(small), scale_factor=1.2, step_ratio=1, min_size=(least, least), max_size=small.size[::-1],
        min_neighbor_number=6,
    )  # fmt: skip
    by = picture.width / small.width
    boxes = [(one["c"], one["r"], one["c"] + one["width"], one["r"] + one["height"]) for one in faces]
    return [("face", 1.0, [round(side * by) for side in box]) for box in boxes]


def _things(picture: Image.Image) -> Found:
    """Boxes round the connected areas of one class of DeepLab's; how sure: the mean over the area."""
    from scipy.ndimage import find_objects, label

    classes, sure, labels = lite.segment(_colour(picture))
    objects: Found = []
    for k in np.unique(classes[classes > 0]).tolist():  # 0 is the background
        areas, _ = label(classes == k)
        for number, (down, across) in enumerate(find_objects(areas), start=1):
            inside = areas[down, across] == number
            if inside.sum() >= classes.size / 100:
                certain = float(sure[down, across][inside].mean())
                objects.append((labels[k], certain, [across.start, down.start, across.stop, down.stop]))
    return objects


def _colours(engine: str, picture: Image.Image, parts: int) -> np.ndarray:
    from skimage.segmentation import felzenszwalb, slic

    colour = _colour(picture)
    small = ImageOps.contain(colour, (LARGEST, LARGEST)) if max(colour.size) > LARGEST else colour
    pixels = np.asarray(small)
    if engine == "slic":
        area = slic(pixels, n_segments=parts, start_label=0)
    else:
        least = max(20, pixels.shape[0] * pixels.shape[1] // (4 * parts))
        area = felzenszwalb(pixels, scale=100, sigma=0.8, min_size=least)
    if small.size == picture.size:
        return area
    return np.asarray(Image.fromarray(area.astype(np.int32)).resize(picture.size, Image.Resampling.NEAREST))


def _classes(name: str, picture: Image.Image) -> tuple[str, float]:
    import torch

    processor, model = network("AutoModelForImageClassification", "AutoImageProcessor", name)
    with torch.no_grad():
        scores = model(**processor(picture, return_tensors="pt")).logits[0]
    sure, place = scores.softmax(-1).max(-1)
    return str(model.config.id2label[int(place)]), float(sure)


def _boxes(name: str, picture: Image.Image, least: float) -> Found:
    import torch

    processor, model = network("AutoModelForObjectDetection", "AutoImageProcessor", name)
    with torch.no_grad():
        out = model(**processor(picture, return_tensors="pt"))
    (detections,) = processor.post_process_object_detection(
        out, threshold=least, target_sizes=torch.tensor([picture.size[::-1]])
    )
    most = np.array([*picture.size, *picture.size])
    boxes = np.clip(detections["boxes"].numpy().round(), 0, most).astype(int).tolist()
    return [
        (str(model.config.id2label[int(label)]), float(sure), box)
        for label, sure, box in zip(detections["labels"], detections["scores"], boxes)
    ]


def _areas(name: str, picture: Image.Image) -> tuple[np.ndarray, np.ndarray, dict[int, str]]:
    import torch

    processor, model = network("AutoModelForSemanticSegmentation", "AutoImageProcessor", name)
    with torch.no_grad():
        scores = model(**processor(picture, return_tensors="pt")).logits
        scores = torch.nn.functional.interpolate(scores, picture.size[::-1], mode="bilinear", align_corners=False)
        sure, classes = scores[0].softmax(0).max(0)
    return classes.numpy(), sure.numpy(), model.config.id2label
