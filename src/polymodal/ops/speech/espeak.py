"""eSpeak NG through ctypes; the library and its voices come with the package espeakng-loader (GPL-3)."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import numpy as np

from polymodal.core.errors import BadArgument, require
from polymodal.data.media.sound import Sound

_HEARD = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
ALIASES = {"zh": "cmn", "zh-cn": "cmn", "zh-yue": "yue"}  # as eSpeak NG calls them now
_pieces: list[np.ndarray] = []


@_HEARD
def _collect(wave: Any, count: int, events: Any) -> int:
    if wave and count > 0:
        _pieces.append(np.ctypeslib.as_array(wave, (count,)).copy())
    return 0


@cache
def _library() -> tuple[Any, int]:
    loader = require("espeakng_loader", "espeak")
    library = ctypes.CDLL(loader.get_library_path())
    rate = library.espeak_Initialize(2, 0, str(loader.get_data_path()).encode(), 0)  # 2: give samples, at once
    if rate <= 0:
        raise BadArgument("eSpeak NG does not start: its voices cannot be read.")
    library.espeak_SetSynthCallback(_collect)
    return library, rate


def speak(text: str, *, voice: str, pitch: float, speed: float) -> Sound:
    """Speech by eSpeak NG in the voice of a language, as in `en` or `zh`; `speed` 1 is 175 words a minute.

    `pitch` in Hz becomes the library's 0..100, of which 50 is its voice as it is, about 100 Hz. Raises `BadArgument`
    for an unknown voice.
    """
    library, rate = _library()
    if library.espeak_SetVoiceByName(ALIASES.get(voice, voice).encode()):
        raise BadArgument(f"eSpeak NG has no voice {voice!r}. Voices are languages, as in en, en-us, de, fr, zh.")
    library.espeak_SetParameter(1, round(175 * speed), 0)
    library.espeak_SetParameter(3, round(min(99, max(0, 50 + 50 * np.log2(pitch / 100)))), 0)
    _pieces.clear()
    said = text.encode()
    library.espeak_Synth(ctypes.c_char_p(said), len(said) + 1, 0, 0, 0, 1, None, None)  # flag 1: UTF-8
    library.espeak_Synchronize()
    if not any(piece.any() for piece in _pieces):
        raise BadArgument(f"eSpeak NG says nothing for {text!r}.")
    return Sound(np.concatenate(_pieces).astype(np.float32) / 32768, int(rate))
