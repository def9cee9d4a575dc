"""Annotating texts: planted words, names, feelings, roles; both languages; options; bad input."""

from __future__ import annotations

import json

import pytest
from ops import applied
from planted_corpus import planted

from polymodal.core.errors import BadArgument, BadData
from polymodal.ops.language.conllu import Sentence
from polymodal.ops.language.roles import roles
from polymodal.ops.language.tokens import chinese, cut_chinese, sentences, tag_chinese, words_by_rules
from polymodal.ops.language.train import train_language
from polymodal.testing import check_op


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(train_language(planted(150, seed=1), tmp_path_factory.mktemp("learnt"), method="hmm", epochs=3))


def test_words_by_rules():
    assert words_by_rules("Dr. Smith didn't pay $3.50, e-mail me@x.org!") == [
        "Dr.", "Smith", "did", "n't", "pay", "$", "3.50", ",", "e-mail", "me@x.org", "!"
    ]  # fmt: skip
    assert sentences(["A", ".", "”", "B", "?"]) == [["A", ".", "”"], ["B", "?"]]
    assert words_by_rules("") == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("मैं स्कूल जाता हूँ।", ["मैं", "स्कूल", "जाता", "हूँ", "।"]),
        ("cafe\u0301 می\u200cخواهم", ["cafe\u0301", "می\u200cخواهم"]),
        ("\u200bzero\u00a0width\ufeff", ["zero", "width"]),
        ("👍🏽 👨\u200d👩\u200d👧🇬🇧", ["👍🏽", "👨\u200d👩\u200d👧", "🇬🇧"]),
        ("See http://x.y/z?q=1. 10:30pm, 3rd", ["See", "http://x.y/z?q=1", ".", "10:30", "pm", ",", "3rd"]),
    ],
)  # fmt: skip
def test_words_of_many_scripts(text, words):
    assert words_by_rules(text) == words


def test_chinese_with_numbers_latin_and_traditional_letters():
    pytest.importorskip("jieba")
    pytest.importorskip("snownlp")
    text = "我在用Python3.8写代码，花了1,000元（約１２．５％），見a@b.co"
    words, share = cut_chinese(text)
    assert " ".join(words) == "我 在 用 Python3.8 写 代码 ， 花 了 1,000 元 （ 約 １２．５％ ） ， 見 a@b.co"
    tagged, tags, _ = tag_chinese(text)
    assert tagged == words
    assert [t for w, t in zip(tagged, tags) if w[0] in "Pa11１"] == ["eng", "m", "m", "eng"]
    assert share == 1
    assert " ".join(cut_chinese("臺灣大學的學生很喜歡資訊科學")[0]) == "臺灣大學 的 學生 很 喜歡 資訊 科學"
    assert not chinese("東京に行きます"), "kana make it Japanese"
    assert chinese("\U00020bb7")


def test_empty_lines_end_a_sentence(folder):
    from polymodal.ops.annotate.words import sentences_for

    assert sentences_for("the dog\r\n\r\nthe man\nsaw", folder) == [["the", "dog"], ["the", "man", "saw"]]


def told(spec, texts, suffix):
    rows, _ = applied(spec, {"x": texts}, {"x": "text"})
    return [row.cells[f"x_{suffix}"] for row in rows]


def test_annotations_are_not_annotated_unasked(folder):
    from polymodal.preparation.recipe import Recipe

    kinds = {"x": "text", "x_y": "text", "sound": "audio"}
    ops = Recipe.read(["segment", "tags", "entities", "keywords"]).ops(kinds)
    assert [op.chosen for op in ops] == [["x", "x_y"]] * 4
    told_twice = Recipe.read(["segment", {"keywords": {"columns": "x_words"}}]).ops(kinds)
    assert told_twice[1].chosen == ["x_words"]
    heard = Recipe.read(["keywords"]).ops({"a": "audio", "a_transcript": "text", "a_transcript_model": "category"})
    assert heard[0].chosen == ["a_transcript"], "of another kind than the sound"
    with pytest.raises(BadArgument, match="There is a column 'x_words' already"):
        Recipe.read(["segment", {"segment": {"columns": "x"}}]).ops(kinds)


