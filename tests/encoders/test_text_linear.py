"""Tf-idf against scikit-learn, scores against the learners', restoring, and texts of all kinds."""

import json
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer

from polymodal.core.errors import BadArgument
from polymodal.core.registry import options_of
from polymodal.data.schema import Field
from polymodal.encoders import ENCODERS
from polymodal.encoders import text_linear as module
from polymodal.encoders.scoring import Answering, Member
from polymodal.encoders.text_linear import TextLinear
from polymodal.learners.ridge import Ridge
from polymodal.learners.sparse import Sparse
from polymodal.models.specs import processor_spec
from polymodal.process.text import TextProcessor

LEADS = ("it sounds like", "i think i heard", "they said", "no, rather")
WORDS = ("four", "seven", "nine")
TEXTS = [f"{lead} {word}{end}" for lead in LEADS for word in WORDS for end in ("", "!", " or so")]
LABELS = np.array([WORDS.index(word) for _ in LEADS for word in WORDS for _ in range(3)])
ODD = [
    "😀",
    "快，好吃，味道足",
    "a",
    "four " * 2000,
    "x" * 5000,
    "ﬁn e\u0301clair\u200d",
    "\u0000",
    "¿?",
    "12 " + "é" * 30,
]


def processed(texts, processor=None):
    if processor is None:
        processor = TextProcessor(**TextLinear.processor_options)
        processor.fit(texts)
    return processor, {name: torch.from_numpy(array) for name, array in processor.process(texts).items()}


def fitted(texts=TEXTS, **options):
    processor, inputs = processed(texts)
    encoder = TextLinear(processor.facts(), 8, **options).eval()
    encoder.fit_statistics(inputs)
    return encoder, inputs, processor


def answering(encoder, inputs, *, target=LABELS, meaning="classes", width=3, strengths=(1.0, 10.0)):
    design = encoder.design(inputs)
    learners = [Sparse(strength=s).fit(design, target, meaning, width=width) for s in strengths]
    specs = [{"name": "sparse", "strength": s} for s in strengths]
    return Answering(meaning, width, [Member(s, one, 1.0, 2.0) for s, one in zip(specs, learners)])


def characters(text):
    padded = f" {' '.join(text.split())} "
    runs = [padded[i : i + n] for n in range(1, 6) for i in range(len(padded) - n + 1)]
    return [run for run in runs if run != " " and " " not in run[1:-1]]


def words(text):
    return [*text.split(), *(" ".join(pair) for pair in pairwise(text.split()))]


@pytest.mark.parametrize("texts", [TEXTS, ["好吃 味道足", "味道足 快", "好吃", "快，好吃 吃吃吃"]])
def test_tf_idf_is_scikit_learn_s(texts):
    encoder, inputs, _ = fitted(texts, words=0.5)
    blocks = [
        TfidfVectorizer(analyzer=grams, min_df=2, sublinear_tf=True).fit_transform(texts)
        for grams in (characters, words)
    ]
    expected = sparse.hstack([blocks[0], 0.5 * blocks[1]]).toarray()
    found = encoder.design(inputs)
    assert found.dtype == np.float32
    assert found.shape == expected.shape
    np.testing.assert_allclose((found @ found.T).toarray(), expected @ expected.T, atol=1e-5)
    np.testing.assert_allclose(np.sort(found.toarray().ravel()), np.sort(expected.ravel()), atol=1e-5)


def test_n_grams_are_those_that_enough_training_texts_hold():
    encoder, inputs, processor = fitted(rare=9)
    assert ((encoder.design(inputs).toarray() > 0).sum(0) >= 9).all()
    few, _, _ = fitted(most=20)
    assert few.design(inputs).shape == (len(TEXTS), 20)
    assert fitted()[0].design(processed(["zzz qqq"], processor)[1]).nnz == 0, "what training did not have is not known"


def test_different_n_grams_never_share_a_weight():
    drawn = np.random.default_rng(0)
    texts = ["".join(drawn.choice(list("abcdefghijklmnop"), 60)) for _ in range(1200)]
    encoder, _, _ = fitted(texts, rare=1, most=10**7, components=2)
    expected = {gram for text in texts for gram in (*characters(text), *((word,) for word in words(text)))}
    assert len(encoder.grams) == len(expected) > 2**16


@pytest.mark.parametrize(
    ("meaning", "target", "width"),
    [
        ("classes", LABELS, 3),
        ("multilabel", np.stack([LABELS == 0, LABELS > 0], 1).astype(float), 2),
        ("number", LABELS - 1.0, 1),
    ],
)
def test_pooled_scores_are_the_learners(meaning, target, width):
    encoder, inputs, _ = fitted()
    answer = answering(encoder, inputs, target=target, meaning=meaning, width=width)
    settled = encoder.answering({"y.z": answer})
    tokens = settled(inputs)
    assert settled.dim == tokens.width == 64 + width
    expected = sum(0.5 * member.learner.scores(encoder.design(inputs)) / 2.0 for member in answer.members)
    if meaning == "classes":
        expected = expected - expected.mean(1, keepdim=True)
    said = settled.says["y.z"]
    assert said.meaning == meaning
    assert torch.allclose(said.read(tokens.pooled), expected, atol=0.01)
    assert torch.allclose(tokens.pooled[:, :64], encoder(inputs).pooled, atol=1e-6)
    assert torch.allclose(tokens.x.sum(1) + settled.bias, tokens.pooled, atol=1e-5)
    assert encoder.says == {}


