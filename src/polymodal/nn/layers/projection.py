"""Small heads that map the vectors of a tower into another space."""

from __future__ import annotations

from torch import Tensor, nn

from polymodal.core.errors import BadArgument, suggest
from polymodal.nn.check import check_count, check_dropout

KINDS = ("linear", "mlp", "glu")


class Projection(nn.Module):
    """[..., width] to [..., dim]: layer normalisation, then one of

    - `linear`: W x + b
    - `mlp`: W x + b + W₂ gelu(W₁ x), the linear map corrected by a perceptron
    - `glu`: W₃ (W₁ x · relu(W₂ x)), a gated linear unit (Dauphin et al. 2017), as SAIL aligns frozen towers
      (Zhang et al. 2025)

    `hidden` units, by default twice `dim`; `dropout` hides components of the input and of the hidden layer.
    """

    def __init__(self, width: int, dim: int, *, kind: str = "mlp", hidden: int | None = None, dropout: float = 0.0):
        super().__init__()
        if kind not in KINDS:
            raise BadArgument(f"Unknown head {kind!r}.{suggest(kind, KINDS)}")
        units = 2 * dim if hidden is None else check_count("hidden", hidden)
        self.kind = kind
        self.norm = nn.LayerNorm(width)
        self.drop = nn.Dropout(check_dropout(dropout))
        self.linear = nn.Linear(units if kind == "glu" else width, dim)
        if kind == "mlp":
            self.up, self.down = nn.Linear(width, units), nn.Linear(units, dim, bias=False)
        elif kind == "glu":
            self.up, self.gate = nn.Linear(width, units), nn.Linear(width, units)

    def forward(self, x: Tensor) -> Tensor:
        x = self.drop(self.norm(x))
        match self.kind:
            case "linear":
                return self.linear(x)
            case "mlp":
                return self.linear(x) + self.down(self.drop(nn.functional.gelu(self.up(x))))
            case _:
                return self.linear(self.drop(self.up(x) * self.gate(x).relu()))
