"""Cleaning text: planted faults are found, and clean text is left alone."""

from __future__ import annotations

import numpy as np
import pytest
from ops import applied, run

from polymodal.core.errors import BadArgument
from polymodal.ops.clean.hunspell import forms

CLEAN = ["A dog runs over the green field.", "Two men are talking in the street.", "a < b and b > c", "x"]


def test_spaces():
    assert run("spaces", [" a   b\t c ", "a\n\n\n b ", "as it was"])[0] == ["a b c", "a\nb", "as it was"]


def test_unicode_mends_wrong_decoding_and_composes_letters():
    pytest.importorskip("ftfy")
    dirty = ["cafÃ© crÃ¨me", "na\u0131\u0308ve", "e\u0301", "zero\u200bwidth", "tab\tstays", "“curly”"]
    mended, aside = run("unicode", [*dirty, *CLEAN])
    assert mended[0] == "café crème"
    assert mended[2:5] == ["é", "zerowidth", "tab\tstays"]
    assert mended[5] == "“curly”"
    assert mended[6:] == CLEAN
    assert not aside
    assert run({"unicode": {"straight": True}}, ["“curly”"])[0] == ['"curly"']
    assert run({"unicode": {"form": "NFKC"}}, ["①"])[0] == ["1"]
    with pytest.raises(BadArgument, match="Unknown form 'NFX'"):
        run({"unicode": {"form": "NFX"}}, ["a"])


def test_markup():
    page = "<html><head><title>t</title><style>p{}</style></head><body><nav>Home | About</nav><p>Hello <b>you</b></p>"
    page += "<script>alert(1)</script><p>Fish &amp; chips<br>&pound;5</p></body></html>"
    assert run("markup", [page])[0] == ["Hello you\nFish & chips\n£5"]
    assert run({"markup": {"page": False}}, [page])[0] == ["Home | About\nHello you\nFish & chips\n£5"]
    assert run("markup", CLEAN)[0] == CLEAN


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("a<b and b>c", None), ("x<y and y>z is <b>bold</b>", "x<y and y>z is bold"),
        ("from <jane@example.com>, <unk> and <3", None), ("i <3 you & <you> me", None), ("if i <b then> stop", None),
        ("<html><head><title>t</title><body>said", "said"), ('<note lang="en">said</note> <x/>', "said"),
        ("<!-- hidden > here -->said<br>so", "said\nso"), ("<P CLASS='a>b'>said</P>", "said"),
        ("<input disabled>said", "said"), ("5 &lt; 6 &amp;&#33;", "5 < 6 &!"),
    ],
)  # fmt: skip
def test_what_only_looks_like_a_tag_stays(text, seen):
    assert run("markup", [text])[0] == [text if seen is None else seen]


def test_language():
    pytest.importorskip("py3langid")
    foreign = ["Der Hund läuft über die grüne Wiese und bellt laut.", "Le chat est assis sur la table de la cuisine."]
    english = ["The dog runs over the green meadow and barks loudly.", "OK", "A cat sits on the kitchen table today."]
    kept, aside = run("language", [*foreign, *english])
    assert kept[2:] == english
    assert set(aside) == {0, 1}
    assert "'de'" in aside[0]
    assert set(run({"language": {"allowed": ["en", "de"]}}, [*foreign, *english])[1]) == {1}
    assert set(run({"language": {"allowed": "fr", "shortest": 1, "sure": 0.0}}, ["OK, this is short"])[1]) == {0}
    with pytest.raises(BadArgument, match="Unknown language 'eng'"):
        run({"language": {"allowed": ["eng"]}}, ["a"])


def test_spelling_uses_what_stands_beside():
    pytest.importorskip("symspellpy")
    usual = ["the children are playing in the garden", "a horse is standing on the grass"] * 6
    dirty = ["the chidlren are playnig in the gardn", "a horse is stnading on the grass"]
    safe = [
        "We met Jhonathan in Zürrich",  # names
        "call `retrun_valeu(x)` or see https://exmaple.org/pgae and mail me@exmaple.org",  # code, addresses
        "order 12kx9 of #playnig by @chidlren",
    ]
    mended, aside = run("spelling", [*usual, *dirty, *safe])
    assert mended[12:14] == ["the children are playing in the garden", "a horse is standing on the grass"]
    assert mended[:12] == usual
    assert mended[14:] == safe
    assert not aside


def test_spelling_leaves_the_words_of_the_field_alone(tmp_path):
    pytest.importorskip("symspellpy")
    usual = ["the gneiss was folded", "gneiss and schist"] * 5
    assert run("spelling", usual)[0] == usual
    words = tmp_path / "mine.txt"
    words.write_text("wug 10\nblicket 5\n")
    mended = run({"spelling": {"dictionary": str(words), "usual": 2}}, ["a wug and a blickte", "the blicket"])[0]
    assert mended == ["a wug and a blicket", "the blicket"]
    words.write_text("wug\n")
    with pytest.raises(BadArgument, match=r"Line 1 of .*mine.txt must be a word and a count"):
        run({"spelling": {"dictionary": str(words)}}, ["a"])
    hunspell = tmp_path / "mine.dic"
    hunspell.write_text("2\nwuggery/S\nblicket\n")
    assert run({"spelling": {"dictionary": str(hunspell)}}, ["wugery"])[0] == ["wuggery"]
    with pytest.raises(BadArgument, match="does not exist"):
        run({"spelling": {"dictionary": "nowhere.dic"}}, ["a"])


