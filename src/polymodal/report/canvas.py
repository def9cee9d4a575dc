"""From a matplotlib figure to inline SVG that takes its colours, and so light and dark, from the page.

Charts are laid out in CSS pixels. Colours are named by their role; the SVG refers to CSS variables (`var(--ink)`), and
its text stays text in the page's own font.
"""

from __future__ import annotations

import hashlib
import io
import re
import warnings
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, ParamSpec

import matplotlib
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator

from polymodal.core.shown import legible
from polymodal.report.wording import compact, decimals

P = ParamSpec("P")

SIZE = 11.5  # of ordinary text, in pixels of the chart
NARROW, WIDE, SMALL = 400, 1000, 190  # widths in pixels: half a page or a phone, a whole page, one of many

# A role's colour here is a mere mark, replaced by `var(--role)` in the SVG; the values live in report.css.
_MARKS = {
    role: f"#0102{i:02x}"
    for i, role in enumerate(
        ["ink", "muted", "faint", "grid", "card", "band", "fusion", "single", "chance", "for", "against"], start=16
    )
}
INK, MUTED, FAINT, GRID, CARD, BAND, FUSION, SINGLE, CHANCE, FOR, AGAINST = _MARKS.values()

# Whatever the reader's matplotlibrc says, a report looks the same; the backend is left alone, nothing here needs one.
_SETTINGS: dict[Any, Any] = {
    **{name: value for name, value in matplotlib.rcParamsDefault.items() if "backend" not in name},
    "svg.fonttype": "none",  # text stays text: small, selectable, in the page's font
    "svg.hashsalt": "polymodal",  # ids, and so the file, are the same at every run
    "text.parse_math": False,  # a class may be called `$5`
    "path.simplify": False,
}


class Canvas:
    """A figure of `width` x `height` pixels whose origin is the top left corner.

    `alt` says in a sentence what the picture shows, for those who do not see it.
    """

    def __init__(self, width: float, height: float, alt: str):
        self.width, self.height, self.alt = width, height, alt
        self.figure = Figure(figsize=(width / 72, height / 72), dpi=72, facecolor="none")

    def axes(self, left: float, top: float, right: float, bottom: float) -> Axes:
        """Bare axes in the box whose edges are given in pixels from the left and from the top."""
        box = (left / self.width, 1 - bottom / self.height, (right - left) / self.width, (bottom - top) / self.height)
        axes = self.figure.add_axes(box, facecolor="none")
        for spine in axes.spines.values():
            spine.set_visible(False)
        axes.tick_params(length=0, labelsize=SIZE - 1, labelcolor=MUTED, pad=5)
        axes.set_axisbelow(True)
        return axes

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        color: str = INK,
        size: float = SIZE,
        anchor: str = "left",
        bold: bool = False,
        turn: float = 0,
    ) -> None:
        """One line of text at a place in pixels, centred on `y`; `turn` degrees anticlockwise about its anchor."""
        self.figure.text(
            x / self.width, 1 - y / self.height, text, color=color, fontsize=size, ha=anchor, va="center_baseline",
            fontweight="bold" if bold else "normal", rotation=turn, rotation_mode="anchor",
        )  # fmt: skip

    def box(self, left: float, top: float, right: float, bottom: float, color: str, alpha: float = 1.0) -> None:
        """A filled rectangle, in pixels, behind all axes."""
        self.figure.add_artist(
            Rectangle(
                (left / self.width, 1 - bottom / self.height),
                (right - left) / self.width,
                (bottom - top) / self.height,
                facecolor=color, alpha=alpha, linewidth=0, zorder=-1,
            )
        )  # fmt: skip

    def svg(self) -> Markup:
        """The figure as an `<svg>` element without ids, fonts or addresses of its own."""
        buffer = io.StringIO()
        for text in self.figure.findobj(Text):
            text.set_text(legible(text.get_text()))
        self.figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
        return _inline(buffer.getvalue(), self.width, self.height, self.alt)


