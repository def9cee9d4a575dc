"""Train a fusion on stored tokens, against running the frozen encoders again at every step.

    python benchmarks/store.py [--rows 2000] [--rounds 7] [--batch 64] [--fusion gated] [--threads 1]

Two streams: pictures through a ViT (12 layers of width 192, patches of 16 on 64 x 64 pixels) and words through a BERT
(4 layers of width 256, 32 tokens), both from transformers, frozen, with random weights: speed does not depend on them.
Both ways train the same fusion and head on the same batches; blocks of steps alternate, so that a busy machine slows
both alike. First the stored tokens are checked against fresh ones. Prints the factor with its spread over rounds, what
encoding once cost, and after how many epochs the store has paid for itself.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor, nn
from transformers import BertConfig, BertModel, ViTConfig, ViTModel

from polymodal.core.digest import digest_cells, fingerprint
from polymodal.core.types import Tokens
from polymodal.data.storage.store import Store, View
from polymodal.fusion import FUSIONS
from polymodal.heads import HEADS
from polymodal.models.base import Joint
from polymodal.targets.classes import ClassesTarget

Read = Callable[[np.ndarray], dict[str, Tokens]]
CLASSES = 10


class Frozen:
    """The frozen encoders and the raw rows that they read."""

    def __init__(self, rows: int):
        rng = np.random.default_rng(0)
        self.cells: dict[str, np.ndarray] = {
            "photo": rng.integers(0, 256, (rows, 3, 64, 64), dtype=np.uint8),
            "words": rng.integers(1, 8000, (rows, 32), dtype=np.int64),
        }
        vit = ViTConfig(
            hidden_size=192,
            num_hidden_layers=12,
            num_attention_heads=3,
            intermediate_size=768,
            image_size=64,
            patch_size=16,
        )
        bert = BertConfig(
            vocab_size=8000, hidden_size=256, num_hidden_layers=4, num_attention_heads=4, intermediate_size=1024
        )
        self.encoders: dict[str, nn.Module] = {
            "photo": ViTModel(vit, add_pooling_layer=False).eval().requires_grad_(False),
            "words": BertModel(bert, add_pooling_layer=False).eval().requires_grad_(False),
        }
        self.widths = {"photo": 192, "words": 256}

    @torch.no_grad()
    def read(self, rows: np.ndarray) -> dict[str, Tokens]:
        """Tokens of `rows`, encoded now."""
        pixels = torch.from_numpy(self.cells["photo"][rows]).float() / 127.5 - 1
        return {
            "photo": _tokens(self.encoders["photo"](pixel_values=pixels).last_hidden_state),
            "words": _tokens(self.encoders["words"](torch.from_numpy(self.cells["words"][rows])).last_hidden_state),
        }


class Stored:
    """The same tokens, encoded once."""

    def __init__(self, frozen: Frozen, store: Store, batch: int):
        rows = len(frozen.cells["photo"])
        keys = {name: digest_cells(cells) for name, cells in frozen.cells.items()}
        groups = {name: fingerprint(encoder.state_dict()) for name, encoder in frozen.encoders.items()}
        for start in range(0, rows, batch):
            chunk = np.arange(start, min(start + batch, rows))
            for name, tokens in frozen.read(chunk).items():
                arrays = {"x": tokens.x.half().numpy(), "pooled": tokens.pooled.half().numpy()}
                store.write(groups[name], keys[name][chunk], arrays)
        self.views: dict[str, View] = {name: store.view(group, keys[name]) for name, group in groups.items()}

    def read(self, rows: np.ndarray) -> dict[str, Tokens]:
        """Tokens of `rows`, from the memory maps."""
        found = {}
        for name, view in self.views.items():
            arrays = view.read(rows)
            x, pooled = (torch.from_numpy(arrays[key]).float() for key in ("x", "pooled"))
            found[name] = Tokens(x, torch.ones(x.shape[:2], dtype=torch.bool), pooled)
        return found


class Training:
    """A fusion with its head and optimiser; the same seed and batches whichever way the tokens come."""

    def __init__(self, fusion: str, widths: Mapping[str, int], rows: int, batch: int):
        torch.manual_seed(0)
        target = ClassesTarget("label", tuple(map(str, range(CLASSES))))
        built = FUSIONS.build(fusion, widths, 64)
        self.model = Joint(built, {"label": HEADS.build("classes", built.dim, target)})
        self.optimiser = torch.optim.AdamW(self.model.parameters(), fused=True)
        self.labels = torch.randint(CLASSES, (rows,))
        self.rng = np.random.default_rng(1)
        self.rows, self.batch = rows, batch

    def steps(self, read: Read, count: int) -> float:
        """Rows a second over `count` steps."""
        started = time.perf_counter()
        for _ in range(count):
            rows = self.rng.integers(0, self.rows, self.batch)
            output = self.model(read(rows))
            loss = self.model.losses(output, {"label": self.labels[torch.from_numpy(rows)]})["label"]
            self.optimiser.zero_grad()
            loss.backward()
            self.optimiser.step()
        return count * self.batch / (time.perf_counter() - started)


def _tokens(x: Tensor) -> Tokens:
    return Tokens(x, torch.ones(x.shape[:2], dtype=torch.bool), x.mean(1))


def _check(frozen: Frozen, stored: Stored) -> float:
    """The largest difference between stored and fresh tokens, relative to their spread."""
    rows = np.arange(0, len(frozen.cells["photo"]), 97)
    fresh, kept = frozen.read(rows), stored.read(rows)
    return max(float((fresh[n].x - kept[n].x).abs().max() / fresh[n].x.std()) for n in fresh)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--fusion", default="gated", help="name of a fusion at feature level; `cross` reads all tokens")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        frozen, store = Frozen(options.rows), Store(folder)
        started = time.perf_counter()
        stored = Stored(frozen, store, options.batch)
        once = time.perf_counter() - started
        print(f"encoded {options.rows} rows once: {once:.1f} s, {store.size() / 1e6:.1f} MB in the store")
        print(f"largest difference of a stored token: {_check(frozen, stored):.1e} of the spread")
        again, kept = (Training(options.fusion, frozen.widths, options.rows, options.batch) for _ in range(2))
        again.steps(frozen.read, 1)
        kept.steps(stored.read, 20)
        slow, fast = [], []
        for _ in range(options.rounds):
            slow.append(again.steps(frozen.read, 3))
            fast.append(kept.steps(stored.read, 60))
    factors = [f / s for f, s in zip(fast, slow)]
    saved = options.rows / statistics.median(slow) - options.rows / statistics.median(fast)
    print(f"{options.fusion}, batch {options.batch}, {options.threads} threads, {options.rounds} rounds:")
    print(f"  encoders run again  {statistics.median(slow):10,.0f} rows/s")
    print(f"  from the store      {statistics.median(fast):10,.0f} rows/s")
    print(f"  factor              {statistics.median(factors):10.1f}  ({min(factors):.1f} to {max(factors):.1f})")
    print(f"  the store has paid for itself after {once / saved:.1f} epochs")


if __name__ == "__main__":
    main()
