"""Low-rank adapters: a large frozen network tuned through few parameters (Hu et al. 2022)."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

from polymodal.core.errors import BadArgument
from polymodal.nn.check import check_count

ADAPTED = re.compile(r"(^|\.)(q|v|q_proj|v_proj|query|value|q_lin|v_lin|qkv)$")  # queries and values, as in the paper


class LoRALinear(nn.Module):
    """W x + b + (`alpha` / `rank`) B A x, with W and b frozen; B starts at zero, so the start is the network itself."""

    def __init__(self, base: nn.Linear, *, rank: int = 8, alpha: float = 16.0):
        super().__init__()
        check_count("rank", rank)
        self.rank = rank
        self.alpha = alpha
        self.base = base.requires_grad_(False)
        self.down = nn.Parameter(base.weight.new_empty(rank, base.in_features))
        self.up = nn.Parameter(base.weight.new_zeros(base.out_features, rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + F.linear(F.linear(x, self.down), self.up) * (self.alpha / self.rank)


def add_lora(module: nn.Module, wanted: Callable[[str], bool], *, rank: int = 8, alpha: float = 16.0) -> list[str]:
    """Freeze `module` and give an adapter to every linear layer whose dotted name is `wanted`; their names.

    Raises `BadArgument` when no linear layer is: nothing would be trained.
    """
    module.requires_grad_(False)
    names = [name for name, layer in module.named_modules() if isinstance(layer, nn.Linear) and wanted(name)]
    if not names:
        raise BadArgument(
            f"{type(module).__name__} has no linear layer that LoRA was asked to adapt; tune it another way."
        )
    for name in names:
        path, _, last = name.rpartition(".")
        parent = module.get_submodule(path)
        setattr(parent, last, LoRALinear(getattr(parent, last), rank=rank, alpha=alpha))
    return names