def test_segment_in_both_languages(folder):
    pytest.importorskip("jieba")
    texts = ["我来到北京清华大学", "The dog runs.", "", None, "我们用 Python 写代码"]
    found = told("segment", texts, "words")
    assert found == ["我 来到 北京 清华大学", "The dog runs .", "", None, "我们 用 Python 写 代码"]
    assert told("segment", texts, "words_model") == ["jieba", "rules", "rules", None, "jieba"]
    assert told({"name": "segment", "engine": "rules"}, ["我来"], "words") == ["我 来"]
    assert told({"name": "segment", "engine": "jieba"}, ["The dog."], "words_model") == ["jieba"]
    new = ["他来到了网易杭研大厦"]
    assert told("segment", new, "words") != told({"name": "segment", "hmm": False}, new, "words")
    learnt = {"name": "segment", "engine": "learnt", "model": folder}
    assert told(learnt, ["the dog saw"], "words") == ["the dog saw"]
    assert 0 < told(learnt, ["the dog saw"], "words_confidence")[0] <= 1


def test_tags(folder):
    pytest.importorskip("jieba")
    pytest.importorskip("textblob")
    texts = ["The old man saw two ships.", "我爱北京", None, ""]
    assert told("tags", texts, "pos")[0] == "DT JJ NN VBD CD NNS ."
    assert told("tags", texts, "pos")[1:] == ["r v ns", None, ""]
    assert told("tags", texts, "pos_model") == ["textblob", "jieba.posseg", None, "textblob"]
    learnt = {"name": "tags", "engine": "learnt", "model": folder}
    assert told(learnt, ["the old saw saw a light."], "pos") == ["DET ADJ NOUN VERB DET NOUN PUNCT"]


def test_entities(tmp_path):
    pytest.importorskip("jieba")
    text = "Dr. Anna Bell of Northern Light Inc. paid $3.5 million on 4 May 2021 at 10:30, 12% more."
    found = json.loads(told("entities", [text], "entities")[0])
    assert [(e["type"], e["text"]) for e in found] == [
        ("PERSON", "Dr. Anna Bell"), ("ORG", "Northern Light Inc."), ("MONEY", "$3.5 million"), ("DATE", "4 May 2021"),
        ("TIME", "10:30"), ("PERCENT", "12%"),
    ]  # fmt: skip
    assert all(text[e["start"] : e["end"]] == e["text"] for e in found)
    assert json.loads(told("entities", ["the dog may run in a field of 4"], "entities")[0]) == []
    chinese = json.loads(told("entities", ["2021年5月4日李小明在北京花了30万元"], "entities")[0])
    assert [(e["type"], e["text"]) for e in chinese] == [
        ("DATE", "2021年5月4日"), ("PERSON", "李小明"), ("PLACE", "北京"), ("MONEY", "30万元")
    ]  # fmt: skip
    names = tmp_path / "names.tsv"
    names.write_text("# ours\nnutmeg\tSPICE\n", encoding="utf-8")
    own = {"name": "entities", "gazetteer": str(names)}
    assert [e["type"] for e in json.loads(told(own, ["a nutmeg, nutmegs"], "entities")[0])] == ["SPICE"]
    names.write_text("nutmeg SPICE\n", encoding="utf-8")
    with pytest.raises(BadData, match="line 1: a name, a tab and a type"):
        told({**own, "gazetteer": str(names.rename(tmp_path / "bad"))}, ["x"], "entities")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("2021-05-04, 05/04/2021, 4.5.21 or 2021/5/4; not 1.2.3.4", "2021-05-04|05/04/2021|4.5.21|2021/5/4"),
        ("May 4th, 2021; 4th of May 2021; May 2021", "May 4th, 2021|4th of May 2021|May 2021"),
        ("on Monday in the 1990s", "Monday|1990s"),
        ("Maybe 12, Decide 3, Juniper 4, Marcus 4, Janet 5, Augustus 3", ""),
        ("二〇二一年五月四日、去年五月、星期一", "二〇二一年五月四日|去年五月|星期一"),
        ("at 3:45 a.m., 3pm, not 25:99", "3:45 a.m.|3pm"), ("下午3点，有一点累，一点都不好", "下午3点"),
        ("$5, US$3.5m, €1.000,50 and 5 million euros", "$5|US$3.5m|€1.000,50|5 million euros"),
        ("三百元，30万美元，¥100", "三百元|30万美元|¥100"), ("5 %, 12.5％, 百分之五", "5 %|12.5％|百分之五"),
        ("Mrs Jones's dog met Prof. J. R. R. Tolkien", "Mrs Jones|Prof. J. R. R. Tolkien"),
        ("蔡先生在臺北", "蔡先生|臺北"),
    ],
)  # fmt: skip
def test_entities_in_several_forms(text, found):
    pytest.importorskip("jieba")
    pytest.importorskip("snownlp")
    assert "|".join(e["text"] for e in json.loads(told("entities", [text], "entities")[0])) == found


