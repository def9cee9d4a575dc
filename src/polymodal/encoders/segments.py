"""What text encoders share: cutting a text into a few runs of whole words, and typing errors as augmentation."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from polymodal.encoders.base import Held
from polymodal.nn.graphs import longest

HIDEABLE = 128  # words of a text that can be hidden
SLOTS, BASE = 4093, 1009  # of the hash by which hidden words are told apart


def trimmed(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same texts without the places that are padding in all of them; at least one place stays."""
    length = longest(inputs["ids"] != 0)
    return {name: value[:, :length] for name, value in inputs.items()}


def segments(word: Tensor, real: Tensor, count: int) -> Tensor:
    """[B, L] int64: the segment of each token, words in equal shares when there are more than `count` of them.

    `word` [B, L] is the number of each token's word, `real` [B, L] bool; padding gets the last segment, `count` - 1.
    """
    word = word.long()
    words = torch.where(real, word, -1).amax(1, keepdim=True) + 1
    segment = torch.where(words > count, word * count // words.clamp(min=1), word)
    return torch.where(real, segment, count - 1).clamp(0, count - 1)


def pool_segments(x: Tensor, segment: Tensor, real: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Mean of the real tokens of each segment: [B, L, D] to [B, count, D] and the mask [B, count]."""
    member = (F.one_hot(segment, count).bool() & real[..., None]).transpose(1, 2)
    size = member.sum(2)
    return member.to(x.dtype) @ x / size.clamp(min=1)[..., None].to(x.dtype), size > 0


def segment_mask(segment: Tensor, real: Tensor, count: int) -> Tensor:
    """[B, count] bool: segments that hold a real token."""
    return (F.one_hot(segment, count).bool() & real[..., None]).any(1)


def segment_spans(spans: Tensor, segment: Tensor, real: Tensor, count: int) -> Tensor:
    """First and last + 1 character of each segment, float [B, count, 2]; zero where it is empty."""
    spans = spans.float()
    empty = spans.new_zeros(spans.shape[0], count)
    far = spans.new_tensor(float("inf"))
    first = (empty + far).scatter_reduce(1, segment, torch.where(real, spans[..., 0], far), "amin")
    last = empty.scatter_reduce(1, segment, torch.where(real, spans[..., 1], 0.0), "amax")
    return torch.stack([torch.where(first.isinf(), 0.0, first), last], dim=-1)


def word_parts(inputs: Mapping[str, Tensor]) -> Tensor:
    """[B, W] bool: the words of each text that can be hidden, of its first `HIDEABLE` ones."""
    words = torch.where(inputs["ids"] != 0, inputs["word"].long() + 1, 0).amax(1)
    return torch.arange(min(max(1, int(words.max())), HIDEABLE), device=words.device) < words[:, None]


def hidden_words(inputs: Mapping[str, Tensor], hidden: Tensor) -> tuple[Tensor, Held]:
    """Which tokens [B, L] bool belong to the words that `hidden` [B, W] bool names; and these words, hashed."""
    ids, word, count = inputs["ids"].long(), inputs["word"].long(), hidden.shape[1]
    real = (ids != 0) & (word < count)
    inside = word.clamp(max=count - 1)
    place = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
    begin = place.new_full(hidden.shape, ids.shape[1]).scatter_reduce(
        1, inside, place.where(real, ids.shape[1]), "amin"
    )
    power = place.new_tensor([pow(BASE, i, SLOTS) for i in range(ids.shape[1])])
    sign = (ids + 1) * power[(place - begin.gather(1, inside)).clamp(0)] * real
    words = torch.zeros_like(begin).scatter_add(1, inside, sign) % SLOTS
    return hidden.gather(1, inside) & real, Held(words, hidden, SLOTS)


def without(inputs: Mapping[str, Tensor], gone: Tensor) -> dict[str, Tensor]:
    """The same texts without the tokens `gone` [B, L] bool; those after them move up, as numbers of words do not."""
    order = (gone | (inputs["ids"] == 0)).long().argsort(dim=1, stable=True)
    moved = {}
    for name in ("ids", "word", "spans"):
        value = inputs[name]
        places = order.reshape(*order.shape, *[1] * (value.ndim - 2)).expand_as(value)
        kept = (~gone).reshape(*gone.shape, *[1] * (value.ndim - 2))
        moved[name] = (value * kept).gather(1, places)
    return {**inputs, **moved}


def typing_errors(inputs: Mapping[str, Tensor], rate: float) -> dict[str, Tensor]:
    """The same texts with tokens dropped, doubled, replaced or swapped with the next, each at a quarter of `rate`.

    `ids`, `word` and `spans` change together; texts keep at least one token. Draws from torch's global generator.
    """
    ids = inputs["ids"]
    rows, length, device = *ids.shape, ids.device
    real = ids != 0
    struck = real & (torch.rand(rows, length, device=device) < rate)
    kind = torch.where(struck, torch.randint(4, (rows, length), device=device), -1)
    drop = (kind == 0) & (real.sum(1, keepdim=True) > (kind == 0).sum(1, keepdim=True))
    place = torch.arange(length, device=device).expand(rows, length)
    key = torch.cat([place + 1.5 * (kind == 1), place + 0.5], dim=1).float()  # the second half: doubles, in between
    absent = torch.cat([drop | ~real, kind != 2], dim=1)
    order = key.masked_fill(absent, 2.0 * length).argsort(dim=1, stable=True)[:, :length]
    kept = ~absent.gather(1, order)
    source = order % length
    changed = {
        name: value.gather(1, source.reshape(rows, length, *[1] * (value.ndim - 2)).expand_as(value))
        for name, value in inputs.items()
    }
    pool = ids[real]
    drawn = pool[torch.randint(max(len(pool), 1), (rows, length), device=device)] if len(pool) else ids
    replaced = torch.where((kind == 3).gather(1, source), drawn, changed["ids"])
    changed["ids"] = torch.where(kept, replaced, torch.zeros_like(replaced))
    return changed
