"""Pretrained towers from Hugging Face, frozen or tuned: text, pictures, sound, and either side of a dual encoder."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from polymodal.core.errors import BadArgument, suggest
from polymodal.core.types import Tokens
from polymodal.encoders.base import Encoder
from polymodal.encoders.segments import pool_segments, segment_spans, segments
from polymodal.nn.check import check_count
from polymodal.nn.graphs import longest, pieces
from polymodal.nn.hub import load_pretrained
from polymodal.nn.layers.adapt import ADAPTED, add_lora
from polymodal.nn.layers.pool import masked_mean
from polymodal.nn.layers.segment import grid_places, segment_mean
from polymodal.nn.memory_format import channels_last
from polymodal.nn.place import joined_tokens
from polymodal.nn.precision import autocast_type

TUNES = ("frozen", "last", "lora", "lora_last", "full")
POOLS = ("auto", "mean", "own")
MODALITIES = ("text", "vision", "audio")
TOGETHER = 8  # rows of a training batch that go through a tower at a time, where they differ in length
PIXELS = 4 * 224**2  # of the pictures that go through a tower at a time on a CPU, whose cache they fit into
MOMENTUM = 0.1  # of batch normalisation: published ones suit longer trainings, or are TensorFlow's decay taken over
SAME = 1e-3  # of the largest value: what rounding makes of the same sum in another order, and more
RECIPES = {
    "frozen": {},
    "last": {"epochs": 8, "batch": 32, "lr": 3e-4, "weight_decay": 0.01},
    "lora": {"epochs": 8, "batch": 32, "lr": 1e-3, "weight_decay": 0.01},
    "lora_last": {"epochs": 8, "batch": 32, "lr": 1e-3, "weight_decay": 0.01},
    "full": {"epochs": 5, "batch": 16, "lr": 3e-5, "weight_decay": 0.01},
}  # fmt: skip


class PretrainedTower(Encoder):
    """What pretrained encoders share. `model` is a hub name or a folder, the one of the processor when left empty.

    `tune` is "frozen" (in eval mode and without gradient, so that its tokens need computing only once), "last" (the
    last `layers` blocks learn), "lora" (adapters of `rank` on queries and values; Hu et al. 2022), "lora_last" (such in
    the last `layers` blocks; blocks without queries, as of a convolutional tower, learn themselves) or "full". A
    frozen tower and one with adapters in its last blocks keep their own width, whatever `dim` was asked; others are
    mapped to `dim`. Blocks below the last ones are in eval mode, and statistics of batch normalisation move only where
    its weights do, by a tenth a step.

    `pool` is "mean", "own" (the class token, or the pooling that the model was trained with) or "auto": own for
    pictures and dual encoders where there is one, else mean. The sequence is averaged to at most `tokens` tokens.

    `layer` reads a hidden layer instead of the last: 0 is what goes into the first block, n what comes out of the n-th.
    Middle layers often align better with another modality: `align` chooses by `layer: auto`.

    Of a dual encoder (CLIP, SigLIP, CLAP) the side of this modality is used, projected into the shared space.
    """

    pretrained: ClassVar[bool] = True
    modality: ClassVar[str] = ""

    def __init__(
        self,
        facts: Mapping[str, Any],
        dim: int,
        *,
        model: str = "",
        tune: str = "frozen",
        layers: int = 2,
        rank: int = 8,
        pool: str = "auto",
        tokens: int = 16,
        layer: int | str | None = None,
    ):
        super().__init__(facts, dim)
        for name, value, allowed in (("tune", tune, TUNES), ("pool", pool, POOLS)):
            if value not in allowed:
                raise BadArgument(f"Unknown {name} {value!r} of a pretrained encoder.{suggest(value, allowed)}")
        if model and facts["model"] != model:
            raise BadArgument(
                f"The processor was made for {facts['model']!r}, the encoder for {model!r}: name one model."
            )
        self.model = model
        self.tune = tune
        self.layers = check_count("layers", layers)
        self.rank = check_count("rank", rank)
        self.pool = pool
        self.tokens = check_count("tokens", tokens)
        whole = self.open(facts["model"])
        self.dual, self.tower = _side(whole, self.modality)
        if self.modality == "vision":
            channels_last(self.tower)
        self.layer = layer if layer is None else _check_layer(layer, self.dual, self.tower)
        self.shared = getattr(whole, f"{'visual' if self.modality == 'vision' else self.modality}_projection", None)
        width = self.joined_width(int(whole.config.projection_dim) if self.shared is not None else _width(self.tower))
        self._choose_trained()
        own = tune in ("frozen", "lora_last")
        self.dim = width if own else dim
        self.out: nn.Module = nn.Identity() if own else nn.Linear(width, dim)

    def open(self, model: str) -> Any:
        """The network of a checkpoint, or what of it is a tower. Raises `BadArgument` where it cannot be had."""
        return load_pretrained("AutoModel", model, dtype=torch.float32)

    def joined_width(self, width: int) -> int:
        """How wide tokens are that are made of states of `width`. Default: as wide."""
        return width

    @abstractmethod
    def arrange(self, output: Any, inputs: Mapping[str, Tensor]) -> tuple[Tokens, Tensor | None]:
        """The tower's output as tokens of the joined width, pooled by their mean; and its own pooling, if any."""

    @abstractmethod
    def arguments(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What the tower's forward is called with."""

    def cut(self, inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """The same rows without what is padding in all of them, where that changes no token. Default: as they are."""
        return inputs

    def encode(self, inputs: dict[str, Tensor]) -> Tokens:
        lengths = self.lengths(inputs) if self.training and self.tune != "frozen" else None
        if lengths is None or len(lengths) <= TOGETHER:
            return self._encoded(inputs)
        order = lengths.argsort(descending=True, stable=True)  # rows of like length together, so that little is padding
        parts = [{name: value[some] for name, value in inputs.items()} for some in order.split(TOGETHER)]
        return joined_tokens([self._encoded(part) for part in parts]).select(order.argsort())

    def _encoded(self, inputs: Mapping[str, Tensor]) -> Tokens:
        inputs = dict(self.cut(inputs))
        with torch.set_grad_enabled(self.tune != "frozen" and torch.is_grad_enabled()):
            if self.layer is None:
                output = self.tower(**self.arguments(inputs))
            else:
                output = _Layer(self._hidden(inputs)[self.layer])
            tokens = self._pooled(output, inputs)
            return Tokens(self.out(tokens.x), tokens.mask, self.out(tokens.pooled), tokens.where)

    @torch.no_grad()
    def layers_of(self, inputs: Mapping[str, Tensor]) -> list[Tensor]:
        """Pooled vectors [B, width] of every layer that `layer` can name, first to last; of rows that are there.

        Raises `BadArgument` for a tower whose layers cannot be chosen.
        """
        _check_layer(0, self.dual, self.tower)
        inputs = self.cut(inputs)
        return [self._pooled(_Layer(states), inputs).pooled for states in self._hidden(inputs)]

    def _hidden(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        return self.tower(**self.arguments(inputs), output_hidden_states=True).hidden_states

    def _pooled(self, output: Any, inputs: Mapping[str, Tensor]) -> Tokens:
        """The tower's output as tokens, pooled as `pool` says."""
        tokens, own = self.arrange(output, inputs)
        if self.pool == "own" and own is None:
            raise BadArgument(f"{type(self.tower).__name__} has no pooling of its own; set pool='mean'.")
        wanted = self.pool == "own" or (self.pool == "auto" and (self.dual or self.modality == "vision"))
        return replace(tokens, pooled=own) if wanted and own is not None else tokens

    def recipe(self) -> dict[str, Any]:
        return dict(RECIPES[self.tune])

    def train(self, mode: bool = True) -> Self:
        """As `nn.Module.train`, but a frozen tower stays in eval mode."""
        super().train(mode)
        if self.tune in ("frozen", "last", "lora_last"):
            self.tower.eval()
        for block in self._last:
            block.train(mode)
        for layer in self.tower.modules():
            if isinstance(layer, nn.modules.batchnorm._BatchNorm) and not any(map(_learns, layer.parameters())):
                layer.eval()
        return self

    def project(self, x: Tensor) -> Tensor:
        """Into the space that a dual encoder's sides share; unchanged where there is none."""
        return x if self.shared is None else self.shared(x)

    def _choose_trained(self) -> None:
        self._last: list[nn.Module] = []  # the blocks that learn, where only some do
        if hasattr(self.tower.config, "apply_spec_augment"):
            self.tower.config.apply_spec_augment = False  # it draws from NumPy's generator, not from torch's
        for layer in self.tower.modules():
            if isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.momentum is not None:
                layer.momentum = MOMENTUM
        self.requires_grad_(False)
        if self.tune == "full":
            self.requires_grad_(True)
        elif self.tune == "lora":
            self._adapt(self.tower)
        elif self.tune in ("last", "lora_last"):
            self._last = list(_blocks(self.tower))[-self.layers :]
            asks = self.tune == "lora_last" and all(any(map(_asks, block.named_modules())) for block in self._last)
            for block in self._last:
                if asks:
                    self._adapt(block)
                else:
                    block.requires_grad_(True)

    def _adapt(self, module: nn.Module) -> None:
        add_lora(module, lambda name: ADAPTED.search(name) is not None, rank=self.rank, alpha=2 * self.rank)


class PretrainedText(PretrainedTower):
    """A text encoder of Hugging Face transformers (Wolf et al. 2020). One token a word, up to `tokens`.

    Padding is cut off where the model does not read it, which is tried on the first batch that has any (SigLIP's pooled
    vector is that of the last place, padding or not). Options: see `PretrainedTower`.
    """

    processor = "pretrained_text"
    modality = "text"
    _reads_padding: bool | None = None  # not known before it is tried

    def lengths(self, inputs: Mapping[str, Tensor]) -> Tensor | None:
        return None if self._padding_counts(inputs) else inputs["mask"].sum(1)

    def cut(self, inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        length = longest(inputs["mask"])
        if length == inputs["mask"].shape[1] or self._padding_counts(inputs):
            return inputs
        return {name: value[:, :length] if value.ndim > 1 else value for name, value in inputs.items()}

    @torch.no_grad()
    def _padding_counts(self, inputs: Mapping[str, Tensor]) -> bool:
        """Whether the shortest text of a batch has another vector with its padding than without."""
        if self._reads_padding is None:
            size, full = inputs["mask"].sum(1), inputs["mask"].shape[1]
            row = int(torch.where(size > 0, size, full).argmin())
            if not 0 < (length := int(size[row])) < full:
                return False  # nothing to cut, and nothing to learn from
            whole = {name: value[row : row + 1] for name, value in inputs.items()}
            bare = {name: value[:, :length] if value.ndim > 1 else value for name, value in whole.items()}
            learning = self.tower.training
            self.tower.eval()
            with torch.autocast(autocast_type(whole["mask"]), enabled=False):
                found = [self._pooled(self.tower(**self.arguments(some)), some) for some in (whole, bare)]
            self.tower.train(learning)
            apart = max(float((getattr(found[0], n) - getattr(found[1], n)).abs().max()) for n in ("x", "pooled"))
            self._reads_padding = apart > SAME * float(found[0].x.abs().max())
        return self._reads_padding

    def arguments(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"input_ids": inputs["ids"].long(), "attention_mask": inputs["mask"].long()}

    def arrange(self, output: Any, inputs: Mapping[str, Tensor]) -> tuple[Tokens, Tensor | None]:
        states = self.project(output.last_hidden_state)
        real = inputs["word"] >= 0
        segment = segments(inputs["word"], real, self.tokens)
        x, mask = pool_segments(states, segment, real, self.tokens)
        where = segment_spans(inputs["spans"], segment, real, self.tokens)
        own = self.project(output.pooler_output) if self.dual else states[:, 0]
        return Tokens(x, mask, masked_mean(states, real), where), own


class PretrainedVision(PretrainedTower):
    """A picture encoder of Hugging Face transformers (Wolf et al. 2020): Transformer or convolutional.

    Its patches are averaged to a square grid of at most `tokens` cells; `where` is their row and column in 0..1.
    Options: see `PretrainedTower`.
    """

    processor = "pretrained_vision"
    modality = "vision"

    def once(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What goes into the first block that learns, where that is all that it reads: convolutional towers' maps."""
        if not self._last or not any(isinstance(part, nn.Conv2d) for part in self._last[0].modules()):
            return {}
        read: list[tuple[Any, ...]] = []
        learning = self.training
        self.eval()  # what follows is computed in vain, and must not count
        with self._last[0].register_forward_pre_hook(lambda block, given: read.append(given)):
            self._encoded({"pixels": inputs["pixels"]})
        self.train(learning)
        alone = all(len(given) == 1 and given[0].ndim == 4 for given in read)
        return {"map": torch.cat([given[0] for given in read])} if alone else {}

    def _encoded(self, inputs: Mapping[str, Tensor]) -> Tokens:
        if "map" in inputs:
            small = inputs["map"].new_zeros(1, 3, 64, 64)  # goes through the blocks below, and no further
            with self._last[0].register_forward_pre_hook(lambda block, given: (inputs["map"],)):
                return super()._encoded({"pixels": small})
        pixels = inputs["pixels"]
        if pixels.device.type != "cpu" or (self.training and self.tune != "frozen"):  # whose batches are normalised
            return super()._encoded(inputs)
        few = max(1, PIXELS // (pixels.shape[-2] * pixels.shape[-1]))
        return joined_tokens([super(PretrainedVision, self)._encoded({"pixels": part}) for part in pieces(pixels, few)])

    def arguments(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        pixels = inputs["pixels"].float() / 255
        mean, spread = (pixels.new_tensor(self.facts[name]).view(3, 1, 1) for name in ("mean", "spread"))
        return {"pixel_values": (pixels - mean) / spread}

    def arrange(self, output: Any, inputs: Mapping[str, Tensor]) -> tuple[Tokens, Tensor | None]:
        states = output.last_hidden_state
        own = getattr(output, "pooler_output", None)
        if states.ndim == 4:  # a convolutional map
            grid = states
            own = None if own is None else own.flatten(1)
        else:
            height, width, extra = _patches(states.shape[1], inputs["pixels"].shape[-2:], self.tower.config)
            own = states[:, 0] if extra and not self.dual else own
            patches = states[:, extra:]
            if self.shared is not None and isinstance(norm := getattr(self.tower, "post_layernorm", None), nn.Module):
                patches = norm(patches)  # the projection was trained behind it
            grid = patches.transpose(1, 2).unflatten(2, (height, width))
        side = min(math.isqrt(self.tokens), *grid.shape[2:])
        x = self.project(F.adaptive_avg_pool2d(grid, side).flatten(2).transpose(1, 2))
        mask = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
        where = grid_places(len(x), side, side, x)
        return Tokens(x, mask, x.mean(1), where), self.project(own) if self.dual and own is not None else own


class PretrainedAudio(PretrainedTower):
    """A sound encoder of Hugging Face transformers (Wolf et al. 2020), reading samples or a spectrogram.

    Stretches of equal length are averaged to at most `tokens` tokens; `where` is their centre in seconds, where the
    feature extractor says how long its input is. Options: see `PretrainedTower`.
    """

    processor = "pretrained_audio"
    modality = "audio"

    def arguments(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        given = {str(self.tower.main_input_name): inputs["values"]}
        if "mask" in inputs:
            given["attention_mask"] = inputs["mask"].long()
        return given

    def arrange(self, output: Any, inputs: Mapping[str, Tensor]) -> tuple[Tokens, Tensor | None]:
        states = output.last_hidden_state
        states = self.project(states.flatten(2).transpose(1, 2) if states.ndim == 4 else states)
        place = torch.arange(states.shape[1], device=states.device) / states.shape[1]
        real = place < inputs["share"][:, None].clamp(min=1e-6)
        x, mask, centres = segment_mean(states, real, self.tokens)
        seconds = self.facts["seconds"]
        where = None if seconds is None else (centres * seconds)[None, :, None].expand(len(x), -1, -1)
        own = getattr(output, "pooler_output", None)
        own = self.project(own) if self.dual and own is not None else own
        return Tokens(x, mask, masked_mean(states, real), where), own


def _side(whole: Any, modality: str) -> tuple[bool, nn.Module]:
    """Whether the model is a dual encoder, and its part for this modality (the encoder of an encoder-decoder)."""
    sides = [name for name in MODALITIES if hasattr(whole, f"{name}_model")]
    if modality in sides:
        return len(sides) > 1, getattr(whole, f"{modality}_model")
    if sides:
        raise BadArgument(f"{type(whole).__name__} has no {modality} side; it has: {', '.join(sides)}.")
    return False, whole.get_encoder() if whole.config.is_encoder_decoder else whole


def _asks(named: tuple[str, nn.Module]) -> bool:
    """Whether a module within a block makes queries or values."""
    return isinstance(named[1], nn.Linear) and ADAPTED.search(named[0]) is not None


def _learns(weight: nn.Parameter) -> bool:
    return weight.requires_grad


@dataclass(frozen=True)
class _Layer:
    """A hidden layer in the place of a tower's output."""

    last_hidden_state: Tensor


def _check_layer(layer: int | str, dual: bool, tower: nn.Module) -> int:
    """The layer itself. Raises `BadArgument` when the tower has no such layer, or none to choose."""
    config: Any = tower.config
    depth = getattr(config, "num_hidden_layers", None)
    if dual or not isinstance(depth, int) or hasattr(config, "depths") or not _one_width(config):
        why = "a dual encoder's shared space is its last layer" if dual else "its layers differ in width"
        raise BadArgument(f"The layer of {type(tower).__name__} cannot be chosen: {why}. Leave `layer` out.")
    if layer == "auto":
        raise BadArgument(f"`align` chooses the layer; elsewhere name it, 0 to {depth}, or leave `layer` out.")
    if not isinstance(layer, int) or not 0 <= layer <= depth:
        raise BadArgument(f"layer must be a whole number from 0 to {depth}, the tower's blocks; got {layer!r}.")
    return layer


@torch.no_grad()
def _width(tower: nn.Module) -> int:
    config: Any = tower.config
    width = _one_width(config)
    if width or hasattr(config, "hidden_sizes"):
        return int(width or config.hidden_sizes[-1])
    return int(tower(pixel_values=torch.zeros(1, 3, 64, 64)).last_hidden_state.shape[1])  # MobileNet's name none


def _one_width(config: Any) -> int | None:
    """The width of all layers of a Transformer, None of a tower whose layers differ."""
    return getattr(config, "hidden_size", None) or getattr(config, "d_model", None)


def _blocks(tower: nn.Module) -> nn.ModuleList:
    """The list of blocks: of the lists that lie in no other, the one with the most parameters."""
    lists = {name: module for name, module in tower.named_modules() if isinstance(module, nn.ModuleList)}
    outer = [module for name, module in lists.items() if not any(name.startswith(f"{other}.") for other in lists)]
    if not outer:
        raise BadArgument(f"{type(tower).__name__} has no list of blocks; tune it as 'full' or 'lora'.")
    return max(outer, key=lambda module: sum(p.numel() for p in module.parameters()))


def _patches(count: int, size: tuple[int, ...], config: Any) -> tuple[int, int, int]:
    """Rows and columns of the grid of patches, and how many tokens (class, registers) stand before it."""
    patch = getattr(config, "patch_size", None)
    if isinstance(patch, int):
        height, width = size[0] // patch, size[1] // patch
        if 0 <= count - height * width < 32:
            return height, width, count - height * width
    side = math.isqrt(count)  # a hierarchy that merges patches, as Swin's
    return side, side, count - side * side