def test_feelings_in_two_languages_at_once():
    pytest.importorskip("vaderSentiment")
    pytest.importorskip("snownlp")
    texts = ["I love 北京", "这个产品 is great", "😀很好", "臺灣很美，我很喜歡", "12345", "I am not happy"]
    assert told("sentiment", texts, "sentiment") == [*["positive"] * 4, "neutral", "negative"]
    both = "snownlp + vaderSentiment"
    assert told("sentiment", texts, "sentiment_model") == [both] * 3 + ["snownlp"] + ["vaderSentiment"] * 2
    assert told("sentiment", texts, "sentiment_confidence")[4] is None, "no word of it is known"
    simple = told("sentiment", ["台湾很美，我很喜欢"], "sentiment_score")
    assert told("sentiment", texts[3:4], "sentiment_score") == simple


def test_sentiment_finds_planted_feelings():
    pytest.importorskip("vaderSentiment")
    pytest.importorskip("snownlp")
    texts = [
        "I love this, it is wonderful!",
        "Awful. I hate it.",
        "It is a table.",
        "",
        None,
        "这个东西很好，非常喜欢",
        "质量太差了，很失望",
    ]
    assert told("sentiment", texts, "sentiment") == [
        "positive",
        "negative",
        "neutral",
        None,
        None,
        "positive",
        "negative",
    ]
    wide = {"name": "sentiment", "neutral": 0.95}
    assert told(wide, texts, "sentiment")[1] == "neutral"
    assert all(c is None or 0 <= c <= 1 for c in told("sentiment", texts, "sentiment_confidence"))


def test_keywords_find_the_rare_words():
    pytest.importorskip("jieba")
    texts = [f"the dog runs with the {word} over the field" for word in ("zebra", "otter", "lynx", "heron")]
    assert told({"name": "keywords", "most": 1}, texts, "keywords") == ["zebra", "otter", "lynx", "heron"]
    assert len(told({"name": "keywords", "most": 3}, texts, "keywords")[0].split("; ")) == 3
    assert told("keywords", ["", None, "，。", "我们的他们的"], "keywords") == ["", None, "", ""]
    pytest.importorskip("yake")
    (found,) = told({"name": "keywords", "engine": "yake"}, ["北京大学在北京市海淀区"], "keywords")
    assert "北京大学" in found.split("; ")
    assert (
        "brown dog" in told({"name": "keywords", "engine": "yake"}, ["A brown dog runs over wet grass"], "keywords")[0]
    )


def test_parse_and_roles_by_a_learnt_parser(folder):
    parse = told({"name": "parse", "model": folder}, ["the dog saw a ship. the man saw a tree .", None, ""], "parse")
    assert parse[0].split("\n")[1].split("\t")[6:8] == ["3", "nsubj"]
    assert parse[1:] == [None, ""]
    found = told({"name": "roles", "model": folder}, ["the dog saw a ship with the red letter."], "roles")
    assert json.loads(found[0]) == [
        {"predicate": "saw", "agent": "the dog", "patient": "a ship", "instrument": "the red letter"}
    ]


def test_roles_by_hand():
    passive = Sentence(
        ["Ann", "was", "n't", "seen", "by", "the", "dog", "today", "and", "left"],
        ["PROPN", "AUX", "PART", "VERB", "ADP", "DET", "NOUN", "ADV", "CCONJ", "VERB"],
        [4, 4, 4, 0, 7, 7, 4, 4, 10, 4],
        ["nsubj:pass", "aux:pass", "advmod", "root", "case", "det", "obl", "advmod", "cc", "conj"],
    )
    assert roles(passive)[0] == {
        "predicate": "seen", "patient": "Ann", "negated": "yes", "agent": "the dog", "time": "today"
    }  # fmt: skip
    assert roles(passive)[1]["predicate"] == "left"
    place = Sentence(
        ["他", "在", "北京", "工作"], ["PRON", "ADP", "PROPN", "VERB"], [4, 3, 4, 0], ["nsubj", "case", "obl", "root"]
    )
    assert roles(place) == [{"predicate": "工作", "agent": "他", "place": "北京"}]
    clear = Sentence(
        ["Ships", "were", "seen", "by", "the", "man", "in", "Oslo"],
        ["NOUN", "AUX", "VERB", "ADP", "DET", "NOUN", "ADP", "PROPN"],
        [3, 3, 0, 3, 6, 4, 3, 7],
        ["nsubjpass", "auxpass", "root", "agent", "det", "pobj", "prep", "pobj"],
    )
    assert roles(clear) == [{"predicate": "seen", "patient": "Ships", "agent": "the man", "place": "Oslo"}]


