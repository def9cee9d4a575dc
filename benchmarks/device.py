"""Every part and a whole fit on an accelerator beside the CPU: do they agree, and how fast is each?

    python benchmarks/device.py [--device auto] [--rows 600]

Without an accelerator it says so, and compares the CPU with itself: that proves the script, and nothing of a GPU.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import polymodal as pm
from polymodal.core.runtime import device_of, told
from polymodal.data import synthetic
from polymodal.nn.place import to_device
from polymodal.testing.catalogued import example_subjects, part_names
from polymodal.testing.subject import Subject, built, far, mapped

ENOUGH = 1e-2  # of float32 sums in another order, TF32 off
REPEATS = 5


def parts(device: torch.device) -> list[tuple[str, float, float, float]]:
    """Name, the largest relative difference of outputs and gradients, and milliseconds forward and back on both."""
    found = []
    for family, name in part_names():
        for subject in example_subjects(family, name):
            here, cpu_ms = outcome(subject, torch.device("cpu"))
            there, ms = outcome(subject, device)
            apart = max((far(there[key], here[key]) for key in here), default=0.0)
            found.append((subject.label, apart, cpu_ms, ms))
    return found


def outcome(subject: Subject, device: torch.device) -> tuple[dict[str, torch.Tensor], float]:
    """Outputs and gradients in eval mode, on the CPU, and milliseconds."""
    part = built(subject).to(device)
    inputs = mapped(lambda tensor: to_device(tensor, device), subject.inputs)
    took = []
    for _ in range(REPEATS):
        part.zero_grad()
        started = time.perf_counter()
        outs = subject.run(part, inputs)
        if lost := [value.float().square().mean() for value in outs.values() if value.requires_grad]:
            torch.stack(lost).sum().backward()
        kept = {name: value.detach().cpu() for name, value in outs.items()}  # waits for the device
        took.append(time.perf_counter() - started)
    grads = {f"gradient of {n}": p.grad.cpu() for n, p in part.named_parameters() if p.grad is not None}
    return {**kept, **grads}, 1000 * min(took)


def whole(device: str, folder: Path, rows: int) -> dict[str, Any]:
    """A small fit; its seconds, score, and predictions of its own and of the other device."""
    table, target = synthetic.missing(rows)
    place = device.replace(":", "-")
    started = time.perf_counter()
    run = pm.fit(
        table, target, out=folder / place, fusion=["concat", "gated"], seeds=1, crossfit=0, device=device,
        store=str(folder / f"store-{place}"), trackers="none", quiet=True, training={"epochs": 5},
    )  # fmt: skip
    seconds = time.perf_counter() - started
    answers = {}
    for name in ("cpu", device):
        said = pm.load(run.folder, device=name).predict(table)
        answers[name] = np.array([said[c] for c in said if "=" in c], dtype=float)
    apart = float(np.abs(answers["cpu"] - answers[device]).max())
    return {"seconds": seconds, "chosen": run.metrics["chosen"], "test": run.metrics["test"], "apart": apart}


def main() -> None:
    reader = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    reader.add_argument("--device", default="auto")
    reader.add_argument("--rows", type=int, default=600)
    given = reader.parse_args()
    device = device_of(given.device)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    print(*(told(device) or ["No accelerator is at hand: the CPU is compared with itself, which says nothing of one."]))
    measured = parts(device)
    for label, apart, cpu_ms, ms in measured:
        mark = "" if apart <= ENOUGH else "  DIFFERS"
        print(f"{label:48} apart {apart:.1e}  cpu {cpu_ms:7.2f} ms  {device} {ms:7.2f} ms{mark}")
    print(f"{sum(apart <= ENOUGH for _, apart, *_ in measured)} of {len(measured)} trials of parts agree")
    with tempfile.TemporaryDirectory() as folder:
        for name in dict.fromkeys(("cpu", str(device))):
            result = whole(name, Path(folder), given.rows)
            print(f"fit on {name}: {result['seconds']:.1f} s, {result['chosen']}, {result['test']}")
            print(f"  its predictions on the CPU and on {name} differ by at most {result['apart']:.1e}")


if __name__ == "__main__":
    main()
