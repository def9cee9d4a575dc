"""Chronos-Bolt as a tower for series: what a forecaster of a hundred billion steps makes of each channel."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from polymodal.core.errors import BadArgument, require
from polymodal.core.types import Tokens
from polymodal.encoders.pretrained import PretrainedTower
from polymodal.nn.graphs import longest
from polymodal.nn.hub import load_pretrained
from polymodal.nn.layers.pool import masked_mean
from polymodal.nn.layers.segment import segment_mean

APART = 1024  # width up to which channels stand side by side; more of them are averaged
STILL = 1e-5  # the spread of what does not change, as in training


class PretrainedSeries(PretrainedTower):
    """The encoder of Chronos-Bolt (Ansari et al. 2024), to which every channel is a series of its own.

    A channel is standardised by its own mean and spread, and cut into patches from its end, of values and of which of
    them were measured; a series longer than the model reads is cut into windows, each standardised by itself.
    Patches with a measured value are averaged to at most `tokens` stretches of time, whose `where` is their centre in
    seconds. Channels stand side by side up to a width of 1,024, else their mean does; behind it come the mean and
    the spread of every channel, as asinh and logarithm, which the model takes off. `pool` "own" is the model's last
    token, which stands for the whole. Options: see `PretrainedTower`.
    """

    processor = "pretrained_series"
    modality = "series"
    traced = False  # every token carries the series' means and spreads

    def open(self, model: str) -> Any:
        whole = load_pretrained(_bolt(), model, dtype=torch.float32)
        about = whole.config.chronos_config
        self.size = int(about["input_patch_size"])
        self.window = max(1, int(about["context_length"]) // self.size)  # patches
        self.patches = -(-int(self.facts["length"]) // self.size)
        self.embed = whole.input_patch_embedding
        self.summary = nn.Parameter(whole.shared.weight[-1].clone()) if about.get("use_reg_token") else None
        whole.encoder.embed_tokens = nn.Identity()  # no words are read
        return whole.encoder

    def joined_width(self, width: int) -> int:
        channels = int(self.facts["channels"])
        self.apart = channels * width <= APART
        return (channels if self.apart else 1) * width + 2 * channels

    def lengths(self, inputs: Mapping[str, Tensor]) -> Tensor:
        return inputs["values"].shape[2] * -(-inputs["length"] // self.size)

    def cut(self, inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        steps = torch.arange(inputs["values"].shape[1], device=inputs["length"].device)
        most = longest(steps < inputs["length"][:, None])
        return {name: value[:, :most] if value.ndim > 1 else value for name, value in inputs.items()}

    def arguments(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        x, known = self._windows(inputs)
        mean, spread = _statistics(x, known)
        x = torch.where(known, (x - mean) / spread, 0.0)
        patches = torch.cat([part.float().unflatten(-1, (-1, self.size)) for part in (x, known)], -1).flatten(0, 2)
        states, seen = self.embed(patches), (patches[..., self.size :] > 0).any(-1)
        if self.summary is not None:
            states = torch.cat([states, self.summary.to(states.dtype).expand(len(states), 1, -1)], 1)
            seen = F.pad(seen, (0, 1), value=True)
        return {"inputs_embeds": states, "attention_mask": seen.long()}

    def arrange(self, output: Any, inputs: Mapping[str, Tensor]) -> tuple[Tokens, Tensor | None]:
        x, known = self._ended(inputs)
        seen = known.unflatten(-1, (-1, self.size)).any(-1)  # [B, C, P]
        windows = _in_windows(seen, self.window)
        states = output.last_hidden_state.unflatten(0, windows.shape[:3])  # [B, C, W, patches of a window + 1, D]
        last = states[..., -1, :]
        states = states[..., : windows.shape[-1], :].flatten(2, 3)[:, :, -seen.shape[-1] :]
        lead = self.patches - seen.shape[-1]  # of all rows no part
        states, seen = F.pad(states, (0, 0, lead, 0)).flatten(0, 1), F.pad(seen, (lead, 0)).flatten(0, 1)
        each, held, centre = segment_mean(states, seen, self.tokens)
        frame = self.patches * self.size
        before = frame - inputs["length"][:, None]
        real = (torch.arange(1, self.patches + 1, device=before.device) * self.size > before)[..., None]
        mask = segment_mean(real.float(), real[..., 0], self.tokens)[1]
        where = (centre * frame - before).clamp(min=0)[..., None] / float(self.facts["rate"])
        beside = torch.cat(_told(*_statistics(x, known)), -1).to(each.dtype)
        own = None
        if self.summary is not None:
            own = masked_mean(last.flatten(0, 1), windows.any(-1).flatten(0, 1))
            own = torch.cat([self._joined(own[:, None], seen.any(1)[:, None], len(x))[:, 0], beside], -1)
        pooled = self._joined(masked_mean(states, seen)[:, None], seen.any(1)[:, None], len(x))[:, 0]
        tokens = self._joined(each, held, len(x))
        tokens = torch.cat([tokens, beside[:, None].expand(-1, tokens.shape[1], -1)], -1)
        return Tokens(tokens, mask, torch.cat([pooled, beside], -1), where), own

    def _joined(self, x: Tensor, held: Tensor, rows: int) -> Tensor:
        """[B C, T, D] and where they hold something [B C, T] to [B, T, C D], or to the mean over channels [B, T, D]."""
        x, held = x.unflatten(0, (rows, -1)).transpose(1, 2), held.unflatten(0, (rows, -1)).transpose(1, 2)
        return x.flatten(2) if self.apart else masked_mean(x.flatten(0, 1), held.flatten(0, 1)).unflatten(0, (rows, -1))

    def _ended(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Values and which of them were measured, [B, C, N] of whole patches, so that all series end together."""
        values, valid, length = inputs["values"], inputs["valid"], inputs["length"][:, None]
        total = -(-values.shape[1] // self.size) * self.size
        step = torch.arange(total, device=values.device) - (total - length)
        place = step.clamp(min=0)[..., None].expand(-1, -1, values.shape[2]).long()
        known = valid.gather(1, place) & (step >= 0)[..., None]
        return values.gather(1, place).transpose(1, 2), known.transpose(1, 2)

    def _windows(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """As `_ended`, [B, C, W, N] in windows that the model can read."""
        x, known = self._ended(inputs)
        return _in_windows(x, self.window * self.size), _in_windows(known, self.window * self.size)


class _Residual(nn.Module):
    """A hidden layer beside a linear map, which patches go through."""

    def __init__(self, given: int, hidden: int, out: int, act: nn.Module):
        super().__init__()
        self.hidden_layer = nn.Linear(given, hidden)
        self.act = act
        self.output_layer = nn.Linear(hidden, out)
        self.residual_layer = nn.Linear(given, out)

    def forward(self, x: Tensor) -> Tensor:
        return self.output_layer(self.act(self.hidden_layer(x))) + self.residual_layer(x)


@lru_cache(maxsize=1)
def _bolt() -> type:
    """Chronos-Bolt without its decoder as a class of transformers, which then finds and reads its files."""
    require("transformers", "hf")
    from transformers import T5EncoderModel
    from transformers.activations import ACT2FN

    class ChronosBolt(T5EncoderModel):
        def __init__(self, config: Any):
            about = getattr(config, "chronos_config", {})
            if not about.get("input_patch_size") or about.get("input_patch_stride") != about["input_patch_size"]:
                raise BadArgument("its config.json is none of Chronos-Bolt, with patches that follow one another")
            super().__init__(config)
            given = 2 * int(about["input_patch_size"])  # values, and whether they were measured
            self.input_patch_embedding = _Residual(given, config.d_ff, config.d_model, ACT2FN[config.dense_act_fn])
            self.post_init()

    return ChronosBolt


def _in_windows(x: Tensor, size: int) -> Tensor:
    """[..., N] to [..., W, `size`], cut from the end and filled with zeros in front; whole where it is no longer."""
    if x.shape[-1] <= size:
        return x[..., None, :]
    return F.pad(x, (-x.shape[-1] % size, 0)).unflatten(-1, (-1, size))


def _statistics(x: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and spread [..., 1] over what is known of [..., N]; 0 and 1 where nothing is."""
    exact = x if x.device.type == "mps" else x.double()  # squares of what a cell may hold overflow float32
    count = known.sum(-1, keepdim=True)
    mean = torch.where(known, exact, 0.0).sum(-1, keepdim=True) / count.clamp(min=1)
    spread = (torch.where(known, exact - mean, 0.0).square().sum(-1, keepdim=True) / count.clamp(min=1)).sqrt()
    return mean, torch.where(count > 0, torch.where(spread == 0, STILL, spread), 1.0)


def _told(mean: Tensor, spread: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and spread [B, C, 1] as [B, C] that are of the size of features, whatever the unit."""
    return mean[..., 0].asinh(), spread[..., 0].log()
