"""Augmentation: copies of training rows only, reproducible, consistent across modalities, every option of use."""

from __future__ import annotations

import numpy as np
import pytest
from ops import applied
from test_clean_audio import RATE, VOICES
from test_clean_image import PHOTOS, photo

from polymodal.core.errors import BadArgument
from polymodal.core.registry import options
from polymodal.data.examples import points
from polymodal.data.media.cell import Media
from polymodal.data.media.cloud import Cloud, read_cloud
from polymodal.data.media.sound import Sound
from polymodal.ops import AUGMENT
from polymodal.ops.augment.audio import add_noise, moved_times, stretch
from polymodal.ops.augment.image import rectangle, swap_sides
from polymodal.ops.augment.places import warp
from polymodal.ops.augment.synonyms import synonyms
from polymodal.ops.rows import Row, Rows
from polymodal.preparation.recipe import Recipe

TEXT = "The quick brown dog jumps over the lazy cat near the old wooden house"
SERIES = np.stack([np.sin(np.linspace(0, 20, 200)), np.linspace(0, 1, 200)], 1).astype(np.float32)
CELLS = {"image": PHOTOS[0], "text": TEXT, "audio": VOICES[0], "series": SERIES, "number": 3.5, "category": "red",
         "points": read_cloud(points(np.random.default_rng(0), 0))}  # fmt: skip
NEEDS = {  # options that have no default, and what else a row needs
    "mixup": {"label": "y"}, "cutmix": {"label": "y"}, "smote": {"label": "y"},
    "synonyms": {"source": "LIST"}, "insert_words": {"source": "LIST"},
}  # fmt: skip
OTHER = {
    "flip": {"texts": []}, "rotate": {"degrees": 60.0}, "crop": {"least": 0.2},
    "affine": {"shift": 0.4, "scale": 0.5, "shear": 30.0}, "perspective": {"most": 0.4},
    "color": {"brightness": 0.9, "contrast": 0.9, "saturation": 0.9, "hue": 0.4}, "blur": {"most": 9.0},
    "noise": {"most": 90.0}, "erase": {"most": 0.8}, "mixup": {"alpha": 5.0}, "cutmix": {"alpha": 9.0},
    "synonyms": {"amount": 1.0}, "insert_words": {"amount": 1.0},
    "drop_words": {"amount": 0.8}, "swap_words": {"amount": 0.9},
    "volume": {"decibels": 30.0}, "speed": {"most": 0.5}, "pitch": {"semitones": 12.0}, "shift": {"seconds": 0.6},
    "add_noise": {"least": -10.0, "most": 29.0, "color": "white"}, "room": {"seconds": 2.0, "wet": 0.9},
    "spec_augment": {"bands": 5, "high": 0.5, "times": 6, "long": 0.5},
    "series_jitter": {"amount": 0.5}, "series_scale": {"amount": 0.9}, "series_warp": {"amount": 0.6, "knots": 9},
    "series_window": {"least": 0.1}, "jitter": {"amount": 0.9}, "smote": {"neighbours": 1, "balance": False},
    "drop_streams": {"chance": 0.9}, "turn_points": {"degrees": 170.0, "jitter": 0.5, "drop": 0.9},
}  # fmt: skip
HERE = [name for name in AUGMENT if not AUGMENT.entry(name).extra]
TABLE = {"y": ["a", "b"] * 4}


