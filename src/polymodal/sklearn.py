"""Estimators for scikit-learn: `clone`, `Pipeline`, `cross_val_score`, over tables whose cells point at anything.

`PolymodalClassifier` and `PolymodalRegressor` take what `polymodal.fit` takes: a DataFrame whose columns are numbers,
texts, paths of photos or sounds; or, as any estimator, an array of numbers.
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import Tags, check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from polymodal.config import Config
from polymodal.core.words import key_of, label_of
from polymodal.data.tables.source import read_table
from polymodal.data.tables.table import clean
from polymodal.experiment.fit import fit
from polymodal.inference.hub import FILES, OPTIONAL
from polymodal.inference.run import load

LEAST = 6  # rows: two each to learn from, to choose by and to judge by


class _Estimator(BaseEstimator):
    """What both share. The rows given to `fit` are cut into training, validation and test rows as `config` says."""

    _kind: str

    def __init__(
        self,
        *,
        schema: str | Path | Mapping[str, Any] | None = None,
        config: Config | str | Path | Mapping[str, Any] | None = None,
        out: str | Path | None = None,
        random_state: int | None = 0,
        quiet: bool = True,
    ):
        """`schema` and `config` as for `polymodal.fit` (`config` also as a mapping); `out` is the run's folder with its
        report (default: one that lasts as long as the estimator); `random_state` is the first seed of the run.
        """
        self.schema = schema
        self.config = config
        self.out = out
        self.random_state = random_state
        self.quiet = quiet

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        tags.input_tags.sparse = False
        return tags

    def _fit(self, columns: dict[str, list[Any]], y: list[Any]) -> Self:
        rows = len(next(iter(columns.values()), ()))
        if rows != len(y):
            raise ValueError(f"X has {rows} rows and y has {len(y)}: found input with inconsistent numbers of samples.")
        if rows < LEAST:
            raise ValueError(f"Found array with {rows} sample(s) while a minimum of {LEAST} is required.")
        target = "target"
        while target in columns:
            target += "_"
        out = self._folder() / "run" if self.out is None else self.out
        schema = self.schema
        if schema is None and self._plain:
            schema = {"fields": {"table": {"kind": "table", "columns": list(columns)}}}
        self.run_ = fit(
            {**columns, target: y},
            {target: self._kind},
            out=out,
            schema=schema,
            config=self._settings(),
            quiet=self.quiet,
        )
        return self

    def _settings(self) -> Config:
        if isinstance(self.config, Config | str | Path):
            return Config.given(self.config, {})
        seed = int(check_random_state(self.random_state).randint(2**31))
        return Config.from_options({"seed": seed, **(self.config or {})})

    def _known(self, X: Any) -> dict[str, list[Any]]:
        check_is_fitted(self, "run_")
        return self._columns(X, reset=False)

    def _columns(self, X: Any, *, reset: bool) -> dict[str, list[Any]]:
        """The columns of a table or an array. Raises as scikit-learn's estimators for what is neither."""
        if hasattr(X, "iloc"):
            validate_data(self, X, reset=reset, skip_check_array=True)
            if not len(X):
                raise ValueError("Found array with 0 sample(s) while a minimum of 1 is required.")
            table = read_table(X).data
            plain = all(getattr(kind, "kind", "O") in "fiu" for kind in X.dtypes)
        elif not issparse(X) and isinstance(X[0] if isinstance(X, list) and X else X, Mapping):
            table, plain = read_table(X).data, False
            if reset:
                self.feature_names_in_ = np.array(list(table), dtype=object)
                self.n_features_in_ = len(table)
        else:
            array = validate_data(self, X, reset=reset, dtype=None, ensure_all_finite="allow-nan")
            if array.dtype.kind == "c":
                raise ValueError("Complex data not supported.")
            if np.isinf(np.asarray(array, dtype=np.float64) if array.dtype.kind in "fiub" else 0.0).any():
                raise ValueError("Input contains infinity or a value too large for dtype('float64').")
            table = {f"x{place}": array[:, place].tolist() for place in range(array.shape[1])}
            plain = array.dtype.kind in "fiub"
        if reset:
            self._plain = plain
        return dict(table)

    def _folder(self) -> Path:
        """A new folder that goes with the estimator; the one before goes now."""
        self._discard()
        folder = tempfile.mkdtemp(prefix="polymodal-")
        self._temporary = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return Path(folder)

    def _discard(self) -> None:
        if "_temporary" in vars(self):
            self._temporary()
            del self._temporary

    # --- files: a pickle carries the bundle, so that a copy lives on its own ---

    def __getstate__(self) -> dict[str, Any]:
        state = {name: value for name, value in super().__getstate__().items() if name not in ("run_", "_temporary")}
        if "run_" in vars(self):
            files = [self.run_.folder / name for name in (*FILES, *OPTIONAL)]
            state["_bundle"] = {file.name: file.read_bytes() for file in files if file.exists()}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        bundle = state.pop("_bundle", None)
        super().__setstate__(state)
        if bundle is not None:
            folder = self._folder()
            for name, content in bundle.items():
                (folder / name).write_bytes(content)
            self.run_ = load(folder)


