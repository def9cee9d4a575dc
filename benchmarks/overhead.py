"""What our training loop costs over a bare PyTorch loop on the same tensors, model, optimiser and schedule.

    python benchmarks/overhead.py [--rows 4000] [--pairs 9] [--json]

Three trainings: a small fusion head on pooled vectors, cross-attention on token sequences, and a picture encoder. Ours
and the bare loop take turns in one process, one thread; both train, validate once an epoch and keep the best weights.
They draw the same random numbers, so they must end with the same weights bit for bit: the benchmark fails when they do
not. A ratio is ours over bare in rows a second, 1 meaning no overhead: median and quartiles over pairs, by wall
time, and by CPU time, which other work on the machine disturbs less.
"""

from __future__ import annotations

import io
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tools import parser, quartiles, show
from torch import Tensor, nn
from torch.nn import functional as F

import polymodal as pm
from polymodal.config import Training
from polymodal.core.types import Tokens
from polymodal.experiment.answer_job import fit_answer
from polymodal.experiment.encoder_job import fit_encoder
from polymodal.experiment.work import VALID, Work, open_features, open_work
from polymodal.models.base import Joint, Model
from polymodal.models.build import build_answer, build_encoder
from polymodal.models.strategy import Strategy
from polymodal.train.loop import LEAST_BATCH, LEAST_STEPS

SIDE = 28  # pixels
STREAMS = ("left", "photo", "right")


@dataclass(frozen=True)
class Contest:
    """One training, ours and bare. Each takes a fresh model and trains it in place."""

    name: str
    model: Callable[[], nn.Module]
    ours: Callable[[nn.Module], Any]
    bare: Callable[[nn.Module], Any]
    epochs: int


# --- the bare loop ----------------------------------------------------------------------------------------------------


def bare(
    model: nn.Module, loss: Callable[[Tensor], Tensor], validate: Callable[[], float], rows: Tensor, options: Training
) -> None:
    """What one writes by hand: AdamW, warm-up and cosine, clipping, the best epoch's weights."""
    size = min(options.batch, max(LEAST_BATCH, len(rows) // LEAST_STEPS))
    parameters = list(model.parameters())
    matrices = [p for p in parameters if p.ndim > 1]
    vectors = [p for p in parameters if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": options.weight_decay}, {"params": vectors, "weight_decay": 0.0}],
        lr=options.lr,
        fused=True,
    )
    per_epoch = -(-len(rows) // size)
    steps, step = per_epoch * options.epochs, 0
    warm = max(1, round(steps * options.warmup))
    best, kept = -math.inf, {}
    torch.manual_seed(0)
    for epoch in range(options.epochs):
        model.train()
        order = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(epoch))]
        for batch in order.tensor_split(per_epoch):
            scale = (step + 1) / warm
            if step >= warm:
                scale = 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))
            for group in optimizer.param_groups:
                group["lr"] = options.lr * scale
            optimizer.zero_grad()
            value = loss(batch)
            value.backward()
            torch.nn.utils.clip_grad_norm_(parameters, options.clip)
            optimizer.step()
            step += 1
        model.eval()
        with torch.no_grad():
            score = validate()
        if score > best:
            best, kept = score, {k: v.clone() for k, v in model.state_dict().items()}
    model.load_state_dict(kept)


def bare_answer(
    model: Joint, work: Work, all_rows: dict[str, Tokens], rows: Tensor, valid: Tensor, options: Training
) -> None:
    """The bare loop over tensors of all rows, modality dropout included."""
    head, labels, rate = model.head("label"), work.labels["label"], options.modality_dropout

    def streams(chosen: Tensor, drop: bool) -> dict[str, Tokens]:
        masks = [t.mask[chosen] for t in all_rows.values()]
        if drop:
            present = torch.stack([mask.any(1) for mask in masks], 1)
            keep = present & (torch.rand(present.shape) >= rate)
            keep = torch.where(keep.any(1, keepdim=True), keep, present)
            masks = [mask & keep[:, k, None] for k, mask in enumerate(masks)]
        found = {}
        for mask, (name, tokens) in zip(masks, all_rows.items()):
            pooled = tokens.pooled[chosen]
            if tokens.x.shape[1] == 1:
                found[name] = Tokens(pooled[:, None], mask, pooled)
            else:
                where = None if tokens.where is None else tokens.where[chosen]
                found[name] = Tokens(tokens.x[chosen], mask, pooled, where)
        return found

    def loss(batch: Tensor) -> Tensor:
        return F.cross_entropy(head(model.fusion(streams(batch, True))), labels[batch])

    def validate() -> float:
        return (head(model.fusion(streams(valid, False))).argmax(1) == labels[valid]).double().mean().item()

    bare(model, loss, validate, rows, options)


def bare_encoder(
    model: Model, work: Work, inputs: dict[str, Tensor], rows: Tensor, valid: Tensor, options: Training
) -> None:
    """The bare loop over all rows' pixels and one encoder with a linear head."""
    encoder, head, labels = model.encoders["photo"], model.answer.head("label"), work.labels["label"]

    def loss(batch: Tensor) -> Tensor:
        return F.cross_entropy(head(encoder({k: v[batch] for k, v in inputs.items()})), labels[batch])

    def validate() -> float:
        scores = torch.cat([head(encoder({k: v[part] for k, v in inputs.items()})) for part in valid.split(512)])
        return (scores.argmax(1) == labels[valid]).double().mean().item()

    bare(model, loss, validate, rows, options)


# --- contests ---------------------------------------------------------------------------------------------------------


