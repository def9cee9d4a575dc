"""The one way to open a film, or a sound in a film's form: PyAV (BSD) with FFmpeg (LGPL), whose readers decode this
file and open no other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from polymodal.core.errors import require

# FFmpeg also knows playlists (hls, concat, dash, sdp), which name other files and addresses: never those.
FORMS = (
    "3g2,3gp,aac,ac3,aiff,amr,amrnb,amrwb,asf,au,avi,caf,dv,eac3,f4v,flac,flv,h264,hevc,m4a,m4v,matroska,mj2,mov,mp3,"
    "mp4,mpeg,mpegts,mpegvideo,mxf,nut,ogg,tta,w64,wav,webm,wv"
)
FAR = 8.0  # seconds from which on a file is sought in, not decoded through
EARLIER = 1.0  # seconds before what is wanted to which is sought: some forms land behind what they are told


@contextmanager
def container(stream: BinaryIO) -> Iterator[Any]:
    """PyAV's container of `stream`. Raises `MissingExtra` without PyAV (extra `video`), and PyAV's own errors."""
    av = require("av", "video")
    with av.open(stream, options={"format_whitelist": FORMS, "protocol_whitelist": ""}) as held:
        yield held