AFF = """SET UTF-8
FORBIDDENWORD !
PFX U Y 1
PFX U   0     un         .
SFX D Y 3
SFX D   0     d          e
SFX D   y     ied        [^aeiou]y
SFX D   0     ed         [^ey]
SFX S N 1
SFX S   0     s/X        .
"""


def test_a_hunspell_dictionary_with_its_endings(tmp_path):
    (tmp_path / "small.aff").write_text(AFF, encoding="utf-8")
    (tmp_path / "small.dic").write_text(
        "6\nlock/UDS\ntie/D\ncarry/D\tpo:verb\nand\\/or\nnever/!\nCafé/S\n", encoding="utf-8"
    )
    assert set(forms(tmp_path / "small.dic")) == {
        "lock", "unlock", "locked", "unlocked", "locks", "tie", "tied", "carry", "carried", "and/or", "Café", "Cafés",
    }  # fmt: skip
    (tmp_path / "long.aff").write_text(AFF.replace("SET", "FLAG num\nSET").replace(" D ", " 12 "), encoding="utf-8")
    (tmp_path / "long.dic").write_text("1\ncarry/12,7\n", encoding="utf-8")
    assert list(forms(tmp_path / "long.dic")) == ["carry", "carried"]
    (tmp_path / "bad.aff").write_text("SET UTF-8\nSFX S Y 2\nSFX S 0 s\nSFX E Y x\nnonsense\n", encoding="utf-8")
    (tmp_path / "bad.dic").write_text("1\nlock/SE\n", encoding="utf-8")
    assert "locks" in list(forms(tmp_path / "bad.dic")), "lines that are no rule are passed over"
    texts = ["they carried and locked it"] * 6 + ["they carired it"]
    mended, _ = run({"spelling": {"dictionary": str(tmp_path / "small.dic")}}, texts)
    assert mended == [*texts[:6], "they carried it"]


@pytest.mark.parametrize(
    "word", ["colors", "traveled", "theaters", "footrace", "walkways", "surfboarder", "amphitheater", "pajamas"]
)
def test_endings_compounds_and_american_spellings_are_words(word):
    texts = [f"some {word} here", *["color of a travel by the theatre, food and other farce"] * 9]
    assert run("spelling", texts)[0] == texts


def test_the_only_swap_that_makes_a_word_is_trusted_though_no_row_writes_it():
    usual = ["some men are standing by the water"] * 9
    dirty = ["a srufboard and some cnadles", "children palying in the garss", "a theater and two amphitheaters"]
    mended = ["a surfboard and some candles", "children playing in the grass", dirty[2]]
    assert run("spelling", [*dirty, *usual])[0] == [*mended, *usual]


def test_a_lost_letter_costs_less_than_a_wrong_one():
    usual = ["a horse and a house", "a hose"] * 3
    assert run("spelling", ["the hores", *["a horse, some shores, chores"] * 2, *usual])[0][0] == "the horse"
    texts = ["red coton", *["of cotton", "some canton"] * 5]
    assert run("spelling", texts)[0][0] == "red cotton"


def test_a_dropped_apostrophe_is_no_other_word():
    assert run("spelling", ["we arent going there", *["we were going to rent it"] * 9])[0][0] == "we aren't going there"


def test_exact_and_near_duplicates():
    texts = ["A brown dog is running over the wet grass", "Something else is written here, truly", None, None]
    texts += ["A brown dog is running over the wet grass", "A brown dog, is running over the wet GRASS!"]
    texts += ["A brown dog is running across the wet grass", "ok", "ok"]
    assert run("exact_duplicates", texts)[1] == {3: "equals row 2 in x", 4: "equals row 0 in x", 8: "equals row 7 in x"}
    kept, aside = run({"near_duplicates": {"threshold": 0.6}}, texts)
    assert set(aside) == {4, 5, 6}
    assert aside[5] == "nearly the same x as row 0 (100% alike)"
    assert kept[7:] == ["ok", "ok"], "short texts agree by chance"
    assert set(run({"near_duplicates": {"threshold": 0.95}}, texts)[1]) == {4, 5}
    assert set(run({"near_duplicates": {"threshold": 0.95, "shortest": 1}}, texts)[1]) == {4, 5, 8}
    for options in ({"threshold": 0.1}, {"hashes": 10}, {"words": -1}):
        with pytest.raises(BadArgument):
            run({"near_duplicates": options}, texts)


