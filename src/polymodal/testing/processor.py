"""Does a processor keep its contract?"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from polymodal.core.errors import BadCell
from polymodal.core.registry import Spec
from polymodal.process import PROCESSORS
from polymodal.process.base import Processor
from polymodal.report.cards import shown_kinds
from polymodal.testing.laws import written_back
from polymodal.testing.subject import Violation, judge


def check_processor(spec: Spec, cells: Sequence[Any], *, broken: Sequence[Any] = ()) -> None:
    """Try a processor on raw training `cells` (4 or more, none missing) and on `broken` ones. Raises `NotConformant`.

    A cell comes out the same whatever stands beside it, in arrays whose shape does not depend on the rows; fitting is
    repeatable; facts and state are JSON and rebuild the processor; noise of level 0 changes nothing and noise of
    level 1 keeps shape and type; a broken cell raises `BadCell` with a reason; options are stored; a decoded cell can
    be shown.
    """
    cls, given = PROCESSORS.resolve(spec)
    build = partial(PROCESSORS.build, spec)

    def fitted() -> Processor:
        processor: Processor = build()
        processor.fit([processor.read(cell) for cell in cells])
        return processor

    judge(
        f"The processor {PROCESSORS.name_of(cls)}",
        [
            partial(_runs, fitted, cells), partial(_options, build, given), partial(_alone, fitted, cells),
            partial(_repeatable, fitted, cells), partial(_restored, build, fitted, cells),
            partial(_noise, fitted, cells), partial(_broken, fitted, broken), partial(_shown, fitted, cells),
        ],
    )  # fmt: skip


def _arrays(processor: Processor, cells: Sequence[Any]) -> dict[str, np.ndarray]:
    return processor.process([processor.read(cell) for cell in cells])


def _same(law: str, a: dict[str, np.ndarray], b: dict[str, np.ndarray], found: str, mend: str) -> None:
    for name in b:
        if name not in a or a[name].dtype != b[name].dtype or not _equal(a[name], b[name]):
            raise Violation(law, f"{found} ({name}).", mend)


def _equal(a: np.ndarray, b: np.ndarray) -> bool:
    return np.array_equal(a, b, equal_nan=a.dtype.kind == "f")


def _runs(fitted: Any, cells: Sequence[Any]) -> None:
    arrays = _arrays(fitted(), cells)
    if not arrays:
        raise Violation("gives arrays", "process returned none.", "Return a dict from name to array.")
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf" or len(array) != len(cells):
            raise Violation(
                "gives arrays", f"{name} is {type(array).__name__} {getattr(array, 'dtype', '')} {np.shape(array)}.",
                f"Return numeric NumPy arrays of {len(cells)} rows for {len(cells)} cells.",
            )  # fmt: skip


def _options(build: Any, given: dict[str, Any]) -> None:
    written_back(build(), given)


def _alone(fitted: Any, cells: Sequence[Any]) -> None:
    processor = fitted()
    whole = _arrays(processor, cells)
    for i, cell in enumerate(cells):
        _same(
            "cell independent of the others", _arrays(processor, [cell]), {n: v[i : i + 1] for n, v in whole.items()},
            f"cell {i} comes out different when it is alone", "Pad to a length fixed in fit; use no other cells.",
        )  # fmt: skip


def _repeatable(fitted: Any, cells: Sequence[Any]) -> None:
    first, second = fitted(), fitted()
    if json.dumps(first.state(), sort_keys=True) != json.dumps(second.state(), sort_keys=True):
        raise Violation("fit is repeatable", "fitted twice, its state differs.", "Break ties; sort sets.")
    again = _arrays(second, cells)
    _same("fit is repeatable", _arrays(first, cells), again, "fitted twice, arrays differ", "Use no chance.")


def _restored(build: Any, fitted: Any, cells: Sequence[Any]) -> None:
    first, second = fitted(), build()
    law, mend = "save and load", "Return from state() all that fit learned, as JSON values, and read it in load_state."
    second.load_state(json.loads(json.dumps(first.state(), allow_nan=False)))
    if json.loads(json.dumps(first.facts())) != json.loads(json.dumps(second.facts())):
        raise Violation(law, f"facts were {first.facts()}, after loading {second.facts()}.", mend)
    _same(law, _arrays(second, cells), _arrays(first, cells), "arrays differ after loading the state", mend)


def _noise(fitted: Any, cells: Sequence[Any]) -> None:
    processor = fitted()
    clean = {name: torch.from_numpy(array) for name, array in _arrays(processor, cells).items()}
    before = {name: value.clone() for name, value in clean.items()}

    def noisy(level: float) -> dict[str, np.ndarray]:
        changed = processor.corrupt(clean, level, torch.Generator().manual_seed(3))
        return {name: value.numpy() for name, value in changed.items()}

    still = {name: value.numpy() for name, value in before.items()}
    _same("noise", noisy(0.0), still, "level 0 changes the input", "Level 0 means clean.")
    loud = noisy(1.0)
    for name, array in still.items():
        if loud[name].shape != array.shape or loud[name].dtype != array.dtype:
            raise Violation("noise", f"level 1 changes the shape or type of {name}.", "Keep both.")
        if array.dtype.kind == "f" and not np.array_equal(np.isfinite(loud[name]), np.isfinite(array)):
            raise Violation("noise", f"level 1 makes {name} infinite or NaN.", "Keep finite values finite.")
    if all(_equal(loud[name], still[name]) for name in still):
        raise Violation("noise", "level 1 changes nothing.", "Noise of full strength must be felt.")
    _same("noise", noisy(1.0), loud, "one seed gives two results", "Draw from the given generator only.")
    _same("noise", {n: v.numpy() for n, v in clean.items()}, still, "the input was changed in place", "Change a copy.")


def _broken(fitted: Any, broken: Sequence[Any]) -> None:
    processor = fitted()
    for cell in broken:
        try:
            processor.read(cell)
        except BadCell as error:
            if not error.reason.strip():
                raise Violation("broken cells", f"{cell!r} is refused without a reason.", "Give one.") from error
        else:
            raise Violation("broken cells", f"{cell!r} was read.", "Raise BadCell with a plain reason.")


def _shown(fitted: Any, cells: Sequence[Any]) -> None:
    processor = fitted()
    shown = processor.show(processor.read(cells[0]))
    if shown.get("kind") not in (allowed := shown_kinds()):
        raise Violation(
            "can be shown", f"show gives the kind {shown.get('kind')!r}.", f"Allowed: {', '.join(allowed)}."
        )
