"""Predictor: what a finished run deploys. From raw rows to answers, and to and from the files of a bundle."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import copy
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polymodal.core.errors import BadArgument, BadData, UnknownName, suggest
from polymodal.core.registry import Spec
from polymodal.core.runtime import autocast, check_precision
from polymodal.core.types import Tokens
from polymodal.data.inputs import named
from polymodal.data.links import LinkOptions, edge_path
from polymodal.data.media.remarks import all_the_same
from polymodal.data.neighbours import NEW, Memory, features_of, resolved
from polymodal.data.schema import Schema
from polymodal.data.storage.dataset import read_cells
from polymodal.data.storage.decode import fetch
from polymodal.data.tables.source import Problem, Table, cells
from polymodal.encoders.base import Encoder
from polymodal.inference.answers import Answers
from polymodal.inference.bundle import (
    CONFIG,
    check_positive,
    encoder_weights,
    kept_parts,
    opened,
    read_bundle,
    read_parts,
    save_bundle,
    under,
)
from polymodal.models.base import Answer, Blend, TokenSource
from polymodal.models.build import Heads, build_answer, said_by
from polymodal.models.encoding import Encoding
from polymodal.models.ledger import Ledger
from polymodal.models.strategy import Strategy
from polymodal.nn.place import CPU, at_rest, device_of_module, in_use, to_device
from polymodal.nn.precision import training_precision
from polymodal.process.base import Processor
from polymodal.targets.base import Target
from polymodal.targets.columns import Names, answer_columns
from polymodal.train.encode import encoded

CHUNK = 256
MANY = 64  # rows of a chunk, at least, that lower precision makes faster
LEARNED = "feedback.safetensors"  # in a run's folder: what its bandits learned since, and answers that wait
NOTHING = "has nothing that the model reads, so its answer is the same for all such rows"
NOT_FINITE = "a cell holds values out of all bounds, or the model is damaged"
NEIGHBOURS = "neighbours.safetensors"  # features of the fit's rows, where the model reads links between rows
Way = Callable[[], AbstractContextManager[Any]]  # within which an answer is given: what is set for it, and set back


@dataclass(frozen=True)
class Member:
    """One trained answer of a deployed model and its weight in the blend."""

    strategy: Strategy
    weight: float


@dataclass(eq=False)
class Predictor:
    """Processors, encoders and an answer, with everything needed to rebuild them.

    `temperature` divides each target's scores so that probabilities mean what they say (Guo et al. 2017); for numbers,
    `radius` is the half width of the conformal interval that covers 90 % of validation rows (in standardised units),
    `radius_of_prior` that around the prior, which rows without any stream get.
    """

    schema: Schema
    targets: tuple[Target, ...]
    processor_specs: Mapping[str, Spec]
    processors: dict[str, Processor]
    encoder_specs: Mapping[str, Spec]
    encoders: dict[str, Encoder]
    members: tuple[Member, ...]
    answer: Answer
    heads: Mapping[str, Spec]
    dim: int
    temperature: dict[str, float]
    radius: dict[str, float]
    cost: dict[str, float] = field(default_factory=dict)  # ms a row to process and encode each stream
    memory: Memory | None = None  # features of the fit's rows, where links between rows are read
    radius_of_prior: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.work: dict[str, int] = {}  # cells of each stream that the last `predict` decoded and encoded
        self.ledger = Ledger(self.answer)
        self.precision = "float32"  # in which chunks of many rows are encoded

    def about(self, target: str | None) -> Predictor:
        """This predictor with the target of that name before the others: what looks at one looks at the first. The
        columns of answers keep their names. Raises `UnknownName` where there is no such target."""
        own = {one.name: one for one in self.targets}
        if target is None or target == self.targets[0].name:
            return self
        if target not in own:
            raise UnknownName(f"This model has no target {target!r}.{suggest(target, own)}")
        _ = self.names  # by the order of the fit
        found = copy(self)
        found.targets = (own[target], *(one for one in self.targets if one.name != target))
        return found

    def in_precision(self, precision: str) -> Predictor:
        """This predictor, which encodes chunks of 64 rows or more in `precision`: float32, bfloat16, or auto.

        `auto` is bfloat16 where the processor multiplies it in hardware. Raises `BadArgument` for another name.
        """
        self.precision = training_precision() if precision == "auto" else check_precision(precision)
        return self

    def to(self, device: torch.device) -> Predictor:
        """This predictor, with its networks on `device`; what it is given and what it gives stays on the CPU.

        An answer that learns on from feedback stays there too: it does so row by row.
        """
        for part in (*self.encoders.values(), *([] if self.ledger.bandits else [self.answer])):
            part.to(device)
        return self

    @property
    def streams(self) -> tuple[str, ...]:
        """The streams that the deployed answer reads."""
        return tuple(sorted({name for m in self.members for name in m.strategy.streams}))

    def raw(self, table: Table) -> dict[str, Any]:
        """The cells of every stream that the answer reads; of links, with the features of the neighbours.

        A neighbour may be a row of `table` or one that the fit knew.
        """
        raw = {name: self.cells(table, name) for name in self.streams}
        known = self.beside(table).memory
        for name in self.streams:
            if known is not None and self._is_links(name):
                options = LinkOptions.of(name, self.schema.fields[name].options)
                raw[name] = resolved(raw[name], table.ids, np.full(len(table), NEW), known, options)
        return raw

    @torch.no_grad()
    def beside(self, table: Table) -> Predictor:
        """This predictor, knowing the rows of `table` too as neighbours of others; itself where it reads no links."""
        if self.memory is None:
            return self
        pooled: dict[str, np.ndarray] = {}
        present: dict[str, np.ndarray] = {}
        chunks = np.array_split(np.arange(len(table)), -(-len(table) // CHUNK) or 1)
        for name in self.encoders:
            if not self._is_links(name):
                raw = self.cells(table, name)
                tokens = [self._encode(name, raw, rows, table.ids, None) for rows in chunks]
                pooled[name] = torch.cat([t.pooled for t in tokens]).numpy()
                present[name] = torch.cat([t.present for t in tokens]).numpy()
        return replace(self, memory=self.memory.with_new(table.ids, features_of(pooled, present)))

    def _is_links(self, stream: str) -> bool:
        return self.schema.fields[stream].about.reads_neighbours

    def lacking_edges(self, table: Table) -> list[str]:
        """Edge lists that the answer reads and that are not where `table` is: its rows have no neighbours then."""
        linked = [self.schema.fields[name] for name in self.streams if self._is_links(name)]
        paths = [edge_path(table, LinkOptions.of(one.name, one.options)) for one in linked]
        return [str(path) for path in paths if not path.is_file()]

    @torch.no_grad()
    def encode(
        self, table: Table, problems: list[Problem] | None = None
    ) -> Iterator[tuple[np.ndarray, dict[str, Tokens]]]:
        """Row numbers and tokens, a chunk at a time. Cells that cannot be used are missing, and named in `problems`."""
        raw = self.raw(table)
        for start in range(0, len(table), CHUNK):
            rows = np.arange(start, min(start + CHUNK, len(table)))
            yield rows, {name: self._encode(name, raw[name], rows, table.ids, problems) for name in self.streams}

    def cells(self, table: Table, stream: str) -> Any:
        """The stream's cells; columns that the table has not are missing, and with all of them the stream is.

        So are links whose edge list is not there; see `lacking_edges`.
        """
        field = self.schema.fields[stream]
        if self._is_links(stream) and not edge_path(table, LinkOptions.of(stream, field.options)).is_file():
            return [None] * len(table)
        lacking = [column for column in field.columns if column not in table.data]
        if lacking and len(lacking) == len(field.columns):
            return [None] * len(table)
        absent: dict[str, list[Any]] = {column: [None] * len(table) for column in lacking}
        return cells(replace(table, data={**table.data, **absent}), field)

    def _encode(
        self, stream: str, raw: Any, rows: np.ndarray, ids: list[str], problems: list[Problem] | None
    ) -> Tokens:
        processor, encoder = self.processors[stream], self.encoders[stream]
        noted: dict[int, str] = {}
        inputs, present, bad = read_cells(processor, raw, rows, noted)
        if problems is not None:
            problems.extend(Problem(ids[rows[i]], stream, reason) for i, reason in [*bad, *all_the_same(noted)])
        at_rest(encoder)
        if not present.any():
            empty = torch.zeros(len(rows), 1, encoder.dim)
            return Tokens(empty, torch.zeros(len(rows), 1, dtype=torch.bool), empty[:, 0])
        tensors = {name: torch.from_numpy(value) for name, value in inputs.items()}
        with autocast(device_of_module(encoder), self.precision if len(rows) >= MANY else "float32"):
            tokens = encoded(encoder, {**tensors, "present": torch.from_numpy(present)}, CHUNK)
        return tokens if tokens.x.dtype == torch.float32 else tokens.to(torch.float32)

    @torch.no_grad()
    def supplies(self, table: Table, problems: list[Problem] | None = None) -> Iterator[tuple[np.ndarray, Encoding]]:
        """Row numbers and what encodes their cells on demand, a chunk at a time; otherwise as `encode`."""
        raw = self.raw(table)
        for start in range(0, len(table), CHUNK):
            rows = np.arange(start, min(start + CHUNK, len(table)))

            def encoded(name: str, some: np.ndarray, rows: np.ndarray = rows) -> Tokens:
                return self._encode(name, raw[name], rows[some], table.ids, problems)

            filled = {name: np.array([_given(raw[name], row) for row in rows]) for name in self.streams}
            yield rows, Encoding(filled, encoded)

    @torch.no_grad()
    def respond(self, source: TokenSource) -> dict[str, Tensor]:
        """Calibrated scores a target, as `score`; a stream is asked for only in rows where the answer needs it."""
        device = device_of_module(at_rest(self.answer))
        scores = self.answer.respond(_Placed(source, device), self.streams)
        return {n: self.tempered(n, to_device(s, CPU)) for n, s in scores.items()}

    @torch.no_grad()
    def score(self, streams: Mapping[str, Tokens]) -> dict[str, Tensor]:
        """Calibrated scores a target, or what its head wrote."""
        device = device_of_module(at_rest(self.answer))
        scores = in_use(lambda some: self.answer(some).predictions, streams, device)
        return {n: self.tempered(n, s) for n, s in scores.items()}

    def tempered(self, target: str, scores: Tensor) -> Tensor:
        """Scores of a target by its temperature, if it has one; the prior of rows without any stream as it is."""
        if target not in self.temperature:
            return scores
        stays = torch.from_numpy(self._says_prior(target, scores)).to(scores.device)
        return torch.where(stays[:, None], scores, scores / self.temperature[target])

    def _says_prior(self, target: str, scores: Tensor) -> np.ndarray:
        """[B] bool: rows of which no more is said than of a row without any stream."""
        head: Any = self.answer.head(target)
        said, prior = (head.target.prediction(head.decode(s)) for s in (scores, head.prior()))
        return np.isclose(said, prior, rtol=1e-5, atol=1e-7).reshape(len(said), -1).all(1)

    def decode(self, target: Target, scores: Tensor) -> dict[str, np.ndarray]:
        """Human values; numbers with `low` and `high`, the conformal interval."""
        decoded = self.answer.head(target.name).decode(scores)
        if target.name in self.radius:
            ends = target.interval(scores, self.radius[target.name])
            if target.name in self.radius_of_prior:
                bare = self._says_prior(target.name, scores)
                wide = target.interval(scores, self.radius_of_prior[target.name])
                ends = {end: np.where(bare.reshape(-1, *[1] * (v.ndim - 1)), wide[end], v) for end, v in ends.items()}
            decoded |= ends
        return decoded

    @cached_property
    def names(self) -> Names:
        """What the columns of answers are called (see `answer_columns`)."""
        return answer_columns(self.targets, [c for c in (self.schema.id, *self.schema.keys) if c])

    def predict(self, data: Table, problems: list[Problem] | None = None) -> Answers:
        """Columns of answers, a row each: label and probability a class, labels, or value with low and high.

        Each column is named after its target, as `names` says. Cells that the answer does without are neither decoded
        nor encoded; `work` counts those that were. Rows in which nothing is given are named in `problems` too, and so
        are answers that are not finite, which are None; raises `BadData` where all are.
        """
        return self.predicted(data, [nullcontext], problems)[0]

    def predicted(self, data: Table, ways: Sequence[Way], problems: list[Problem] | None = None) -> list[Answers]:
        """`predict` once in each of the `ways`; cells are decoded and encoded once for all. `problems` are those of the
        first."""
        said = [Answers() for _ in ways]
        for way, target, decoded, odd in self._answers(data, problems, ways):
            for column, values in target.columns(decoded).items():
                told = [None if o else v for o, v in zip(odd.tolist(), values)]
                said[way].setdefault(self.names[target.name].get(column, column), []).extend(told)
        return said

    def decoded(self, data: Table, target: Target) -> dict[str, np.ndarray]:
        """One target's human values of every row, as `decode` gives them."""
        parts = [values for _, one, values, _ in self._answers(data, None) if one.name == target.name]
        return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}

    def _answers(
        self, data: Table, problems: list[Problem] | None, ways: Sequence[Way] = (nullcontext,)
    ) -> Iterator[tuple[int, Target, dict[str, np.ndarray], np.ndarray]]:
        """In which of `ways`, targets, their decoded values, and [n] bool which are not finite, a chunk of rows at a
        time."""
        self.work = dict.fromkeys(self.streams, 0)
        sound: set[str] = set()
        with self.ledger.watching(data.ids):
            for rows, source in self.supplies(data, problems):
                bare = rows[~np.any(list(source.filled.values()), axis=0)]
                if problems is not None:
                    problems.extend(Problem(data.ids[row], "", NOTHING) for row in bare)
                for place, way in enumerate(ways):
                    with way():
                        self.answer.number(torch.from_numpy(data.rows[rows]))
                        said = self.respond(source)
                    for name, scores in said.items():
                        target = next(t for t in self.targets if t.name == name)
                        decoded = self.decode(target, scores)
                        odd = _not_finite(scores, decoded)
                        if problems is not None and not place:
                            reason = f"the answer is not a finite number: {NOT_FINITE}"
                            problems.extend(Problem(data.ids[i], name, reason) for i in rows[odd])
                        sound |= set() if odd.all() else {name}
                        yield place, target, decoded, odd
                for name, count in source.encoded.items():
                    self.work[name] += count
        if len(data) and (none := [target.name for target in self.targets if target.name not in sound]):
            raise BadData(f"No answer to {', '.join(none)} is a finite number: {NOT_FINITE}.")

    def feedback(self, ids: Sequence[str], truth: Mapping[str, Sequence[Any]]) -> None:
        """Tell the truth of rows predicted before, target by target as a table holds it, to a model that learns on.

        Raises `BadArgument` for a model that does not (no `bandit` in it), for a target that is not there or values
        that do not match the ids; `UnknownName` for a row whose answer does not wait for its truth.
        """
        encoded = {}
        for target in self.targets:
            if target.name not in truth:
                raise BadArgument(f"The truth of {target.name!r} is not given; got {sorted(truth)}.")
            if len(truth[target.name]) != len(ids):
                raise BadArgument(f"{len(ids)} ids have {len(truth[target.name])} values of {target.name!r}.")
            encoded[target.name] = torch.from_numpy(np.array(target.encode(list(truth[target.name]))))
        self.ledger.tell(list(ids), encoded)

    # --- files --------------------------------------------------------------------------------------------------------

    def save(self, folder: Path, extra: Mapping[str, Any]) -> None:
        """Write the files of a bundle, `config.yaml` with `extra`; see `save_bundle`."""
        model = {
            "encoders": dict(self.encoder_specs),
            "facts": {n: e.facts for n, e in self.encoders.items()},
            "dim": self.dim,
            "heads": dict(self.heads),
            "temperature": self.temperature,
            "radius": self.radius,
            "radius_of_prior": self.radius_of_prior,
            "reads_links": self.memory is not None,
            "cost": self.cost,
            "members": [{"strategy": m.strategy.to_json(), "weight": m.weight} for m in self.members],
        }
        weights = encoder_weights(self.encoders) | {f"answer.{k}": v for k, v in self.answer.state_dict().items()}
        if self.memory is not None:
            self.memory.save(folder / NEIGHBOURS)
        save_bundle(
            folder,
            {**extra, "model": model},
            {
                "schema": self.schema.to_json(),
                "targets": [t.to_json() for t in self.targets],
                "processors": kept_parts(self.processor_specs, self.processors),
            },
            weights,
            targets=self.targets,
            beside=() if self.memory is None else (NEIGHBOURS,),
        )

    @classmethod
    def load(cls, folder: Path, *, trust: str | Sequence[str] = ()) -> Predictor:
        """Read a bundle; `trust` names modules of parts that no catalogue has and that it may use, as `my_parts`.

        Raises `BadData` when the folder holds none, one that this code cannot read, or one that names other parts:
        their code is not run.
        """
        mend = "or another version of polymodal made it. Fit again."
        return opened(folder, cls._read, what="model", command="fit", mend=mend, trust=trust)

    @classmethod
    def _read(cls, folder: Path) -> Predictor:
        kept, stored, weights = read_bundle(folder)
        if "space" in kept:
            raise BadData(
                f"{folder} is a run of `align`, which answers no target. Use it with `polymodal index` and `search`, "
                "or make a model with `polymodal fit`."
            )
        model = kept["model"]
        targets = tuple(Target.from_json(t) for t in stored["targets"])
        _check_model(folder / CONFIG, model, targets)
        schema, processors, encoders = read_parts(folder, model, stored, weights, model["dim"])
        members = tuple(Member(Strategy.from_json(m["strategy"]), m["weight"]) for m in model["members"])
        answer = assemble_answer(members, encoders, targets, model["dim"], Heads(model["heads"]))
        answer.load_state_dict(under(weights, "answer."))
        predictor = cls(
            schema,
            targets,
            {n: e["spec"] for n, e in stored["processors"].items()},
            processors,
            model["encoders"],
            encoders,
            members,
            answer,
            model["heads"],
            model["dim"],
            model["temperature"],
            model["radius"],
            model.get("cost", {}),
            Memory.load(folder / NEIGHBOURS) if model.get("reads_links") else None,
            model.get("radius_of_prior", {}),
        )
        if not predictor.ledger.bandits:  # which would take the trial for a row that waits for its truth
            predictor.predict(named(Table.build({"": [None]}), schema.id))
        if (folder / LEARNED).is_file():
            predictor.ledger.load(folder / LEARNED)
        return predictor