def test_how_many_words_of_a_short_text_may_differ():
    short = ["a brown dog is running over the wet green grass", "a brown dog is jumping over the wet green grass"]
    assert not run("near_duplicates", short)[1], "a word may be the whole difference"
    assert set(run({"near_duplicates": {"words": 1}}, short)[1]) == {1}
    two = [short[0], "a brown cat is jumping over the wet green field"]
    assert not run({"near_duplicates": {"words": 1}}, two)[1]
    long = " ".join(f"{w}{i}" for i in range(30) for w in ("river", "garden", "window"))
    assert set(run("near_duplicates", [long, long.replace("garden7", "house")])[1]) == {1}, "one word of ninety"


def test_what_is_set_aside_is_like_the_row_that_it_names():
    words = [f"word{i}" for i in range(40)]
    chain = [" ".join(words[i : i + 16]) for i in range(0, 24, 3)]  # each like the next, not like the one after
    aside = run({"near_duplicates": {"threshold": 0.6}}, chain)[1]
    assert set(aside) == {1, 3, 5, 7}, "every other one is kept"
    assert all(f"row {i - 1} " in reason for i, reason in aside.items())


def test_length_counts_chinese_letters():
    assert set(
        run({"length": {"least": 3, "most": 5}}, ["one two", "one two three", "我爱你们", "a b c d e f"])[1]
    ) == {0, 3}
    korean, other = "안녕하세요 반갑습니다", "ﻣﺮﺣﺒﺎ"  # words between spaces
    assert run({"length": {"least": 3}}, [korean, other])[1] == {
        0: "x: has 2 words, fewer than 3", 1: "x: has 1 word, fewer than 3"
    }  # fmt: skip
    with pytest.raises(BadArgument, match="least must be between"):
        run({"length": {"least": 5, "most": 2}}, ["a"])


def test_boilerplate_goes_and_what_is_said_stays():
    notice = "Free shipping on all orders over $50."
    texts = [f"A pair of boots, number {i}. {notice}" for i in range(20)]
    texts += [f"Bag {i}\n  FREE shipping on all\u00a0orders over $50.\nmade of leather {i}" for i in range(5)]
    alone, plain = notice, "Nothing of the kind is said here."
    after, refused = run("boilerplate", [*texts, alone, plain, None])
    assert not refused
    assert after[:2] == ["A pair of boots, number 0.", "A pair of boots, number 1."]
    assert after[20] == "Bag 0\nmade of leather 0"
    assert after[25:] == [alone, plain, None]  # a text that is nothing else stays
    assert run({"boilerplate": {"least": 30}}, texts)[0] == texts
    assert run({"boilerplate": {"letters": 40}}, texts)[0] == texts
    assert run({"boilerplate": {"share": 1.0}}, [*texts, plain])[0] == [*texts, plain]
    copies = ["The same text. It came twenty times."] * 20  # for exact_duplicates
    assert run("boilerplate", [*copies, plain])[0] == [*copies, plain]
    for bad in ({"share": 0}, {"least": 1}):
        with pytest.raises(BadArgument):
            run({"boilerplate": bad}, ["a"])


def test_repetition():
    again = "buy it now today " * 30
    lines = "menu\nmenu\nmenu\nmenu\nthe text"
    packed = "ab" * 500
    assert set(run("repetition", [again, lines, packed, *CLEAN])[1]) == {0, 1, 2}
    assert not run({"repetition": {"lines": 1.0, "words": 1.0, "packed": 0.0}}, [again, lines, packed])[1]
    with pytest.raises(BadArgument, match="lines must be between"):
        run({"repetition": {"lines": 3}}, ["a"])


def test_unlikely_finds_noise_by_the_data_themselves():
    rng = np.random.default_rng(0)
    who, does = ("a man", "two dogs", "the girl", "some boys"), ("runs over", "sits on", "looks at", "jumps over")
    what = ("the grass", "a wall", "the green bench", "a fence", "the road")
    usual = [
        f"{rng.choice(who)} {rng.choice(does)} {rng.choice(what)} and {rng.choice(does)} {rng.choice(what)}"
        for _ in range(300)
    ]
    noise = ["".join(rng.choice(list("qwxzjkvbpfghyu    "), 50)) for _ in range(6)]
    aside = run("unlikely", [*usual, *noise])[1]
    assert set(aside) == set(range(300, 306))
    assert not run({"unlikely": {"ratio": 1000.0}}, [*usual, *noise])[1]
    assert not run({"unlikely": {"shortest": 60}}, [*usual, *noise])[1]
    with pytest.raises(BadArgument, match="ratio must be above 1"):
        run({"unlikely": {"ratio": 1}}, ["a"])


def test_a_text_never_vouches_for_itself():
    once = ["zqx wvk jjpq zqx wvk jjpq zqx wvk"]
    usual = ["the dog is in the garden and the cat is in the house"] * 40
    assert set(run("unlikely", [*usual, *once])[1]) == {40}


def test_ops_leave_other_columns_and_missing_cells_alone():
    rows, _ = applied("spaces", {"x": [" a ", None], "y": [" b ", " c "]}, {"x": "text", "y": "other"})
    assert [row.cells for row in rows] == [{"x": "a", "y": " b "}, {"x": None, "y": " c "}]
