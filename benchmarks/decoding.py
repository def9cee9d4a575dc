"""How many words a second of processor time a decoder writes, with what it read remembered and without.

    python benchmarks/decoding.py [--words 2000] [--width 256] [--depth 4] [--tokens 49] [--repeats 2] [--json]

Greedy decoding of random weights on one thread; beside it three beams. Without the cache every word is scored by
reading all words before it anew. The ways take turns, so that other work on the machine meets all alike, and must write
the same words; told is the best of `--repeats`.
"""

from __future__ import annotations

import time

import torch
from tools import parser, show
from torch import Tensor

from polymodal.nn.decoding import Decoding, decode
from polymodal.nn.layers.decoder import Decoder, PrefixLM, RecurrentDecoder, State, TransformerDecoder

KINDS = {"transformer": TransformerDecoder, "prefix": PrefixLM, "recurrent": RecurrentDecoder}
BATCHES, LENGTHS = (1, 16), (20, 100)


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


def main() -> None:
    """Run the benchmark."""
    arguments = parser(__doc__)
    for name, value in (("words", 2000), ("width", 256), ("depth", 4), ("tokens", 49), ("repeats", 2)):
        arguments.add_argument(f"--{name}", type=int, default=value)
    options = arguments.parse_args()
    torch.set_num_threads(1)
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
