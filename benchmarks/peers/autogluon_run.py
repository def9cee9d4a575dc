"""AutoGluon-Tabular or AutoGluon-MM on one of the sets of `by_hand.py`: score on test and CPU seconds.

`python benchmarks/peers/autogluon_run.py NAME tabular|multimodal --seconds N`; see README.md beside this file. Training
and validation rows together are its training data: it cuts its own validation part. `--seconds` is its `time_limit`, of
the clock; on one thread on a quiet machine that is about CPU seconds, which are printed.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"

import pandas as pd
from sklearn import metrics

ROOT = Path(os.environ.get("POLYMODAL_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")
# By set: label, columns, those of them that are paths of pictures, metric, AutoGluon's kind of problem.
SETS: dict[str, tuple[str, list[str], list[str], str, str]] = {
    "airline": (
        "label", ["text", "airline", "retweets", "hour", "weekday", "tweets_of_author", "timezone"], [],
        "accuracy", "multiclass",
    ),
    "skin": ("label", ["image", "age", "sex", "site"], ["image"], "balanced_accuracy", "multiclass"),
    "houses": (
        "price", ["frontal", "bathroom", "bedroom", "kitchen", "bedrooms", "bathrooms", "area_sqft", "zipcode"],
        ["frontal", "bathroom", "bedroom", "kitchen"], "r2", "regression",
    ),
    "avdigits": ("label", ["image", "text"], ["image"], "accuracy", "multiclass"),
}  # fmt: skip
SCORES: dict[str, Any] = {
    "accuracy": metrics.accuracy_score,
    "balanced_accuracy": metrics.balanced_accuracy_score,
    "r2": metrics.r2_score,
}


KEPT: list[Any] = []  # a library's declarations live as long as it


def spent() -> float:
    each = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(use.ru_utime + use.ru_stime for use in each)


def frame(name: str, part: str, with_pictures: bool) -> pd.DataFrame:
    label, columns, pictures, _, problem = SETS[name]
    table = pd.read_csv(ROOT / name / f"{part}.csv")[[*columns, label]]
    for column in pictures:
        if with_pictures:
            table[column] = [str(ROOT / name / path) if isinstance(path, str) else None for path in table[column]]
        else:
            table = table.drop(columns=column)
    for column in ("zipcode", "label"):
        if column in table and (column != label or problem != "regression"):
            table[column] = table[column].astype(str)
    return table


def timm_folder(folder: Path, weights: str, name: str = "mobilenetv2_100") -> Path:
    """A folder from which AutoGluon-MM reads timm's MobileNetV2: torchvision's `weights`, or such as nobody trained.

    Both list the same layers in the same order, under other names; the classifier is left out.
    """
    import timm
    import torch

    torch.manual_seed(0)
    model = timm.create_model(name, pretrained=False, num_classes=0)
    if weights:
        given = torch.load(weights, map_location="cpu", weights_only=True).values()
        model.load_state_dict(dict(zip(model.state_dict(), given)))
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    about = {**model.default_cfg, "architecture": name, "num_features": model.num_features}
    (folder / "config.json").write_text(json.dumps(about, default=str))
    return folder


def tabular(name: str, seconds: float, scratch: Path) -> Any:
    from autogluon.tabular import TabularPredictor

    label, *_, metric, problem = SETS[name]
    train = pd.concat([frame(name, part, False) for part in ("train", "valid")], ignore_index=True)
    predictor = TabularPredictor(label, problem_type=problem, eval_metric=metric, path=str(scratch), verbosity=0)
    predictor.fit(
        train,
        time_limit=seconds,
        presets="best_quality",
        num_cpus=1,
        num_gpus=0,
        dynamic_stacking=False,
        ag_args_ensemble={"fold_fitting_strategy": "sequential_local"},
    )  # so that all CPU seconds are counted
    return predictor.predict(frame(name, "test", False).drop(columns=label))


def without_vision_kernels() -> None:
    """Let torchvision be imported beside PyTorch's CPU build: declare the operators that it insists on."""
    import torch
    from torch import library

    if not hasattr(torch.ops.torchvision, "nms"):
        declared = library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            declared.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        KEPT.append(declared)


def multimodal(name: str, seconds: float, scratch: Path, text: str, image: str) -> Any:
    without_vision_kernels()
    from autogluon.multimodal import MultiModalPredictor

    label, columns, pictures, metric, problem = SETS[name]
    train = pd.concat([frame(name, part, True) for part in ("train", "valid")], ignore_index=True)
    names = ["numerical_mlp", "categorical_mlp", "fusion_mlp"]
    options: dict[str, Any] = {
        "env.num_gpus": 0,
        "env.accelerator": "cpu",
        "env.num_workers": 0,
        "optim.max_epochs": 20,
    }
    if "text" in columns:
        names.append("hf_text")
        options["model.hf_text.checkpoint_name"] = text
    if pictures:
        names.append("timm_image")
        options["model.timm_image.checkpoint_name"] = (
            image if Path(image).is_dir() and image else str(timm_folder(scratch / "timm", image))
        )
    predictor = MultiModalPredictor(
        label=label, problem_type=problem, eval_metric=metric, path=str(scratch / "run"), verbosity=0
    )
    predictor.fit(train, time_limit=seconds, hyperparameters={**options, "model.names": names})
    return predictor.predict(frame(name, "test", True).drop(columns=label))


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("name", choices=SETS)
    words.add_argument("kind", choices=("tabular", "multimodal"))
    words.add_argument("--seconds", type=float, default=120)
    words.add_argument("--text", default="")
    words.add_argument("--image", default="")
    given = words.parse_args()
    label, *_, metric, problem = SETS[given.name]
    before = spent()
    with tempfile.TemporaryDirectory() as scratch:
        if given.kind == "tabular":
            said = tabular(given.name, given.seconds, Path(scratch))
        else:
            said = multimodal(given.name, given.seconds, Path(scratch), given.text, given.image)
    truth = frame(given.name, "test", False)[label]
    score = SCORES[metric](truth, said if problem == "regression" else said.astype(str))
    print(f"{given.name:10} {given.kind:10} {metric} {score:.3f}, {spent() - before:.0f} CPU s")


if __name__ == "__main__":
    main()