@pytest.fixture
def listed(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text("quick fast rapid\nold aged\nhouse home building\ndog hound\n左边 左侧\n")
    return str(path)


def spec(name: str, listed: str, **more: object) -> dict[str, object]:
    given = {k: listed if v == "LIST" else v for k, v in NEEDS.get(name, {}).items()}
    return {"name": name, **given, **more}


def columns(name: str) -> tuple[dict[str, list], dict[str, str]]:
    """A small table of the kinds that an op takes."""
    kinds = {"x": AUGMENT.load(name).kinds[0], "y": "category"}
    if name == "drop_streams":
        return {"x": [PHOTOS[0]] * 8, "t": [TEXT] * 8, **TABLE}, {"x": "image", "t": "text", "y": "category"}
    if kinds["x"] == "number":
        return {"x": np.random.default_rng(0).normal(0, 1, 8).tolist(), "z": list(np.arange(8.0) ** 2), **TABLE}, {
            "x": "number",
            "z": "number",
            "y": "category",
        }
    cells = [photo(i) for i in range(8)] if kinds["x"] == "image" else [CELLS[kinds["x"]]] * 8
    return {"x": cells, **TABLE}, kinds


def outcome(rows: Rows) -> list[object]:
    return [(row.id, {c: plain(row.get(c)) for c in row.cells}) for row in rows]


def plain(value: object) -> object:
    if isinstance(value, Sound):
        return value.samples.tobytes()
    if isinstance(value, Cloud):
        return value.table().tobytes()
    return value.tobytes() if hasattr(value, "tobytes") else value


@pytest.mark.parametrize("name", HERE)
def test_copies_are_made_reproducibly_and_the_source_stays(name, listed):
    table, kinds = columns(name)
    more = {"balance": False} if name == "smote" else {}
    first, _ = applied(spec(name, listed, **more), table, kinds)
    again, _ = applied(spec(name, listed, **more), table, kinds)
    assert outcome(first) == outcome(again)
    sources = [row for row in first if not row.copy]
    copies = [row for row in first if row.copy]
    assert [plain(r.get("x")) for r in sources] == [plain(v) for v in table["x"]]
    assert len(copies) >= 4
    assert len({row.id for row in first}) == len(first)
    for copy in copies:
        source = sources[copy.number]
        assert outcome(Rows([copy]))[0][1] != outcome(Rows([source]))[0][1], "a copy differs"
        assert copy.cells["y"] == source.cells["y"], "the label stays"
        if hasattr(source.get("x"), "size") and kinds["x"] == "image" and copy.get("x") is not None:
            assert copy.get("x").size == source.get("x").size


@pytest.mark.parametrize("name", HERE)
def test_validation_and_test_rows_are_never_touched(name, listed):
    table, kinds = columns(name)
    (op,) = Recipe.read([spec(name, listed)]).ops(kinds)
    rows = Rows([Row(str(i), i, {c: v[i] for c, v in table.items()}, {}, "test") for i in range(8)])
    if op.surveys:
        op.finalize([op.partial_fit(rows)])
    op.apply(rows)
    assert len(rows) == 8


@pytest.mark.parametrize("name", HERE)
def test_every_option_changes_something(name, listed):
    table, kinds = columns(name)
    table = {c: v * 3 for c, v in table.items()}
    usual = outcome(applied(spec(name, listed), table, kinds)[0])
    tried = set(OTHER[name]) | set(NEEDS.get(name, ())) | {"columns", "copies"}
    assert set(options(AUGMENT.load(name))) - ({"times"} if name == "speed" else set()) == tried, (
        "a value for every option"
    )
    for option, value in OTHER[name].items():
        if name in ("flip", "smote"):
            continue  # tried below
        assert outcome(applied(spec(name, listed, **{option: value}), table, kinds)[0]) != usual, option
    if name != "flip":
        more = {"balance": False} if name == "smote" else {}
        one, three = (applied(spec(name, listed, copies=n, **more), table, kinds)[0] for n in (1, 3))
        assert len(three) > len(one)


@pytest.mark.parametrize("name", HERE)
def test_bad_values_are_refused(name, listed):
    table, kinds = columns(name)
    with pytest.raises(BadArgument, match="copies must be"):
        applied(spec(name, listed, copies=0), table, kinds)
    with pytest.raises(BadArgument, match="There is no column 'w'"):
        applied(spec(name, listed, columns=["w"]), table, kinds)


def test_a_flip_swaps_the_sides_in_the_caption_and_in_no_other_word():
    table = {"x": [PHOTOS[0]], "t": ["A man on the LEFT, a dog to his right. He has left."], "u": ["left"]}
    kinds = {"x": "image", "t": "text", "u": "category"}
    copy = applied("flip", table, kinds)[0].kept[1]
    assert np.array_equal(np.asarray(copy.get("x")), np.asarray(PHOTOS[0])[:, ::-1])
    assert copy.cells["t"] == "A man on the RIGHT, a dog to his left. He has left."
    assert copy.cells["u"] == "left"
    assert applied({"flip": {"texts": []}}, table, kinds)[0].kept[1].cells["t"] == table["t"][0]
    assert applied({"flip": {"texts": ["u"]}}, table, kinds)[0].kept[1].cells["u"] == "right"
    assert swap_sides("左边有一只狗,右边没有") == "右边有一只狗,左边没有"
    assert swap_sides("他左右看了看左手") == "他左右看了看右手", "both ways"
    for text in (
        "food left over",
        "right alongside the water",
        "what's left on it",
        "the right size",
        "right toward me",
    ):
        assert swap_sides(text) == text
    assert swap_sides("a left-handed boy, hands left and right") == "a right-handed boy, hands right and left"
    assert swap_sides("Leftmost to rightward; right now, all right.") == "Rightmost to leftward; right now, all right."
    assert (
        swap_sides("on his left hand; it was left of the right door")
        == "on his right hand; it was right of the left door"
    )


def test_speed_moves_subtitles():
    words = "1\n00:00:01,000 --> 00:01:02,500\nhello at 3:2\n"
    table = {"x": [VOICES[0]], "subs": [words], "onset": [0.5]}
    kinds = {"x": "audio", "subs": "text", "onset": "number"}
    copy = applied({"speed": {"times": ["subs", "onset"]}}, table, kinds)[0].kept[1]
    speed = len(VOICES[0].samples) / len(copy.get("x").samples)
    assert copy.cells["onset"] == pytest.approx(0.5 / speed, abs=1e-4)
    assert copy.cells["subs"] == moved_times(words, 0.5 / copy.cells["onset"])
    assert moved_times("00:00:01,000 --> 00:01:02,500", 2.0) == "00:00:00,500 --> 00:00:31,250"
    assert moved_times("59:59.99", 0.5) == "01:59:59.98"
    assert moved_times([1, 2], 2) == [0.5, 1.0]
    assert moved_times("3", 2) == "1.5"
    with pytest.raises(BadArgument, match="no column 'when'"):
        applied({"speed": {"times": ["when"]}}, table, kinds)


def test_copies_are_counted_as_added_and_not_as_changed():
    (op,) = Recipe.read(["flip"]).ops({"x": "image"})
    tally = op.apply(Rows([Row("r", 0, {"x": Media("image", b"", PHOTOS[0])}, {"x": "image"})]))
    assert (tally.seen, tally.changed, tally.added) == (1, 0, 1)
    assert len(tally.samples) == 1


def test_noise_has_the_ratio_asked_for():
    rng = np.random.default_rng(0)
    for ratio in (0, 10, 20):
        noisy = add_noise(Sound(VOICES[0].samples * 0.2, RATE), ratio, rng, 0.5)
        noise = noisy.samples - VOICES[0].samples * 0.2
        found = 10 * np.log10(((VOICES[0].samples * 0.2) ** 2).mean() / (noise**2).mean())
        assert found == pytest.approx(ratio, abs=0.2)


def test_a_stretched_tone_keeps_its_pitch():
    tone = np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)
    long = stretch(tone, 1.5)
    assert len(long) == 12000
    spectrum = np.abs(np.fft.rfft(long[2000:10000]))
    assert np.argmax(spectrum) == pytest.approx(440, abs=2)


