"""spaCy and stanza models, trained here for some steps on a planted grammar: every op that takes one."""

from __future__ import annotations

import gc
import json
import warnings

import pytest
from ops import applied
from planted_corpus import planted, write_conllu

from polymodal.core.errors import BadArgument
from polymodal.evaluation.language import parse_counts
from polymodal.ops.language.conllu import read_conllu
from polymodal.testing import check_op

CORPUS = planted(60, seed=1)
KNOWN = next(one for one in CORPUS if len(one) > 6 and "dog" in one.words)
TEXTS = [KNOWN.text(), None, "", "the man find a tree . the old dog lift the house ."]


def told(spec, texts, suffix):
    rows, _ = applied(spec, {"x": texts}, {"x": "text"})
    return [row.cells[f"x_{suffix}"] for row in rows]


@pytest.fixture(scope="module")
def spacy_folder(tmp_path_factory):
    """A blank pipeline with tags, trees and names, taught for a few rounds."""
    spacy = pytest.importorskip("spacy", reason="spaCy is not installed (extra: spacy)")
    from spacy.tokens import Doc
    from spacy.training import Example

    spacy.util.fix_random_seed(0)
    pipeline = spacy.blank("en")
    for name in ("morphologizer", "parser", "ner"):
        pipeline.add_pipe(name)
    examples = []
    for one in CORPUS:
        doc = Doc(
            pipeline.vocab, words=one.words, spaces=one.spaces, pos=one.tags,
            heads=[head - 1 if head else i for i, head in enumerate(one.heads)], deps=one.relations,
            ents=["B-ANIMAL" if word == "dog" else "O" for word in one.words],
        )  # fmt: skip
        examples.append(Example(Doc(pipeline.vocab, words=one.words, spaces=one.spaces), doc))
    optimizer = pipeline.initialize(lambda: examples)
    for i in range(40):
        pipeline.update(examples[i % 4 :: 4], sgd=optimizer)
    folder = tmp_path_factory.mktemp("spacy") / "tiny"
    pipeline.to_disk(folder)
    bare = tmp_path_factory.mktemp("spacy") / "bare"
    spacy.blank("en").to_disk(bare)
    return str(folder), str(bare)


