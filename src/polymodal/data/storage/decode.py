"""From raw cells to arrays, a chunk at a time: a broken cell costs one cell, whatever its decoder raises."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import numpy as np

from polymodal.core.errors import ABSENT, BadArgument, BadCell, MissingExtra, PolymodalError
from polymodal.data.media.remarks import remarks

log = logging.getLogger(__name__)

CHUNK = 64  # cells decoded at a time: seconds of sound at full rate stay below a hundred megabytes
T = TypeVar("T")
R = TypeVar("R")


class CellProcessor(Protocol):
    """What is asked of a processor; `polymodal.process.base.Processor` says it in full.

    `read` and `process` may be called from several threads at once.
    """

    def read(self, cell: Any) -> Any: ...
    def fit(self, cells: Iterable[Any]) -> None: ...
    def process(self, cells: Sequence[Any]) -> dict[str, np.ndarray]: ...
    def state(self) -> dict[str, Any]: ...
    def load_state(self, state: dict[str, Any]) -> None: ...


@dataclass(frozen=True)
class Broken:
    """A cell that cannot be used. `lasting`: its content is at fault, not disk, memory or what is installed."""

    reason: str
    lasting: bool

    @property
    def absent(self) -> bool:
        """It is missing rather than broken, as the sound of a silent film."""
        return self.reason.startswith(ABSENT)


@dataclass(frozen=True)
class Chunk:
    """Processed cells: `rows` [n] are the positions of those that are usable, `arrays` their n rows.

    `noted` is what readers said of cells that are used all the same.
    """

    rows: np.ndarray
    arrays: dict[str, np.ndarray]
    broken: dict[int, Broken] = field(default_factory=dict)
    noted: dict[int, str] = field(default_factory=dict)


def read_cells(
    processor: CellProcessor,
    cells: Sequence[Any],
    rows: Iterable[int] | None = None,
    noted: dict[int, str] | None = None,
) -> tuple[dict[str, np.ndarray], np.ndarray, list[tuple[int, str]]]:
    """Read and process the cells at positions `rows` (default: all) without a store, for prediction.

    Returns arrays of len(rows) rows, zero where a cell is absent (no array at all where every cell is); `present` bool;
    and, a broken cell each, its place among `rows` and the reason. What is to be said of cells that are used all the
    same, or missing, goes to `noted`, by their place among `rows`.
    """
    wanted = range(len(cells)) if rows is None else list(rows)
    fetched = [fetch(cells, position) for position in wanted]
    there = [place for place, cell in enumerate(fetched) if cell is not None]
    chunk = process_chunk(processor, fetched, there)
    if noted is not None:
        noted |= chunk.noted | {place: one.reason for place, one in chunk.broken.items() if one.absent}
    present = np.zeros(len(fetched), dtype=bool)
    present[chunk.rows] = True
    arrays = {}
    for name, array in chunk.arrays.items():
        arrays[name] = np.zeros((len(fetched), *array.shape[1:]), array.dtype)
        arrays[name][chunk.rows] = array
    return arrays, present, [(place, one.reason) for place, one in sorted(chunk.broken.items()) if not one.absent]


def process_chunk(
    processor: CellProcessor,
    cells: Sequence[Any],
    rows: Iterable[int],
    decoded: MutableMapping[int, Any] | None = None,
) -> Chunk:
    """Read and process the cells at positions `rows`, as many together as the processor holds `at_once`; those that
    `decoded` holds by position are taken out of there."""
    done: list[int] = []
    parts: list[dict[str, np.ndarray]] = []
    broken: dict[int, Broken] = {}
    noted: dict[int, str] = {}
    for some in in_chunks(list(rows), at_once(processor)):
        good: dict[int, Any] = {}
        for row in some:
            value = decoded.pop(row) if decoded and row in decoded else read(processor, cells, row, noted)
            (broken if isinstance(value, Broken) else good)[row] = value
        if arrays := _processed(processor, good, broken):
            parts.append(arrays)
            done += good
    arrays = parts[0] if len(parts) == 1 else {}
    if len(parts) > 1:
        arrays = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    used = set(done)
    return Chunk(np.array(done, np.int64), arrays, broken, {r: said for r, said in noted.items() if r in used})


def at_once(processor: CellProcessor) -> int:
    """How many decoded cells are held together."""
    return getattr(processor, "at_once", CHUNK)


def in_chunks(rows: Any, size: int) -> Iterator[Any]:
    """`size` at a time."""
    return (rows[start : start + size] for start in range(0, len(rows), size))


def read(processor: CellProcessor, cells: Sequence[Any], row: int, noted: dict[int, str]) -> Any:
    """The decoded cell at position `row`, or `Broken`; what its reader says of it all the same goes to `noted`."""
    cell = fetch(cells, row)
    if isinstance(cell, Broken):
        return cell
    with remarks() as said:
        value = guarded(processor.read, cell)
    if said and not isinstance(value, Broken):
        noted[row] = "; ".join(said)
    return value


def fetch(cells: Sequence[Any], row: int) -> Any:
    """The raw cell at position `row` (None where it is missing), or `Broken` where it cannot even be handed over."""
    return guarded(cells.__getitem__, int(row))


def in_order(pool: Executor | None, work: Callable[[T], R], items: Iterable[T], ahead: int) -> Iterator[R]:
    """`map(work, items)`, in the pool if there is one, at most `ahead` items before the consumer."""
    if pool is None:
        yield from map(work, items)
        return
    waiting: deque[Future[R]] = deque()
    for item in items:
        waiting.append(pool.submit(work, item))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def guarded(work: Callable[[Any], Any], given: Any) -> Any:
    """`work(given)`, or `Broken` with what it raised. What is not the cell's fault passes: no memory, no extra."""
    try:
        return work(given)
    except BadCell as error:
        return Broken(error.reason, _is_lasting(error))
    except (PolymodalError, MemoryError):
        raise
    except Exception as error:
        log.debug("a cell could not be used", exc_info=error)
        words = str(error).strip().split("\n")[0]
        return Broken(f"{type(error).__name__}: {words}" if words else type(error).__name__, _is_lasting(error))


def _is_lasting(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, MemoryError | MissingExtra) or (isinstance(error, OSError) and error.errno is not None):
            return False
        error = error.__cause__ or error.__context__
    return True


def _processed(processor: CellProcessor, good: dict[int, Any], broken: dict[int, Broken]) -> dict[str, np.ndarray]:
    """Arrays of the decoded cells; where they cannot be processed together, one by one, and the culprits move over."""
    if not good:
        return {}
    together = guarded(processor.process, list(good.values()))
    if isinstance(together, Broken):
        each = {row: guarded(processor.process, [value]) for row, value in good.items()}
        for row, arrays in each.items():
            if isinstance(arrays, Broken):
                broken[row] = arrays
                del good[row]
        kept = [each[row] for row in good]
        together = {name: np.concatenate([arrays[name] for arrays in kept]) for name in kept[0]} if kept else {}
    _check(processor, together, len(good))
    return together


def _check(processor: CellProcessor, arrays: Mapping[str, np.ndarray], count: int) -> None:
    wrong = {name: np.shape(array) for name, array in arrays.items() if np.shape(array)[:1] != (count,)}
    if wrong or (count and not arrays):
        raise BadArgument(
            f"{type(processor).__name__}.process must give arrays of one row for each of {count} cells; "
            f"got {wrong or 'no array'}."
        )
