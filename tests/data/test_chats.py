"""Conversations in cells: what rows they become, and what is said of those that cannot be read."""

import base64
import json

import numpy as np
import pytest
from PIL import Image

from polymodal.core.errors import BadCell, BadData
from polymodal.data.chats import is_chat, last_turns, turns_of, unfolded
from polymodal.data.inputs import Inputs, asked_rows
from polymodal.data.schema import Schema
from polymodal.data.tables.source import read_table


def said(role, content):
    return {"role": role, "content": content}


def shown(path, text):
    return [{"type": "image", "path": path}, {"type": "text", "text": text}]


TALK = [
    said("system", "Be brief."),
    said("user", shown("a.png", "Who is it?")),
    said("assistant", "A dog."),
    said("user", "And"),
    said("user", shown("b.png", "this one?")),
    said("assistant", [{"type": "text", "text": "A cat."}]),
    said("user", "Sure?"),
]


def table(*cells, **columns):
    return read_table({"messages": list(cells), **columns})


def test_each_answer_is_a_row_with_all_that_was_said_and_shown_before():
    found = unfolded(table(TALK, json.dumps(TALK), shop=["x", "y"]), "messages")
    assert found.ids == [f"{row} turn {turn}" for row in "01" for turn in (1, 2, 3)]
    assert found.rows.tolist() == [0, 0, 0, 1, 1, 1]
    first = {name: column[:3] for name, column in found.data.items()}
    assert first == {
        "messages": ["A dog.", "A cat.", None],
        "shop": ["x", "x", "x"],
        "messages_asked": ["[picture 1] Who is it?", "And [picture 2] this one?", "Sure?"],
        "messages_before": [
            "system: Be brief.",
            "system: Be brief. user: [picture 1] Who is it? assistant: A dog.",
            "system: Be brief. user: And [picture 2] this one? assistant: A cat. user: [picture 1] Who is it? "
            "assistant: A dog.",
        ],
        "messages_picture_1": ["a.png"] * 3,
        "messages_picture_2": [None, "b.png", "b.png"],
        "messages_of": ["0"] * 3,
    }
    assert {name: column[3:] for name, column in found.data.items() if name not in ("shop", "messages_of")} == {
        name: column for name, column in first.items() if name not in ("shop", "messages_of")
    }


def test_what_sharegpt_calls_them():
    talk = [
        {"from": "system", "value": "Be brief."},
        {"from": "human", "value": "<image>\nWho is it?"},
        {"from": "gpt", "value": "A dog."},
        {"from": "human", "value": "Sure?"},
    ]
    turns, remarks = turns_of(json.dumps(talk))
    assert [(t.asked, t.answer, t.before) for t in turns] == [
        ("Who is it?", "A dog.", "system: Be brief."),
        ("Sure?", "", "system: Be brief. user: Who is it? assistant: A dog."),
    ]
    assert not remarks
    assert is_chat([talk])
    assert not is_chat([[{"from": "Oslo", "to": "Bergen"}]])
    with pytest.raises(BadCell, match="message 1 has the role 'tool'"):
        turns_of([{"from": "tool", "value": "x"}])


def test_an_answer_is_in_no_cell_that_is_read_for_it():
    for turn in turns_of(TALK)[0]:
        assert not turn.answer or turn.answer not in turn.asked + turn.before


def test_the_last_turn_is_what_is_to_be_answered():
    found = last_turns(unfolded(table(TALK, TALK[:3], id=["p", "q"]), "messages"), "messages")
    assert found.ids == ["p", "q"]
    assert found.data["messages_asked"] == ["Sure?", "[picture 1] Who is it?"]
    assert last_turns(found, "messages").ids == ["p", "q"]
    assert unfolded(found, "messages") is found


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        (None, "is missing"),
        ("hello", "is 'hello', where a list of messages, each with a role, was expected"),
        ([], "is '[]', where a list of messages"),
        (["hello", "you"], "where a list of messages, each with a role"),
        ([said("user", "hi"), {"content": "no role"}], "where a list of messages, each with a role"),
        ([said("robot", "hi")], "message 1 has the role 'robot'; read are system, user and assistant"),
        ([said("user", 3)], "message 1 holds a part of the type 'int'; read are text and image"),
        ([said("user", [{"type": "video", "path": "x"}])], "message 1 holds a part of the type 'video'"),
        ([said("user", [{"type": "image"}])], "message 1 has a picture without a file"),
        ([said("user", [{"type": "image", "path": "data:image/png;base64,?"}])], "base64 is broken"),
        ([said("user", [{"type": "image", "base64": "?"}])], "base64 is broken"),
        ([said("system", "be brief")], "holds no message of the user's nor any answer"),
        ([said("user", ""), said("assistant", " ")], "holds no message of the user's nor any answer"),
    ],
)
def test_a_broken_conversation_is_left_out_with_its_reason(cell, reason):
    with pytest.raises(BadCell) as error:
        turns_of(cell)
    assert reason in str(error.value)
    found = unfolded(table(TALK, cell, TALK, id=["a", "b", "c"]), "messages")
    assert dict.fromkeys(found.data["messages_of"]) == {"a": None, "c": None}
    (problem,) = found.left_out
    assert (problem.row, problem.column, problem.record) == ("b", "messages", 1)
    assert reason in problem.reason
    assert problem.reason.endswith("conversation set aside")


def test_an_empty_answer_is_passed_over_and_said():
    turns, remarks = turns_of([said("user", "a"), said("assistant", None), said("user", "b"), said("assistant", "c")])
    assert [(turn.answer, turn.asked, turn.before) for turn in turns] == [("c", "b", "user: a")]
    assert remarks == ["message 2: the assistant says nothing, so nothing is learned from it"]


