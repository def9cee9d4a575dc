"""Space: what an `align` run deploys. Any stream's cells to vectors that can be compared with any other stream's."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from polymodal.aligners import ALIGNERS
from polymodal.aligners.base import Aligner
from polymodal.core.digest import fingerprint
from polymodal.core.errors import BadArgument, BadData, UnknownName, suggest
from polymodal.core.files import read_json
from polymodal.core.registry import Spec
from polymodal.core.runtime import device_of
from polymodal.core.types import Tokens
from polymodal.data.items import Items, items
from polymodal.data.media.calibration import CALIBRATION
from polymodal.data.media.remarks import all_the_same
from polymodal.data.media.stretch import OPTIONS
from polymodal.data.schema import Field, Schema
from polymodal.data.storage.dataset import process_table
from polymodal.data.storage.decode import read_cells
from polymodal.data.storage.store import Store
from polymodal.data.tables.source import Problem, Table
from polymodal.encoders.base import Encoder
from polymodal.inference.bundle import encoder_weights, kept_parts, opened, read_bundle, read_parts, save_bundle, under
from polymodal.metrics.random_order import NOT_ABOVE
from polymodal.models.matching import Matcher, beside
from polymodal.nn.place import at_rest, device_of_module, in_use
from polymodal.process.base import Processor
from polymodal.train.encode import encoded, store_tokens, tokens_from_arrays

CHUNK = 64  # cells decoded and encoded at a time
MATCHER = "matcher."  # how names of its weights begin


@dataclass(eq=False)
class Space:
    """Processors, encoders and an aligner: `embed` maps the cells of a stream to vectors of length one."""

    schema: Schema
    processor_specs: Mapping[str, Spec]
    processors: dict[str, Processor]
    encoder_specs: Mapping[str, Spec]
    encoders: dict[str, Encoder]
    aligner_spec: Spec
    aligner: Aligner
    width: int  # the width of tokens that encoders trained from scratch were asked for
    matcher: Matcher | None = None  # judges pairs, where the run has trained one

    def __repr__(self) -> str:
        streams = ", ".join(f"{name} ({kind})" for name, kind in self.streams.items())
        return f"Space({streams}; {self.dim} numbers)"

    @property
    def streams(self) -> dict[str, str]:
        """The kind of each stream that can be embedded."""
        return {name: self.schema.fields[name].kind for name in self.encoders}

    @property
    def dim(self) -> int:
        """How many numbers a vector has."""
        return self.aligner.dim

    def to(self, device: torch.device) -> Space:
        """This space, with its networks on `device`; vectors come from there to the CPU."""
        for part in self._parts():
            part.to(device)
        return self

    def _parts(self) -> list[nn.Module]:
        """All networks."""
        return [self.aligner, *self.encoders.values(), *filter(None, [self.matcher])]

    @cached_property
    def mark(self) -> str:
        """A digest of everything that vectors depend on: vectors of two spaces can be compared if it is the same."""
        weights = {name: value for name, value in self._weights().items() if not name.startswith(MATCHER)}
        return fingerprint(
            {
                "weights": weights,
                "parts": {n: [self.processor_specs[n], p.state()] for n, p in self.processors.items()},
                "encoders": dict(self.encoder_specs),
                "facts": {n: e.facts for n, e in self.encoders.items()},
                "aligner": self.aligner_spec,
            }
        )

    def field(self, stream: str) -> Field:
        """What the stream reads of a table. Raises `UnknownName`."""
        if stream not in self.encoders:
            raise UnknownName(f"This space has no stream {stream!r}.{suggest(stream, self.encoders)}")
        return self.schema.fields[stream]

    def items(self, stream: str, table: Table) -> Items:
        """The stream's raw cells of a table and the row of each; several a row where the stream has them.

        Columns that the table lacks are passed over. Raises `BadData` when it has none of them.
        """
        field = self.field(stream)
        there = tuple(column for column in field.columns if column in table.data)
        if field.columns and not there:
            near = suggest(field.columns[0], table.data)
            raise BadData(f"{table.name} has no column {', '.join(field.columns)}, which {stream!r} reads.{near}")
        if field.options.get("many"):
            return items(table, replace(field, columns=there))
        absent: dict[str, list[Any]] = {c: [None] * len(table) for c in field.columns if c not in there}
        return items(replace(table, data={**table.data, **absent}), field)

    def embed(
        self,
        stream: str,
        given: Table | Sequence[Any],
        *,
        base: Path | None = None,
        problems: list[Problem] | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Vectors float32 [N, dim] of length one, zero where a cell is missing or unusable; and which are there [N].

        `given` is a list of cells (texts, paths, arrays, bytes; for a table stream dicts of its columns), with paths
        relative to `base`, or a `Table`, whose N items are those of `items`. Cells that cannot be used are appended to
        `problems`. Raises `UnknownName` for an unknown stream.
        """
        stream_items, ids = self._given(stream, given, base)
        vectors = np.zeros((len(stream_items), self.dim), np.float32)
        present = np.zeros(len(stream_items), bool)
        for start in range(0, len(stream_items), CHUNK):
            rows = np.arange(start, min(start + CHUNK, len(stream_items)))
            noted: dict[int, str] = {}
            inputs, there, bad = read_cells(self.processors[stream], stream_items.cells, rows, noted)
            if problems is not None:
                problems.extend(
                    Problem(ids[stream_items.row[rows[i]]], stream_items.column[rows[i]], reason)
                    for i, reason in [*bad, *all_the_same(noted)]
                )
            if there.any():
                tensors = {name: torch.from_numpy(value[there]) for name, value in inputs.items()}
                vectors[rows[there]] = self.embed_inputs(stream, tensors)
                present[rows] = there
        return vectors, present

    @torch.no_grad()
    def embed_inputs(self, stream: str, inputs: Mapping[str, torch.Tensor]) -> np.ndarray:
        """What the stream's processor made of [n] cells to vectors float32 [n, dim]."""
        encoder, aligner = at_rest(self.encoders[stream]), at_rest(self.aligner)
        rows = len(next(iter(inputs.values())))
        tokens = encoded(encoder, {**inputs, "present": torch.ones(rows, dtype=torch.bool)}, rows)
        device = device_of_module(aligner)
        return in_use(lambda some: aligner({stream: some})[stream].pooled.float(), tokens, device).numpy()

    def tokens(
        self,
        stream: str,
        given: Table | Items | Sequence[Any],
        *,
        base: Path | None = None,
        store: Store | None = None,
        problems: list[Problem] | None = None,
    ) -> tuple[Tokens, np.ndarray]:
        """What the stream's encoder makes of the cells that are there, [n, T, D]; and which are [N]. Rest as `embed`.

        Values are those that a store keeps. With `store` only what it lacks is read and encoded, and kept there.
        """
        stream_items, ids = self._given(stream, given, base)
        places = [str(place) for place in range(len(stream_items))]
        with contextlib.ExitStack() as stack:
            kept = store or Store(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
            cells, processors = {stream: stream_items.cells}, {stream: self.processors[stream]}
            dataset = process_table(cells, processors, kept, ids=places)
            group = store_tokens(self.encoders[stream], dataset, stream, kept, timed=False)["group"]
            present = dataset.present[stream]
            if problems is not None:
                rows = [(int(bad.row), bad.reason) for bad in dataset.bad]
                problems.extend(Problem(ids[stream_items.row[r]], stream_items.column[r], why) for r, why in rows)
            if not present.any():
                width = self.encoders[stream].dim
                return Tokens.from_vector(torch.zeros(0, width)), present
            arrays = kept.view(group, dataset.digests[stream][present]).load()
        return tokens_from_arrays(arrays), present

    def match(
        self,
        a: str,
        left: Table | Items | Sequence[Any],
        b: str,
        right: Table | Items | Sequence[Any],
        *,
        base: Path | None = None,
        store: Store | None = None,
        problems: list[Problem] | None = None,
    ) -> np.ndarray:
        """Log-odds [N] that the i-th items of the streams `a` and `b` belong together, against a near miss of each.

        One item stands beside all of the other side. NaN where one of both is missing or unusable. Rest as `tokens`.
        Raises `BadArgument` where the run has no matching model or both are of one stream, of which it saw no pair.
        """
        self.judging()
        sides = [self.tokens(n, c, base=base, store=store, problems=problems) for n, c in ((a, left), (b, right))]
        counts = [len(present) for _, present in sides]
        if counts[0] != counts[1] and 1 not in counts:
            raise BadArgument(f"Pairs are as many items of one stream as of the other, or one; got {counts}.")
        pairs = max(counts) if min(counts) else 0
        present = [np.broadcast_to(there, pairs) for _, there in sides]
        both = present[0] & present[1]
        places = [np.broadcast_to(np.cumsum(there) - 1, pairs)[both] for _, there in sides]
        chosen = [t.select(torch.from_numpy(place)) for (t, _), place in zip(sides, places)]
        odds = np.full(pairs, np.nan, np.float32)
        odds[both] = self.odds(a, chosen[0], b, chosen[1])
        return odds

    @torch.no_grad()
    def odds(self, a: str, left: Tokens, b: str, right: Tokens) -> np.ndarray:
        """`match` of what `tokens` gave: [N] of as many rows on either side, or one beside all of the other."""
        matcher = at_rest(self.judging())
        if a == b:
            raise BadArgument(f"Two items of {a!r} cannot be judged: the matching model learned from pairs of streams.")
        if not len(left) or not len(right):
            return np.zeros(0, np.float32)
        aligner, device, told = at_rest(self.aligner), device_of_module(matcher), []

        def mapped(name: str, tokens: Tokens) -> Tokens:
            return in_use(lambda t: matcher.mapped(name, beside(t, aligner({name: t})[name])), tokens, device)

        once, rows = [mapped(a, left), mapped(b, right)], max(len(left), len(right))
        for start in range(0, rows, CHUNK):
            part = slice(start, min(start + CHUNK, rows))
            sides = {str(i): _spread(side, part) for i, side in enumerate(once)}
            told.append(in_use(lambda two: matcher.judged(a, two["0"], b, two["1"]).float(), sides, device).numpy())
        return np.concatenate(told)

    def judging(self) -> Matcher:
        """The matching model. Raises `BadArgument` where the run has none."""
        if self.matcher is None:
            raise BadArgument("This run has no matching model. Train one with it: polymodal align … --matching.")
        return self.matcher

    def _given(
        self, stream: str, given: Table | Items | Sequence[Any], base: Path | None
    ) -> tuple[Items, Sequence[str]]:
        """The items of a table, those of cells given one by one, or items as they are; and the ids of their rows."""
        field = self.field(stream)
        if isinstance(given, Items):
            return given, [str(row) for row in range(int(given.row.max(initial=-1)) + 1)]
        if isinstance(given, Table):
            return self.items(stream, given), given.ids
        table = _table(field, given, base)
        return items(table, _single(field)), table.ids

    # --- files ---

    def save(self, folder: Path, extra: Mapping[str, Any]) -> None:
        """Write the files of a bundle, `config.yaml` with `extra`; see `save_bundle`."""
        space = {
            "aligner": self.aligner_spec,
            "widths": dict(self.aligner.widths),
            "dim": self.aligner.dim,
            "width": self.width,
            "encoders": dict(self.encoder_specs),
            "facts": {name: encoder.facts for name, encoder in self.encoders.items()},
        }
        if self.matcher is not None:
            space["matching"] = {"widths": dict(self.matcher.widths), "dropout": self.matcher.dropout}
        schema = {"schema": self.schema.to_json(), "processors": kept_parts(self.processor_specs, self.processors)}
        save_bundle(folder, {**extra, "space": space}, schema, self._weights())

    @classmethod
    def load(cls, folder: str | Path, *, trust: str | Sequence[str] = ()) -> Space:
        """Read what `save` wrote; `trust` as of `Predictor.load`.

        Raises `BadData` when the folder holds no space, one that cannot be read, or parts that are not trusted.
        """
        mend = "another version of polymodal made it, or it is a run of `fit`, not of `align`."
        return opened(Path(folder), cls._read, what="space", command="align", mend=mend, trust=trust)

    @classmethod
    def _read(cls, folder: Path) -> Space:
        kept, stored, weights = read_bundle(folder)
        space = kept.get("space")
        if space is None:
            raise BadArgument(
                f"{folder} is a run of `fit`, which has no shared space. Make one with `polymodal align`."
            )
        schema, processors, encoders = read_parts(folder, space, stored, weights, space["width"])
        aligner = ALIGNERS.build(space["aligner"], space["widths"], space["dim"])
        aligner.load_state_dict(under(weights, "aligner."))
        specs = {name: entry["spec"] for name, entry in stored["processors"].items()}
        matcher = None
        if "matching" in space:  # runs of before have none
            matcher = Matcher(dim=space["dim"], **space["matching"])
            matcher.load_state_dict(under(weights, MATCHER))
        shared_space = cls(
            schema, specs, processors, space["encoders"], encoders, space["aligner"], aligner, space["width"], matcher
        )
        for part in shared_space._parts():
            part.eval()
        return shared_space

    def _weights(self) -> dict[str, torch.Tensor]:
        parts = {"aligner.": self.aligner, MATCHER: self.matcher}
        return encoder_weights(self.encoders) | {
            f"{prefix}{name}": value
            for prefix, part in parts.items() if part is not None
            for name, value in part.state_dict().items()
        }  # fmt: skip


def load_space(folder: str | Path, *, trust: str | Sequence[str] = (), device: str = "auto") -> Space:
    """The space of a finished `align` run, on a device by name (see `device_of`).

    `trust` names modules of own parts that it may use, as `my_parts`. Raises `BadData` when the folder holds none, or
    one with parts that are neither catalogued nor trusted, `BadArgument` where there is no such device.
    """
    return Space.load(folder, trust=trust).to(device_of(device))


def evidence_of(folder: str | Path | None, query: str, corpus: str) -> dict[str, Any] | None:
    """What the run's own test says of queries of one stream among items of another (`evaluation.retrieval.Evidence`);
    None where it says nothing, as runs made before there was any do."""
    path = None if folder is None else Path(folder) / "metrics.json"
    if path is None or not path.exists():
        return None
    metrics = read_json(path)
    told = metrics.get("evidence") if isinstance(metrics, dict) else None
    said = told.get(f"{query} to {corpus}") if isinstance(told, dict) else None
    return said if isinstance(said, dict) and said.get("verdict") in ("above", *NOT_ABOVE) else None


def _spread(tokens: Tokens, part: slice) -> Tokens:
    """The rows of a part, or the one row as often."""
    if len(tokens) > 1:
        return tokens.select(part)
    return tokens.select(torch.zeros(part.stop - part.start, dtype=torch.int64))


def _single(field: Field) -> Field:
    """The field as it reads cells given one by one."""
    left = ("many", "array", "row", "key", *OPTIONS, *CALIBRATION)
    options = {k: v for k, v in field.options.items() if k not in left}
    columns = field.columns if field.about.is_record else (field.name,)
    return replace(field, columns=columns, options=options)


def _table(field: Field, given: Sequence[Any], base: Path | None) -> Table:
    """Cells given one by one, as a table of the columns that the field reads."""
    if isinstance(given, str | bytes | Mapping):
        raise BadArgument(f"embed takes a Table or a list of cells; got {type(given).__name__}. Put it in a list.")
    if not field.about.is_record:
        return Table.build({field.name: list(given)}, base=base)
    for cell in given:
        if cell is not None and not isinstance(cell, Mapping):
            raise BadArgument(f"A cell of {field.name!r} is a dict of {', '.join(field.columns)}; got {cell!r}.")
    return Table.build({c: [(cell or {}).get(c) for cell in given] for c in field.columns}, base=base)
