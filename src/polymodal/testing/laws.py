"""The laws that every trainable part keeps, whatever its family; each raises `Violation`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from operator import itemgetter
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.nn import functional as F

from polymodal.core.registry import Catalogue, options, options_of
from polymodal.testing.devices import one_device
from polymodal.testing.subject import (
    CLASSES,
    Law,
    Subject,
    Violation,
    built,
    mapped,
    mapped_streams,
    planted,
    rows_of,
    same,
    tensors,
)

Loss = Callable[[Any, dict[str, Tensor]], Tensor]  # of a part and its named outputs


def finite(subject: Subject) -> None:
    """Outputs are finite, in training and in use."""
    for mode in (False, True):
        part = built(subject).train(mode)
        for name, value in subject.run(part, subject.inputs).items():
            if not value.isfinite().all():
                raise Violation(
                    "finite", f"{name} holds NaN or infinity in {'training' if mode else 'eval'} mode.",
                    "Look for a division by a count or a spread that can be zero, and for a softmax over nothing.",
                )  # fmt: skip


def row_alone(subject: Subject) -> None:
    """A row's output does not depend on the rows beside it."""
    part = built(subject)
    whole = subject.run(part, subject.inputs)
    for i in range(rows_of(subject.inputs)):
        alone = subject.run(part, mapped(itemgetter(slice(i, i + 1)), subject.inputs))
        same(
            "row independent of its batch", alone, {n: v[i : i + 1] for n, v in whole.items()},
            f"row {i} comes out different when it is alone", "Use no statistics over dimension 0 in eval mode.",
        )  # fmt: skip


def masked(subject: Subject) -> None:
    """What stands in masked places is never read."""
    part = built(subject)
    clean = subject.run(part, subject.inputs)
    for value in (torch.nan, 1e4):
        dirty = subject.run(part, mapped_streams(partial(planted, value=value), subject.inputs))
        same(
            "ignores masked values", dirty, clean, f"{value} planted in masked places changes the result",
            "Read x, pooled and where only where the mask is True, as after `Tokens.cleared`.",
        )  # fmt: skip


def stream_order(subject: Subject, build: Callable[[dict[str, int]], nn.Module], widths: Mapping[str, int]) -> None:
    """The order in which streams are named changes nothing; `build(widths)` makes a part."""
    outs = []
    for names in (list(widths), list(widths)[::-1]):
        torch.manual_seed(0)
        part = build({n: widths[n] for n in names}).eval()
        outs.append(subject.run(part, {n: subject.inputs[n] for n in names}))
    same(
        "order of streams", outs[1], outs[0], "naming the same streams in another order changes the result",
        "Use self.names and self.widths, which the parent class sorts, not the widths that were given.",
    )  # fmt: skip


def inputs_untouched(subject: Subject) -> None:
    """Inputs are not changed in place."""
    before = mapped(torch.clone, subject.inputs)
    subject.run(built(subject).train(), subject.inputs)
    for old, new in zip(tensors(before), tensors(subject.inputs)):
        if not torch.equal(old.nan_to_num(), new.nan_to_num()):
            raise Violation("inputs untouched", "an input was changed in place.", "Write `x = x + 1`, not `x += 1`.")


def gradient(subject: Subject) -> None:
    """Every parameter that asks for a gradient gets one."""
    torch.manual_seed(0)
    part = subject.build().train()
    with torch.no_grad():  # away from zeros at the start, which hide what lies before them
        for parameter in part.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.05)
    for _ in range(3):  # dropout can hide a small part once
        out = subject.run(part, subject.inputs)[subject.trained]
        if out.requires_grad:
            torch.sum(out * torch.randn_like(out)).backward()
    for name, parameter in part.named_parameters():
        if parameter.requires_grad and (parameter.grad is None or not parameter.grad.any()):
            raise Violation(
                "every parameter receives gradient", f"{name} gets none from `{subject.trained}`.",
                "Use it, delete it, or set requires_grad=False; look for .detach(), argmax and rounding before it.",
            )  # fmt: skip
        if parameter.grad is not None and not parameter.grad.isfinite().all():
            raise Violation(
                "finite gradient", f"the gradient of {name} holds NaN or infinity.",
                "Look for log(0), sqrt(0) and division by zero behind a torch.where: both branches are differentiated.",
            )  # fmt: skip


