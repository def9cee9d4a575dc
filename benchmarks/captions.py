"""Metrics of captions beside the official programs', which the tests hold frozen.

    python benchmarks/captions.py [--table TABLE --answer COLUMN --references COLUMN COLUMN …]

Sentences of our own, or those of a table. Needs `pycocoevalcap`, whose tokenizer runs on Java, and `sacrebleu`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from tools import parser, show

from polymodal.data.tables.source import read_table
from polymodal.metrics import ALIASES, METRICS
from polymodal.metrics.words import words


def official(truth: np.ndarray, said: np.ndarray) -> tuple[dict[str, float], list[tuple[str, str]]]:
    """Figures of references [N, R] and answers [N], none empty, and every text beside the words it was cut into."""
    import sacrebleu
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    cut = PTBTokenizer()
    right = cut.tokenize({i: [{"caption": text} for text in row] for i, row in enumerate(truth.tolist())})
    own = cut.tokenize({i: [{"caption": text}] for i, text in enumerate(said.tolist())})
    found = {f"bleu_{n}": value for n, value in enumerate(Bleu(4).compute_score(right, own, verbose=0)[0], 1)}
    found |= {"cider": Cider().compute_score(right, own)[0], "rouge_l": Rouge().compute_score(right, own)[0]}
    found["chrf"] = sacrebleu.corpus_chrf(said.tolist(), truth.T.tolist()).score
    texts = [*truth.reshape(-1).tolist(), *said.tolist()]
    told = [text for side in (right, own) for i in range(len(said)) for text in side[i]]
    return found, list(zip(texts, told))


def main() -> None:
    found = parser(__doc__)
    found.add_argument("--table")
    found.add_argument("--answer")
    found.add_argument("--references", nargs="+")
    given = found.parse_args()
    if given.table:
        table = read_table(given.table)
        truth = np.array([table.column(name) for name in given.references]).T
        said = np.array(table.column(given.answer))
    else:
        sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "metrics"))
        from own_captions import captions

        truth, said = captions()
    figures, texts = official(truth, said)
    rows: list[dict[str, Any]] = []
    for name, theirs in figures.items():
        ours = METRICS.build(ALIASES.get(name, name))(truth, said)
        rows.append({"metric": name, "official": f"{theirs:.6f}", "ours": f"{ours:.6f}", "off": f"{ours - theirs:.0e}"})
    show(rows, given.json)
    same = sum(" ".join(words(text)) == told for text, told in texts)
    show([{"texts": len(texts), "cut_into_the_same_words": same}], given.json)


if __name__ == "__main__":
    main()
