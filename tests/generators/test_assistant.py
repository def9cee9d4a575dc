"""Vision-language models as they are: what they are asked, what of their words is kept, and whose words they are."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

import polymodal as pm
from polymodal.core.errors import BadArgument, UnknownName
from polymodal.generators.answering import opened
from polymodal.generators.base import Asked

pytest.importorskip("transformers", reason="needs the extra hf")
SHORT = {"most": 6}


pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of a processor's


@pytest.fixture(params=["llava", "llava chats=False", "idefics3", "blip", "paligemma", "git", "captioner"])
def model(request, tiny):
    kind, *chats = request.param.split()
    return tiny(kind, **({"chats": False} if chats else {}))


def test_every_model_captions_pictures_the_same_alone(model, album):
    problems = []
    said = pm.generate(model, album.table, columns="photo", problems=problems, **SHORT)
    assert [one is None for one in said["answer"]] == [False] * 5 + [True] * 2, problems
    assert [problem.row for problem in problems] == ["5", "6"]
    assert "no picture of a known form" in problems[0].reason
    assert problems[1].reason == "is missing; no answer"
    assert said["problem"][5].startswith("photo: ")
    assert pm.generate(model, album.table, batch=1, **SHORT)["answer"] == said["answer"]
    alone = pm.generate(model, {"photo": album.photos[3:4]}, **SHORT)
    assert alone["answer"] == said["answer"][3:4]


def test_words_are_those_that_transformers_writes(tiny, album):
    """Greedy, of one row, by the library's own call."""
    model = tiny("llava")
    generator = opened(model, device="cpu", **SHORT)
    picture = Image.open(album.photos[0])
    asked = [{"role": "user", "content": [{"type": "image", "image": picture}, {"type": "text", "text": "who"}]}]
    inputs = generator.processor.apply_chat_template(
        asked, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    )
    ids = generator.model.generate(**inputs, max_new_tokens=6, do_sample=False)[0, inputs["input_ids"].shape[1] :]
    wanted = generator.processor.tokenizer.decode(ids, skip_special_tokens=True).strip()
    row = Asked(0, ("who",), (picture,))
    assert [said.answer for _, said in generator.answers([row], 0)] == [wanted]
    assert wanted


def test_questions_are_answered_each_by_itself(tiny, album):
    for model in (tiny("llava"), tiny("llava", chats=False), tiny("idefics3"), tiny("blip")):
        said = pm.generate(model, album.table, columns=["photo", "question"], **SHORT)["answer"]
        plain = pm.generate(model, album.table, **SHORT)["answer"]
        assert said[:5] != plain[:5], "the question counts"
        assert pm.generate(model, album.table, columns="question", batch=1, **SHORT)["answer"] == said


def test_a_prompt_holds_the_row_s_text(tiny, album):
    model = tiny("llava", chats=False)
    generator = opened(model, device="cpu", prompt="USER: {text} ASSISTANT:")
    read = generator.processor.tokenizer.decode(
        generator._ready(Asked(0, ("who",), (Image.new("RGB", (40, 40)),)))["input_ids"][0]
    )
    assert read.replace("<image>", "").split() == ["[CLS]", "USER:", "who", "ASSISTANT:"]
    assert read.count("<image>") == 16
    with pytest.raises(BadArgument, match="leaves the rows' texts no place: write {text}"):
        pm.generate(model, album.table, columns="question", prompt="who")
    with pytest.raises(BadArgument, match="no column of texts is named"):
        pm.generate(model, album.table, prompt="is it {text}?")


