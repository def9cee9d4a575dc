"""Start: what a `pretrain` run deploys. Encoders that learned without labels, for others of the same spec to start
from, and which rows they learned from."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from polymodal.core.digest import fingerprint
from polymodal.core.errors import BadArgument, BadData
from polymodal.core.files import told_path
from polymodal.core.registry import Spec, plain
from polymodal.core.sealed import load_sealed, save_sealed
from polymodal.core.shown import many
from polymodal.data.schema import Schema
from polymodal.inference.bundle import encoder_weights, kept_parts, opened, read_bundle, read_parts, save_bundle, under
from polymodal.nn.layers.named import module_name
from polymodal.process.base import Processor

SEEN = "seen.safetensors"  # digests of the cells of the rows that were used, a stream each
AGAIN = 0.05  # of a stream's test cells: where more are those of other rows too, one that is alike was not copied


@dataclass(eq=False)
class Start:
    """Processors and weights of encoders by stream. `about` holds the encoders' specs, `dim`, `objective`, how many
    rows were `learned` from and `judged` by, whether `test_rows` were among them, and the kind of each of the `targets`
    by which rows were cut; `seen` uint8 [N, 16] digests of
    the cells of all these rows, by stream."""

    folder: Path
    schema: Schema
    specs: Mapping[str, Spec]
    processors: dict[str, Processor]
    weights: Mapping[str, Tensor]
    about: Mapping[str, Any]
    seen: Mapping[str, np.ndarray]

    @property
    def streams(self) -> tuple[str, ...]:
        return tuple(self.about["encoders"])

    @property
    def mark(self) -> str:
        """A digest of the weights and of what made the arrays that they read."""
        return fingerprint({"weights": dict(self.weights), "state": [p.state() for p in self.processors.values()]})

    @property
    def told(self) -> str:
        """The folder, as a report tells it."""
        return told_path(self.folder)

    def of(self, stream: str) -> dict[str, Tensor]:
        """The weights of a stream's encoder."""
        return under(self.weights, f"encoders.{module_name(stream)}.")

    def fitting(
        self, schema: Schema, encoders: Mapping[str, Spec], dim: int, asked: Mapping[str, Spec], width: str = "dim"
    ) -> tuple[str, ...]:
        """The streams of `schema` whose `encoders`, with tokens of width `dim`, start from here. `asked` are processors
        that must be those of here, by stream or kind; `width` is what the option of `dim` is called.

        Raises `BadArgument` for a stream of the same name that differs, naming in what, or where there is none.
        """
        common = [name for name in schema.fields if name in self.streams]
        if not common:
            raise BadArgument(
                f"No stream of {', '.join(schema.fields)} starts from {self.told}, which has "
                f"{', '.join(self.streams)}. Pretrain on a table with the same columns, or leave out --start."
            )
        differs = [] if dim == self.about["dim"] else [f"{width} is {dim} here and {self.about['dim']} there"]
        for name in common:
            here, there = schema.fields[name], self.schema.fields[name]
            pairs = {
                "kind": (here.kind, there.kind),
                "columns": (list(here.columns), list(there.columns)),
                "encoder": (_spec(encoders[name]), _spec(self.about["encoders"][name])),
            }
            if given := asked.get(name, asked.get(here.kind)):
                pairs["processor"] = (_spec(given), _spec(self.specs[name]))
            differs += [f"{name}: {what} {a} here and {b} there" for what, (a, b) in pairs.items() if a != b]
        if differs:
            other = {n: self.schema.fields[n] for n in common if schema.fields[n].kind != self.schema.fields[n].kind}
            kinds = ", ".join(f"{column}: {field.kind}" for field in other.values() for column in field.columns)
            how = f" by --schema with `kinds: {{{kinds}}}`" if kinds else ""
            raise BadArgument(
                f"Encoders cannot start from {self.told}: {'; '.join(differs)}. Give the same here{how}, or pretrain "
                "with what is asked here (columns that are no stream, as the target, are named there by --target)."
            )
        return tuple(common)

    def lines(self, streams: Collection[str], others: Collection[str] = ()) -> list[str]:
        """Which streams start from here, what was learned of which rows, and which `others` start from nothing."""
        about, rows = self.about, self.about["rows"]
        test = (
            f", {rows['test']:,} test rows among them, as was asked there" if about["test_rows"] else "; no test rows"
        )
        said = [
            f"{', '.join(streams)} start{'s' * (len(streams) == 1)} from {self.told}: {about['objective']} learning "
            f"without labels from {many(rows['learned'], 'row')}, chosen by {rows['judged']:,}{test}."
        ]
        lacking = [name for name in others if name not in streams]
        return said + ([f"Not in {self.told}, so from scratch: {', '.join(lacking)}."] if lacking else [])

    def check_unseen(
        self, streams: Sequence[str], digests: Mapping[str, np.ndarray], split: np.ndarray,
        row: Mapping[str, np.ndarray] | None = None, targets: Mapping[str, Spec] | None = None,
    ) -> list[str]:  # fmt: skip
        """Whether these weights learned from cells of test rows: `digests` uint8 [M, 16] of the cells of each of
        `streams`, `split` [N], 2 a test row, `row` [M] the row of each cell, by default one a row. `targets` are
        those of the fit, by whose kind rows are cut.

        A cell that training or validation rows hold too is none of the test's. Of a stream whose test cells are often
        so, as those of a table of few values are, one that was learned proves nothing: there whole rows tell.

        Raises `BadData` where they did, unless that was asked when they were made; then it is returned, to be told.
        """
        test, learned = split == 2, np.zeros(len(split), bool)
        rows = {name: np.arange(len(split)) if row is None else row[name] for name in streams}
        for name in streams:
            unseen, again = _learned(_keys([digests[name]]), _keys([self.seen[name]]), test[rows[name]])
            if again <= AGAIN:
                learned[rows[name][unseen]] = True
        whole = [name for name in streams if np.array_equal(rows[name], np.arange(len(split)))]
        if whole and len({len(self.seen[name]) for name in whole}) == 1:
            here, seen = (_keys([of[name] for name in whole]) for of in (digests, self.seen))
            learned |= _learned(here, seen, test)[0]
        if not (count := int((learned & test).sum())):
            return []
        told = (
            f"{count:,} of {int(test.sum()):,} test rows hold cells that {self.told} learned from, without their labels"
        )
        if self.about["test_rows"]:
            return [f"{told}, as was asked there: what is measured on them is no measure of new rows."]
        raise BadData(
            f"{told}. Pretrain on the same split: {self._same_cut(targets or {})}, or give both the same split column "
            "or --test; or, if it is meant, pretrain with --set test_rows=true."
        )

    def _same_cut(self, targets: Mapping[str, Spec]) -> str:
        """What to do there that rows are cut as here: those with a target by its kind."""
        there, here = self.about.get("targets", {}), {name: named(spec) for name, spec in targets.items()}
        if sorted(there) == sorted(here) and there != here:
            kinds = ", ".join(f"{name}: {kind}" for name, kind in here.items())
            was = ", ".join(f"{kind} ({name})" for name, kind in there.items())
            return f"rows are cut by what the target is, there {was}; give it --schema with `target: {{{kinds}}}`"
        return "name the same --target, --schema, seed and fractions there"

    # --- files ---

    def save(self, extra: Mapping[str, Any]) -> None:
        """Write the files of a bundle into the folder, `config.yaml` with `extra`."""
        save_sealed(self.folder / SEEN, dict(self.seen))
        schema = {"schema": self.schema.to_json(), "processors": kept_parts(self.specs, self.processors)}
        save_bundle(self.folder, {**extra, "pretrained": dict(self.about)}, schema, self.weights, beside=[SEEN])

    @classmethod
    def made(
        cls, folder: Path, schema: Schema, specs: Mapping[str, Spec], processors: dict[str, Processor],
        encoders: Mapping[str, Any], about: Mapping[str, Any], seen: Mapping[str, np.ndarray],
    ) -> Start:  # fmt: skip
        """Of encoders that have just learned."""
        facts = {name: encoder.facts for name, encoder in encoders.items()}
        return cls(folder, schema, specs, processors, encoder_weights(encoders), {**about, "facts": facts}, seen)

    @classmethod
    def load(cls, folder: str | Path, *, trust: str | Sequence[str] = ()) -> Start:
        """Read what `save` wrote. Raises `BadData` when the folder holds none, or one that cannot be read."""
        mend = "or another version of polymodal made it."
        return opened(Path(folder), cls._read, what="pretrained start", command="pretrain", mend=mend, trust=trust)

    @classmethod
    def _read(cls, folder: Path) -> Start:
        kept, stored, weights = read_bundle(folder)
        if (about := kept.get("pretrained")) is None:
            made = "an `align` run" if "space" in kept else "a run of `fit`"
            raise BadArgument(f"{folder} is {made}; --start takes the folder of a `polymodal pretrain` run.")
        schema, processors, _ = read_parts(folder, about, stored, weights, about["dim"])
        specs = {name: entry["spec"] for name, entry in stored["processors"].items()}
        return cls(folder, schema, specs, processors, weights, about, load_sealed(folder / SEEN)[0])


def named(spec: Spec) -> str:
    """The name of a part, without its options."""
    return str(spec["name"] if isinstance(spec, Mapping) else spec)


def _spec(spec: Spec) -> Any:
    """A spec such that equal ones are equal however they are written."""
    given = plain(spec)
    return given["name"] if isinstance(given, dict) and list(given) == ["name"] else given


def _keys(digests: Sequence[np.ndarray]) -> np.ndarray:
    """[N] one value a row from the digests [N, 16] of its cells."""
    joined = np.ascontiguousarray(np.concatenate(digests, axis=1))
    return joined.view(f"V{joined.shape[1]}").ravel()


def _learned(here: np.ndarray, seen: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, float]:
    """[M] bool: cells of test rows, and of no others, that are among those `seen`; and the share of cells of test rows
    that others hold too. What is missing counts for nothing."""
    there = here != np.zeros(1, here.dtype)[0]
    ours = test & there
    again = np.isin(here, here[~test & there])
    return ours & ~again & np.isin(here, seen), float(again[ours].mean()) if ours.any() else 0.0
