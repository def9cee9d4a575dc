"""Networks of the Hugging Face library as ops use them: loaded once, for the task they were saved for, and asked for no
more than they can read."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Any

from polymodal.core.errors import BadArgument
from polymodal.core.runtime import device_of
from polymodal.nn.hub import load_pretrained

Label = tuple[int | None, tuple[int, int], str, float]
DEVICE: ContextVar[str] = ContextVar("device of networks", default="cpu")  # of the process that carries out a part
_UNUSED = ("masked_spec_embed",)  # weights for training alone, which published models lack
_SENTENCE = re.compile(r".+?(?:[.!?]+(?=\s)|[。！？]+|\Z)\s*", re.DOTALL)
_WORD = re.compile(r"\s*\S+\s*")
_SHIFTED = ("roberta", "camembert", "longformer")  # the first positions are of padding


def network(loader: str, processor: str, name: str, **options: Any) -> tuple[Any, Any]:
    """The processor (or tokenizer, or feature extractor) and the network, ready to be asked, on the device `DEVICE`.

    Whatever the device, tensors are given to it and come from it on the CPU. `options` (as `dtype`) are those of
    loading the network. Raises `BadArgument` where the model cannot be had or was saved for another task: transformers
    would draw the weights it lacks at random and say nothing but noise.
    """
    return _loaded(loader, processor, name, DEVICE.get(), **options)


@cache
def _loaded(loader: str, processor: str, name: str, device: str, **options: Any) -> tuple[Any, Any]:
    before = load_pretrained(processor, name)
    model, told = load_pretrained(loader, name, output_loading_info=True, **options)
    if lacking := [key for key in told["missing_keys"] if not key.endswith(_UNUSED)]:
        raise BadArgument(
            f"The model {(Path(name).name if Path(name).is_dir() else name)!r} was not saved for this task: it lacks "
            f"{len(lacking)} of the weights of {loader}, {min(lacking)!r} first. Give a model that was."
        )
    place = device_of(device)
    return before, model.eval() if place.type == "cpu" else Placed(model.eval(), place)


class Placed:
    """A network on an accelerator that is asked with tensors of the CPU, and answers with such; otherwise as it is."""

    def __init__(self, model: Any, device: Any):
        vars(self).update(model=model.to(device), place=device)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._asked(self.model, args, kwargs)

    def generate(self, *args: Any, **kwargs: Any) -> Any:
        """What the network writes."""
        return self._asked(self.model.generate, args, kwargs)

    def _asked(self, ask: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        import torch
        from torch.utils._pytree import tree_map_only

        args, kwargs = tree_map_only(torch.Tensor, lambda tensor: tensor.to(self.place), (args, kwargs))
        return tree_map_only(torch.Tensor, lambda tensor: tensor.cpu(), ask(*args, **kwargs))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.model, name, value)


@contextmanager
def quiet() -> Iterator[None]:
    """Without the warnings that `generate` repeats at every call, of a model's own settings beside ours."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def longest(tokenizer: Any, model: Any) -> int:
    """How many tokens the model reads at once: many tokenizers do not know, and what is longer breaks the network."""
    config = model.config
    places = getattr(config, "max_position_embeddings", None)
    if not isinstance(places, int) or places < 1:
        places = sys.maxsize  # positions without end, as T5's
    elif any(kind in config.model_type for kind in _SHIFTED):
        places -= config.pad_token_id + 1
    return min(int(tokenizer.model_max_length), places)


def in_parts(text: str, size: Callable[[str], int], most: int) -> list[str]:
    """The text in as few parts as may be whose sizes are at most `most`, cut behind sentences, or behind words where a
    sentence is too long. They add up to the text; a single word may exceed `most`."""
    if size(text) <= most:
        return [text]
    parts, filled = [""], 0
    for sentence in _SENTENCE.findall(text):
        whole = size(sentence)
        if parts[-1] and filled + whole > most:
            parts, filled = [*parts, ""], 0
        for unit in [sentence] if whole <= most else _WORD.findall(sentence):
            more = size(unit)
            if parts[-1] and filled + more > most:
                parts, filled = [*parts, ""], 0
            parts[-1] += unit
            filled += more
    return parts


def labelled(tokenizer: Any, model: Any, given: str | Sequence[str]) -> list[Label]:
    """Of each token of a text, or of words, its word's number, where it lies, its likeliest label, and how likely.

    What is longer than the model reads goes through it in stretches that overlap by a quarter; a token gets its label
    from the stretch that shows more of what is round it.
    """
    import torch

    most = min(longest(tokenizer, model), 1 << 20)
    common = most // 4
    told = tokenizer(
        given if isinstance(given, str) else list(given), is_split_into_words=not isinstance(given, str),
        truncation=True, max_length=most, stride=common, return_overflowing_tokens=True, return_offsets_mapping=True,
    )  # fmt: skip
    tokens: list[Label] = []
    count = len(told["input_ids"])
    for k in range(count):
        inputs = {name: torch.tensor([told[name][k]]) for name in tokenizer.model_input_names if name in told}
        with torch.no_grad():
            chances, labels = model(**inputs).logits[0].float().softmax(-1).max(-1)
        real = [i for i, part in enumerate(told.sequence_ids(k)) if part is not None]
        real = real[common // 2 if k else 0 : len(real) - (common - common // 2 if k < count - 1 else 0)]
        words, places = told.word_ids(k), told["offset_mapping"][k]
        tokens += [
            (words[i], (places[i][0], places[i][1]), model.config.id2label[int(labels[i])], float(chances[i]))
            for i in real
        ]
    return tokens