def test_warp_by_nothing_is_nothing():
    assert np.array_equal(np.asarray(warp(PHOTOS[0], np.eye(3))), np.asarray(PHOTOS[0]))
    moved = np.asarray(warp(PHOTOS[0], np.array([[1, 0, 5], [0, 1, 3], [0, 0, 1.0]])))
    assert np.array_equal(moved[:-3, :-5], np.asarray(PHOTOS[0])[3:, 5:])


def test_rectangles_lie_inside_and_cover_the_share():
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(300):
        top, left, high, wide = rectangle((50, 80), 0.25, rng)
        assert top + high <= 50
        assert left + wide <= 80
        shares.append(high * wide / 4000)
    assert np.mean(shares) == pytest.approx(0.25, abs=0.02)


def test_mixing_keeps_to_one_label():
    dark, light = [np.full((8, 8, 3), v, np.uint8) for v in (0, 200)]
    from PIL import Image

    table = {"x": [Image.fromarray(p) for p in (dark, dark, light, light)], "y": ["d", "d", "l", "l"]}
    for name in ("mixup", "cutmix"):
        rows = applied({name: {"label": "y"}}, table, {"x": "image", "y": "category"})[0]
        for row in rows:
            assert set(np.unique(np.asarray(row.get("x")))) == {0 if row.cells["y"] == "d" else 200}
    with pytest.raises(BadArgument, match="no column 'z' for the label"):
        applied({"mixup": {"label": "z"}}, table, {"x": "image", "y": "category"})


