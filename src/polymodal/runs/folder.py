"""A run's folder: taken for one run and never for two, left free again where nothing had begun, and what it lists."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from polymodal.core.digest import fingerprint
from polymodal.core.errors import BadArgument, PolymodalError
from polymodal.core.files import json_text, read_json, write_json, writing
from polymodal.core.lock import Lock
from polymodal.core.sealed import load_sealed, save_sealed
from polymodal.core.shown import many, some
from polymodal.data.tables.source import Problem

BUSY = "Wait until it is done, or stop it; --resume then goes on."
PATIENCE = 5  # seconds until what a killed run left behind has ended too
VOLATILE = ("workers", "trackers", "time_limit", "store", "device")  # what a resumed run may have another of


class Interrupted(PolymodalError):
    """Stopped by the user before there was a usable run."""

    exit_code = 130


class Finished:
    """The folder of a finished run."""

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)

    @property
    def metrics(self) -> dict[str, Any]:
        """`metrics.json`."""
        return read_json(self.folder / "metrics.json")

    @property
    def report(self) -> Path:
        return self.folder / "report.html"


def claim(folder: Path, plan: Mapping[str, Any], rows: Any, resume: bool) -> None:
    """Make the run's folder ours: `plan` as plain values with its options under `config`, and the `rows` it is about.

    Raises `BadArgument` when the folder holds another run, or this one and `resume` was not asked.
    """
    stamp = folder / "work" / "plan.json"
    settings = {**plan, "config": {k: v for k, v in plan["config"].items() if k not in VOLATILE}}
    mark = fingerprint({"plan": settings, "rows": rows})
    if stamp.exists():
        if not resume:
            raise BadArgument(f"{folder} holds a run already. Continue it with --resume, or give another --out.")
        known = read_json(stamp)
        sources, before = settings.get("sources"), known["plan"].get("sources")
        if (
            sources
            and before
            and {n: Path(s).name for n, s in before.items()} == {n: Path(s).name for n, s in sources.items()}
        ):  # told from another working folder; what they hold is in the digests and the rows
            mark = fingerprint({"plan": {**settings, "sources": before}, "rows": rows})
        if known["mark"] != mark:
            raise BadArgument(
                f"{folder} was started with other {', '.join(_differing(known['plan'], settings))}; --resume continues "
                "only the same run. Give the same options, or another --out."
            )
        return
    if folder.exists() and not folder.is_dir():
        raise BadArgument(f"{folder} is a file; --out names a folder.")
    if _in_use(folder):
        raise BadArgument(f"{folder} is not empty and holds no unfinished run. Give another --out.")
    write_json(stamp, {"mark": mark, "plan": settings})


def same_cells(
    record: Path, digests: Mapping[str, np.ndarray], rows: Mapping[str, Sequence[str]], *, begun: bool
) -> None:
    """Keep in `record` what the cells of a run hold, and refuse to go on where that changed since the run was begun.

    `digests[name]` uint8 [C, 16] are of the cells of a column or stream, `rows[name]` [C] the rows that they stand in,
    the same as before. Without `begun` nothing was made of them so far, so nothing can be mixed. Raises `BadArgument`.
    """
    if begun and record.exists():
        known, _ = load_sealed(record)
        changed = []
        for name, now in digests.items():
            old = known.get(f"cells/{name}")
            if old is not None and old.shape == now.shape and len(which := np.flatnonzero((old != now).any(axis=1))):
                named = list(dict.fromkeys(rows[name][i] for i in which.tolist()))
                count = f"{many(len(which), 'cell')} of {name}"
                changed.append(f"{count} (row{'s' if len(named) > 1 else ''} {some([*map(repr, named)])})")
        if changed:
            raise BadArgument(
                f"Data have changed since {record.parent.parent} was begun: {', '.join(changed)}. What is finished was "
                "made from the old ones, so --resume would mix both. Put them back as they were, or begin anew with "
                "another --out."
            )
    save_sealed(record, {f"cells/{name}": one for name, one in digests.items()})


@contextlib.contextmanager
def claimed(folder: Path, plan: Mapping[str, Any], rows: Any, resume: bool, *, shared: bool = False) -> Iterator[None]:
    """`claim` for as long as a run lasts: what fails before any training leaves the folder free.

    Raises `PolymodalError` where another process is at it, unless several may (`shared`), and `Interrupted` when
    stopped by the user.
    """
    claim(folder, plan, rows, resume)
    with contextlib.ExitStack() as held:
        if not shared:
            held.enter_context(Lock(folder / "work" / "lock", patience=PATIENCE, advice=BUSY))
        try:
            yield
        except PolymodalError:
            held.close()
            release(folder)
            raise
        except KeyboardInterrupt:
            raise Interrupted(
                f"Stopped before there was a result. The same command with --resume goes on where {folder} stopped."
            ) from None


def begun(folder: Path) -> bool:
    """Whether anything was learned in a run's folder."""
    return any((folder / "work").glob("encoders/*")) or any(folder.glob("*.safetensors"))


def release(folder: Path) -> None:
    """Leave the folder free where no training had begun, so that mended options can be tried with the same `out`."""
    work = folder / "work"
    if begun(folder):
        return
    for path in (folder / "log.jsonl", folder / "set_aside.jsonl", folder / "remarks.jsonl"):
        path.unlink(missing_ok=True)
    shutil.rmtree(work)
    if not any(folder.iterdir()):
        folder.rmdir()


def set_aside(folder: Path, problems: Iterable[Problem], remarks: Sequence[Problem] = ()) -> None:
    """Write `set_aside.jsonl`: what could not be used, and why; and, on cells that were, `remarks.jsonl`."""
    for name, listed in (("set_aside", problems), ("remarks", remarks)):
        if name == "set_aside" or listed:
            with writing(folder / f"{name}.jsonl") as temporary:
                lines = [json_text(vars(one)) for one in listed]
                temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def aside_in(folder: Path) -> list[Problem]:
    """What `set_aside` wrote."""
    return [
        Problem(**json.loads(line)) for line in (folder / "set_aside.jsonl").read_text(encoding="utf-8").splitlines()
    ]


def _in_use(folder: Path) -> bool:
    """Whether a folder without a stamp holds anything but what a run killed while it wrote its stamp leaves."""
    if not folder.exists():
        return False
    entries = {path for path in folder.iterdir() if path != folder / "work"}
    if (folder / "work").is_dir():
        entries |= {path for path in (folder / "work").iterdir() if not path.name.startswith(".plan.json.")}
    return bool(entries)


def _differing(known: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What of two plans differs, options by their own names."""
    old, new = ({**plan, **plan["config"]} for plan in (known, now))
    return [name for name in new if name != "config" and old.get(name) != new[name]] or ["data"]


def environment() -> dict[str, str]:
    """What a figure depends on."""
    import platform

    import torch

    import polymodal

    return {
        "polymodal": polymodal.__version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "machine": platform.machine(),
        "system": platform.system(),
    }