def chart(draw: Callable[P, Canvas]) -> Callable[P, Markup]:
    """Make a function that draws on a `Canvas` return SVG, drawn under settings of our own."""

    @wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> Markup:
        with matplotlib.rc_context(_SETTINGS), warnings.catch_warnings():
            # The reader's browser draws the text and has the glyphs; matplotlib only measures it.
            warnings.filterwarnings("ignore", message=r"Glyph \d+ .* missing from font")
            return draw(*args, **kwargs).svg()

    return drawn


def value_axis(axes: Axes, low: float, high: float, *, along: str = "x", ticks: int = 5, log: bool = False) -> None:
    """Scale one axis to `low`..`high`, with round ticks, thin grid lines and aligned numbers.

    With `log` the axis has a logarithmic scale already, and gets ticks at 1, 2 and 5 times the powers of ten.
    """
    axis = axes.xaxis if along == "x" else axes.yaxis
    (axes.set_xlim if along == "x" else axes.set_ylim)(low, high)
    locator = LogLocator(subs=(1, 2, 5)) if log else MaxNLocator(ticks, steps=[1, 2, 2.5, 5, 10])
    places = [t for t in locator.tick_values(low, high) if low <= t <= high]
    axis.set_ticks(places)
    axis.set_ticks([], minor=True)
    digits = decimals([low]) if log else _tick_digits(places)
    axis.set_major_formatter(FuncFormatter(lambda value, _: compact(value, digits)))
    axis.grid(True, color=GRID, linewidth=1)


def spread(values: Sequence[float], *, margin: float = 0.06) -> tuple[float, float]:
    """Limits that leave a margin around `values`; a unit's width when they are all the same."""
    low, high = min(values), max(values)
    room = (high - low) * margin or max(abs(high) * margin, 0.01)
    return low - room, high + room


def _tick_digits(places: Sequence[float]) -> int:
    if len(places) < 2:
        return decimals(places)
    step = abs(places[1] - places[0])
    return next((d for d in range(7) if abs(step * 10**d - round(step * 10**d)) < 1e-6 * 10**d), 6)


_GROUP = re.compile(r'<g id="[^"]*"')
_FONT = re.compile(r"font(?:-size)?: ((?:bold )?)(?:normal )?(?:\d+ )?([\d.]+)px[^;\"]*(?:; font-family:[^;\"]*)?")
_LONG = re.compile(r"-?\d+\.\d+")
_TAG = re.compile(r"<[^>]*>")


def _inline(source: str, width: float, height: float, alt: str) -> Markup:
    body = source[source.index(">", source.index("<svg")) + 1 : source.rindex("</svg>")]
    body = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", body, flags=re.DOTALL)
    body = _TAG.sub(lambda tag: _tidy(tag.group()), body)
    body = re.sub(r">\s+<", "><", body).replace("\n", " ").strip()
    mark = hashlib.sha256(f"{width} {alt} {body}".encode("utf-8", "surrogatepass")).hexdigest()[:8]
    body = _TAG.sub(lambda tag: re.sub(r'( id="|url\(#| href="#)', rf"\g<1>{mark}", tag.group()), body)
    head = f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(alt)}" style="--w:{width:g}px">'
    return Markup(f"{head}{body}</svg>")


def _tidy(tag: str) -> str:
    """One tag of matplotlib's, shorter: colours by role, no font family, two decimals, no idle rotation."""
    tag = _GROUP.sub("<g", tag).replace("xlink:href", "href")
    tag = re.sub(r' transform="rotate\(-0 [^"]*"', "", tag)
    tag = _FONT.sub(lambda m: f"font-size: {m.group(2)}px" + ("; font-weight: 600" if m.group(1) else ""), tag)
    for role, color in _MARKS.items():
        tag = tag.replace(color, f"var(--{role})")
    return _LONG.sub(lambda m: f"{float(m.group()):.2f}".rstrip("0").rstrip("."), tag)