def test_mixing_wants_one_column_of_pictures():
    table = {"x": [PHOTOS[0]] * 2, "z": [PHOTOS[1]] * 2, "y": ["d"] * 2}
    with pytest.raises(BadArgument, match="mixes one column of pictures; there are x, z. Name it"):
        applied({"mixup": {"label": "y"}}, table, {"x": "image", "z": "image", "y": "category"})
    with pytest.raises(BadArgument, match="there are none"):
        applied({"cutmix": {"label": "y"}}, {"t": ["a"], "y": ["d"]}, {"t": "text", "y": "category"})


def test_smote_keeps_whole_numbers_and_bears_holes():
    rooms, price = [1, 2, 4, 6, None, 3, "5", 9], [1.5, 2.5, None, 4.0, 5.0, 6.0, 7.0, 8.0]
    table = {"rooms": rooms, "price": price, "none": [None] * 8, "y": ["a"] * 8}
    kinds = {"rooms": "number", "price": "number", "none": "number", "y": "category"}
    rows = applied({"smote": {"label": "y", "balance": False, "copies": 5}}, table, kinds)[0]
    copies = [row for row in rows if row.copy]
    assert copies
    for copy in copies:
        source = rooms[copy.number]
        assert copy.cells["none"] is None
        assert copy.cells["rooms"] == source or isinstance(copy.cells["rooms"], int)
        assert (copy.cells["rooms"] is None) == (source is None)
    assert any(isinstance(c.cells["price"], float) and c.cells["price"] not in price for c in copies)


def test_smote_stays_between_neighbours_and_balances():
    rng = np.random.default_rng(0)
    table = {"a": rng.normal(0, 1, 60).tolist(), "b": rng.normal(5, 1, 60).tolist(), "y": ["many"] * 45 + ["few"] * 15}
    kinds = {"a": "number", "b": "number", "y": "category"}
    rows = applied({"smote": {"label": "y", "copies": 2}}, table, kinds)[0]
    few = np.array([[r.cells["a"], r.cells["b"]] for r in rows if r.cells["y"] == "few"])
    copies = [r for r in rows if r.copy]
    assert {r.cells["y"] for r in copies} == {"few"}
    assert len(few) == 45
    every = applied({"smote": {"label": "y", "balance": False}}, table, kinds)[0]
    assert sum(r.copy > 0 for r in every) == 60
    nearest = applied({"smote": {"label": "y", "neighbours": 1, "copies": 2}}, table, kinds)[0]
    assert outcome(nearest) != outcome(rows)
    assert few.min(0).tolist() >= np.array([table["a"], table["b"]]).T[45:].min(0).tolist()


