"""Conversations: a cell that holds messages, as a row for each answer of the assistant.

A cell is a list of messages, as JSON too, in the form of the chat templates of transformers: `{"role": "user",
"content": "…"}`, where content may be a list of parts, as `{"type": "text", "text": …}` and `{"type": "image", "path":
…}`; or in that of ShareGPT, as LLaVA's data are (Liu, Li, Wu & Lee 2023): `{"from": "human", "value": "…"}` and "gpt".
Of the column `chat` such rows have these columns:

- `chat`: what the assistant says, None where the last word is the user's.
- `chat_asked`: what it answers, the user's messages since the assistant's last; `chat_before`: the system's messages
  and all exchanges before, as in `user: … assistant: …`, the newest first. `[picture 1]` stands where a picture does.
- `chat_picture_1`, …: the conversation's pictures up to here, in their order.
- `chat_of`: which conversation it is, so that its rows are held in one split.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from polymodal.core.errors import BadCell, BadData
from polymodal.data.tables.table import Problem, Table, clean
from polymodal.targets.labels import listed

ANSWERS, ASKS, TELLS = "assistant", "user", "system"
PICTURES = ("image", "image_url", "path", "url", "base64")  # where a part keeps its picture
ELSEWHERE = {"human": ASKS, "gpt": ANSWERS}  # what others call them
PLACE = "<image>"  # stands in ShareGPT's form where the picture of another column belongs
LOOKED_AT = 20  # cells by which it is told whether a column holds conversations


@dataclass(frozen=True)
class Turn:
    """One answer of the assistant, "" where it has not answered yet, and what was said and shown before."""

    answer: str
    asked: str
    before: str
    pictures: tuple[Any, ...]


def is_chat(cells: Sequence[Any]) -> bool:
    """Whether a column holds conversations: one of its first cells does."""
    some = (cell for cell in cells if cell is not None)
    return any(_messages(cell) for cell, _ in zip(some, range(LOOKED_AT)))


def _messages(cell: Any) -> list[Any] | None:
    """The messages of a cell, None where it is no conversation."""
    items = listed(cell)
    if not items or not all(isinstance(item, Mapping) for item in items):
        return None
    messages = [_shared(item) if "from" in item and "value" in item else item for item in items]
    return messages if all("role" in message for message in messages) else None


def _shared(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message of ShareGPT's form, in the other."""
    said, who = message["value"], message["from"]
    return {
        "role": ELSEWHERE.get(who, who) if isinstance(who, str) else who,
        "content": said.replace(PLACE, " ").strip() if isinstance(said, str) else said,
    }


def of_column(column: str) -> str:
    """The column that says which conversation a row is of."""
    return f"{column}_of"


def roles_of(column: str, columns: Iterable[str]) -> dict[str, str]:
    """The kinds of the columns of an unfolded conversation, as far as they are among `columns`."""
    kinds = {f"{column}_asked": "text", f"{column}_before": "text"}
    return {c: kinds.get(c, "image") for c in columns if c in kinds or c in pictures_of(column, columns)}


def pictures_of(column: str, columns: Iterable[str]) -> list[str]:
    """The columns of pictures among `columns`."""
    start = f"{column}_picture_"
    return [c for c in columns if c.startswith(start) and c.removeprefix(start).isdecimal()]


def unfolded(table: Table, column: str, *, most: int | None = None) -> Table:
    """A row for each answer of the assistant in the conversations of `column`, and one for a last message of the user
    that has none; other cells are those of the conversation's row. A table that is unfolded already, or has no
    conversation, is returned as it is.

    `most`: how many pictures a row has at most, where that is settled; of others the first are kept. Conversations that
    cannot be read are left out, with the reason among the table's problems. Raises `BadData` where a column that this
    makes is there already.
    """
    if of_column(column) in table.data or column not in table.data or not is_chat(table.data[column]):
        return table
    problems, rows, turns, names = list(table.problems), [], [], []
    for row, cell in enumerate(table.data[column]):
        try:
            found, remarks = turns_of(cell)
        except BadCell as error:
            problems.append(_left_out(table, row, column, str(error)))
            continue
        problems += [Problem(table.ids[row], column, remark) for remark in remarks]
        rows += [row] * len(found)
        names += [f"{table.ids[row]} turn {place}" for place, _ in enumerate(found, start=1)]
        turns += found
        if most is not None and found and (count := len(found[-1].pictures)) > most:
            what = f"shows {count} pictures, of which only the first {most} are read"
            problems.append(Problem(table.ids[row], column, what))
    room = most if most is not None else max((len(turn.pictures) for turn in turns), default=0)
    made: dict[str, list[Any]] = {
        column: [turn.answer or None for turn in turns],
        f"{column}_asked": [turn.asked or None for turn in turns],
        f"{column}_before": [turn.before or None for turn in turns],
        **{f"{column}_picture_{n + 1}": [_at(turn.pictures, n) for turn in turns] for n in range(room)},
        of_column(column): [table.ids[row] for row in rows],
    }
    if taken := next((name for name in made if name != column and name in table.data), None):
        raise BadData(f"{table.name} has a column {taken!r}, which {column!r} is unfolded to: rename one of them.")
    each = table.select(rows)
    return replace(each, data={**each.data, **made}, ids=names, problems=problems)