def test_scores_answer_texts_not_seen():
    encoder, inputs, processor = fitted()
    settled = encoder.answering({"y": answering(encoder, inputs)})
    found = settled.says["y"].read(settled(processed(["she said nine", "fourr it is", "sevn"], processor)[1]).pooled)
    assert found.argmax(1).tolist() == [2, 0, 1]


def test_components_are_standardised_and_unsupervised():
    encoder, inputs, _ = fitted(components=6)
    pooled = encoder(inputs).pooled
    assert pooled.shape == (len(TEXTS), 6)
    left, sizes, _ = np.linalg.svd(encoder.design(inputs).toarray(), full_matrices=False)
    expected = torch.from_numpy(left * sizes)[:, :6]
    expected = (expected - expected.mean(0)) / expected.std(0, correction=0)
    alike = (expected.T @ pooled).abs() / len(TEXTS)  # up to its sign
    assert torch.allclose(alike.diagonal(), torch.ones(6), atol=0.02)
    assert torch.allclose(pooled.mean(0), torch.zeros(6), atol=0.01)
    assert torch.allclose(pooled.std(0, correction=0), torch.ones(6), atol=0.01)
    again, _, _ = fitted(components=6)
    assert torch.equal(again.table, encoder.table)


def test_it_is_restored_from_json_and_a_state_dict():
    encoder, inputs, processor = fitted()
    settled = encoder.answering({"y": answering(encoder, inputs)})
    spec = json.loads(json.dumps({"name": "text_linear", **options_of(settled)}))
    other = ENCODERS.build(spec, processor.facts(), 8).eval()
    other.load_state_dict(settled.state_dict())
    assert other.says == settled.says
    assert torch.equal(other(inputs).pooled, settled(inputs).pooled)
    before = ENCODERS.build("text_linear", processor.facts(), 8).eval()
    before.load_state_dict(encoder.state_dict())
    assert torch.equal(before(inputs).pooled, encoder(inputs).pooled)
    with pytest.raises(RuntimeError, match="size mismatch for table"):
        before.load_state_dict(settled.state_dict())


def test_any_text_gives_finite_tokens(monkeypatch):
    encoder, inputs, processor = fitted()
    settled = encoder.answering({"y": answering(encoder, inputs)})
    _, odd = processed(ODD, processor)
    tokens = settled(odd)
    assert tokens.pooled.isfinite().all()
    assert tokens.x.isfinite().all()
    assert tokens.present.all()
    own, own_inputs, _ = fitted(ODD, rare=1)
    whole, design = own(own_inputs).pooled, own.design(own_inputs).toarray()
    assert whole.isfinite().all()
    monkeypatch.setattr(module, "PLACES", 10)  # a row at a time
    assert torch.allclose(own(own_inputs).pooled, whole, atol=1e-5)
    np.testing.assert_allclose(own.design(own_inputs).toarray(), design, atol=1e-6)


def test_texts_without_a_common_n_gram_say_nothing():
    encoder, inputs, _ = fitted(["ab", "cd", "ef"])
    assert encoder.design(inputs).nnz == 0
    assert not encoder(inputs).pooled.any()
    assert encoder.design({name: value[:0] for name, value in inputs.items()}).shape == (0, 1)


def test_absent_texts_are_not_counted():
    processor, inputs = processed(TEXTS)
    there = torch.arange(len(TEXTS)) % 2 == 0
    encoder, other = (TextLinear(processor.facts(), 8).eval() for _ in range(2))
    encoder.fit_statistics({**inputs, "present": there})
    other.fit_statistics({name: value[there] for name, value in inputs.items()})
    assert torch.equal(encoder.grams, other.grams)
    assert torch.equal(encoder.idf, other.idf)


def test_learners_other_than_linear_ones_of_sparse_rows_are_refused():
    encoder, inputs, _ = fitted()
    learner = Ridge().fit(encoder.design(inputs).toarray(), LABELS, "classes")
    with pytest.raises(BadArgument, match="the learner sparse; got Ridge"):
        encoder.answering({"y": Answering("classes", 3, [Member("ridge", learner)])})
    with pytest.raises(BadArgument, match="words"):
        TextLinear(encoder.facts, 8, words=-1.0)


def test_subwords_are_taken_too():
    processor = TextProcessor(level="subwords")
    processor.fit(TEXTS)
    _, inputs = processed(TEXTS, processor)
    encoder = TextLinear(processor.facts(), 8).eval()
    encoder.fit_statistics(inputs)
    settled = encoder.answering({"y": answering(encoder, inputs)})
    assert (settled.says["y"].read(settled(inputs).pooled).argmax(1).numpy() == LABELS).all()


def test_its_processor_is_asked_for_characters_and_long_texts():
    field = Field("review", "text", ("review",))
    asked = {"name": "text", "level": "characters", "length": 3000}
    assert processor_spec(field, "text_linear", {}) == asked
    assert processor_spec(field, {"name": "text_linear", "rare": 1}, {"text": {"name": "text", "length": 90}}) == {
        **asked,
        "length": 90,
    }
    assert processor_spec(field, "text_tfidf", {}) == {"name": "text"}
