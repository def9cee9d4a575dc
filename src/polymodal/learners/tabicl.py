"""A pretrained network that learns in context: it reads the training rows as it answers, and is not trained."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar
from zipfile import is_zipfile

import numpy as np
import torch
from torch import Tensor

from polymodal.core.digest import digest_file
from polymodal.core.errors import BadArgument, BadData, require
from polymodal.learners.base import RAREST, Learner
from polymodal.learners.columns import telling
from polymodal.nn.check import check_count
from polymodal.targets.base import CLASSES, MULTILABEL, NUMBER

FILES = {CLASSES: "tabicl-classifier-*.ckpt", MULTILABEL: "tabicl-classifier-*.ckpt", NUMBER: "tabicl-regressor-*.ckpt"}
LIVE = 2  # learners that stay open: each holds what the network made of its rows, some 0.2 MB a row
OWN = 10  # classes up to which the network has a place for each; of more it goes through a hierarchy
UNFITTED: Mapping[str, Any] = {
    "rows": 0, "read": 0, "features": 0, "problems": 0, "width": 0, "meaning": NUMBER, "levels": (), "seed": 0,
    "digest": "",
}  # fmt: skip


class TabICL(Learner):
    """TabICL (Qu, Holzmüller, Varoquaux & Le Morvan 2025), by the package of its authors (extra `tabicl`).

    `model` is the folder with its checkpoints, tabicl-classifier-….ckpt and tabicl-regressor-….ckpt, of which the
    newest is opened; nothing is downloaded. Its state is the training rows: `rows` of them at most, drawn by the seed,
    with the `most` features that tell most of the target each by itself; so a bundle with it holds these rows.
    `estimators` answers, of columns in different order and scaling, are averaged. Of labels each is a question of its
    own. Raises `MissingExtra`, and `BadArgument` where a checkpoint is missing; `BadData` where it is another than
    the one it was fitted with.
    """

    table: Tensor
    held: Tensor  # where the table is no gap: a bundle has finite weights only
    truth: Tensor
    known: Tensor
    read: Tensor
    _live: ClassVar[dict[int, tuple[TabICL, str, list[_Question]]]] = {}  # by id; what is in it cannot lose it

    def __init__(
        self, facts: Mapping[str, Any] | None = None, *, model: str = "", estimators: int = 4, rows: int = 1000,
        most: int = 100,
    ):  # fmt: skip
        super().__init__()
        self.model = model
        self.estimators = check_count("estimators", estimators)
        self.rows = check_count("rows", rows)
        self.most = check_count("most", most)
        self._allot(facts or UNFITTED)

    def _allot(self, facts: Mapping[str, Any]) -> None:
        self._facts = dict(facts)
        self.register_buffer("table", torch.zeros(facts["rows"], facts["read"]))
        self.register_buffer("held", torch.zeros(facts["rows"], facts["read"], dtype=torch.bool))
        self.register_buffer("truth", torch.zeros(facts["rows"], facts["problems"], dtype=torch.float64))
        self.register_buffer("known", torch.zeros(facts["rows"], facts["problems"], dtype=torch.bool))
        self.register_buffer("read", torch.zeros(facts["read"], dtype=torch.int64))

    def facts(self) -> dict[str, Any]:
        return self._facts

    def _fit(
        self, features: np.ndarray, target: np.ndarray, meaning: str, width: int, seed: int, levels: Sequence[float]
    ) -> None:
        require("tabicl", "tabicl")
        self._close()
        truth = target.reshape(len(target), -1).astype(np.float64)
        if meaning == CLASSES:
            truth[truth < 0] = np.nan
        known = np.flatnonzero(~np.isnan(truth).all(1))
        if len(known) > self.rows:
            known = np.sort(np.random.default_rng(seed).permutation(known)[: self.rows])
        features = np.where(np.isfinite(features), features, np.nan)
        read = telling(features, target, self.most)
        self._allot(
            {
                "rows": len(known), "read": len(read), "features": features.shape[1], "problems": truth.shape[1],
                "width": width, "meaning": meaning, "levels": list(map(float, levels)), "seed": seed,
                "digest": digest_file(_file(self.model, meaning)).hex(),
            }
        )  # fmt: skip
        rows, answers = torch.from_numpy(features[known][:, read]), torch.from_numpy(truth[known])
        for kept, there, values in ((self.table, self.held, rows), (self.truth, self.known, answers)):
            there.copy_(~values.isnan())
            kept.copy_(values.nan_to_num())
        self.read.copy_(torch.from_numpy(read))

    @torch.no_grad()
    def scores(self, features: Tensor) -> Tensor:
        meaning, width, levels = (self._facts[name] for name in ("meaning", "width", "levels"))
        self._check(self._facts["features"], width, features.shape[1])
        x = features.float().index_select(1, self.read.to(features.device)).cpu().numpy()
        x = np.where(np.isfinite(x), x, np.nan)
        asked = self._opened(str(features.device))
        if meaning == CLASSES:
            chance = np.zeros((len(x), width))
            chance[:, asked[0].classes] = asked[0].chances(x)
            said = np.log(chance.clip(RAREST, 1))
        elif meaning == MULTILABEL:
            each = [one.chances(x) @ one.classes for one in asked]
            chance = np.stack(each, 1).clip(RAREST, 1 - RAREST)
            said = np.log(chance) - np.log1p(-chance)
        else:
            said = np.concatenate([one.numbers(x, levels) for one in asked], 1)
        return torch.from_numpy(said.astype(np.float32)).to(features.device)

    def _opened(self, device: str) -> list[_Question]:
        """What answers each question on a device; of the learners of a process the last few stay open."""
        held = TabICL._live.get(id(self))
        if held is not None and held[1] == device:
            return held[2]
        package, meaning = require("tabicl", "tabicl"), self._facts["meaning"]
        path = _file(self.model, meaning)
        if not is_zipfile(path):
            raise BadData(f"{path.name} is damaged: copy it again.")
        if digest_file(path).hex() != self._facts["digest"]:
            raise BadData(f"{path.name} is another checkpoint than this learner was fitted with. Put that one back.")
        kind = package.TabICLRegressor if meaning == NUMBER else package.TabICLClassifier
        options = {
            "model_path": path, "allow_auto_download": False, "device": device, "n_estimators": self.estimators,
            "random_state": self._facts["seed"],
        }  # fmt: skip
        rows = torch.where(self.held, self.table, torch.nan).cpu().numpy()
        columns = zip(self.truth.T.cpu().numpy(), self.known.T.cpu().numpy())
        asked = [_Question.of(kind, options, rows[known], truth[known]) for truth, known in columns]
        self._close()
        TabICL._live[id(self)] = self, device, asked
        while len(TabICL._live) > LIVE:
            TabICL._live.pop(next(iter(TabICL._live)))
        return asked

    def _close(self) -> None:
        TabICL._live.pop(id(self), None)

    def _load_from_state_dict(self, *given: Any) -> None:
        self._close()
        super()._load_from_state_dict(*given)


@dataclass(frozen=True)
class _Question:
    """One column of answers [N] and what answers it; None where all are alike, or no feature differs."""

    answers: np.ndarray
    model: Any

    @classmethod
    def of(cls, kind: Any, options: Mapping[str, Any], rows: np.ndarray, answers: np.ndarray) -> _Question:
        low, high = np.where(np.isnan(rows), np.inf, rows).min(0), np.where(np.isnan(rows), -np.inf, rows).max(0)
        if len(np.unique(answers)) < 2 or not (low < high).any():
            return cls(answers, None)
        cached = kind.__name__ == "TabICLRegressor" or len(np.unique(answers)) <= OWN
        return cls(answers, kind(**options, kv_cache=cached).fit(rows, answers))

    @property
    def classes(self) -> np.ndarray:
        """The classes that rows have, in order; of a label 0, 1 or both."""
        return np.unique(self.answers).astype(int)

    def chances(self, x: np.ndarray) -> np.ndarray:
        """[n, classes], that of each class."""
        if self.model is not None:
            return self.model.predict_proba(x)
        return np.tile(np.unique(self.answers, return_counts=True)[1] / len(self.answers), (len(x), 1))

    def numbers(self, x: np.ndarray, levels: Sequence[float]) -> np.ndarray:
        """[n, 1] the mean, or [n, levels] these quantiles."""
        if self.model is not None:
            options = {"output_type": "quantiles", "alphas": list(levels)} if levels else {}
            return self.model.predict(x, **options).reshape(len(x), -1)
        return np.tile(np.quantile(self.answers, levels) if levels else self.answers.mean(), (len(x), 1))


def checkpoint(folder: Path, meaning: str) -> Path | None:
    """The newest checkpoint in a folder for scores of a `meaning`."""
    return max(folder.glob(FILES[meaning]), default=None, key=lambda path: path.name)


def _file(model: str, meaning: str) -> Path:
    """The checkpoint in the folder `model`, or where that was moved, in the one of its name beside other models."""
    shelf, folder = os.environ.get("POLYMODAL_MODELS"), Path(model)
    if shelf and not folder.is_dir():
        folder = Path(shelf) / folder.name
    found = checkpoint(folder, meaning) if model and folder.is_dir() else None
    if found is None:
        raise BadArgument(
            f"tabicl needs a {FILES[meaning]} in the folder that its option `model` names, {model!r}, or in one of its "
            "name where POLYMODAL_MODELS points. On a machine that reaches the hub: hf download jingang/TabICL "
            "--local-dir FOLDER/TabICL."
        )
    return found
