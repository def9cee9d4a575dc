"""Does a knowledge graph help alignment? The same contrast without a graph, with the true one, and with a shuffled one.

planted: 240 species of a taxonomy, few pairs; other species are searched (benchmarks/planted_graph.py).
flickr:  photos and captions behind frozen towers, `polymodal align` from end to end; nouns of the training captions
         with WordNet's hypernyms. Needs Debian's `wordnet-base`, the packages of benchmarks/towers.py, and a folder of
         MiniLM in transformers form (--text).

Differences are paired by draw: of the task (planted), of the training photos and the seed (flickr). Intervals are
Student's over draws.

PYTHONPATH=benchmarks python benchmarks/knowledge.py [--seeds 10] [--pairs 60 120] [--data FLICKR --text MODEL]
"""

from __future__ import annotations

import csv
from argparse import Namespace
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from planted_graph import Planted, aligned
from scipy.stats import t as student
from tools import parser, show

import polymodal as pm
from polymodal.aligners.entities import words
from polymodal.aligners.graph import COLUMNS, Graph
from polymodal.data.tables.source import read_table

WORDNET = Path("/usr/share/wordnet")
GRAPHS = ("none", "true", "shuffled")


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--seeds", type=int, default=10)
    options.add_argument("--pairs", type=int, nargs="+", default=[60, 120], help="planted: pairs for training")
    options.add_argument("--embedding", default="transe", help="transe or rotate")
    options.add_argument("--data", type=Path, help="flickr: the folder of train.csv, valid.csv and test.csv")
    options.add_argument("--text", help="flickr: the text tower's folder")
    options.add_argument("--store", help="flickr: the store, so that cells are encoded once")
    options.add_argument("--photos", type=int, nargs="+", default=[300, 1000], help="flickr: photos for training")
    given = options.parse_args()
    torch.set_num_threads(1)
    rows = flickr(given) if given.data else planted(given.pairs, given.seeds, given.embedding)
    show(rows, given.json)


def planted(pairs: Sequence[int], seeds: int, embedding: str) -> list[dict[str, Any]]:
    rows = []
    for count in pairs:
        found: dict[str, list[dict[str, float]]] = {name: [] for name in GRAPHS}
        for seed in range(100, 100 + seeds):  # draws that no default was chosen on
            task = Planted(seed=seed, pairs=count)
            for name, spec in specs(task.graph, embedding, seed).items():
                found[name].append(aligned(spec, task, seed=seed))
        rows += table(f"planted, {count} pairs", found)
    return rows


def specs(graph: Graph, embedding: str, seed: int) -> dict[str, Any]:
    knowing = {"name": "knowledge", "embedding": embedding}
    return {
        "none": "infonce",
        "true": {**knowing, "graph": graph},
        "shuffled": {**knowing, "graph": graph.shuffled(seed)},
    }


def table(data: str, found: dict[str, list[dict[str, float]]]) -> list[dict[str, Any]]:
    """A row a graph: means, and the paired difference from no graph with its 95 % interval."""
    rows = []
    for name, scores in found.items():
        row: dict[str, Any] = {"data": data, "graph": name, "draws": len(scores)}
        for metric in scores[0]:
            values = np.array([s[metric] for s in scores])
            gains = values - np.array([s[metric] for s in found["none"]])
            row[metric] = float(values.mean())
            if name != "none":
                half = student.ppf(0.975, len(gains) - 1) * gains.std(ddof=1) / len(gains) ** 0.5
                row[f"{metric} gain"] = (
                    f"{gains.mean():+.3f} ({gains.mean() - half:+.3f} to {gains.mean() + half:+.3f})"
                )
            else:
                row[f"{metric} gain"] = ""
        rows.append(row)
    return rows


def wordnet(captions: Sequence[str], *, least: int = 3) -> Graph:
    """Nouns of three letters or more that `least` captions hold, each by its commonest sense, and all their hypernyms.

    WordNet 3.0 (Princeton University 2006), as Debian packages it: `index.noun` and `data.noun`.
    """
    count = Counter(word for caption in captions for word in {w for w, _, _ in words(caption) if len(w) > 2})
    senses = {}
    for line in (WORDNET / "index.noun").read_text(encoding="latin-1").splitlines():
        fields = line.split()
        if not line.startswith(" ") and count[fields[0]] >= least:
            senses[fields[0]] = fields[-int(fields[2])]  # offsets stand at the end, the commonest first
    above: dict[str, list[str]] = {}
    for line in (WORDNET / "data.noun").read_text(encoding="latin-1").splitlines():
        fields = line.split("|")[0].split()
        if not line.startswith(" "):
            start = 4 + 2 * int(fields[3], 16) + 1
            links = [fields[i : i + 4] for i in range(start, start + 4 * int(fields[start - 1]), 4)]
            above[fields[0]] = [offset for kind, offset, _, _ in links if kind in ("@", "@i")]
    triples, waiting, seen = [], list(senses.values()), set(senses.values())
    while waiting:
        synset = waiting.pop()
        for parent in above[synset]:
            triples.append((synset, "hypernym", parent))
            if parent not in seen:
                seen.add(parent)
                waiting.append(parent)
    return Graph.of([*triples, *((synset, "alias", word) for word, synset in senses.items())])


def write(graph: Graph, path: Path) -> Path:
    """The graph as triples, its names as aliases."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(graph.to_triples())
    return path


def flickr(given: Namespace) -> list[dict[str, Any]]:
    train = read_table(given.data / "train.csv")
    captions = [f"caption_{k}" for k in range(5)]
    encoders = {
        "image": "towers:EfficientNetLite0",
        "caption": {"name": "pretrained_text", "model": given.text, "tokens": 1},
    }
    rows = []
    for count in given.photos:
        found: dict[str, list[dict[str, float]]] = {name: [] for name in GRAPHS}
        for seed in range(given.seeds):
            chosen = np.sort(np.random.default_rng(seed).permutation(len(train))[:count])
            some = train.select(chosen)
            graph = wordnet([text for name in captions for text in some.column(name) if text])
            for name, spec in specs(graph, given.embedding, seed).items():
                with TemporaryDirectory() as folder:
                    if name != "none":
                        spec = {
                            **spec,
                            "graph": str(write(spec["graph"], Path(folder) / "triples.csv")),
                            "columns": captions,
                        }
                    run = pm.align(
                        some, "image,caption_*", valid=given.data / "valid.csv", test=given.data / "test.csv",
                        out=Path(folder) / "run", store=given.store, method=spec, encoders=encoders, seed=seed,
                        trackers="none", queries=0, quiet=True,
                    )  # fmt: skip
                found[name].append({f"{way} r@10": v["recall@10"]["mean"] for way, v in run.metrics["test"].items()})
        rows += table(f"flickr, {count} photos", found)
    return rows


if __name__ == "__main__":
    main()
