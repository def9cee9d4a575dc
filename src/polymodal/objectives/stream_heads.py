"""A head a stream and target, for training only: what the auxiliary losses of several objectives share."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from polymodal.core.types import Tokens
from polymodal.nn.layers.named import Named
from polymodal.objectives.base import Setting


class StreamHeads(nn.Module):
    """Every target answered from every stream alone. The heads are not part of what is deployed."""

    def __init__(self, setting: Setting):
        super().__init__()
        self.heads = Named(
            {n: Named({t.name: setting.head(setting.widths[n], t) for t in setting.targets}) for n in setting.names}
        )

    def losses(self, streams: Mapping[str, Tokens], targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A stream's loss, summed over targets, over the rows that have it."""
        losses = {}
        for name, heads in self.heads.items():
            rows = streams[name].present
            tokens = streams[name].select(rows)
            each = [head.loss(tokens, targets[target][rows]) for target, head in heads.items()]  # type: ignore[operator,union-attr]
            losses[name] = sum(each[1:], each[0])
        return losses