def saved_and_loaded(subject: Subject) -> None:
    """The state dict holds everything: loaded into a part of another seed, outputs are the same to the bit."""
    first, second = built(subject, 0), built(subject, 1)
    stored = load(save({name: value.detach().clone().contiguous() for name, value in first.state_dict().items()}))
    second.load_state_dict(stored)
    a, b = subject.run(first, subject.inputs), subject.run(second, subject.inputs)
    for name in a:
        if not torch.equal(a[name].nan_to_num(), b[name].nan_to_num()):
            raise Violation(
                "save and load", f"{name} differs after the state dict went through a file.",
                "Register what was drawn or fitted as a parameter or a persistent buffer.",
            )  # fmt: skip


def same_seed(subject: Subject) -> None:
    """Two parts of one seed are the same and, in training mode, do the same."""
    parts = [built(subject, 7).train() for _ in range(2)]
    for (name, a), (_, b) in zip(*(part.state_dict().items() for part in parts)):
        if not torch.equal(a, b):
            raise Violation("same seed, same result", f"{name} starts differently.", "Draw from torch's generator.")
    outs = []
    for part in parts:
        torch.manual_seed(8)
        outs.append(subject.run(part, subject.inputs))
    same(
        "same seed, same result", outs[1], outs[0], "training mode gives another result under the same seed",
        "Draw from torch's global generator only: not from random, NumPy, time or a set's order.", tolerance=0.0,
    )  # fmt: skip


def bfloat16(subject: Subject) -> None:
    """Forward and backward are finite under bfloat16 autocast."""
    part = built(subject).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outs = subject.run(part, subject.inputs)
    for name, value in outs.items():
        if not value.isfinite().all():
            raise Violation("bfloat16", f"{name} is not finite.", "Compute logarithms and variances in float32.")
    out = outs[subject.trained]
    if out.requires_grad:
        out.float().square().mean().backward()
    for name, parameter in part.named_parameters():
        if parameter.grad is not None and not parameter.grad.isfinite().all():
            raise Violation("bfloat16", f"the gradient of {name} is not finite.", "Compute what overflows in float32.")


def options_stored(subject: Subject, catalogue: Catalogue, given: Mapping[str, Any]) -> None:
    """The part can be written back as the spec that it was built from."""
    part = built(subject)
    written_back(part, given)
    catalogue.resolve({"name": type(part), **options_of(part)})


def written_back(part: Any, given: Mapping[str, Any]) -> None:
    """`options_of(part)` are those of `given` that differ from their defaults."""
    cls = type(part)
    if cls.__init__.__code__.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS):
        raise Violation("options stored", f"{cls.__name__} takes *args or **kwargs.", "Name every option.")
    allowed = options(cls)
    for name, option in allowed.items():
        if option.default is option.empty:
            raise Violation("options stored", f"the option {name!r} has no default.", "Give it one.")
    expected = {name: value for name, value in given.items() if value != allowed[name].default}
    if options_of(part) != expected:
        raise Violation(
            "options stored", f"built with {expected}, it writes itself back with {options_of(part)}.",
            "Store each keyword-only argument untouched under its own name; keep what follows from it under another.",
        )  # fmt: skip