@pytest.fixture(scope="module")
def stanza_folder(tmp_path_factory):
    """The folder of a language as stanza keeps it; stanza's own trainers made the tagger, the parser and the names."""
    pytest.importorskip("stanza", reason="stanza is not installed (extra: stanza)")
    from stanza.models import ner_tagger, parser, tagger

    root = tmp_path_factory.mktemp("stanza_resources")
    write_conllu(root / "corpus", CORPUS)
    small = {
        "hidden_dim": 16, "char_hidden_dim": 8, "deep_biaff_hidden_dim": 16, "word_emb_dim": 16, "char_emb_dim": 8,
        "tag_emb_dim": 8, "transformed_dim": 8, "word_cutoff": 0, "dropout": 0, "word_dropout": 0, "max_steps": 100,
        "eval_interval": 50, "train_file": root / "corpus", "eval_file": root / "corpus", "lang": "en",
        "shorthand": "en_tiny", "save_name": "tiny.pt",
    }  # fmt: skip
    given = [piece for name, value in small.items() for piece in (f"--{name}", str(value))]
    given += ["--cpu", "--no_pretrain"]
    more = ["--deep_biaff_output_dim", "8", "--num_layers", "1", "--no_checkpoint"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # stanza's readers leave files to the collector
        tagger.main([*given, "--composite_deep_biaff_hidden_dim", "8", "--save_dir", str(root / "en" / "pos")])
        parser.main([*given, *more, "--save_dir", str(root / "en" / "depparse")])
        ner_tagger.main(_names(root))
        gc.collect()
    default = {"tokenize": "tiny", "pos": "tiny", "lemma": "identity", "depparse": "tiny", "ner": "tiny"}
    parts = {name: {package: {}} for name, package in default.items()}
    told = {"lang_name": "English", "packages": {"default": default}, "default_processors": default, **parts}
    (root / "resources.json").write_text(json.dumps({"en": told}))
    return str(root / "en")


def _names(root):
    """What stanza's trainer of names is told: each dog is an animal."""
    marked = [[{"text": w, "ner": "S-ANIMAL" if w == "dog" else "O"} for w in one.words] for one in CORPUS]
    (root / "names.json").write_text(json.dumps(marked))
    told = {
        "hidden_dim": 16, "char_hidden_dim": 8, "word_emb_dim": 16, "char_emb_dim": 8, "dropout": 0, "max_steps": 200,
        "eval_interval": 100, "optim": "adam", "lr": 0.01, "train_file": root / "names.json",
        "eval_file": root / "names.json",
        "shorthand": "en_tiny", "save_dir": root / "en" / "ner", "save_name": "tiny.pt",
    }  # fmt: skip
    return [*(piece for name, value in told.items() for piece in (f"--{name}", str(value))), "--cpu", "--no_pretrain"]


@pytest.fixture(params=["spacy", "stanza"])
def taught(request):
    folder = request.getfixturevalue(f"{request.param}_folder")
    return {"engine": request.param, "model": folder[0] if request.param == "spacy" else folder}


def test_tags(taught):
    spec = {"name": "tags", **taught}
    assert told(spec, TEXTS, "pos")[:3] == [" ".join(KNOWN.tags), None, ""]
    assert told(spec, TEXTS, "pos_words")[0] == " ".join(KNOWN.words)
    assert told(spec, TEXTS, "pos_confidence")[0] is None
    check_op(spec, {"text": TEXTS}, {"text": "text"})


def test_trees_and_roles(taught, tmp_path):
    some = CORPUS[:12]
    trees = told({"name": "parse", **taught}, [one.text() for one in some], "parse")
    (tmp_path / "found").write_text("\n".join(trees), encoding="utf-8")
    found = read_conllu(tmp_path / "found")
    assert [one.words for one in found] == [one.words for one in some]
    right, words = parse_counts(some, [(one.heads, one.relations) for one in found], labelled=False).sum(0)
    assert right > 0.8 * words
    assert told({"name": "parse", **taught}, TEXTS, "parse")[1:3] == [None, ""]
    said = json.loads(told({"name": "roles", **taught}, TEXTS, "roles")[0])
    assert [one["predicate"] for one in said] == [word for word, tag in zip(KNOWN.words, KNOWN.tags) if tag == "VERB"]
    for name in ("parse", "roles"):
        check_op({"name": name, **taught}, {"text": TEXTS}, {"text": "text"})


def test_names(taught):
    spec = {"name": "entities", **taught}
    start = KNOWN.text().index("dog")
    found = json.loads(told(spec, TEXTS, "entities")[0])
    assert {"text": "dog", "type": "ANIMAL", "start": start, "end": start + 3} in found
    check_op(spec, {"text": TEXTS}, {"text": "text"})


def test_a_spacy_pipeline_that_cannot_is_refused(spacy_folder, tmp_path):
    for name, lacks in (("tags", "tags"), ("parse", "parse"), ("roles", "parse"), ("entities", "entities")):
        with pytest.raises(BadArgument, match=f"'bare' gives no {lacks}: it holds nothing but its words"):
            applied({"name": name, "engine": "spacy", "model": spacy_folder[1]}, {"x": ["a"]}, {"x": "text"})
    with pytest.raises(BadArgument, match="no pipeline 'absent'"):
        applied({"name": "tags", "engine": "spacy", "model": "absent"}, {"x": ["a"]}, {"x": "text"})


def test_what_stanza_lacks_is_said(tmp_path):
    pytest.importorskip("stanza", reason="stanza is not installed (extra: stanza)")
    for name, what in (("entities", "entities"), ("tags", "tags"), ("roles", "parse")):
        with pytest.raises(BadArgument, match=f"stanza has no {what} for"):
            applied({"name": name, "engine": "stanza", "model": str(tmp_path)}, {"x": ["a"]}, {"x": "text"})
