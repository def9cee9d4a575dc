"""What a decoder costs: words a second of processor time with the cache and without, or a step of its training.

    python benchmarks/decoding.py [--words 2000] [--width 256] [--depth 4] [--tokens 49] [--repeats 2] [--json]
    python benchmarks/decoding.py --train [--captions 128] [--references 5] …

Greedy decoding of random weights on one thread; beside it three beams. Without the cache every word is scored by
reading all words before it anew. The ways take turns, so that other work on the machine meets all alike, and must write
the same words; told is the best of `--repeats`.

`--train`: forward, backward and AdamW over captions of 8 to 19 words, five of them about one photo, padded: each with a
context of its own and all scores; with the photo's keys and values computed once; and with scores of real words alone.
"""

from __future__ import annotations

import time
from argparse import Namespace
from functools import partial
from typing import Any

import torch
from tools import parser, show
from torch import Tensor
from torch.nn import functional as F

from polymodal.nn.decoding import Decoding, decode
from polymodal.nn.layers.decoder import Decoder, PrefixLM, RecurrentDecoder, State, TransformerDecoder
from polymodal.nn.layers.state import BEGIN, END, PAD

KINDS = {"transformer": TransformerDecoder, "prefix": PrefixLM, "recurrent": RecurrentDecoder}
BATCHES, LENGTHS = (1, 16), (20, 100)
TRAINING = (("captions", 128), ("references", 5))


class Forgetful(Decoder):
    """A decoder that reads everything again for every word."""

    def __init__(self, decoder: Decoder):
        super().__init__(decoder.words, context_width=decoder.context_width, longest=decoder.longest)
        self.decoder = decoder

    def start(self, context: Tensor, mask: Tensor) -> State:
        return State(len(mask), (torch.empty(len(mask), 0, dtype=torch.int64),), (context, mask))

    def absorb(self, ids: Tensor, state: State) -> tuple[Tensor, State]:
        whole = torch.cat([state.past[0], ids], 1)
        scores = self.decoder(whole, *state.seen)[:, -ids.shape[1] :]
        return scores, State(state.rows, (whole,), state.seen, whole.shape[1])

    def scores(self, x: Tensor) -> Tensor:
        return x

    def weights(self, ids: Tensor, context: Tensor, mask: Tensor) -> Tensor:
        return self.decoder.weights(ids, context, mask)


def steps(options: Namespace) -> list[dict[str, Any]]:
    """What a step of training costs, in three ways that reach the same loss."""
    photos, several = options.captions // options.references, options.references
    ids = torch.randint(4, options.words, (photos, several, 20))
    length = torch.randint(8, 20, (photos, several, 1))
    ids = ids.masked_fill(torch.arange(20) > length, PAD).scatter(2, length, END)
    context, mask = torch.randn(photos, options.tokens, options.width), torch.ones(photos, options.tokens).bool()
    flat = ids.flatten(0, 1), context.repeat_interleave(several, 0), mask.repeat_interleave(several, 0)
    read = torch.cat([torch.full_like(ids[..., :1], BEGIN), ids[..., :-1]], -1)
    rows = []
    for name, kind in KINDS.items():
        torch.manual_seed(0)
        sizes = {} if kind is RecurrentDecoder else {"depth": options.depth}
        decoder = kind(options.words, options.width, context_width=options.width, dropout=0.0, **sizes)
        optimizer = torch.optim.AdamW(decoder.parameters(), lr=0.0, fused=True)

        def all_scores(read: Tensor, ids: Tensor, *context: Tensor, decoder: Decoder = decoder) -> Tensor:
            return F.cross_entropy(decoder(read, *context).flatten(0, -2), ids.flatten(), ignore_index=PAD)

        def real(ids: Tensor, *context: Tensor, decoder: Decoder = decoder) -> Tensor:
            return decoder.losses(ids, *context).sum() / (ids != PAD).sum()

        ways = {
            "each_its_own": partial(all_scores, read.flatten(0, 1), *flat),
            "shared": partial(all_scores, read, ids, context, mask),
            "shared_real": partial(real, ids, context, mask),
        }
        best, lost = dict.fromkeys(ways, float("inf")), {}
        for _ in range(options.repeats + 1):
            for way, loss in ways.items():
                started = time.process_time()
                optimizer.zero_grad()
                found = loss()
                found.backward()
                optimizer.step()
                best[way] = min(best[way], time.process_time() - started)
                lost[way] = found.item()
        assert max(lost.values()) - min(lost.values()) < 1e-4
        told = {f"{way}_ms": round(1000 * value) for way, value in best.items()}
        rows.append({"decoder": name, **told, "share": best["shared_real"] / best["each_its_own"]})
    return rows


def main() -> None:
    """Run the benchmark."""
    arguments = parser(__doc__)
    for name, value in (("words", 2000), ("width", 256), ("depth", 4), ("tokens", 49), ("repeats", 2), *TRAINING):
        arguments.add_argument(f"--{name}", type=int, default=value)
    arguments.add_argument("--train", action="store_true")
    options = arguments.parse_args()
    torch.set_num_threads(1)
    if options.train:
        show(steps(options), options.json)
        return
    rows = []
    for name, kind in KINDS.items():
        torch.manual_seed(0)
        sizes = {} if kind is RecurrentDecoder else {"depth": options.depth, "longest": max(LENGTHS)}
        decoder = kind(options.words, options.width, context_width=options.width, **sizes).eval()
        for batch in BATCHES:
            context = torch.randn(batch, options.tokens, options.width)
            mask = torch.ones(batch, options.tokens, dtype=torch.bool)
            for length in LENGTHS:
                greedy = Decoding(most=length, least=length - 1)
                ways = {
                    "without": (Forgetful(decoder), greedy),
                    "with": (decoder, greedy),
                    "three_beams": (decoder, Decoding(beams=3, most=length, least=length - 1)),
                }
                best, written = dict.fromkeys(ways, 0.0), {}
                for _ in range(options.repeats):
                    for way, (one, how) in ways.items():
                        started = time.process_time()
                        found = decode(one, context, mask, how)
                        best[way] = max(best[way], found.ids.numel() / (time.process_time() - started))
                        written[way] = found.ids
                same = torch.equal(written["with"], written["without"])
                told = {way: round(value) for way, value in best.items()}
                row = {"decoder": name, "batch": batch, "length": length, **told}
                rows.append({**row, "times": best["with"] / best["without"], "same_words": same})
    show(rows, options.json)
    assert all(row["same_words"] for row in rows)


if __name__ == "__main__":
    main()