class PolymodalClassifier(ClassifierMixin, _Estimator):
    """Trains every stream's encoder and every fusion, keeps the best, and answers one of several classes.

    After `fit`: `classes_`, `n_features_in_`, and `run_`, the finished `Run` with its verdict, leaderboard and report.
    """

    _kind = "classes"

    def fit(self, X: Any, y: Any) -> Self:
        """X: a DataFrame, a dict of columns, a list of dicts or an array [N, D]; y: N labels, of two kinds at least.

        Raises `ValueError` (`BadData`, `BadArgument`) for what cannot be learned from.
        """
        columns = self._columns(X, reset=True)
        y = _column(self, y)
        if not len(y):
            raise ValueError(f"Found array with 0 sample(s) while a minimum of {LEAST} is required.")
        if absent := [
            row for row, label in enumerate(y.tolist()) if clean(label) is None and not isinstance(label, str)
        ]:
            raise ValueError(f"Input y contains NaN or None: row {absent[0]} has no label. Leave such rows out.")
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"{type(self).__name__} needs two classes; y holds one class: {self.classes_.tolist()[0]!r}."
            )
        labels = [label_of(value) for value in self.classes_.tolist()]
        if len(set(map(key_of, labels))) < len(labels) or None in map(clean, labels):
            # as cells of a table some of them would be one, or missing
            labels = [f"{label!r} ({code})" for code, label in enumerate(labels)]
        self._fit(columns, [labels[code] for code in codes])
        place = {label: code for code, label in enumerate(labels)}
        self._order = [place[label] for label in self.run_.classes()]
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """[N, C] calibrated probabilities, in the order of `classes_`; 0 for a class that no training row had."""
        columns = self._known(X)
        probabilities = np.zeros((len(next(iter(columns.values()))), len(self.classes_)))
        probabilities[:, self._order] = self.run_.predict_proba(columns)
        return probabilities / probabilities.sum(1, keepdims=True)

    def predict(self, X: Any) -> np.ndarray:
        """[N] labels, as they stood in y."""
        check_is_fitted(self, "run_")
        return self.classes_[self.predict_proba(X).argmax(1)]


class PolymodalRegressor(RegressorMixin, _Estimator):
    """The same for a number. After `fit`: `n_features_in_`, and `run_` as for `PolymodalClassifier`."""

    _kind = "number"

    def fit(self, X: Any, y: Any) -> Self:
        """X: a DataFrame, a dict of columns, a list of dicts or an array [N, D]; y: N numbers.

        Raises `ValueError` (`BadData`, `BadArgument`) for what cannot be learned from.
        """
        columns = self._columns(X, reset=True)
        y = np.asarray(_column(self, y), dtype=np.float64)
        if not np.isfinite(y).all():
            raise ValueError("Input y contains NaN or infinity.")
        return self._fit(columns, y.tolist())

    def predict(self, X: Any) -> np.ndarray:
        """[N] numbers, in the units of y."""
        columns = self._known(X)
        answers = self.run_.predict(columns)
        return np.array(answers[self.run_.predictor.targets[0].name], dtype=np.float64)


def _column(estimator: BaseEstimator, y: Any) -> np.ndarray:
    if y is None:
        raise ValueError(f"{type(estimator).__name__} requires y to be passed, but the target y is None.")
    return column_or_1d(y, warn=True)
