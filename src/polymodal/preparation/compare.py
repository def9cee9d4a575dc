"""Two texts side by side: what went and what came, marked, and long stretches that both share left out."""

from __future__ import annotations

import difflib
import re

from markupsafe import Markup, escape

LONGEST = 20_000  # characters of a text that are compared; a difference behind them is told, not shown
AROUND = 60  # characters shown on either side of a difference in a long text
SHORT = 400  # a text up to here is shown whole
MOST_TOKENS = 1_500  # between the ends that both share; more are compared as one block
_TOKENS = re.compile(r"\w+|\s|[^\w\s]")
_VISIBLE = {" ": "·", "\n": "↵\n", "\t": "⇥\t", "\u00a0": "⍽", "\u200b": "∅", "\ufeff": "∅"}


def marked(before: str, after: str) -> tuple[Markup, Markup]:
    """Both texts as HTML: `<del>` around what is in the first alone, `<ins>` around what is in the second alone.

    White space that came or went is drawn, for it could not be seen. Of long texts only the differences and the words
    beside them are kept.
    """
    a, b = (_TOKENS.findall(text[:LONGEST]) for text in (before, after))
    pieces = _pieces(a, b)
    left = [("del" if changed else "", "".join(one)) for changed, one, _ in pieces]
    right = [("ins" if changed else "", "".join(two)) for changed, _, two in pieces]
    whole = max(len(before), len(after)) <= SHORT
    return _html(left, whole, len(before)), _html(right, whole, len(after))


def _pieces(a: list[str], b: list[str]) -> list[tuple[bool, list[str], list[str]]]:
    """(whether they differ, tokens of the first, tokens of the second), in order."""
    start = 0
    while start < min(len(a), len(b)) and a[start] == b[start]:
        start += 1
    end = 0
    while end < min(len(a), len(b)) - start and a[-1 - end] == b[-1 - end]:
        end += 1
    one, two = a[start : len(a) - end], b[start : len(b) - end]
    pieces = [(False, a[:start], b[:start])]
    if len(one) + len(two) > MOST_TOKENS:  # the comparison takes the square of their number
        pieces.append((True, one, two))
    else:
        match = difflib.SequenceMatcher(None, one, two, autojunk=False)
        pieces += [(tag != "equal", one[i:j], two[k:n]) for tag, i, j, k, n in match.get_opcodes()]
    pieces.append((False, a[len(a) - end :], b[len(b) - end :]))
    return [piece for piece in pieces if piece[1] or piece[2]]


def _html(pieces: list[tuple[str, str]], whole: bool, length: int) -> Markup:
    shown = []
    for i, (tag, text) in enumerate(pieces):
        if tag:
            if text:
                start = f'<{tag} class="blank">' if text.isspace() else f"<{tag}>"
                shown.append(Markup(start) + escape(_visible(_cut(text, 2 * SHORT))) + Markup(f"</{tag}>"))
        elif whole:
            shown.append(escape(text))
        else:
            head = "" if i == 0 else text[:AROUND]
            tail = "" if i == len(pieces) - 1 else text[max(len(head), len(text) - AROUND) :]
            skipped = len(text) - len(head) - len(tail)
            if len(pieces) == 1:  # the same as far as they were compared
                head, skipped = text[:SHORT], max(0, len(text) - SHORT)
            gap = Markup("<i> … </i>") if skipped else ""
            shown.append(escape(head) + gap + escape(tail))
    if length > LONGEST:
        shown.append(Markup("<i> … {:,} more characters</i>").format(length - LONGEST))
    return Markup("").join(shown)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most // 2]} … {text[-most // 2 :]}"


def _visible(text: str) -> str:
    """What came or went: white space that stands alone or in a row is drawn."""
    if text.strip() and not re.search(r"\s{2,}|^\s|\s$", text):
        return text
    return "".join(_VISIBLE.get(letter, letter) for letter in text)