def options_felt(
    subject: Subject, outcome: Callable[[Any], Tensor], plain: Mapping[str, Callable[[], nn.Module]]
) -> None:
    """Each option changes something: what the part gives in training, or the gradients of its parameters.

    `outcome(part)` is what is differentiated; `plain[option]` builds the part without that option.
    """

    def felt(build: Callable[[], nn.Module]) -> list[Tensor]:
        torch.manual_seed(0)
        part = build().train()
        out = outcome(part)
        if out.requires_grad:
            out.square().sum().backward()
        return [out.detach(), *(p.new_zeros(0) if p.grad is None else p.grad for p in part.parameters())]

    whole = felt(subject.build) if plain else []
    for option, build in plain.items():
        less = felt(build)
        if len(less) == len(whole) and all(a.shape == b.shape and torch.equal(a, b) for a, b in zip(whole, less)):
            raise Violation(
                "options matter", f"the option {option!r} changes nothing.", "Use it, or do without it.",
            )  # fmt: skip


def plain_builds(
    catalogue: Catalogue, cls: type, options_given: Mapping[str, Any], *given: Any
) -> dict[str, Callable[[], nn.Module]]:
    """For each option that differs from its default, what builds the part without it."""
    allowed = options(cls)
    different = [name for name, value in options_given.items() if value != allowed[name].default]
    specs = {n: {"name": cls, **{k: v for k, v in options_given.items() if k != n}} for n in different}
    return {name: partial(catalogue.build, spec, *given) for name, spec in specs.items()}


def learns(subject: Subject, loss: Loss, *, steps: int, lr: float, goal: float) -> None:
    """Eight rows are learned: within `steps` the eval loss falls below `goal` times what it was."""
    torch.manual_seed(0)
    part = subject.build()
    trainable = [p for p in part.parameters() if p.requires_grad]
    if not trainable:
        return
    optimizer = torch.optim.AdamW(trainable, lr=lr, weight_decay=0.0)
    start = end = _eval_loss(subject, part, loss)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = lr * min(1.0, (step + 1) / 10)
        optimizer.zero_grad()
        loss(part.train(), subject.run(part, subject.inputs)).backward()
        optimizer.step()
        if step % 20 == 19 or step == steps - 1:
            end = _eval_loss(subject, part, loss)
            if end <= goal * start:
                return
    raise Violation(
        "learns eight rows", f"the loss went from {start:.3g} to {end:.3g} in {steps} steps at lr {lr:g}.",
        "Look at the scale at the start, at saturating activations and at what does not reach the output.",
    )  # fmt: skip


@torch.no_grad()
def _eval_loss(subject: Subject, part: Any, loss: Loss) -> float:
    return float(loss(part.eval(), subject.run(part, subject.inputs)))


def not_overridden(cls: type, base: type) -> None:
    """The family's `forward` is final."""
    if cls.forward is not base.forward:  # type: ignore[attr-defined]
        raise Violation("forward is final", f"{cls.__name__} overrides it.", "Write the family's own verb instead.")


class Probe(nn.Module):
    """A part that gives `Tokens`, and a linear classifier of its pooled vector: to see whether the part can learn."""

    def __init__(self, build: Callable[[], nn.Module], dim: int):
        super().__init__()
        self.part = build()
        self.classify = nn.Linear(dim, CLASSES)

    @staticmethod
    def run(probe: Probe, inputs: Any) -> dict[str, Tensor]:
        """Scores of the inputs."""
        return {"scores": probe.classify(probe.part(inputs).pooled)}

    @staticmethod
    def loss(_: nn.Module, outs: dict[str, Tensor]) -> Tensor:
        """Cross-entropy of arbitrary labels: row i has the label i modulo 4."""
        return F.cross_entropy(outs["scores"], torch.arange(len(outs["scores"])) % CLASSES)


def common(subject: Subject, catalogue: Catalogue, given: Mapping[str, Any]) -> list[Law]:
    """The laws of every family, ready to be tried. `given` are the options that the part was built with."""
    stored = partial(options_stored, subject, catalogue, given)
    others = (row_alone, inputs_untouched, gradient, saved_and_loaded, same_seed, bfloat16, one_device)
    return [partial(finite, subject), stored, *(partial(check, subject) for check in others)]