def _check_model(path: Path, model: Mapping[str, Any], targets: Sequence[Target]) -> None:
    """Raise `BadData` for numbers that no fit finds."""
    check_positive(path, "the temperature", model["temperature"])
    narrowed = {target.name for target in targets if target.narrows}
    for radii in (model["radius"], model.get("radius_of_prior", {})):
        widths = {n: abs(r) if n in narrowed and isinstance(r, float) else r for n, r in radii.items()}
        bounded = {n: width for n, width in widths.items() if width != float("inf")}  # too few rows for a width
        check_positive(path, "the half width of intervals", bounded, zero=True)
    check_positive(path, "the cost", model.get("cost", {}), zero=True)
    weights = {m["strategy"]["name"]: m["weight"] for m in model["members"]}
    check_positive(path, "the weight", weights, zero=True)
    check_positive(path, "the weight of all", {"members": sum(weights.values())})


class _Placed(TokenSource):
    """A source of tokens on the CPU, as an answer on `device` asks it."""

    def __init__(self, source: TokenSource, device: torch.device):
        super().__init__({})
        self.source, self.device = source, device

    def __len__(self) -> int:
        return len(self.source)

    def present(self, stream: str) -> Tensor:
        return to_device(self.source.present(stream), self.device)

    def tokens(self, stream: str, rows: Tensor | None = None) -> Tokens:
        return to_device(self.source.tokens(stream, None if rows is None else rows.to(CPU)), self.device)