def test_jitter_keeps_whole_numbers_and_the_range():
    table = {"x": [1, 2, 3, 4, 5, 6, 7, 8], "z": [0.1 * i for i in range(8)]}
    rows = applied({"jitter": {"amount": 2.0, "copies": 5}}, table, {"x": "number", "z": "number"})[0]
    assert all(isinstance(r.cells["x"], int) and 1 <= r.cells["x"] <= 8 for r in rows)
    assert all(0 <= r.cells["z"] <= 0.7 + 1e-9 for r in rows)


def test_synonyms_of_a_list_and_of_wordnet(tmp_path, listed):
    known = synonyms(listed)
    assert known["dog"] == ("hound",)
    cilin = tmp_path / "cilin.txt"
    cilin.write_text("Aa01A01= 人 士 人物\nAa01A02# 人类 生人\nAa01A03@ 人手\n", encoding="utf-8")
    assert synonyms(str(cilin)) == {"人": ("士", "人物"), "士": ("人", "人物"), "人物": ("人", "士")}
    folder = tmp_path / "wn"
    folder.mkdir()
    synset = "00000000 03 n 02 dog 0 domestic_dog 0 001 @ 00000001 n 0000 | an animal\n"
    other = f"{len(synset):08d} 03 n 02 big 0 large(p) 0 000 | size\n"
    (folder / "data.noun").write_text(synset + other)
    (folder / "index.noun").write_text(f"  1 licence\nbig n 1 0 1 0 {len(synset):08d}  \ndog n 1 1 @ 1 0 00000000  \n")
    for part in ("verb", "adj", "adv"):
        (folder / f"data.{part}").write_text("")
        (folder / f"index.{part}").write_text("")
    assert synonyms(str(folder)) == {"big": ("large",)}
    with pytest.raises(BadArgument, match="does not exist"):
        synonyms(str(tmp_path / "nowhere"))
    (tmp_path / "empty.txt").write_text("")
    with pytest.raises(BadArgument, match="holds no group"):
        synonyms(str(tmp_path / "empty.txt"))


def test_chinese_synonyms(listed):
    pytest.importorskip("jieba")
    rows = applied(spec("synonyms", listed), {"x": ["他在左边站着"]}, {"x": "text"})[0]
    assert rows.kept[1].cells["x"] == "他在左侧站着"


@pytest.mark.parametrize("name", ["synonyms", "insert_words", "drop_words", "swap_words"])
def test_lines_signs_and_spaces_stay(name, listed):
    text = "Old house, old dog.\n\nThe quick  dog is near;\tquick!"
    for copy in applied(spec(name, listed, copies=8, amount=0.5), {"x": [text]}, {"x": "text"})[0].kept[1:]:
        other = copy.cells["x"]
        assert [c for c in other if not c.isalnum() and c != " "] == list(",.\n\n;\t!")
        assert " ," not in other
        assert not other.startswith(" ")


def test_synonyms_keep_capitals(listed):
    for copy in applied(spec("synonyms", listed, copies=9, amount=1.0), {"x": ["DOG Dog dog"]}, {"x": "text"})[0].kept[
        1:
    ]:
        assert copy.cells["x"] == "HOUND Hound hound"


def test_chinese_words_are_dropped_and_swapped_whole():
    jieba = pytest.importorskip("jieba")
    text = "北京大学的学生在图书馆学习汉语"
    words = set(jieba.cut(text, HMM=False))
    for name in ("drop_words", "swap_words"):
        for copy in applied({name: {"copies": 8}}, {"x": [text]}, {"x": "text"})[0].kept[1:]:
            left = copy.cells["x"]
            for word in sorted(words, key=len, reverse=True):
                left = left.replace(word, "", 1)
            assert left == "", "only whole words"


