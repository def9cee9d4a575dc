"""What text encoders share: cutting a text into a few runs of whole words, and typing errors as augmentation."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from polymodal.nn.graphs import longest


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