def test_a_conversation_without_an_answer_is_a_row_to_be_answered():
    found = unfolded(table([said("user", "hi")], [said("assistant", "Hello."), said("assistant", "Well?")]), "messages")
    assert found.data["messages"] == [None, "Hello.", "Well?"]
    assert found.data["messages_asked"] == ["hi", None, None]
    assert found.data["messages_before"] == [None, None, "assistant: Hello."]


def test_pictures_are_given_in_the_ways_that_are_usual():
    content = base64.b64encode(b"bytes of a file").decode()
    parts = [
        {"type": "image", "image": "a.png"},
        {"type": "image", "url": "file:///b.png"},
        {"type": "image_url", "image_url": {"url": "c.png"}},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{content}"}},
        {"type": "image", "base64": content},
        {"type": "image", "image": Image.new("RGB", (2, 2))},
    ]
    (turn,) = turns_of([said("user", parts)])[0]
    *files, drawn = turn.pictures
    assert files == ["a.png", "/b.png", "c.png", b"bytes of a file", b"bytes of a file"]
    assert drawn.startswith(b"\x89PNG")
    assert turn.asked == " ".join(f"[picture {n}]" for n in range(1, 7))


def test_what_is_no_conversation_stays_as_it_is():
    for cells in (["[1, 2]", "x"], [["a", "b"]], [None, None], [{"role": "user"}]):
        assert not is_chat(cells)
        plain = table(*cells)
        assert unfolded(plain, "messages") is plain


def test_a_column_that_is_there_already_is_not_lost():
    with pytest.raises(BadData, match="has a column 'messages_asked', which 'messages' is unfolded to: rename one"):
        unfolded(table(TALK, messages_asked=["mine"]), "messages")


def many(count=12):
    return [[*TALK[1:4:2], said("assistant", f"word number {i}"), said("user", "more?")] for i in range(count)]


def test_only_a_target_is_unfolded_and_its_turns_share_a_split():
    cells, label = many(), [("no", "yes")[i % 2] for i in range(12)]
    data = {"messages": cells, "label": label, "size": [str(i * 1.5) for i in range(12)]}
    other = Inputs.read(data, target="label")
    assert len(other.tables["train"]) == 12
    given = Inputs.read(data, target="messages")
    schema = given.schema("messages", None)
    assert (schema.chat, schema.group) == ("messages", "messages_of")
    assert schema.targets == {"messages": "text"}
    assert {name: one.kind for name, one in schema.fields.items()} == {
        "messages_asked": "text", "messages_before": "text", "messages_picture_1": "image", "table": "table",
    }  # fmt: skip
    assert len(given.joined(schema)) == 24
    again = Schema.from_json(json.loads(json.dumps(schema.to_json())))
    assert asked_rows(data, again).ids == given.joined(schema).ids
    assert asked_rows(data, again, last=True).ids == [str(i) for i in range(12)]


def test_a_schema_may_say_otherwise():
    data = {"messages": many(), "who": ["ann", "bob"] * 6, "number": [f"n{i}" for i in range(12)]}
    said_so = {
        "target": {"messages": "classes"},
        "group": "who",
        "id": "number",
        "kinds": {"messages_asked": "category"},
    }
    given = Inputs.read(data, schema=said_so)
    schema = given.schema(None, said_so)
    assert (schema.group, schema.id, schema.targets) == ("who", "number", {"messages": "classes"})
    assert "messages_asked" in schema.fields["table"].columns
    assert given.joined(schema).ids[:2] == ["n0 turn 1", "n0 turn 2"]
    assert asked_rows(data, schema, last=True).ids[:2] == ["n0", "n1"]


def test_more_pictures_than_the_model_knows_are_said():
    one, two = many(6), [TALK] * 2
    given = Inputs.read({"messages": one}, {"messages": two}, target="messages")
    schema = given.schema("messages", None)
    assert "messages_picture_2" not in given.tables["valid"].data
    what = "shows 2 pictures, of which only the first 1 are read"
    assert [p.reason for p in given.tables["valid"].problems] == [what, what]
    assert what in [p.reason for p in asked_rows({"messages": two}, schema, last=True).problems]


def test_a_table_of_nothing_but_broken_conversations_is_refused():
    broken = [said("robot", "hi")]
    with pytest.raises(BadData, match=r"holds no row that can be used.*has the role 'robot'"):
        Inputs.read({"messages": [broken, broken]}, target="messages")


def test_rows_are_aligned_with_arrays_beside_the_table(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(24, dtype=np.float32).reshape(12, 2))
    with open(tmp_path / "talks.jsonl", "w", encoding="utf-8") as file:
        file.writelines(json.dumps({"messages": cell}) + "\n" for cell in many())
    found = unfolded(read_table(tmp_path / "talks.jsonl"), "messages")
    assert found.rows.tolist() == [i // 2 for i in range(24)]
    assert set(found.bases) == {tmp_path}


def test_a_picture_within_an_answer_is_not_what_it_is_answered_by():
    shown = [{"type": "text", "text": "here"}, {"type": "image", "path": "answer.png"}]
    chat = [
        {"role": "user", "content": [{"type": "image", "path": "asked.png"}]}, {"role": "assistant", "content": shown},
        {"role": "user", "content": "again"},
    ]  # fmt: skip
    first, last = turns_of(chat)[0]
    assert first.pictures == ("asked.png",)
    assert last.pictures == ("asked.png", "answer.png")