def test_dropping_never_takes_all_streams():
    table = {"x": [PHOTOS[0]] * 20, "t": [TEXT] * 20}
    rows = applied({"drop_streams": {"chance": 1.0}}, table, {"x": "image", "t": "text"})[0]
    assert all((r.cells["x"] is None) != (r.cells["t"] is None) for r in rows if r.copy)
    with pytest.raises(BadArgument, match="needs two columns"):
        applied("drop_streams", {"t": [TEXT]}, {"t": "text"})


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    """A masked language model as `save_pretrained` writes it, of 16 tokens; it always says "cat", then "dog"."""
    transformers = pytest.importorskip("transformers")
    import torch

    folder = tmp_path_factory.mktemp("bert")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "cat", "dog", "##s", "the", "red", "saw", "."]
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(words), hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8,
        max_position_embeddings=16,
    )  # fmt: skip
    model = transformers.BertForMaskedLM(config)
    with torch.no_grad():
        model.cls.predictions.bias.copy_(torch.tensor([0.0, 0, 0, 0, 0, 30, 20, 40, 0, 0, 0, 50]))
    model.save_pretrained(folder)
    transformers.BertTokenizerFast(vocab={word: i for i, word in enumerate(words)}).save_pretrained(folder)
    return str(folder)


def test_masks_are_filled_in_by_whole_words(bert):
    long = "the red dog saw the red cat . " * 10
    texts = ["the red dog saw", None, "", "dog", long, "the [MASK] red"]
    step = {"name": "fill_in", "model": bert, "top": 1, "amount": 0.3}
    rows, _ = applied(step, {"x": texts}, {"x": "text"})
    copies = {row.number: row.get("x") for row in rows if row.copy}
    assert set(copies) == {0, 3, 4, 5}
    assert copies[3] == "cat", "the likeliest word that did not stand there, and no end of a word or sign"
    changed = [(a, b) for a, b in zip(long.split(), copies[4].split()) if a != b]
    assert len(copies[4].split()) == len(long.split())
    assert len(changed) > 10
    assert {b for _, b in changed} == {"cat", "dog"}
    spread = {k for k, (a, b) in enumerate(zip(long.split(), copies[4].split())) if a != b}
    assert min(spread) < 20 < 60 < max(spread), "behind what the model reads at once too"
    assert copies[5].count("[MASK]") == 1 or "MASK" not in copies[5]


def test_the_mask_is_seen_with_what_stands_round_it(bert, monkeypatch):
    from polymodal.ops.augment import text as module

    tokenizer, model = module.network(*module.FILLER, bert)
    seen = []

    class Watched:
        config = model.config

        def __call__(self, input_ids):
            seen.append(tokenizer.convert_ids_to_tokens(input_ids[0].tolist()))
            return model(input_ids=input_ids)

    monkeypatch.setattr(module, "network", lambda *names: (tokenizer, Watched()))
    for before, after in (("red " * 40, " dog" * 40), ("", " dog" * 40), ("red " * 40, ""), ("red [MASK] ", " dog")):
        assert module.likeliest(bert, before, after, 2) == ["cat", "dog"]
    assert [len(tokens) for tokens in seen] == [16, 16, 16, 6]
    assert all(tokens[0] == "[CLS]" and tokens[-1] == "[SEP]" and "[MASK]" in tokens for tokens in seen)
    assert seen[0].count("red") in (6, 7)
    assert (seen[1][1], seen[2][-2]) == ("[MASK]", "[MASK]")


