"""Is the record of a kind complete: can its cells be read, learnt from, shown and tried?"""

from __future__ import annotations

from functools import partial
from typing import Any

from polymodal.core.registry import import_path
from polymodal.data.kinds import KINDS, Kind
from polymodal.encoders import ENCODERS
from polymodal.inference.explanation import DRAWINGS
from polymodal.process import PROCESSORS
from polymodal.report.cards import CARDS
from polymodal.testing.examples import make_cells
from polymodal.testing.subject import Violation, judge


def check_kind(kind: Kind | str) -> None:
    """Try the record of a kind that streams are of. Raises `NotConformant`.

    One that is learnt from names a processor of this kind, an encoder that takes what the processor makes, a card that
    can draw what it shows, and an example that it can read; a kind that is only known names none of them.
    """
    record = KINDS[kind] if isinstance(kind, str) else kind
    laws = (_processor, _encoder, _example, _card, _drawing) if record.trained else (_nothing,)
    judge(f"The kind {record.name}", [partial(law, record) for law in laws])


def _nothing(kind: Kind) -> None:
    named = [what for what in ("processor", "encoder", "card", "example") if getattr(kind, what)]
    if named and kind.stream:
        raise Violation("only known", f"it is not learnt from, yet names {', '.join(named)}.", "Say learnt=True.")


def _named(kind: Kind, what: str, catalogue: Any) -> type:
    name = getattr(kind, what)
    if not name:
        raise Violation(f"has {what}", "none is named.", f"Name one: a catalogue's, or module:Class, in {what}=.")
    return catalogue.load(name)


def _processor(kind: Kind) -> None:
    processor = _named(kind, "processor", PROCESSORS)
    if processor.kind != kind.name:  # type: ignore[attr-defined]
        reads = processor.kind  # type: ignore[attr-defined]
        raise Violation("has processor", f"{kind.processor} reads {reads!r}.", f"Let its `kind` be {kind.name!r}.")


def _cells(kind: Kind) -> tuple[Any, list[Any]]:
    """The kind's processor, fitted to its examples, and those decoded."""
    if not kind.example:
        raise Violation("has example", "none is named.", "Name a function of a generator and a number in example=.")
    processor = PROCESSORS.build(kind.processor)
    decoded = [processor.read(cell) for cell in make_cells(kind, 8)]
    processor.fit(decoded)
    return processor, decoded


def _example(kind: Kind) -> None:
    _cells(kind)


def _encoder(kind: Kind) -> None:
    import torch

    names = [name for name in ("encoder", "ready_encoder") if getattr(kind, name)]
    for what in names or ["encoder"]:
        _named(kind, what, ENCODERS)
        processor, decoded = _cells(kind)
        inputs = {name: torch.from_numpy(array) for name, array in processor.process(decoded).items()}
        encoder = ENCODERS.build(getattr(kind, what), processor.facts(), 16)
        encoder.fit_statistics(inputs)
        tokens = encoder.eval()(inputs)
        if len(tokens) != len(decoded):
            raise Violation("has encoder", f"{len(decoded)} cells gave {len(tokens)} rows.", "Give a row a cell.")


def _card(kind: Kind) -> None:
    if not kind.card:
        raise Violation("has card", "none is named.", f"Name one of {', '.join(CARDS)}, or module:function, in card=.")
    processor, decoded = _cells(kind)
    shown = processor.show(decoded[0])
    drawn = (CARDS[kind.card] if kind.card in CARDS else import_path(kind.card))(shown)
    if not isinstance(drawn, dict) or not drawn:
        raise Violation("has card", f"{kind.card} gave {drawn!r}.", "Give keys of a card: image, audio, text, note …")


def _drawing(kind: Kind) -> None:
    if kind.drawing and kind.drawing not in DRAWINGS:
        import_path(kind.drawing)
