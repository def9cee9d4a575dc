"""Rows that lack modalities: cleared masks, against vectors filled in by a regression or by draws of a flow.

    python benchmarks/imputation.py [avdigits icu] [--rows N] [--seeds 3] [--draws 5] [--rate 0.3] [--markdown]

Streams are encoded once, by formula (`--rows` training rows). Then each seed trains the same fusion without modality
dropout and with it (`--rate`), and learns on the same tokens what streams are like given the others (the answer
`imputed`). Test rows are answered with every non-empty subset of the streams: by the fusion on cleared masks, and with
what is absent filled in. Told are the scores, the paired differences of filling from masks for the same weights with
their 95 % intervals, and CPU seconds of each training.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from by_hand import SETS
from realdata import folder_of
from strategies import markdown
from tools import parser, show

import polymodal as pm
from polymodal.config import Training
from polymodal.core.types import Tokens
from polymodal.evaluation.robustness import Subsets, evaluate_subsets, subset_masks
from polymodal.evaluation.statistics import compare_draws
from polymodal.experiment.answer_job import answer_scores, fit_answer, labelled
from polymodal.experiment.finalize import question_of
from polymodal.experiment.fit import fit_plan
from polymodal.experiment.work import TRAIN, VALID, Work, labelled_rows, open_features, open_work
from polymodal.models.build import build_answer
from polymodal.models.imputed import Imputed
from polymodal.models.strategy import Strategy
from polymodal.nn.place import in_use
from polymodal.train.features import Features

FILLS = ("mean", "flow")


def encoded(name: str, rows: int, out: Path) -> tuple[Any, Work, Features]:
    """A fit of the plainest fusion, for its tokens."""
    known, folder, store = SETS[name], folder_of(name), str(out / "store")
    table = pm.read_table(folder / "train.csv")
    if rows and rows < len(table):
        table = table.select(np.sort(np.random.default_rng(0).permutation(len(table))[:rows]))
    plan = pm.plan(
        table, valid=folder / "valid.csv", test=folder / "test.csv", metric=known.metric,
        schema={"fields": known.fields, "target": known.target}, config={"preset": "fast"}, seeds=1, workers=0,
        fusion=["concat"], encodings="fitted", pretrained=False, joint=False, ensemble=False, noise=False,
        evidence="validation", trackers="none", store=store,
    )  # fmt: skip
    fit_plan(plan, out=out / "run", quiet=True)
    folder_of_work = str(out / "run" / "work")
    streams = tuple(sorted(plan.streams))
    return plan, open_work(folder_of_work, store=store), open_features(folder_of_work, streams, True, store=store)


def trained(work: Work, features: Features, seed: int, draws: int, rate: float) -> dict[str, tuple[Imputed, float]]:
    """Answers by how they were trained and what fills in, and the CPU seconds that each took on top."""
    rows, valid = labelled_rows(work, work.rows(TRAIN)), work.rows(VALID)
    seen, held = (labelled(work, features, torch.from_numpy(r)) for r in (rows, valid))

    def built(by: str) -> Imputed:
        spec = {"name": "imputed", "by": by, **({"draws": draws} if by == "flow" else {})}
        strategy = Strategy("answer", spec, tuple(features.widths))
        torch.manual_seed(seed)
        made = build_answer(strategy, features.widths, work.targets, work.dim, work.heads, says=features.says)
        assert isinstance(made, Imputed)
        return made

    found: dict[str, tuple[Imputed, float]] = {}
    learned: dict[str, dict[str, Any]] = {}
    for way, dropout in (("", 0.0), (" + dropout", rate)):
        masks, began = built("flow"), time.process_time()
        options = Training().with_({**work.recipe, "modality_dropout": dropout})
        list(fit_answer(work, masks, features, torch.from_numpy(rows), valid, options, seed))
        found[f"masks{way}"] = masks, time.process_time() - began
        for by in FILLS:
            filling, began = built(by), time.process_time()
            filling.inner.load_state_dict(masks.inner.state_dict())
            if by in learned:  # what streams are like does not depend on who reads them
                filling.load_state_dict({**filling.state_dict(), **learned[by]})
            else:
                filling.finalize(seen, held, seed)
                learned[by] = {k: v for k, v in filling.state_dict().items() if k.startswith("imputer.")}
            found[f"{by}{way}"] = filling, time.process_time() - began
    return found


def scored(plan: Any, features: Features, seeds: list[dict[str, tuple[Imputed, float]]]) -> dict[str, Subsets]:
    """Every subset, by each way, on the test rows."""
    question = question_of(plan, plan.targets[0])
    streams = features.read(torch.from_numpy(plan.rows("test")))
    names, target = tuple(sorted(plan.streams)), plan.targets[0]

    def answers(model: Imputed, some: dict[str, Tokens]) -> np.ndarray:
        said = in_use(answer_scores(model.eval()), some, torch.device("cpu"))[target.name]
        return target.prediction(model.head(target.name).decode(said))

    def subsets(way: str) -> Subsets:
        def predict(keep: np.ndarray) -> np.ndarray:
            rows = len(question.test)
            some = {n: streams[n].keep(torch.full((rows,), bool(k))) for n, k in zip(names, keep)}
            return np.stack([answers(models[way][0], some) for models in seeds])

        return evaluate_subsets(question.metric, question.test, names, predict, seed=0, groups=question.groups)

    return {way: subsets(way) for way in seeds[0]}


def table(found: dict[str, Subsets]) -> list[dict[str, Any]]:
    """A row a subset, small ones first."""
    names = next(iter(found.values())).names
    rows = []
    for j in sorted(range(1, 2 ** len(names)), key=lambda j: (bin(j).count("1"), j)):
        row: dict[str, Any] = {"given": " ".join(subset_masks(names)[j])}
        for way, subsets in found.items():
            row[way] = f"{subsets.draws[j].interval().mean:.3f}"
            fill, _, rest = way.partition(" ")
            if fill in FILLS:
                gain = compare_draws(subsets.draws[j], found[f"masks {rest}".strip()].draws[j])
                row[way] += f" [{gain.difference:+.3f}, {gain.low:+.3f} to {gain.high:+.3f}]".replace("-", "−")
        rows.append(row)
    return rows


def main() -> None:
    """Run the benchmark."""
    arguments = parser(__doc__)
    arguments.add_argument("data", nargs="*", default=["avdigits", "icu"])
    arguments.add_argument("--rows", type=int, default=0)
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument("--draws", type=int, default=5)
    arguments.add_argument("--rate", type=float, default=0.3, help="of modality dropout")
    arguments.add_argument("--markdown", action="store_true")
    options = arguments.parse_args()
    torch.set_num_threads(1)
    for name in options.data:
        with tempfile.TemporaryDirectory() as scratch:
            began = time.process_time()
            plan, work, features = encoded(name, options.rows, Path(scratch))
            print(f"{name}: encoded in {time.process_time() - began:.0f} CPU s; widths {features.widths}", flush=True)
            seeds = [trained(work, features, seed, options.draws, options.rate) for seed in range(options.seeds)]
            rows = table(scored(plan, features, seeds))
        if options.markdown:
            print(markdown(rows))
        else:
            show(rows, options.json)
        cost = {way: np.mean([models[way][1] for models in seeds]) for way in ("masks", *FILLS)}
        print(", ".join(f"{way} {seconds:.1f} CPU s a seed" for way, seconds in cost.items()), flush=True)


if __name__ == "__main__":
    main()