@pytest.mark.parametrize(
    ("tree", "found"),
    [
        ("The DET 2 det|man NOUN 6 nsubj|who PRON 4 nsubj|left VERB 2 acl:relcl|early ADV 4 advmod|saw VERB 0 root|"
         "Mary PROPN 6 obj",
         [{"predicate": "left", "agent": "The man", "manner": "early"},
          {"predicate": "saw", "agent": "The man who left early", "patient": "Mary"}]),
        ("The DET 2 det|book NOUN 6 nsubj:pass|that PRON 5 obj|she PRON 5 nsubj|wrote VERB 2 acl:relcl|"
         "burned VERB 0 root",
         [{"predicate": "wrote", "patient": "The book", "agent": "she"},
          {"predicate": "burned", "patient": "The book that she wrote"}]),
        ("She PRON 2 nsubj|asked VERB 0 root|him PRON 2 obj|to PART 5 mark|go VERB 2 xcomp",
         [{"predicate": "asked", "agent": "She", "patient": "him", "content": "to go"},
          {"predicate": "go", "agent": "him"}]),
        ("He PRON 3 nsubj:pass|was AUX 3 aux:pass|caught VERB 0 root|and CCONJ 5 cc|killed VERB 3 conj|by ADP 7 case|"
         "dogs NOUN 5 obl",
         [{"predicate": "caught", "patient": "He"}, {"predicate": "killed", "agent": "dogs", "patient": "He"}]),
        ("No DET 2 det|dog NOUN 3 nsubj|barked VERB 0 root|and CCONJ 5 cc|ran VERB 3 conj",
         [{"predicate": "barked", "negated": "yes", "agent": "No dog"}, {"predicate": "ran", "agent": "No dog"}]),
        ("He PRON 2 nsubj|gave VERB 0 root|up ADP 2 compound:prt|tea NOUN 2 obj",
         [{"predicate": "gave up", "agent": "He", "patient": "tea"}]),
        ("A DET 2 det|ship NOUN 0 root|seen VERB 2 acl|by ADP 5 case|men NOUN 3 obl",
         [{"predicate": "seen", "agent": "men", "patient": "A ship"}]),
        ("He PRON 2 nsubj|lives VERB 0 root|in ADP 4 case|May PROPN 2 obl|in ADP 6 case|Paris PROPN 2 obl",
         [{"predicate": "lives", "agent": "He", "time": "May", "place": "Paris"}]),
        ("书 NOUN 4 nsubj:pass|被 ADP 3 case|他 PRON 4 obl|买 VERB 0 root",
         [{"predicate": "买", "patient": "书", "agent": "他"}]),
        ("Rain NOUN 0 root", []),
    ],
)  # fmt: skip
def test_roles_of_clauses(tree, found):
    words, tags, heads, relations = zip(*(row.split() for row in tree.split("|")))
    assert roles(Sentence(list(words), list(tags), [int(h) for h in heads], list(relations))) == found


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    """A tiny network without training: what it says is nonsense, how it is asked is not."""
    transformers = pytest.importorskip("transformers")
    import torch

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("bert")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "dog", "saw", "##s", "a", "ship", "."]
    (folder / "vocab.txt").write_text("\n".join(words))
    made = {}
    for kind in ("Token", "Sequence"):
        config = transformers.BertConfig(
            vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
            num_labels=3, id2label={0: "O", 1: "B-PER", 2: "I-PER"}, label2id={"O": 0, "B-PER": 1, "I-PER": 2},
        )  # fmt: skip
        made[kind] = str(folder / kind)
        getattr(transformers, f"BertFor{kind}Classification")(config).save_pretrained(made[kind])
        vocabulary = {word: i for i, word in enumerate(words)}
        try:
            tokenizer = transformers.BertTokenizerFast(vocab_file=str(folder / "vocab.txt"))
        except TypeError:
            tokenizer = transformers.BertTokenizerFast(vocab=vocabulary)
        tokenizer.save_pretrained(made[kind])
    return made


