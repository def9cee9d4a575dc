"""Does a part stay on the device of what it is given? Told without a GPU, in two ways.

`on_meta` moves a part and its inputs to torch's `meta` device, which holds no values: an operator that is also handed a
tensor of the CPU mostly raises (products of matrices and `index_select` do not), and a part that looks at values
cannot run at all. `one_device` runs it with values: its tensors claim to be elsewhere, and every operator that mixes
one of them with a tensor of the CPU is an error, as it would be on a GPU.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_flatten, tree_map

from polymodal.testing.subject import Subject, Violation, judge, mapped

ELSEWHERE = torch.device("meta")  # what moved tensors claim: no code of torch touches the values of a device like it
LAW = "one device"
MEND = "Make tensors with device=x.device, x.new_zeros or zeros_like; register constants as buffers."
PACKED = "aten::_pack_padded_sequence"  # wants the lengths, and gives the sizes of batches, on the CPU
BETWEEN = ("aten::copy_", "aten::_copy_from", PACKED, "aten::_pack_padded_sequence_backward")
ONE_NUMBER = ("aten::index_put", "aten::index_put_", "aten::_index_put_impl_", "aten::fill_", "aten::masked_fill")


class Mixed(RuntimeError):
    """An operator was handed tensors of two devices."""


class _Moved(Tensor):
    """A tensor that says it is elsewhere; its values are in `held`, on the CPU."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> _Moved:
        made = Tensor._make_wrapper_subclass(
            cls, held.shape, held.stride(), held.storage_offset(), dtype=held.dtype, device=ELSEWHERE,
            requires_grad=False,
        )  # type: ignore[attr-defined]  # fmt: skip
        made.held = held
        return made

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        return f"_Moved({self.held!r})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        return _carried_out(func, args, kwargs or {})


class _Operators(TorchDispatchMode):
    """Makes tensors where they are asked for, and watches every operator, those of the backward pass included."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _carried_out(func, args, kwargs or {})


class _Constructors(TorchFunctionMode):
    """`torch.tensor(values, device=…)` forgets its values on a device that holds none: here it keeps them."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is Tensor.tolist:
            return args[0].cpu().tolist()
        if func is Tensor.new_tensor and kwargs.get("device") is None:
            return torch.tensor(args[1], dtype=kwargs.get("dtype", args[0].dtype)).to(args[0].device)
        if func in (torch.tensor, torch.as_tensor, torch.asarray) and kwargs.get("device") is not None:
            device = torch.device(kwargs.pop("device"))
            return func(*args, **kwargs).to(device)
        return func(*args, **kwargs)


def _carried_out(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    given = [value for value in tree_flatten((args, kwargs))[0] if isinstance(value, Tensor)]
    target = kwargs.get("device")
    moved = any(isinstance(value, _Moved) for value in given)
    if target is None:
        elsewhere = moved
        if moved and (strange := [t for t in given if not isinstance(t, _Moved) and not _allowed(func, t)]):
            shapes = ", ".join(str(list(t.shape)) for t in strange)
            raise Mixed(f"{func} mixes its operands with a tensor {shapes} of the CPU")
    else:
        elsewhere = torch.device(target) == ELSEWHERE
        kwargs = {**kwargs, "device": torch.device("cpu")}
    args_held, kwargs_held = tree_map(_held, (args, kwargs))
    out = func(*args_held, **kwargs_held)
    if not elsewhere:
        return out
    if func._schema.name == PACKED:
        return _moved(out[0]), out[1]
    return return_and_correct_aliasing(func, args, kwargs, tree_map(_moved, out)) if target is None else _moved(out)


def _allowed(func: Any, tensor: Tensor) -> bool:
    """Torch takes a single number of the CPU beside tensors of a GPU, where operators go element by element."""
    name = func._schema.name
    return name in BETWEEN or (tensor.ndim == 0 and (torch.Tag.pointwise in func.tags or name in ONE_NUMBER))


def _held(value: Any) -> Any:
    return value.held if isinstance(value, _Moved) else value


def _moved(value: Any) -> Any:
    return _Moved(value) if isinstance(value, Tensor) and not isinstance(value, _Moved) else value


@contextmanager
def one_device_only() -> Iterator[torch.device]:
    """A device that is not there: what is moved to it keeps its values and refuses those of the CPU.

    Raises a `Violation` in place of the error of an operator that was handed both.
    """
    try:
        with _Operators(), _Constructors():
            yield ELSEWHERE
    except Mixed as error:
        raise Violation(LAW, f"{error}, {_place(error)}.", MEND) from error
    except RuntimeError as error:
        if ".numpy() is not supported" not in str(error):
            raise
        raise Violation(
            LAW, f"numpy reads a tensor that is not on the CPU, {_place(error)}.", "Use .cpu() first."
        ) from error


def check_devices(subject: Subject) -> None:
    """Try whether a part stays on the device of its inputs, forward and backward. Raises `NotConformant`."""
    judge(subject.label, [partial(one_device, subject)])


def one_device(subject: Subject) -> None:
    """No operator mixes the inputs or what the part registered with a tensor that the part made elsewhere."""
    torch.manual_seed(0)
    part = subject.build()
    for mode in (True, False):
        with one_device_only() as device:
            _forth_and_back(subject, part.to(device).train(mode), device)


def on_meta(subject: Subject) -> None:
    """Forward and backward on torch's `meta` device; raises what torch raises."""
    torch.manual_seed(0)
    device = torch.device("meta")
    _forth_and_back(subject, subject.build().to(device).train(), device)


def _forth_and_back(subject: Subject, part: Any, device: torch.device) -> None:
    outs = subject.run(part, mapped(lambda t: t.to(device), subject.inputs))
    for name, value in outs.items():
        if value.device != device:
            raise Violation(LAW, f"{name} is on {value.device.type}, not where the inputs are.", MEND)
    lost = [value.sum() for value in outs.values() if value.requires_grad]
    if lost:
        torch.stack(lost).sum().backward()
    for name, parameter in part.named_parameters():
        if parameter.grad is not None and parameter.grad.device != device:
            raise Violation(LAW, f"the gradient of {name} is on {parameter.grad.device.type}.", MEND)


def _place(error: BaseException) -> str:
    """The innermost line that is not torch's or this module's."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if "/torch/" not in f.filename and f.filename != __file__] or frames
    return f"in {Path(ours[-1].filename).name}, line {ours[-1].lineno}: {ours[-1].line}"
