"""Language: a tagger and a parser learnt from a CoNLL-U file, with intervals; Chinese words against a small gold set.

    python benchmarks/language.py --conllu train.conllu [--test test.conllu] [--method hmm] [--most 2000]

Without --test the last fifth of the sentences is kept for the test. Without --conllu only the Chinese gold set is read:
60 sentences beside this file, written for this test and cut without the guidelines of Peking University's corpus at
hand; no second annotator has checked them. The parser learns from tags as a tagger gives them
(jackknifed), and is tested both on those and on the treebank's own tags. Punctuation counts.
Intervals: 95%, sentences resampled.

A treebank on PyPI: `turkish-treebanks` (Apache-2.0) brings web.conllu and wiki.conllu.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from polymodal.evaluate.language import parse_counts, ratio_interval, segment_counts, tag_counts, tagging_scores
from polymodal.prepare.language.conllu import read_conllu
from polymodal.prepare.language.labels import METHODS, Segmenter, Tagger
from polymodal.prepare.language.parser import Parser
from polymodal.prepare.language.tokens import cut_chinese, words_by_rules
from polymodal.prepare.language.train import retagged

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
    """Tagging accuracy, attachment scores, and CPU seconds."""
    train = read_conllu(args.conllu)
    test = read_conllu(args.test) if args.test else train[-(len(train) // 5) :]
    train = (train if args.test else train[: -(len(train) // 5)])[: args.most]
    clock, seconds = time.process_time(), {}
    tagger = Tagger.train(train, method=args.method)
    seconds["tagger"] = time.process_time() - clock
    tags = [tagger.tag(one.words)[0] for one in test]
    known = {word for one in train for word in one.words}
    found: dict[str, object] = {
        "sentences": [len(train), len(test)],
        "words": [sum(map(len, train)), sum(map(len, test))],
        "tags": told(tag_counts(test, tags)),
        "tags of unknown words": tagging_scores(test, tags, known)["accuracy_unknown"],
    }
    if args.segment:
        segmenter = Segmenter.train(train, method=args.method)
        cut = [segmenter.segment(one.text())[0] for one in test]
        found["words cut"] = told(segment_counts([[w for x in one.words for w in x.split()] for one in test], cut))
    clock = time.process_time()
    parser = Parser.train(retagged(train, args.method), epochs=args.epochs)
    seconds["parser and its taggers"] = time.process_time() - clock
    for name, given in (("tags of the tagger", tags), ("tags of the treebank", [one.tags for one in test])):
        clock = time.process_time()
        parses = [parser.parse(one.words, t)[:2] for one, t in zip(test, given)]
        seconds[f"parsing, {name}"] = time.process_time() - clock
        for score in ("uas", "las"):
            found[f"{score}, {name}"] = told(parse_counts(test, parses, labelled=score == "las"))
    return found | {"cpu seconds": seconds}


def told(counts) -> list[float]:
    one = ratio_interval(counts)
    return [round(100 * value, 1) for value in (one.mean, one.low, one.high)]


def main() -> None:
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--conllu")
    reader.add_argument("--test")
    reader.add_argument("--method", choices=METHODS, default="crf")
    reader.add_argument("--epochs", type=int, default=5)
    reader.add_argument("--most", type=int, help="training sentences to use")
    reader.add_argument("--segment", action="store_true", help="cut words too")
    args = reader.parse_args()
    print(json.dumps({"chinese": chinese(), **({"treebank": treebank(args)} if args.conllu else {})}, indent=1))


if __name__ == "__main__":
    main()
