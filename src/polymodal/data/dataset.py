"""Dataset: every cell of a table decoded and processed once, its arrays in the store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from torch import Tensor

from polymodal.core.digest import digest_cells, fingerprint
from polymodal.core.errors import BadCell
from polymodal.core.files import read_json, write_json, writing
from polymodal.core.types import Batch
from polymodal.data.store import Store, View
from polymodal.data.table import Problem

CHUNK = 512  # cells decoded, processed and written at a time
SAMPLE = 20_000  # training cells that a processor is fitted on, at most
IN_MEMORY = 256 << 20  # bytes of a processed stream that are kept in memory


class Reads(Protocol):
    """What a dataset asks of a processor; see `process.base.Processor`."""

    def read(self, cell: Any) -> Any: ...
    def fit(self, cells: Any) -> None: ...
    def process(self, cells: Sequence[Any]) -> dict[str, np.ndarray]: ...
    def facts(self) -> dict[str, Any]: ...
    def state(self) -> dict[str, Any]: ...


@dataclass(eq=False)
class Dataset:
    """Processed rows.

    `digests[stream]` [N, 16] name each cell's content, `present[stream]` [N] says which rows have it, `groups[stream]` is
    the store's group of its processor, `targets[name]` are encoded targets, `bad` the cells set aside.
    """

    store: Store
    ids: list[str]
    digests: dict[str, np.ndarray]
    present: dict[str, np.ndarray]
    groups: dict[str, str]
    targets: dict[str, np.ndarray]
    bad: list[Problem]

    def __post_init__(self) -> None:
        self._sources = {name: _Source(self, name) for name in self.groups}

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def streams(self) -> tuple[str, ...]:
        return tuple(self.groups)

    def tensors(self, stream: str, rows: np.ndarray) -> dict[str, Tensor]:
        """One stream's arrays of `rows`, with `present` [b]; absent rows are zero."""
        return self._sources[stream].read(rows)

    def batch(self, rows: np.ndarray) -> Batch:
        """All streams and targets of `rows`."""
        return Batch(
            {name: self.tensors(name, rows) for name in self.groups},
            {name: torch.from_numpy(values[rows]) for name, values in self.targets.items()},
            [self.ids[i] for i in rows],
        )

    def save(self, folder: Path) -> None:
        """Write what `open` needs; the arrays stay in the store."""
        write_json(folder / "dataset.json", {"ids": self.ids, "groups": self.groups, "bad": [p.__dict__ for p in self.bad]})
        arrays = {f"digest/{n}": v for n, v in self.digests.items()} | {f"present/{n}": v for n, v in self.present.items()}
        arrays |= {f"target/{n}": v for n, v in self.targets.items()}
        with writing(folder / "dataset.safetensors") as temporary:
            save_file({k: np.ascontiguousarray(v) for k, v in arrays.items()}, temporary)

    @classmethod
    def open(cls, folder: Path, store: Store) -> Dataset:
        """What `save` wrote, over the same store."""
        known, arrays = read_json(folder / "dataset.json"), load_file(folder / "dataset.safetensors")

        def under(kind: str) -> dict[str, np.ndarray]:
            return {k.removeprefix(f"{kind}/"): v for k, v in arrays.items() if k.startswith(f"{kind}/")}

        bad = [Problem(**p) for p in known["bad"]]
        return cls(store, known["ids"], under("digest"), under("present"), known["groups"], under("target"), bad)


class _Source:
    """One stream's processed arrays, in memory when small."""

    def __init__(self, dataset: Dataset, stream: str):
        self.dataset, self.stream = dataset, stream
        self._view: View | None = None
        self._held: dict[str, Tensor] | None = None

    def read(self, rows: np.ndarray) -> dict[str, Tensor]:
        if self._view is None:
            self._load()
        assert self._view is not None
        present = self.dataset.present[self.stream][rows]
        flag = torch.from_numpy(present)
        if self._held is not None:
            place = torch.from_numpy(self._place[rows])
            return {**{name: values[place] for name, values in self._held.items()}, "present": flag}
        found = self._view.read(self._place[rows][present])
        out: dict[str, Tensor] = {"present": flag}
        for name, values in found.items():
            full = np.zeros((len(rows), *values.shape[1:]), values.dtype)
            full[present] = values
            out[name] = torch.from_numpy(full)
        return out

    def _load(self) -> None:
        present = self.dataset.present[self.stream]
        rows = np.flatnonzero(present)
        self._place = np.zeros(len(present), dtype=np.int64)
        self._place[rows] = np.arange(len(rows))
        self._view = self.dataset.store.view(self.dataset.groups[self.stream], self.dataset.digests[self.stream][rows])
        if self._view.nbytes <= IN_MEMORY and len(rows):
            values = self._view.read(np.arange(len(rows)))
            self._held = {  # one row of zeros at the end stands for every absent cell
                name: torch.from_numpy(np.concatenate([v, np.zeros((1, *v.shape[1:]), v.dtype)])) for name, v in values.items()
            }
            self._place[~present] = len(rows)