def last_turns(table: Table, column: str) -> Table:
    """Of an unfolded table the last row of each conversation, named as the conversation is."""
    if of_column(column) not in table.data:
        return table
    last = {conversation: row for row, conversation in enumerate(table.data[of_column(column)])}
    chosen = table.select(list(last.values()))
    return replace(chosen, ids=list(map(str, last)), problems=table.problems)


def turns_of(cell: Any) -> tuple[list[Turn], list[str]]:
    """The turns of a conversation, and what is to be said of it. Raises `BadCell` where it cannot be read."""
    if cell is None:
        raise BadCell("is missing")
    messages = _messages(cell)
    if messages is None:
        raise BadCell(f"is {str(cell)[:40]!r}, where a list of messages, each with a role, was expected")
    turns, remarks = [], []
    told: list[str] = []
    before: list[str] = []  # the newest exchange first: what is too long to be read whole loses the oldest
    asked: list[str] = []
    pictures: list[Any] = []
    for number, message in enumerate(messages, start=1):
        role, shown = message["role"], tuple(pictures)  # before: what an answer shows is not what it answers by
        text = _read(message.get("content"), pictures, number)
        if role == ANSWERS:
            if text:
                turns.append(Turn(text, " ".join(asked), " ".join([*told, *before]), shown))
            else:
                remarks.append(f"message {number}: the assistant says nothing, so nothing is learned from it")
            exchange = [f"{ASKS}: {' '.join(asked)}"] * bool(asked) + [f"{role}: {text}"] * bool(text)
            before[:0] = [" ".join(exchange)] * bool(exchange)
            asked = []
        elif role == ASKS:
            asked += [text] * bool(text)
        elif role == TELLS:
            told += [f"{role}: {text}"] * bool(text)
        else:
            raise BadCell(f"message {number} has the role {str(role)[:40]!r}; read are {TELLS}, {ASKS} and {ANSWERS}")
    if asked:
        turns.append(Turn("", " ".join(asked), " ".join([*told, *before]), tuple(pictures)))
    if not turns:
        raise BadCell("holds no message of the user's nor any answer")
    return turns, remarks


def _read(content: Any, pictures: list[Any], number: int) -> str:
    """The text of a message's content; its pictures are added to `pictures`. Raises `BadCell`."""
    said = []
    for part in content if isinstance(content, list | tuple) else [content]:
        if part is None or isinstance(part, str):
            said.append((part or "").strip())
            continue
        form = part.get("type") if isinstance(part, Mapping) else type(part).__name__
        if form == "text" and isinstance(part.get("text"), str):
            said.append(part["text"].strip())
        elif form in ("image", "image_url"):
            pictures.append(_picture(part, number))
            said.append(f"[picture {len(pictures)}]")
        else:
            raise BadCell(f"message {number} holds a part of the type {str(form)[:40]!r}; read are text and image")
    return " ".join(filter(None, said))


def _picture(part: Mapping[str, Any], number: int) -> Any:
    """The cell of a picture: a path, or the bytes of a file. Raises `BadCell` where the part has none."""
    given = next((part[key] for key in PICTURES if part.get(key) is not None), None)
    if isinstance(given, Mapping) and "url" in given:
        given = given["url"]
    if given is None or given == "":
        raise BadCell(f'message {number} has a picture without a file; give {{"type": "image", "path": …}}')
    if isinstance(given, str) and (given == part.get("base64") or given.startswith("data:")):
        try:
            return base64.b64decode(given.rpartition(",")[2], validate=True)
        except binascii.Error as error:
            raise BadCell(f"message {number} has a picture whose base64 is broken ({error})") from error
    return clean(given.removeprefix("file://") if isinstance(given, str) else given)


def _left_out(table: Table, row: int, column: str, why: str) -> Problem:
    return Problem(table.ids[row], column, f"{why}; conversation set aside", int(table.rows[row]))


def _at(items: Sequence[Any], place: int) -> Any:
    return items[place] if place < len(items) else None
