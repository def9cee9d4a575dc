"""Can a part be exported (`torch.export`) for any number of rows, and does the graph say what the part says?"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram, ShapesCollection
from torch.utils._pytree import KeyPath, keystr, tree_flatten_with_path, tree_leaves, tree_map, tree_map_with_path

from polymodal.aligners import ALIGNERS
from polymodal.core.errors import UnknownName, suggest
from polymodal.core.registry import Spec
from polymodal.core.types import Batch
from polymodal.encoders import ENCODERS
from polymodal.fusion import DECISIONS
from polymodal.heads import HEADS
from polymodal.learners import LEARNERS
from polymodal.models.adapted import Adapted
from polymodal.models.base import Answer, Blend, Labelled, Model
from polymodal.models.build import Fitted, Heads, Parts, build_encoder
from polymodal.models.specs import resolved, serves
from polymodal.targets import TARGETS
from polymodal.targets.base import MEANINGS, NUMBER
from polymodal.testing.aligner import aligner_subject, example_widths
from polymodal.testing.decision import decision_subject
from polymodal.testing.encoder import encoder_subject
from polymodal.testing.examples import example_inputs
from polymodal.testing.fusion import fusion_subject
from polymodal.testing.head import example_truth, head_subject
from polymodal.testing.subject import ROWS, Violation, judge, random_streams, same
from polymodal.testing.target import example_target

# What is no graph, and why: a family, or family/part. A part that is named here and can be exported fails its test.
EXCUSED: dict[str, str] = {
    "processor": "reads files and cells, which are no tensors",
    "metric": "counts rows in NumPy; it is no module",
    "target": "says what is asked; it is no module",
    "objective": "is for training; nothing of it is left in use",
    "embedding": "is for training; the aligner `knowledge` needs nothing of it in use",
    "generator": "asks a network of another library, row by row",
    "clean": "works on cells of a table",
    "annotate": "works on cells of a table",
    "augment": "works on cells of a table",
    "head/flow": "draws by steps from noise that every row has a generator of its own for",
    "head/gan": "draws from noise that every row has a generator of its own for",
    "head/writer": "writes symbol by symbol, until every text has ended",
    "head/writer_recurrent": "writes symbol by symbol, until every text has ended",
    "head/writer_unified": "writes symbol by symbol, until every text has ended",
    "answer/prefix_lm": "writes symbol by symbol, until every text has ended",
    "answer/blind": "writes symbol by symbol, until every text has ended",
    "answer/consensus": "looks its answers up among those of training, in NumPy",
}
BATCHES = (1, 2, 7, 64)
DIM = 8
WIDTHS = {"left": 6, "middle": 5, "right": 4}
LAW = "exports"


@dataclass(frozen=True)
class Exported:
    """What is to be exported: `build()` makes the part, `args` are what its forward takes, a nest of tensors [8, …]."""

    label: str
    build: Callable[[], nn.Module]
    args: tuple[Any, ...]


def check_export(family: str, spec: Spec) -> None:
    """Try to export a part of a family, for every kind of target that it knows. Raises `NotConformant`.

    The number of rows is one symbol in every input and output of the graph, 1 or more; and at 1, 2, 7 and 64 rows, with
    each stream missing and with all of them, the graph gives what the part gives. `UnknownName` for a family of parts
    that are no graphs (`EXCUSED` says why).
    """
    if family not in FAMILIES:
        raise UnknownName(f"Parts of the family {family!r} are not exported.{suggest(family, FAMILIES)}")
    for one in FAMILIES[family](spec):
        judge(one.label, [partial(_exports, one)])


def _exports(one: Exported) -> None:
    exported(one)


# --- parts with what they take ----------------------------------------------------------------------------------------


def _fusion(spec: Spec) -> Iterator[Exported]:
    one = fusion_subject(spec, WIDTHS, DIM)
    yield Exported(one.label, one.build, (one.inputs,))


def _decision(spec: Spec) -> Iterator[Exported]:
    for meaning in DECISIONS.resolve(spec)[0].needs:  # type: ignore[attr-defined]
        one = decision_subject(spec, tuple(WIDTHS), meaning, 1 if meaning == NUMBER else 3)
        yield Exported(one.label, one.build, (one.inputs["scores"], one.inputs["present"]))


def _head(spec: Spec) -> Iterator[Exported]:
    answers = HEADS.resolve(spec)[0].answers  # type: ignore[attr-defined]
    for kind in TARGETS:
        if not issubclass(TARGETS.load(kind), answers):
            continue
        one = head_subject(spec, example_target(kind), DIM)
        yield Exported(one.label, one.build, (one.inputs["tokens"],))


def _encoder(spec: Spec) -> Iterator[Exported]:
    one = encoder_subject(spec, *example_inputs(ENCODERS.resolve(spec)[0].processor), DIM)  # type: ignore[attr-defined]
    yield Exported(one.label, one.build, (one.inputs,))


def _aligner(spec: Spec) -> Iterator[Exported]:
    widths = example_widths(ALIGNERS.resolve(spec)[0])

    def build() -> nn.Module:
        """Drawn, not fitted: what is fitted lies in buffers."""
        part: nn.Module = ALIGNERS.build(spec, widths, DIM)
        for buffer in part.buffers():
            if buffer.is_floating_point():
                buffer.normal_()
            elif buffer.dtype == torch.bool:
                buffer.fill_(True)  # it says that it was fitted
        return part

    one = aligner_subject(spec, widths, DIM)
    yield Exported(one.label, build, (one.inputs,))


def _answer(spec: Spec) -> Iterator[Exported]:
    """One answer to a target of every kind that it knows, after `finalize`."""
    kinds = [kind for kind in TARGETS if serves(resolved(spec).needs, [example_target(kind)])]
    yield _whole(f"The answer {spec}", lambda parts, widths, targets: parts.answer(spec, widths, targets), kinds)


def _learner(spec: Spec) -> Iterator[Exported]:
    def build(parts: Parts, widths: dict[str, int], targets: list[Any]) -> Answer:
        learners = {t.name: LEARNERS.build(spec, None) for t in targets}
        fitted = Fitted(learners, {t.name: parts.head(1, t) for t in targets})  # type: ignore[misc]
        fitted.fit(random_streams(widths), {t.name: example_truth(t).numpy() for t in targets}, 0)
        return fitted

    yield _whole(f"The learner {spec}", build, MEANINGS)


def _whole(
    label: str, build: Callable[[Parts, dict[str, int], list[Any]], Answer], kinds: Any, streams: int = 2
) -> Exported:
    widths = dict(list(WIDTHS.items())[:streams])
    targets = [replace(example_target(kind), name=kind) for kind in kinds]

    def finished() -> Answer:
        cost = {name: float(width) for name, width in widths.items()}
        answer = build(Parts(DIM, Heads(), cost), widths, targets)
        rows = Labelled(random_streams(widths, full=True), {t.name: example_truth(t) for t in targets})
        answer.finalize(rows, rows, 0)
        return answer

    return Exported(label, finished, (random_streams(widths),))


def _adapted(parts: Parts, widths: dict[str, int], targets: list[Any]) -> Answer:
    return Adapted(parts.answer("concat", widths, targets), widths)


def _aligned(parts: Parts, widths: dict[str, int], targets: list[Any]) -> Answer:
    met = dict.fromkeys(widths, DIM)
    return Adapted(parts.answer("cross", met, targets), widths, ALIGNERS.build("infonce", widths, DIM))


def _blend(parts: Parts, widths: dict[str, int], targets: list[Any]) -> Answer:
    return Blend([parts.answer(spec, widths, targets) for spec in ("concat", "late_mean")], [2.0, 1.0])


def _model() -> Exported:
    """From a batch of arrays to scores."""
    spoken, table = (example_inputs(processor) for processor in ("vector", "table"))
    target = example_target("classes")

    def build() -> nn.Module:
        encoders = {"v": build_encoder("vector_mlp", spoken[0], DIM), "t": build_encoder("table_ft", table[0], DIM)}
        return Model(encoders, Parts(DIM, Heads()).answer("cross", dict.fromkeys(encoders, DIM), [target]))

    present = {"v": torch.arange(ROWS) % 3 > 0, "t": torch.arange(ROWS) % 4 > 0}
    inputs = {name: {**arrays, "present": present[name]} for name, arrays in (("v", spoken[1]), ("t", table[1]))}
    return Exported("A whole model", build, (Batch(inputs),))


# What joins parts and is in no catalogue: adapters, an ensemble, a model from arrays to scores.
WHOLES: dict[str, Callable[[], Exported]] = {
    "adapters": partial(_whole, "Adapters", _adapted, MEANINGS),
    "adapters and an aligner": partial(_whole, "Adapters and an aligner", _aligned, ["classes"]),
    "an ensemble": partial(_whole, "An ensemble", _blend, MEANINGS),
    "a whole model": _model,
}
FAMILIES: dict[str, Callable[[Spec], Iterator[Exported]]] = {
    "fusion": _fusion, "decision": _decision, "answer": _answer, "learner": _learner, "head": _head,
    "encoder": _encoder, "align": _aligner,
}  # fmt: skip


# --- the law ----------------------------------------------------------------------------------------------------------


def exported(one: Exported) -> ExportedProgram:
    """The exported program, once it has shown that it holds for any number of rows. Raises `Violation`."""
    torch.manual_seed(0)
    part = one.build().eval()
    rows, shapes = Dim("b", min=1), ShapesCollection()
    for leaf in tree_leaves(one.args):
        shapes[leaf] = {0: rows}
    with torch.no_grad(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*_flat_weights")  # a recurrent network's own list of its parameters
        try:
            program = torch.export.export(part, one.args, strict=False, dynamic_shapes=shapes)  # type: ignore[arg-type]
        except Exception as error:
            reason = " ".join(str(error).split())[:400]
            raise Violation(
                LAW, f"it cannot be: {type(error).__name__}: {reason}",
                "Write x.shape[0], not len(x); let no branch, shape or Python number depend on data, nor on storage "
                "(nn.graphs has what may look at data outside a graph).",
            ) from error  # fmt: skip
        _symbolic(program)
        module = program.module()
        for batch in BATCHES:
            _agrees(part, module, tree_map(partial(_repeated, batch), one.args), f"{batch} rows")
        for words, args in _gaps(one.args):
            _agrees(part, module, args, words)
    return program


def _repeated(rows: int, leaf: Tensor) -> Tensor:
    return leaf[torch.arange(rows) % leaf.shape[0]]


def _symbolic(program: ExportedProgram) -> None:
    """The number of rows is one symbol in every input and output, and may be 1 and any larger number."""
    names = {s.arg.name for s in program.graph_signature.input_specs if s.kind.name == "USER_INPUT"}
    names |= {s.arg.name for s in program.graph_signature.output_specs if hasattr(s.arg, "name")}
    symbols = set()
    for node in program.graph.nodes:
        if node.name not in names:
            continue
        size = node.meta["val"].shape[0]
        if not isinstance(size, torch.SymInt):
            raise Violation(LAW, f"{node.name} has {size} rows for good.", "Write x.shape[0], not len(x).")
        symbols.add(size.node.expr)
    if len(symbols) != 1:
        raise Violation(LAW, f"rows go by several counts: {sorted(map(str, symbols))}.", "Return [B, …] only.")
    span = program.range_constraints[symbols.pop()]
    if span.lower > 1 or span.upper < 2**31:
        raise Violation(LAW, f"it holds for {span.lower} to {span.upper} rows only.", "Branch on no number of rows.")


def _gaps(args: tuple[Any, ...]) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """The same inputs without each stream, and without any."""
    masks = [path for path, leaf in tree_flatten_with_path(args)[0] if leaf.dtype == torch.bool]
    for name in (*dict.fromkeys(key for path in masks for key in _keys(path)), None):

        def gone(path: KeyPath, leaf: Tensor, name: Any = name) -> Tensor:
            hit = leaf.dtype == torch.bool and (name is None or name in _keys(path))
            return torch.zeros_like(leaf) if hit else leaf

        yield f"{name or 'every stream'} missing", tree_map_with_path(gone, args)


def _keys(path: KeyPath) -> list[Any]:
    return [step.key for step in path if hasattr(step, "key")]


def _agrees(part: nn.Module, module: nn.Module, args: tuple[Any, ...], words: str) -> None:
    expected = {keystr(path): leaf for path, leaf in tree_flatten_with_path(part(*args))[0]}
    said = dict(zip(expected, tree_leaves(module(*args)), strict=True))
    mend = "A number of the example was baked in: look for .tolist(), int(x) and float(x)."
    same(LAW, said, expected, f"with {words} the graph says something else", mend)