def test_a_model_without_masks_or_of_another_task_is_refused(bert, tmp_path):
    import transformers

    config = transformers.BertConfig.from_pretrained(bert)
    transformers.BertModel(config).save_pretrained(tmp_path)
    transformers.BertTokenizerFast.from_pretrained(bert).save_pretrained(tmp_path)
    with pytest.raises(BadArgument, match="was not saved for this task: it lacks"):
        applied({"name": "fill_in", "model": str(tmp_path)}, {"x": []}, {"x": "text"})
    with pytest.raises(BadArgument, match="cannot load"):
        applied({"name": "back_translate", "there": bert, "back": bert}, {"x": []}, {"x": "text"})


@pytest.fixture(scope="module")
def marian(tmp_path_factory):
    """Two MarianMT folders as `save_pretrained` writes them, random, with SentencePiece models trained here."""
    transformers = pytest.importorskip("transformers")
    sentencepiece = pytest.importorskip("sentencepiece")
    pytest.importorskip("sacremoses")
    import json

    import torch

    root = tmp_path_factory.mktemp("marian")
    (root / "text.txt").write_text("\n".join([TEXT, "the red cat saw the brown dog.", "a house near the dog"] * 9))
    sentencepiece.SentencePieceTrainer.train(
        input=str(root / "text.txt"), model_prefix=str(root / "pieces"), vocab_size=48, minloglevel=2,
        hard_vocab_limit=False,
    )  # fmt: skip
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(root / "pieces.model"))
    words = [pieces.id_to_piece(i) for i in range(len(pieces))]
    words = ["</s>", "<unk>", *(w for w in words if w not in ("</s>", "<unk>", "<s>")), "<pad>"]
    (root / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    folders = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        config = transformers.MarianConfig(
            vocab_size=len(words), d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
            decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16, max_position_embeddings=32, init_std=1.0,
            pad_token_id=len(words) - 1, eos_token_id=0, forced_eos_token_id=0, decoder_start_token_id=len(words) - 1,
            max_length=32, num_beams=4, bad_words_ids=[[len(words) - 1]],
        )  # fmt: skip
        folders.append(str(root / f"model{seed}"))
        transformers.MarianMTModel(config).save_pretrained(folders[-1])
        transformers.MarianTokenizer(
            source_spm=str(root / "pieces.model"), target_spm=str(root / "pieces.model"), vocab=str(root / "vocab.json")
        ).save_pretrained(folders[-1])
    return folders


def test_translation_there_and_back(marian):
    there, back = marian
    long = "the red cat saw the brown dog. a house near the dog. " * 12
    texts = ["the red cat saw the brown dog.", None, "", long, TEXT]
    step = {"name": "back_translate", "there": there, "back": back, "beams": 3, "copies": 2}
    rows, _ = applied(step, {"x": texts}, {"x": "text"})
    again, _ = applied(step, {"x": texts}, {"x": "text"})
    assert outcome(rows) == outcome(again)
    assert [row.get("x") for row in rows if not row.copy] == texts
    copies = [(row.number, row.get("x")) for row in rows if row.copy]
    assert {number for number, _ in copies} == {0, 3, 4}
    assert all(text.strip() and text != texts[number] for number, text in copies)
    assert len(next(text for number, text in copies if number == 3)) > 40, "more than one part is translated"
    held = [Row(str(i), i, {"x": text}, {}, "test") for i, text in enumerate(texts)]
    (op,) = Recipe.read([step]).ops({"x": "text"})
    batch = Rows(held)
    op.apply(batch)
    assert len(batch) == len(texts)


def test_long_texts_are_cut_between_sentences():
    from polymodal.ops.networks import in_parts

    text = "One two three. Four five! Six seven eight nine ten eleven. Twelve"
    assert in_parts(text, len, 100) == [text]
    assert in_parts(text, len, 30) == ["One two three. Four five! ", "Six seven eight nine ten ", "eleven. Twelve"]
    assert in_parts("我爱你。你也爱我。", len, 5) == ["我爱你。", "你也爱我。"]
    for most in (1, 7, 20):
        assert "".join(in_parts(text, len, most)) == text