def _not_finite(scores: Tensor, decoded: Mapping[str, np.ndarray]) -> np.ndarray:
    """[n] bool: rows whose scores or human values hold no finite numbers; an interval may have no ends."""
    numbers = {name: values for name, values in decoded.items() if values.dtype.kind == "f"}
    odd = [np.isnan(v) if name in ("low", "high") else ~np.isfinite(v) for name, v in numbers.items()]
    parts = [scores.isnan().numpy(), *odd]
    return np.any([part.reshape(len(scores), -1).any(1) for part in parts], axis=0)


def _given(raw: Any, row: Any) -> bool:
    """Whether a cell holds anything; whether it can be used is known once it is decoded."""
    cell = fetch(raw, int(row))
    return any(value is not None for value in cell.values()) if isinstance(cell, dict) else cell is not None


def assemble_answer(
    members: tuple[Member, ...], encoders: Mapping[str, Encoder], targets: tuple[Target, ...], dim: int, heads: Heads
) -> Answer:
    """One answer to the tokens of `encoders`, or a blend of several."""
    widths, says = {n: e.dim for n, e in encoders.items()}, said_by(encoders)
    answers = [build_answer(m.strategy, widths, targets, dim, heads, says=says) for m in members]
    return answers[0] if len(answers) == 1 else Blend(answers, [m.weight for m in members])