def test_several_pictures_and_turns_of_a_row(tiny, album):
    one, two = album.photos[:2]
    table = {
        "photo": [[one, two], f'["{one}", "{two}"]', one, [two, one], one],
        "said": [["who", "a b", "what"], '["who", "a b", "what"]', "what", "what", ["who", "a b"]],
    }
    for kind in ("llava", "idefics3"):
        problems = []
        said = pm.generate(tiny(kind), table, columns=["photo", "said"], problems=problems, most=12)["answer"]
        assert said[0] == said[1], "a list and one written as JSON"
        assert len({said[0], said[2], said[3]}) == 3
        assert said[4] is None
        assert [(p.row, p.column) for p in problems] == [("4", "")]
        assert "2 turns; the last one is the user's" in problems[0].reason
    said = pm.generate(tiny("blip"), table, columns=["photo", "said"], problems=problems, **SHORT)
    assert said["answer"][0] is None
    assert "no template of a chat" in said["problem"][0]


@pytest.mark.parametrize("kind", ["paligemma", "llava"])
def test_rows_of_other_counts_of_pictures_are_read_each_as_alone(kind, tiny, album):
    """Whether a processor puts places of pictures before a text is told for each count of them."""
    model = tiny(kind, **({"chats": False} if kind == "llava" else {}))
    photos = [album.photos[0], album.photos[:2], album.photos[:3], album.photos[4]]
    for order in ((0, 1, 2, 3), (2, 3, 0, 1)):
        said = pm.generate(model, {"photo": [photos[k] for k in order]}, **SHORT)
        alone = [pm.generate(model, {"photo": [photos[k]]}, **SHORT)["answer"][0] for k in order]
        assert said["answer"] == alone
        assert None not in alone, said.get("problem")


def test_one_broken_picture_of_several_leaves_the_row_without_an_answer(tiny, album):
    table = {"photo": [album.photos[:2], [album.photos[0], album.photos[5]]]}
    said = pm.generate(tiny("llava"), table, **SHORT)
    assert said["answer"][0] is not None
    assert said["answer"][1] is None
    assert "broken.png" in said["problem"][1]


def test_draws_go_by_the_row_and_the_seed(tiny, album):
    model, how = tiny("llava"), {"temperature": 1.0, "top_p": 0.9, **SHORT}
    said = pm.generate(model, album.table, n=2, seed=3, **how)
    torch.manual_seed(7)
    again = pm.generate(model, album.table, n=2, seed=3, batch=2, **how)
    assert said == again
    assert said["answer_2"] == pm.generate(model, album.table, seed=4, **how)["answer"]
    assert said["answer"][:5] != said["answer_2"][:5]
    same = {"photo": album.photos[:1] * 4}
    assert len(set(pm.generate(model, same, **how)["answer"])) > 1, "rows alike are drawn apart"
    cold = pm.generate(model, album.table, temperature=1e-6, **SHORT)["answer"]
    assert cold == pm.generate(model, album.table, **SHORT)["answer"]


def test_how_words_are_chosen(tiny, album):
    model, table = tiny("llava"), {"photo": album.photos[:3]}
    plain = pm.generate(model, table, most=12)["answer"]
    assert pm.generate(model, table, most=12, beams=4)["answer"] != plain
    assert pm.generate(model, table, most=2)["answer"] != plain
    longer = pm.generate(model, table, most=30, least=29)["answer"]
    assert all(len(a) >= len(b) for a, b in zip(longer, plain))
    repeated = [len(text.split()) > len(set(text.split())) for text in pm.generate(model, table, most=60)["answer"]]
    assert any(repeated)
    once = pm.generate(model, table, most=60, no_repeat=1)["answer"]
    assert not any(len(text.split()) > len(set(text.split())) for text in once)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"beems": 2}, "Unknown argument 'beems' of assistant. Did you mean 'beams'?"),
        ({"beams": "2"}, "beams of assistant takes"),
        ({"beams": 2, "temperature": 1.0}, "A beam search samples nothing"),
        ({"top_p": 0.5}, "give a temperature above 0"),
        ({"n": 2}, "would be 2 times the same"),
        ({"steps": 3}, "Unknown argument 'steps'"),
        ({"precision": "float16"}, "Unknown precision 'float16'"),
        ({"batch": 0}, "batch must be a whole number of at least 1"),
    ],
)
def test_options_are_checked(tiny, album, options, said):
    with pytest.raises(BadArgument) as refused:
        pm.generate(tiny("llava"), album.table, **options)
    assert said in str(refused.value)


