"""Addresses of objects elsewhere (`s3://bucket/photo.jpg`, `https://…`): text alone, nothing is asked for here."""

from __future__ import annotations

import posixpath
import re
from urllib.parse import unquote, urlsplit, urlunsplit

# scheme -> the module that opens it, and what to install
PACKAGES = {
    "http": ("aiohttp", "polymodal[remote]"),
    "https": ("aiohttp", "polymodal[remote]"),
    "s3": ("s3fs", "polymodal[remote]"),
    "gs": ("gcsfs", "gcsfs"),
    "hf": ("huggingface_hub", "huggingface_hub"),
    "az": ("adlfs", "adlfs"),
    "abfs": ("adlfs", "adlfs"),
}
WEB = ("http", "https")
_LINK = re.compile(rf"\s*(?:s3a|gcs|{'|'.join(PACKAGES)})://", re.IGNORECASE)
_PORT = re.compile(r"[^@]*:\d+")
_SIGNED = {  # what marks a signed query -> its parts, which let their bearer in for a while and name no other object
    "x-amz-signature": r"x-amz-.*",
    "x-goog-signature": r"x-goog-.*",
    "signature": r"signature|expires|policy|key-pair-id|awsaccesskeyid|googleaccessid",
    "sig": r"sig|sv|st|se|sr|sp|spr|sip|ss|srt|skoid|sktid|skt|ske|sks|skv",  # of Azure
}


class Address(str):
    """The address of a folder, to which cells of a table that lies there are relative."""

    @classmethod
    def of_folder(cls, address: str) -> Address:
        """Of the folder in which an object lies; what let the object's bearer in opens nothing else."""
        whole = urlsplit(address.strip())
        return cls(urlunsplit((whole.scheme, whole.netloc, posixpath.dirname(whole.path), "", "")))

    def joined(self, text: str) -> str:
        """The address that a cell names, from here; no `..` leads out of the bucket or the host."""
        text = text.strip()
        if is_link(text):
            return text
        whole = urlsplit(self)
        path = posixpath.normpath(posixpath.join("/", whole.path, text.replace("\\", "/")))
        return f"{whole.scheme}://{whole.netloc}/{path.lstrip('/')}"


def is_link(text: str) -> bool:
    """Whether a cell is an address rather than a path."""
    return bool(_LINK.match(text))


def scheme_of(address: str) -> str:
    """Its scheme, in small letters and by its usual name."""
    scheme = address.strip().partition("://")[0].lower()
    return {"s3a": "s3", "gcs": "gs"}.get(scheme, scheme)


def name_of(address: str) -> str:
    """The name of the object's file, `photo.jpg`."""
    return unquote(_bare(address).rstrip("/").rpartition("/")[2])


def has_password(address: str) -> bool:
    """Whether a user stands in it, or a key."""
    return _open(address) != _place(address)


def told_address(address: str) -> str:
    """An address as messages and files tell it: without user, password, and the query, which may let its bearer in."""
    return f"{scheme_of(address)}://{_bare(address)}"


def canonical(address: str) -> str:
    """What names the object: alike for addresses that were signed at different times, and without passwords."""
    scheme = scheme_of(address)
    if scheme not in WEB:
        return f"{scheme}://{_open(address)}"
    parts = [part for part in address.partition("#")[0].partition("?")[2].split("&") if part]
    names = [part.partition("=")[0].lower() for part in parts]
    signed = re.compile("|".join(sign for mark, sign in _SIGNED.items() if mark in names) or "(?!)")
    kept = "&".join(part for part, name in zip(parts, names) if not signed.fullmatch(name))
    return f"{scheme}://{_bare(address)}{'?' if kept else ''}{kept}"


def _place(address: str) -> str:
    return address.strip().partition("://")[2]


def _open(address: str) -> str:
    """What follows the scheme, without user and password; a secret key may have strokes in it. Before the @ of a
    container of Azure stands no user but its name."""
    place = _place(address)
    host = place.partition("/")[0]
    user, sign, server = host.rpartition("@")
    if sign:
        return server + place[len(host) :] if ":" in user or scheme_of(address) in WEB else place
    if ":" in host and "@" in place and not _PORT.fullmatch(host):
        return place.rpartition("@")[2]
    return place


def _bare(address: str) -> str:
    """Without query and fragment, which addresses of the web alone have."""
    place = _open(address)
    return re.split(r"[?#]", place, maxsplit=1)[0] if scheme_of(address) in WEB else place
