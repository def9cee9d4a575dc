"""A pretrained language model of transformers that writes about a context, through a projector."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, Self, cast

import torch
from torch import Tensor, nn

from polymodal.core.errors import BadArgument, suggest
from polymodal.nn.check import check_count, check_dropout
from polymodal.nn.hub import load_pretrained
from polymodal.nn.layers.adapt import ADAPTED, add_lora
from polymodal.nn.layers.projector import projector as _projector
from polymodal.nn.layers.state import BEGIN, END, PAD, UNKNOWN, Decoder, State

TUNES = ("frozen", "lora", "full")
FIRST = UNKNOWN + 1  # our id of the model's id 0
NEVER = -100.0  # the score of what is no word: far below any, and finite where a loss spreads a share to it


class LanguageModel(Decoder):
    """Any causal language model of Hugging Face transformers (Wolf et al. 2020) with the context as its prefix, mapped
    to its embeddings by a projector (nanoVLM, LLaVA; ClipCap where it is frozen).

    `model` is a hub name, `name@revision` or a folder with the model and its tokenizer; code in it is never run. `tune`
    is "frozen" (in eval mode; the projector alone learns), "lora" (adapters of `rank` on queries and values, Hu et al.
    2022) or "full". `projector` is "shuffle", each `factor` x `factor` tokens of a square grid to one vector (1: each
    token to one), or "perceiver", which asks by `latents` queries. `dropout` hides components of the prefix. At most
    `longest` ids are written.

    Its state holds what learns; what does not is read from `model` again, and must be what it was.

    Its words are those of its tokenizer: `codes` and `text` go from texts to ids and back. An id is the tokenizer's and
    4; END is the model's own end.

    Raises `BadArgument` where the model cannot be had, has no token that ends a text or keeps no keys and values, or an
    option is not allowed; `MissingExtra` without transformers.
    """

    loudness: Tensor
    total: Tensor
    _read: Tensor
    _said: Tensor

    def __init__(
        self,
        model: str,
        *,
        context_width: int,
        tune: str = "frozen",
        projector: str = "shuffle",
        factor: int = 1,
        latents: int = 16,
        rank: int = 8,
        dropout: float = 0.0,
        longest: int = 64,
    ):
        if tune not in TUNES:
            raise BadArgument(f"Unknown tune {tune!r} of a language model.{suggest(tune, TUNES)}")
        network = load_pretrained("AutoModelForCausalLM", model, dtype=torch.float32)
        table = network.get_input_embeddings().weight
        super().__init__(FIRST + len(table), context_width=context_width, longest=check_count("longest", longest))
        self.model, self.tune, self.rank = model, tune, check_count("rank", rank)
        self.projector, self.factor, self.latents = projector, factor, latents
        self.dropout = check_dropout(dropout)
        self.network = network
        self.tokenizer = load_pretrained("AutoTokenizer", model)
        self.end, begin = self.tokenizer.eos_token_id, self.tokenizer.bos_token_id
        if self.end is None:
            raise BadArgument(f"The tokenizer of {model!r} has no token that ends a text: set its eos_token.")
        self._takes = set(inspect.signature(network.forward).parameters)
        self.project = _projector(projector, context_width, table.shape[1], factor=factor, latents=latents)
        self.drop = nn.Dropout(dropout)
        # Vectors as loud as the model's own words, or a frozen one makes nothing of them at first.
        self.register_buffer("loudness", table.detach().square().mean().sqrt(), persistent=False)
        begin = self.end if begin is None else begin
        unknown = self.tokenizer.unk_token_id
        read = torch.arange(-FIRST, len(table))
        read[[PAD, BEGIN, END, UNKNOWN]] = torch.tensor([begin, begin, self.end, begin if unknown is None else unknown])
        self.register_buffer("_read", read, persistent=False)
        said = torch.arange(-FIRST, len(table))  # the score of which id of the model is the score of each of ours
        said[[PAD, BEGIN, UNKNOWN, FIRST + self.end]] = len(table)
        said[END] = self.end
        self.register_buffer("_said", said, persistent=False)
        kept = 0.0 if tune == "full" else sum(float(p.detach().double().abs().sum()) for p in network.parameters())
        network.requires_grad_(tune == "full")
        if tune == "lora":
            add_lora(network, lambda name: ADAPTED.search(name) is not None, rank=rank, alpha=2 * rank)
        # What is not kept, and a sum by which another model in its place is known.
        learns = {name for name, value in network.named_parameters() if value.requires_grad}
        self._elsewhere = [f"network.{name}" for name in network.state_dict() if name not in learns]
        self.register_buffer("total", torch.tensor(kept, dtype=torch.float64))
        self.register_state_dict_post_hook(_shortened)
        self.register_load_state_dict_pre_hook(_filled)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """As `nn.Module.train`, but a frozen network stays in eval mode."""
        super().train(mode)
        if self.tune == "frozen":
            self.network.eval()
        return self

    def codes(self, text: str) -> list[int]:
        """The ids of a text, without END."""
        return [code + FIRST for code in self.tokenizer(text, add_special_tokens=False)["input_ids"]]

    def text(self, ids: Sequence[int]) -> str:
        """The text of ids; PAD, BEGIN, END and UNKNOWN are passed over."""
        codes = [int(code) - FIRST for code in ids if code >= FIRST]
        return self.tokenizer.decode(codes, skip_special_tokens=True).strip()

    def start(self, context: Tensor, mask: Tensor) -> State:
        x, real = self._prefix(context, mask)
        if not real.shape[1]:
            return State(len(mask), (), (real,))
        # Rows that see nothing read a first vector here, which no word looks at: else their numbers are not finite.
        shown = real | (torch.arange(real.shape[1], device=real.device) == 0)
        return State(len(mask), self._run(x, shown, ())[1], (real,))

    def absorb(self, ids: Tensor, state: State) -> tuple[Tensor, State]:
        real, written = state.seen[0].repeat_interleave(state.times, 0), state.written + ids.shape[1]
        self._check_length(written)
        seen = torch.cat([real, real.new_ones(len(ids), written)], 1)
        x = self.network.get_input_embeddings()(self._read[ids])
        scores, past = self._run(x, seen, state.past)
        return scores, State(len(ids), past, state.seen, written)

    def scores(self, x: Tensor) -> Tensor:
        never = x.new_full((*x.shape[:-1], 1), NEVER)
        return torch.cat([x, never], -1)[..., self._said]

    def weights(self, ids: Tensor, context: Tensor, mask: Tensor) -> Tensor:
        """Of the last layer, the mean over heads, through the projector's shares: see `Decoder.weights`."""
        before = self.network.config._attn_implementation
        self.network.set_attn_implementation("eager")  # others do not tell their weights
        try:
            state = self._begun(ids, context, mask)
            flat = ids.flatten(0, -2)
            real = state.seen[0].repeat_interleave(state.times, 0)
            seen = torch.cat([real, real.new_ones(flat.shape)], 1)
            x = self.network.get_input_embeddings()(self._read[flat])
            attention = self._call(x, seen, state.past, output_attentions=True)[0].attentions[-1].mean(1)
        finally:
            self.network.set_attn_implementation(before)
        order = _order(self.project(context, mask)[1])
        shares = self.project.shares(context, mask).gather(1, order[..., None].expand(-1, -1, mask.shape[1]))
        attention = attention[..., : real.shape[1]] * real[:, None]
        return (attention @ shares.repeat_interleave(state.times, 0)).view(*ids.shape, mask.shape[1])

    def _prefix(self, context: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """The vectors that stand before the words, real ones first, so that padding moves no place."""
        x, real = self.project(context, mask)
        order = _order(real)
        x = (self.drop(x) * self.loudness).gather(1, order[..., None].expand_as(x))
        return x, real.gather(1, order)

    def _run(self, x: Tensor, seen: Tensor, past: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Scores of the model's own ids and the keys and values of all that was read."""
        output, cache = self._call(x, seen, past)
        layers = getattr(cache, "layers", [])
        held = [getattr(layer, name, None) for layer in layers for name in ("keys", "values")]
        if not held or any(not isinstance(part, Tensor) or part.ndim != 4 for part in held):
            kind = type(self.network).__name__
            raise BadArgument(f"{kind} keeps no keys and values of what it read: choose a Transformer for `model`.")
        return output.logits, tuple(cast(list[Tensor], held))

    def _call(self, x: Tensor, seen: Tensor, past: tuple[Tensor, ...], **asked: Any) -> tuple[Any, Any]:
        """What the network says, and its cache, which the call has filled up."""
        from transformers import DynamicCache

        most = getattr(self.network.config, "max_position_embeddings", None)
        if most is not None and seen.shape[1] > most:
            raise BadArgument(
                f"{self.model!r} reads at most {most} places; the context and the words take {seen.shape[1]}. Give "
                "fewer tokens, a larger `factor`, or the perceiver with fewer `latents`."
            )
        if "position_ids" in self._takes:
            asked["position_ids"] = (seen.cumsum(1)[:, -x.shape[1] :] - 1).clamp(min=0)
        cache = DynamicCache()
        for layer in range(len(past) // 2):
            cache.update(past[2 * layer], past[2 * layer + 1], layer)
        asked["cache" if "cache" in self._takes else "past_key_values"] = cache
        return self.network(inputs_embeds=x, attention_mask=seen.long(), use_cache=True, **asked), cache


def _order(real: Tensor) -> Tensor:
    """The places of real vectors before all others, [B, P]."""
    return (~real).to(torch.uint8).argsort(dim=1, stable=True)


def _shortened(module: Any, state: dict[str, Tensor], prefix: str, _: Any) -> None:
    for name in module._elsewhere:
        del state[prefix + name]


def _filled(module: Any, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """Raises `BadArgument` where the part that did not learn is of another model."""
    own = module.network.state_dict()
    for name in module._elsewhere:
        state[prefix + name] = own[name.removeprefix("network.")]
    total = state.get(prefix + "total")
    if total is not None and not torch.isclose(total.to(module.total), module.total, rtol=1e-6):
        raise BadArgument(
            f"The language model {module.model!r} is not the one that this was trained with: give that one's folder."
        )
