"""A fit of conversations, and what its model answers."""

import json

import numpy as np
import pytest
from PIL import Image

import polymodal as pm

QUICK = {
    "dim": 16, "trackers": "none", "quiet": True, "workers": 0, "seeds": 1, "crossfit": 2, "joint": False,
    "fusion": ["concat"], "encoder_training": {"epochs": 2}, "answer_training": {"epochs": 6}, "evidence": "validation",
    "pretrained": False, "deploy": "concat",
}  # fmt: skip


def talk(number, shade, picture):
    ask, tell = [("is it light?", "yes it is light"), ("is it dark?", "yes it is dark")][shade]
    return [
        {"role": "user", "content": [{"type": "image", "path": picture}, {"type": "text", "text": ask}]},
        {"role": "assistant", "content": tell},
        {"role": "user", "content": f"what did I ask in talk {number}?"},
        {"role": "assistant", "content": ask},
    ]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chats")
    draw = np.random.default_rng(0)
    rows = []
    for i in range(60):
        shade = int(draw.integers(2))
        pixels = np.full((8, 8, 3), 40 if shade else 210, np.uint8) + draw.integers(0, 30, (8, 8, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
        rows.append({"id": f"t{i}", "messages": talk(i, shade, f"{i}.png")})
    rows[3]["messages"][0]["content"][0]["path"] = "gone.png"
    rows[4]["messages"][1]["role"] = "robot"
    with open(folder / "talks.jsonl", "w", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POLYMODAL_STORE", str(tmp_path_factory.getbasetemp() / "store"))
        run = pm.fit(folder / "talks.jsonl", "messages", out=folder / "run", **QUICK)
    return folder, rows, run


def test_broken_conversations_and_missing_pictures_are_told_and_stop_nothing(made):
    _, _, run = made
    aside = [json.loads(line) for line in (run.folder / "set_aside.jsonl").read_text(encoding="utf-8").splitlines()]
    told = [(one["row"], one["column"], one["reason"]) for one in aside]
    assert any(row == "t4" and column == "messages" and "role 'robot'" in why for row, column, why in told)
    assert any(row.startswith("t3 turn") and column == "messages_picture_1" for row, column, _ in told)


def test_turns_of_a_conversation_are_in_one_part(made):
    folder, _, _ = made
    plan = pm.plan(folder / "talks.jsonl", "messages", **{k: v for k, v in QUICK.items() if k != "quiet"})
    of = np.array(plan.table.data["messages_of"])
    assert all(len(set(plan.split[of == one])) == 1 for one in set(of))


def test_the_last_turn_of_each_conversation_is_answered(made, monkeypatch):
    folder, rows, run = made
    monkeypatch.chdir(folder)
    new = [{"id": "open", "messages": rows[8]["messages"][:3]}, {"id": "none", "messages": "hello"}, rows[9]]
    found = run.predict(new)
    assert (found["id"], found["row"]) == (["open", None, "t9"], [0, 1, 2])
    assert [bool(answer) for answer in found["messages"]] == [True, False, True]
    assert found["problem"][1].startswith("none [messages]: is 'hello', where")
    said = run.generate(new, n=2, seed=1, temperature=1.0)
    assert len(said["id"]) == 3
    assert run.evaluate(folder / "talks.jsonl", quiet=True)["data"]["judged"]["judged"] == 118


def test_a_conversation_without_a_picture_is_answered_all_the_same(made):
    _, _, run = made
    found = run.predict([{"id": "a", "messages": [{"role": "user", "content": "what did I ask in talk 3?"}]}])
    assert found["messages"][0]