def process_table(
    cells: Mapping[str, Sequence[Any]],
    processors: Mapping[str, Reads],
    store: Store,
    *,
    fit_rows: np.ndarray | None,
    ids: Sequence[str],
    targets: Mapping[str, np.ndarray] | None = None,
    progress: Callable[[str, int], None] | None = None,
) -> Dataset:
    """Fit each processor on cells of `fit_rows` (None: it is fitted already) and process what the store lacks.

    A cell that cannot be used makes its stream missing in that row and is listed in `Dataset.bad`; its reason is stored
    too, so that it is not decoded again. Never more than a chunk of media is in memory, and the fitting sample.
    """
    told = progress or (lambda stream, count: None)
    dataset = Dataset(store, list(ids), {}, {}, {}, dict(targets or {}), [])
    for stream, raw in cells.items():
        processor = processors[stream]
        given = np.zeros(len(raw), dtype=bool)
        digests = digest_cells(_noting(raw, given))
        if fit_rows is not None:
            rows = _sample(fit_rows[given[fit_rows]])
            processor.fit(_decoded(processor, raw, rows))
        group = fingerprint({"processor": f"{type(processor).__module__}:{type(processor).__qualname__}",
                             "options": _options(processor), "state": processor.state()})
        present, bad = _process(raw, processor, store, group, digests, given, lambda n, s=stream: told(s, n))
        told(stream, int((~given).sum()))
        dataset.digests[stream], dataset.present[stream], dataset.groups[stream] = digests, present, group
        dataset.bad.extend(Problem(dataset.ids[i], stream, reason) for i, reason in bad)
    dataset.__post_init__()
    return dataset


def read_cells(processor: Reads, raw: Sequence[Any]) -> tuple[dict[str, np.ndarray], np.ndarray, list[tuple[int, str]]]:
    """Arrays of len(raw) rows (zero where absent), present [N] bool, and (position, reason) of the cells set aside."""
    good, bad, place = [], [], []
    for i, result in enumerate(_read_all(processor, raw)):
        if isinstance(result, _Bad):
            bad.append((i, result.reason))
        elif result is not _ABSENT:
            good.append(result)
            place.append(i)
    present = np.zeros(len(raw), dtype=bool)
    present[place] = True
    arrays: dict[str, np.ndarray] = {}
    if good:
        for name, values in processor.process(good).items():
            arrays[name] = np.zeros((len(raw), *values.shape[1:]), values.dtype)
            arrays[name][place] = values
    return arrays, present, bad


def _process(
    raw: Sequence[Any], processor: Reads, store: Store, group: str, digests: np.ndarray, given: np.ndarray,
    told: Callable[[int], None],
) -> tuple[np.ndarray, list[tuple[int, str]]]:
    """Write what the store lacks; which rows are present, and why the others are not."""
    refused = f"{group}-refused"
    rows = np.flatnonzero(given)
    unseen = rows[store.lacks(refused, digests[rows])]
    fresh = unseen[store.missing(group, digests[unseen])]
    told(len(rows) - len(fresh))
    for start in range(0, len(fresh), CHUNK):
        chunk = fresh[start : start + CHUNK]
        arrays, present, bad = read_cells(processor, [_handed(raw, i) for i in chunk])
        if present.any():
            store.write(group, digests[chunk[present]], {n: v[present] for n, v in arrays.items()})
        if bad:
            words = np.array([reason.encode()[:400] for _, reason in bad], dtype="S400")
            store.write(refused, digests[chunk[[i for i, _ in bad]]], {"reason": words.view(np.uint8).reshape(len(bad), 400)})
        told(len(chunk))
    absent = store.lacks(group, digests[rows])
    present = given.copy()
    present[rows[absent]] = False
    lost = rows[absent]
    if not len(lost):
        return present, []
    texts = store.view(refused, digests[lost]).read(np.arange(len(lost)))["reason"]
    return present, [(int(i), bytes(t).rstrip(b"\0").decode("utf-8", "replace")) for i, t in zip(lost, texts)]


@dataclass(frozen=True)
class _Bad:
    reason: str


_ABSENT = object()


def _read_all(processor: Reads, raw: Sequence[Any]) -> Iterator[Any]:
    """Decode in a few threads, in order: decoders of pictures and sound release the interpreter."""

    def one(cell: Any) -> Any:
        if cell is None:
            return _ABSENT
        if isinstance(cell, _Bad):
            return cell
        try:
            return processor.read(cell)
        except BadCell as error:
            return _Bad(error.reason)
        except (MemoryError, RecursionError):
            raise
        except Exception as error:  # noqa: BLE001 - a decoder's own error costs one cell, with its reason, not the run
            return _Bad(f"could not be read ({type(error).__name__}: {error})")

    if not any(isinstance(cell, Path | bytes) for cell in raw):
        yield from map(one, raw)
        return
    with ThreadPoolExecutor(4) as threads:
        yield from threads.map(one, raw)


def _handed(raw: Sequence[Any], i: int) -> Any:
    """The cell at i, or why it cannot even be handed over (an archive cut short)."""
    try:
        return raw[i]
    except BadCell as error:
        return _Bad(error.reason)


def _noting(raw: Sequence[Any], given: np.ndarray) -> Iterator[Any]:
    """Each cell in turn, noting in `given` which are there; what cannot be handed over counts by its reason."""
    for i in range(len(raw)):
        cell = _handed(raw, i)
        given[i] = cell is not None
        yield cell.reason if isinstance(cell, _Bad) else cell


def _decoded(processor: Reads, raw: Sequence[Any], rows: np.ndarray) -> Iterator[Any]:
    """Decoded cells of `rows` that can be used, a chunk in memory at a time."""
    for start in range(0, len(rows), CHUNK):
        for result in _read_all(processor, [_handed(raw, i) for i in rows[start : start + CHUNK]]):
            if not isinstance(result, _Bad) and result is not _ABSENT:
                yield result


def _sample(rows: np.ndarray) -> np.ndarray:
    if len(rows) <= SAMPLE:
        return rows
    return np.sort(np.random.default_rng(0).choice(rows, SAMPLE, replace=False))


def _options(processor: Any) -> dict[str, Any]:
    """The processor's public plain attributes: its options."""
    return {k: v for k, v in vars(processor).items() if not k.startswith("_") and not k.endswith("_") and not callable(v)}
