"""Show, attend and tell: a recurrent decoder with soft attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from polymodal.nn.layers.pool import masked_mean, masked_softmax
from polymodal.nn.layers.state import PAD, State, TiedDecoder


class RecurrentDecoder(TiedDecoder):
    """An LSTM that looks at the context anew before every word (Xu et al. 2015, soft attention).

    z_t = β_t Σ_s α_ts a_s with α_t = softmax_s(wᵀ tanh(A a_s + H h_{t-1})) and the gate β_t = σ(b h_{t-1}); h_t =
    LSTM(E y_{t-1}, z_t; h_{t-1}); the next word is scored by E (E y_{t-1} + L_h h_t + L_z z_t). The state begins with
    the mean of the context.
    """

    def __init__(self, words: int, width: int, *, context_width: int, dropout: float = 0.1):
        super().__init__(words, width, context_width=context_width, dropout=dropout)
        self.begin = nn.Linear(width, 2 * width)
        self.key = nn.Linear(width, width)
        self.query = nn.Linear(width, width, bias=False)
        self.energy = nn.Linear(width, 1, bias=False)
        self.gate = nn.Linear(width, 1)
        self.cell = nn.LSTMCell(2 * width, width)
        self.out = nn.Linear(2 * width, width)
        self.norm = nn.LayerNorm(width)
        self._penalty: Tensor | None = None

    def penalty(self) -> Tensor:
        """Σ_s (1 - Σ_t α_ts)², the mean over rows (Xu et al. 2015, doubly stochastic attention): every token of the
        context should be looked at once in the course of a text. Of real tokens and words that were last read
        in training, told once, since it holds that pass in memory; else 0."""
        found, self._penalty = self._penalty, None
        return self.bias.new_zeros(()) if found is None else found

    def start(self, context: Tensor, mask: Tensor) -> State:
        x = self.enter(context)
        hidden, cell = self.begin(masked_mean(x, mask)).tanh().chunk(2, 1)
        return State(len(mask), (hidden, cell), (mask, x, self.key(x)))

    def absorb(self, ids: Tensor, state: State) -> tuple[Tensor, State]:
        x, after, weights = self._absorbed(ids, state)
        if self.training:
            looked = (weights.float() * (ids != PAD)[..., None]).sum(1)
            short = (1 - looked).square().view(len(state.seen[0]), state.times, -1)
            self._penalty = short.masked_fill(~state.seen[0][:, None], 0.0).sum(2).mean()
        return x, after

    def weights(self, ids: Tensor, context: Tensor, mask: Tensor) -> Tensor:
        return self._absorbed(ids.flatten(0, -2), self._begun(ids, context, mask))[2].view(*ids.shape, mask.shape[1])

    def _absorbed(self, ids: Tensor, state: State) -> tuple[Tensor, State, Tensor]:
        hidden, cell = state.past
        mask, x, key = state.seen
        read = self.drop(self.embedded(ids))
        hiddens, glimpses, weights = [], [], []
        for word in read.unbind(1):
            asked = hidden.view(len(mask), -1, 1, self.width)
            energy = self.energy((key[:, None] + self.query(asked)).tanh())[..., 0]
            weight = masked_softmax(energy, mask[:, None].expand_as(energy))
            glimpse = (weight @ x).view(len(ids), self.width) * self.gate(hidden).sigmoid()
            hidden, cell = self.cell(torch.cat([word, glimpse], 1), (hidden, cell))
            hiddens.append(hidden)
            glimpses.append(glimpse)
            weights.append(weight.view(len(ids), mask.shape[1]))
        said = self.out(self.drop(torch.cat([torch.stack(hiddens, 1), torch.stack(glimpses, 1)], -1)))
        x = self.drop(self.norm(read + said))
        after = State(len(ids), (hidden, cell), state.seen, state.written + ids.shape[1])
        return x, after, torch.stack(weights, 1)