def test_columns_are_found_or_asked_for(tiny, album):
    model = tiny("llava")
    with pytest.raises(BadArgument, match=r"has 2 such columns: name those to read.*photo, other"):
        pm.generate(model, {**album.table, "other": album.photos})
    with pytest.raises(BadArgument, match=r"no column of .* was taken for such: question \(text\)"):
        pm.generate(model, {"question": album.table["question"]})
    with pytest.raises(UnknownName, match="Did you mean 'photo'"):
        pm.generate(model, album.table, columns="foto")


def test_a_truth_of_the_same_name_is_kept_beside_the_answer(tiny, album):
    table = {"photo": album.photos[:2], "answer": ["cat", "dog"], "name": ["a", "b"]}
    said = pm.generate(tiny("llava"), table, keep=["answer", "name"], **SHORT)
    assert said["answer_given"] == ["cat", "dog"]
    assert said["name"] == ["a", "b"]
    assert said["answer"] != said["answer_given"]


def test_half_the_bits(tiny, album):
    said = pm.generate(tiny("llava"), {"photo": album.photos[:2]}, precision="bfloat16", **SHORT)
    assert None not in said["answer"]


def test_what_breaks_in_the_model_costs_its_row_alone(tiny, album, monkeypatch):
    generator = opened(tiny("llava"), device="cpu", **SHORT)
    write = generator.model.generate

    def refuse(**given):
        if given["pixel_values"].flatten(1).mean(1).min() < -1.5:
            raise RuntimeError("cannot see in the dark")
        return write(**given)

    monkeypatch.setattr(generator.model, "generate", refuse)
    light, dark = (Image.new("RGB", (40, 40), colour) for colour in ("white", "black"))
    rows = [Asked(number, (), (picture,)) for number, picture in enumerate((light, dark, light))]
    said = dict(generator.answers(rows, 0))
    assert said[0].answer is not None
    assert said[0].answer == said[2].answer
    assert said[1] == (None, "RuntimeError: cannot see in the dark")


def test_on_the_command_line(tiny, album, polymodal, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = tiny("llava")
    rows = [f"{name},{photo or ''},{asked}" for name, photo, asked in zip("abcdefg", *album.table.values())]
    (tmp_path / "rows.csv").write_text("\n".join(["name,photo,question", *rows]) + "\n")
    told = polymodal(
        "generate", model, "rows.csv", "--columns", "photo,question", "--keep", "name", "--set", "most=6",
        "--temperature", "0.8", "--n", "2", "--out", "said.csv", "--page", "said.html",
    )  # fmt: skip
    assert told.code == 0, told.err
    assert "7 rows read, 5 answered" in told.err
    assert "5 [photo]: the file 'broken.png' is no picture" in told.err
    said = pm.read_table("said.csv")
    assert list(said.columns) == ["row", "answer", "answer_2", "name", "problem"]
    assert said.column("name") == list("abcdefg")
    assert said.column("answer")[5:] == [None, None]
    page = (tmp_path / "said.html").read_text()
    assert page.count("<article") == 7
    assert page.count("data:image/") >= 5
    one = polymodal("generate", model, "--image", album.photos[0], "--text", "what is it", "--set", "most=6")
    wanted = pm.generate(model, album.table, columns="question", **SHORT)["answer"][0]
    assert (one.code, one.out.strip()) == (0, wanted)
    for arguments, why in [
        (["--audio", "x.wav"], "--audio x.wav: this model reads image and text"),
        (["--image", album.photos[5]], "image: the file 'broken.png' is no picture of a known form"),
        (["rows.csv", "--out", "said.png"], "the suffix '.png' is unknown"),
        (["rows.csv", "--set", "keep=a"], "it has an option of its own"),
        (["rows.csv", "--set", "data=a"], "--data, or is none"),
    ]:
        refused = polymodal("generate", model, *arguments)
        assert refused.code == 2
        assert why in refused.err