def table(rows: int) -> dict[str, list[Any]]:
    """Two vectors and a random picture a row; labels that can be learned a little."""
    random = np.random.default_rng(0)
    hidden = random.normal(size=(rows, 2))
    label = (hidden[:, 0] > 0).astype(int) + (hidden[:, 1] > 0)
    pictures = random.integers(0, 256, (rows, SIDE, SIDE), dtype=np.uint8)
    pictures[:, :8, :8] = 80 * label[:, None, None]
    vectors = (hidden[:, :, None] + random.normal(size=(rows, 2, 64))).round(3)
    part = ["valid" if i % 10 == 0 else "test" if i % 100 == 1 else "train" for i in range(rows)]
    return {
        "left": vectors[:, 0].tolist(),
        "right": vectors[:, 1].tolist(),
        "photo": [_png(p) for p in pictures],
        "label": [f"c{c}" for c in label],
        "split": part,
    }


def _png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png", compress_level=1)
    return file.getvalue()


def contests(folder: Path, rows: int) -> Iterator[Contest]:
    """Make stored tokens with an ordinary fit, and train on them in both ways."""
    fields = {"photo": "image", "left": "vector", "right": "vector"}
    pm.fit(
        table(rows * 100 // 89),  # so that about `rows` are left for training
        "label",
        out=folder / "run",
        schema={"fields": fields},
        store=str(folder / "store"),
        fusion=["mean"],
        seeds=1,
        crossfit=0,
        workers=0,
        trackers="none",
        quiet=True,
        training={"epochs": 1},
    )
    path = str(folder / "run" / "work")
    work = open_work(path, store=str(folder / "store"))
    for name, spec, epochs in (("concat, pooled", "concat", 10), ("cross, tokens", "cross", 2)):
        yield _answer_contest(name, work, path, spec, epochs)
    yield _encoder_contest(work, folder)


def _answer_contest(name: str, work: Work, path: str, spec: str, epochs: int) -> Contest:
    strategy = Strategy("fusion", spec, STREAMS)
    features = open_features(path, STREAMS, not strategy.reads_tokens, store=str(work.store.root))
    options = Training(epochs=epochs, patience=0)
    rows, valid = torch.from_numpy(work.rows(0)), work.rows(VALID)
    all_rows = features.read(torch.arange(len(work.split)))
    return Contest(
        name,
        lambda: build_answer(strategy, features.widths, work.targets, work.dim, work.heads),
        lambda model: list(fit_answer(work, model, features, rows, valid, options, 0)),
        lambda model: bare_answer(model, work, all_rows, rows, torch.from_numpy(valid), options),
        epochs,
    )


def _encoder_contest(work: Work, folder: Path) -> Contest:
    encoder = build_encoder("image_resnet", work.facts["photo"], work.dim)
    options = Training(modality_dropout=0.0).with_(
        {**encoder.recipe(), "epochs": 1, "patience": 0, "precision": "float32"}
    )
    rows, valid = work.rows(0), work.rows(VALID)
    inputs = {k: v.clone() for k, v in work.dataset.tensors("photo", np.arange(len(work.split))).items()}
    alone = Strategy("single", "late_mean", ("photo",))
    checkpoint = folder / "encoder.checkpoint"

    def model() -> Model:
        encoder = build_encoder("image_resnet", work.facts["photo"], work.dim)
        encoder.fit_statistics(work.dataset.tensors("photo", rows[:2048]))
        return Model({"photo": encoder}, build_answer(alone, {"photo": work.dim}, work.targets, work.dim, work.heads))

    def ours(model: nn.Module) -> None:
        checkpoint.unlink(missing_ok=True)
        list(fit_encoder(work, model, "photo", rows, valid, options, 0, checkpoint))

    return Contest(
        "image_resnet",
        model,
        ours,
        lambda model: bare_encoder(model, work, inputs, torch.from_numpy(rows), torch.from_numpy(valid), options),
        1,
    )


# --- measuring --------------------------------------------------------------------------------------------------------


def measure(contest: Contest, rows: int, pairs: int) -> dict[str, Any]:
    """Train in turns after one warm-up each; figures of the pairs."""
    seconds: dict[str, list[tuple[float, float]]] = {"ours": [], "bare": []}
    weights: dict[str, dict[str, Tensor]] = {}
    for turn in range(pairs + 1):
        order = ("ours", "bare") if turn % 2 else ("bare", "ours")
        for who in order:
            torch.manual_seed(0)
            model = contest.model()
            wall, cpu = time.perf_counter(), time.process_time()
            getattr(contest, who)(model)
            took = (time.perf_counter() - wall, time.process_time() - cpu)
            weights[who] = model.state_dict()
            if turn:
                seconds[who].append(took)
    ratios = [[b[i] / o[i] for o, b in zip(seconds["ours"], seconds["bare"])] for i in (0, 1)]
    seen = rows * contest.epochs
    return {
        "training": contest.name,
        "ours_rows_a_second": round(seen / statistics.median(s[0] for s in seconds["ours"])),
        "bare_rows_a_second": round(seen / statistics.median(s[0] for s in seconds["bare"])),
        "ratio_by_wall_time": quartiles(ratios[0]),
        "ratio_by_CPU_time": quartiles(ratios[1]),
        "pairs": pairs,
        "same_weights": all(torch.equal(v, weights["bare"][k]) for k, v in weights["ours"].items()),
    }


def main() -> int:
    """Run the benchmark; 1 when the two loops do not end with the same weights."""
    arguments = parser(__doc__)
    arguments.add_argument("--rows", type=int, default=4000, help="training rows")
    arguments.add_argument("--pairs", type=int, default=9)
    options = arguments.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        found = [measure(contest, options.rows, options.pairs) for contest in contests(Path(folder), options.rows)]
    show(found, options.json)
    return 0 if all(f["same_weights"] for f in found) else 1


if __name__ == "__main__":
    sys.exit(main())
