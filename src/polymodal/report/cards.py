"""Pictures, sound and measurements as data URIs, so that a page needs no other file.

`cell_card` turns what `Processor.show` gives into the JSON that a report shows.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from polymodal.core.errors import BadArgument, suggest
from polymodal.core.registry import import_path
from polymodal.core.shown import many
from polymodal.core.wav import wav_bytes
from polymodal.data.kinds import KINDS
from polymodal.data.media.sound import Sound
from polymodal.report.wording import clean, duration, is_number, joined, plain

MISSING = "missing"  # what is shown of a cell that is not there, whatever its kind
_PLANE_SIDE = 128  # pixels: how high the three planes of a scan are that a card shows
_CLOUD_SIDE = 200  # pixels: how high the two views of a cloud are that a card shows
_FRAMES, _FRAME_SIDE = 6, 96  # of a film that a card shows, and how high they are in pixels
_TEXT_LIMIT = 700  # characters of a text that a card shows
_COLORS = ("#3b82c4", "#d9822b", "#2a9d74", "#b5599a", "#8a8f98", "#c2a500")  # readable on white and on black


def data_uri(payload: bytes, media_type: str) -> str:
    """`data:MEDIA_TYPE;base64,…`."""
    return f"data:{media_type};base64,{base64.b64encode(payload).decode('ascii')}"


def picture(array: np.ndarray, *, longest: int = 320) -> str:
    """Data URI of a uint8 picture [H, W] or [H, W, 1|3|4], scaled down to `longest` pixels a side.

    PNG or JPEG, whichever is shorter; JPEG only where there is no transparency. Raises `BadArgument` for another shape
    or dtype.
    """
    array = np.asarray(array)
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        raise BadArgument(f"A picture is uint8 [H, W] or [H, W, 1|3|4]; got {array.dtype} {list(array.shape)}.")
    image = Image.fromarray(array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array)
    image.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    png = _encoded(image, "PNG", optimize=True)
    if image.mode == "RGBA":
        return data_uri(png, "image/png")
    jpeg = _encoded(image, "JPEG", quality=86)
    return data_uri(png, "image/png") if len(png) <= len(jpeg) else data_uri(jpeg, "image/jpeg")


def sound(samples: np.ndarray, rate: int, *, longest: float = 8.0) -> str:
    """16-bit mono WAV data URI of floats in -1..1, [n] or [n, channels]; at most `longest` seconds and 16 kHz.

    Raises `BadArgument` for an empty array, a rate below 1 or another shape.
    """
    mono = _mono(samples, rate)[: int(longest * rate)]
    if rate > 16_000:
        mono, rate = Sound(mono, rate).at(16_000), 16_000
    return data_uri(wav_bytes(mono, rate), "audio/wav")


def spectrogram(samples: np.ndarray, rate: int, *, width: int = 320, height: int = 80) -> str:
    """PNG data URI: time to the right, frequency upwards on a mel-like scale, 60 dB from dark to bright."""
    from matplotlib import colormaps

    mono = _mono(samples, rate)
    window = max(64, min(512, 2 ** int(np.log2(max(len(mono) // 8, 64)))))
    padded = np.pad(mono, (window // 2, window))
    starts = np.linspace(0, len(padded) - window, width).astype(int)
    frames = padded[starts[:, None] + np.arange(window)] * np.hanning(window)
    power = np.abs(np.fft.rfft(frames, axis=1)) ** 2
    mel = np.linspace(0, np.log1p(rate / 2 / 700), height + 1)
    edges = 700 * np.expm1(mel) / (rate / 2) * (power.shape[1] - 1)
    places = (edges[1:] + edges[:-1]) / 2
    low = np.clip(np.floor(places).astype(int), 0, power.shape[1] - 2)
    loud = 10 * np.log10(np.maximum(power[:, low] * (1 - (places - low)) + power[:, low + 1] * (places - low), 1e-12))
    shade = np.clip((loud - loud.max()) / 60 + 1, 0, 1).T[::-1]
    table = (colormaps["magma"](np.linspace(0.05, 1, 64))[:, :3] * 255).astype(np.uint8)
    image = Image.fromarray((shade * 63).astype(np.uint8)).convert("P")
    image.putpalette(table.tobytes())
    return data_uri(_encoded(image, "PNG", optimize=True), "image/png")


def span_of(series: Sequence[np.ndarray]) -> tuple[float, float]:
    """The least and the largest finite value of several series, so that they can be drawn on one scale."""
    known = np.concatenate([np.asarray(one, dtype=float).ravel() for one in series])
    known = known[np.isfinite(known)]
    return (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)


def trace(
    array: np.ndarray,
    *,
    width: int = 320,
    height: int = 80,
    channels: int = 6,
    span: tuple[float, float] | None = None,
) -> str:
    """SVG data URI of a series [T] or [T, C]: a line a channel (the first `channels`), all on one scale.

    `span` is the least and the largest value of the scale; by default those of the series.
    """
    values = np.asarray(array, dtype=float)
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2 or not len(values):
        raise BadArgument(f"A series is [T] or [T, C] with T > 0; got {list(np.shape(array))}.")
    values = values[np.linspace(0, len(values) - 1, min(len(values), 2 * width)).round().astype(int), :channels]
    low, high = span_of([values]) if span is None else span
    y = 4 + (height - 8) * (1 - (values - low) / ((high - low) or 1.0))
    x = np.linspace(2, width - 2, len(values))
    lines = "".join(
        f'<polyline fill="none" stroke="{color}" stroke-width="1.4" points="'
        + " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, column, strict=True) if np.isfinite(b))
        + '"/>'
        for column, color in zip(y.T, _COLORS, strict=False)
    )
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    return data_uri(f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{lines}</svg>'.encode(), "image/svg+xml")


def strip(vector: np.ndarray, *, width: int = 320, height: int = 28) -> str:
    """PNG data URI of a vector as a strip of colours, blue below zero and orange above it."""
    values = np.nan_to_num(np.asarray(vector, dtype=float).ravel())
    if not len(values):
        raise BadArgument("A vector needs at least one number.")
    scaled = values / (np.abs(values).max() or 1.0)
    ends = np.array([[59, 130, 196], [217, 130, 43]])[(scaled > 0).astype(int)]
    rgb = (128 + (ends - 128) * np.abs(scaled)[:, None]).astype(np.uint8)
    image = Image.fromarray(rgb[None]).resize((width, height), Image.Resampling.NEAREST)
    return data_uri(_encoded(image, "PNG", optimize=True), "image/png")


def cell_card(stream: str, shown: Mapping[str, Any] | None) -> dict[str, Any]:
    """What `Processor.show` gave for one cell, as the JSON that a report shows; None is a missing cell.

    Keys: `stream`, `kind`, and as the kind has it `image`, `audio`, `picture` (data URIs), `text`, `values`
    {name: text}, `note` (one line), `small` (a picture to be enlarged without blurring). A kind `missing` may carry a
    `reason`. Raises `BadArgument` for an unknown kind.
    """
    if shown is None:
        return {"stream": stream, "kind": MISSING, "note": "not given"}
    kind = str(shown.get("kind"))
    if kind not in (allowed := (*shown_kinds(), MISSING)):
        raise BadArgument(f"No report shows cells of kind {kind!r} (stream {stream!r}).{suggest(kind, allowed)}")
    name = MISSING if kind == MISSING else KINDS[kind].card
    return {"stream": stream, "kind": kind, **(CARDS[name] if name in CARDS else import_path(name))(shown)}


def shown_kinds() -> tuple[str, ...]:
    """The kinds that `Processor.show` may say that a cell is shown as: those with a card."""
    return tuple(name for name, kind in KINDS.items() if kind.card)


def _image_card(shown: Mapping[str, Any]) -> dict[str, Any]:
    array = np.asarray(shown["array"])
    high, wide = array.shape[:2]
    return {"image": picture(array), "small": max(high, wide) <= 96, "note": f"{wide} × {high} pixels"}


def _audio_card(shown: Mapping[str, Any]) -> dict[str, Any]:
    samples, rate = np.asarray(shown["array"]), int(shown["rate"])
    seconds = len(samples) / rate
    note = f"{seconds:.1f} s at {rate:,} Hz" + (", the first 8 s" if seconds > 8 else "")
    return {"audio": sound(samples, rate), "picture": spectrogram(samples[: 8 * rate], rate), "note": note}


def _video_card(shown: Mapping[str, Any]) -> dict[str, Any]:
    frames, times = np.asarray(shown["array"]), np.asarray(shown["times"])
    some = np.linspace(0, len(frames) - 1, min(len(frames), _FRAMES)).round().astype(int)
    high, wide = frames.shape[1:3]
    note = f"{shown['seconds']:.1f} s, {wide} × {high} pixels; {len(frames)} frames, {len(some)} shown"
    return {"image": film_strip(frames[some], times[some]), "note": note}


def _volume_card(shown: Mapping[str, Any]) -> dict[str, Any]:
    scan, spacing = np.asarray(shown["array"]), shown["spacing"]
    if len(scan) == 1:
        return _image_card({"array": scan[0]})
    size = [count * step for count, step in zip(scan.shape, spacing)]
    planes = []
    for axis in range(3):  # a slice; what lies behind a row, and beside a column, the head above
        plane = scan.take(scan.shape[axis] // 2, axis)
        high, wide = (extent for other, extent in enumerate(size) if other != axis)
        width = min(3 * _PLANE_SIDE, max(1, round(_PLANE_SIDE * wide / high)))
        planes.append(np.asarray(Image.fromarray(plane if axis == 0 else plane[::-1]).resize((width, _PLANE_SIDE))))
    note = f"{shown.get('made', '')} {' × '.join(f'{extent:.0f}' for extent in size)} mm, {len(scan)} slices".strip()
    return {"image": picture(np.hstack(planes), longest=sum(plane.shape[1] for plane in planes)), "note": note}


def _points_card(shown: Mapping[str, Any]) -> dict[str, Any]:
    places = np.asarray(shown["array"])
    note = f"{shown['made']}; from above and from the side"
    if "picture" not in shown:
        return {"image": cloud_views(places), "note": note}
    inside = int(np.isfinite(shown["pixels"]).all(1).sum())
    nearness = -np.log(np.maximum(np.linalg.norm(places, axis=1), 1e-3))
    image = on_picture(shown["picture"], shown["pixels"], nearness)
    note = f"{shown['made']}; {inside:,} of the {len(places):,} shown lie in the picture, near ones bright"
    return {"image": picture(image, longest=max(image.shape[:2])), "picture": cloud_views(places), "note": note}


def cloud_views(places: np.ndarray, shades: np.ndarray | None = None) -> str:
    """Data URI of places [n, 3] (ahead, left, up) in metres from above, ahead being upwards, and from the side, ahead
    being to the right; bright where they are high, or where `shades` [n] in 0..1 are."""
    high = places[:, 2]
    shades = (high - high.min()) / (np.ptp(high) or 1.0) if shades is None else shades
    order = np.argsort(shades, kind="stable")  # the brightest on top
    above, beside = places[order][:, [1, 0]] * (-1, -1), places[order][:, [0, 2]] * (1, -1)
    gap = np.full((_CLOUD_SIDE, 6, 3), 255, np.uint8)
    both = np.hstack([_scattered(above, shades[order]), gap, _scattered(beside, shades[order])])
    return picture(both, longest=both.shape[1])


def _scattered(at: np.ndarray, shades: np.ndarray) -> np.ndarray:
    """uint8 [_CLOUD_SIDE, W, 3] of dots at [n, 2] (right, down) on dark ground, one scale for both axes."""
    low, size = at.min(0), np.maximum(np.ptp(at, 0), 1e-6)
    inner = _CLOUD_SIDE - 9
    scale = min(inner / size[1], 2 * inner / size[0])
    wide = int(size[0] * scale) + 9
    canvas = np.full((_CLOUD_SIDE, wide, 3), 24, np.uint8)
    place = np.floor((at - low) * scale + (4, 4 + (inner - size[1] * scale) / 2)).astype(int)
    _dots(canvas, place, shades, 1 if len(at) > 500 else 2)
    return canvas


def on_picture(array: np.ndarray, pixels: np.ndarray, values: np.ndarray) -> np.ndarray:
    """A picture uint8 [H, W, 3], dimmed, with dots at `pixels` [n, 2] from left and top, NaN outside; those of the
    largest `values` [n] are brightest, and lie on top."""
    canvas = (np.asarray(array) * 0.6).astype(np.uint8)
    inside = np.isfinite(pixels).all(1)
    if inside.any():
        at, values = pixels[inside], values[inside]
        order = np.argsort(values, kind="stable")
        shades = (values[order] - values.min()) / (np.ptp(values) or 1.0)
        _dots(canvas, np.floor(at[order]).astype(int), shades, 2)
    return canvas


def _dots(canvas: np.ndarray, at: np.ndarray, shades: np.ndarray, side: int) -> None:
    """Paint squares of `side` pixels at [n, 2] (right, down) onto a picture, in their order."""
    from matplotlib import colormaps

    colors = (colormaps["plasma"](0.1 + 0.9 * shades)[:, :3] * 255).astype(np.uint8)
    for down in range(side):
        for right in range(side):
            rows = (at[:, 1] + down).clip(0, canvas.shape[0] - 1)
            canvas[rows, (at[:, 0] + right).clip(0, canvas.shape[1] - 1)] = colors


def film_strip(frames: np.ndarray, times: np.ndarray, shades: np.ndarray | None = None) -> str:
    """Data URI of frames uint8 [T, H, W, 1|3] side by side, each with its time in seconds, and with `shades` [T] in
    0..1 a bar beneath, as long as the shade."""
    from PIL import ImageDraw

    high, wide = _FRAME_SIDE, max(1, round(_FRAME_SIDE * frames.shape[2] / frames.shape[1]))
    strip_ = Image.new("RGB", (len(frames) * (wide + 2) - 2, high + (6 if shades is not None else 0)), "white")
    pen = ImageDraw.Draw(strip_)
    for place, (frame, time) in enumerate(zip(frames, times)):
        left = place * (wide + 2)
        one = Image.fromarray(frame[..., 0] if frame.shape[2] == 1 else frame).convert("RGB").resize((wide, high))
        strip_.paste(one, (left, 0))
        pen.text((left + 3, 2), f"{time:.1f}", "white", stroke_width=1, stroke_fill="black")
        if shades is not None:
            pen.rectangle((left, high + 2, left + round(wide * float(shades[place])), high + 5), _COLORS[0])
    return picture(np.asarray(strip_), longest=strip_.width)


def _text_card(shown: Mapping[str, Any]) -> dict[str, Any]:
    text = str(shown["text"])
    if len(text) <= _TEXT_LIMIT:
        return {"text": text}
    return {"text": text[:_TEXT_LIMIT].rstrip() + " …", "note": f"the first {_TEXT_LIMIT} of {len(text):,} characters"}


def _table_card(shown: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "values": {
            clean(name): f"{value:.6g}" if is_number(value) else joined(value)
            for name, value in shown["values"].items()
        }
    }


def _series_card(shown: Mapping[str, Any]) -> dict[str, Any]:
    array = np.asarray(shown["array"])
    steps, channels = len(array), array.shape[1] if array.ndim > 1 else 1
    rate = shown.get("rate")
    length = duration(steps / rate) if rate else many(steps, "step")
    return {"picture": trace(array), "note": f"{length}, {many(channels, 'channel')}"}


def _vector_card(shown: Mapping[str, Any]) -> dict[str, Any]:
    array = np.asarray(shown["array"], dtype=float)
    norm = float(np.linalg.norm(np.nan_to_num(array)))
    return {"picture": strip(array), "note": f"{array.size:,} numbers, length {plain(norm, 2)}"}


def _missing_card(shown: Mapping[str, Any]) -> dict[str, Any]:
    return {"note": clean(shown.get("reason") or "not given")}


CARDS: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "image": _image_card,
    "audio": _audio_card,
    "video": _video_card,
    "volume": _volume_card,
    "points": _points_card,
    "text": _text_card,
    "table": _table_card,
    "series": _series_card,
    "vector": _vector_card,
    MISSING: _missing_card,
}


def _encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def _mono(samples: np.ndarray, rate: int) -> np.ndarray:
    array = np.asarray(samples)
    if array.ndim not in (1, 2) or not len(array) or rate < 1:
        raise BadArgument(f"Sound is [n] or [n, channels] with n > 0 and a rate; got {list(array.shape)} at {rate} Hz.")
    if np.issubdtype(array.dtype, np.integer):
        array = array / float(np.iinfo(array.dtype).max)
    array = np.nan_to_num(array.astype(np.float32))
    return Sound(array, rate).mono()