def test_hugging_face_models(bert):
    texts = ["the dogs saw a ship.", "a dog", None, ""]
    tags = {"name": "tags", "engine": "transformers", "model": bert["Token"]}
    assert [None if t is None else len(t.split()) for t in told(tags, texts, "pos")] == [6, 2, None, 0]
    entities = {"name": "entities", "engine": "transformers", "model": bert["Token"]}
    for text, found in zip(texts[:2], told(entities, texts, "entities")):
        assert all(text[e["start"] : e["end"]] == e["text"] and e["type"] == "PER" for e in json.loads(found))
    feeling = {"name": "sentiment", "engine": "transformers", "model": bert["Sequence"]}
    assert told(feeling, texts, "sentiment_model") == ["Sequence", "Sequence", None, None]
    for spec in (tags, entities, feeling):
        check_op(spec, {"text": texts}, {"text": "text"})


@pytest.mark.parametrize(
    ("name", "engine"), [("parse", "learnt"), ("roles", "learnt"), ("tags", "learnt"), ("segment", "learnt")]
)
def test_learnt_models_keep_the_laws(folder, name, engine):
    check_op(
        {"name": name, "engine": engine, "model": folder},
        {"text": ["the dog saw a ship.", None, "", "我", "a\n\ta"]},
        {"text": "text"},
    )


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"name": "segment", "engine": "learn"}, "Did you mean 'learnt'"),
        ({"name": "segment", "engine": "learnt"}, "needs `model`"),
        ({"name": "segment", "model": "x"}, "uses no model"),
        ({"name": "tags", "engine": "transformers"}, "needs `model`"),
        ({"name": "entities", "engine": "transformers", "model": "x", "gazetteer": "y"}, "belongs to the engine rules"),
        ({"name": "sentiment", "neutral": 1}, "neutral must be"),
        ({"name": "keywords", "most": 0}, "most must be"),
        ({"name": "parse", "model": "absent"}, "it holds nothing that train_language wrote"),
    ],
)
def test_wrong_options_are_said(spec, said):
    pytest.importorskip("jieba")
    with pytest.raises((BadArgument, BadData), match=said):
        applied(spec, {"x": ["a"]}, {"x": "text"})


def test_texts_longer_than_the_model_reads(tmp_path):
    """A network without attention: each token speaks for itself, so that its label cannot depend on the cuts."""
    transformers = pytest.importorskip("transformers")
    import torch

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "ada", "king", "saw", "##s", "."]
    labels = {"id2label": {0: "O", 1: "B-PER", 2: "I-PER"}, "label2id": {"O": 0, "B-PER": 1, "I-PER": 2}}
    config = transformers.BertConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=0, num_attention_heads=2, intermediate_size=8,
        max_position_embeddings=12, **labels,
    )  # fmt: skip
    for kind in ("Token", "Sequence"):
        torch.manual_seed(0)
        model = getattr(transformers, f"BertFor{kind}Classification")(config)
        with torch.no_grad():
            if kind == "Token":
                for part in model.bert.embeddings.parameters():
                    part.zero_()
                model.bert.embeddings.word_embeddings.weight[:, :10] = torch.eye(10)
                model.bert.embeddings.LayerNorm.weight.fill_(1)
                model.classifier.weight.zero_()
                model.classifier.bias.copy_(torch.tensor([1.0, 0, 0]))
                model.classifier.weight[1, 5] = model.classifier.weight[2, 6] = 5.0
        model.save_pretrained(tmp_path / kind)
        tokenizer = transformers.BertTokenizerFast(vocab={word: i for i, word in enumerate(words)})
        tokenizer.save_pretrained(tmp_path / kind)  # which does not know how much the network reads
    text = "the saw . ada king saw the . " * 9
    spec = {"engine": "transformers", "model": str(tmp_path / "Token")}
    (found,) = told({"name": "entities", **spec}, [text], "entities")
    places = [i for i in range(len(text)) if text.startswith("ada king", i)]
    assert [(e["text"], e["start"]) for e in json.loads(found)] == [("ada king", at) for at in places]
    tags = {"saw": "O", "the": "O", ".": "O", "ada": "B-PER", "king": "I-PER"}
    (found, nothing) = told({"name": "tags", **spec}, [text, None], "pos")
    assert found.split() == [tags[word] for word in text.split()]
    assert nothing is None
    spec = {"name": "sentiment", "engine": "transformers", "model": str(tmp_path / "Sequence")}
    beginning, whole = told(spec, [" ".join(text.split()[:10]), text], "sentiment_score")
    assert beginning == pytest.approx(whole, abs=1e-6)
    with pytest.raises(BadArgument, match="was not saved for this task"):
        told({**spec, "model": str(tmp_path / "Token")}, [], "sentiment")
