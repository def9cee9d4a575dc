"""One object fetched into a file, and, where that fails, why in words: not there, not allowed, nobody answers, …"""

from __future__ import annotations

import errno
import http
import random
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polymodal.core.addresses import PACKAGES, WEB, has_password, scheme_of, told_address
from polymodal.core.errors import FULL, BadCell, MissingExtra, refused
from polymodal.core.limits import Refused, check_size, most

WAITS = (0.5, 2.0, 5.0)  # seconds before a server that failed is asked again; half of it is by chance
SLOWEST = 10_000  # bytes a second that are waited for
CONNECTIONS = 64
_BLOCK = 1 << 18
_LATER = (http.HTTPStatus.TOO_MANY_REQUESTS, http.HTTPStatus.REQUEST_TIMEOUT)
_BUSY = (getattr(errno, "EREMOTEIO", errno.EIO), errno.EBUSY, errno.EIO)  # what s3fs makes of a server's failure


class Failed(BadCell):
    """An object that could not be fetched. `fleeting`: another time it may be; `silent`: its server did not answer;
    `absent`: there is none."""

    def __init__(self, reason: str, *, fleeting: bool = False, silent: bool = False, absent: bool = False):
        super().__init__(reason)
        self.fleeting, self.silent, self.absent = fleeting or silent, silent, absent


@dataclass(frozen=True)
class Got:
    """What a server gave: whether it is `changed` since the tag that was told (only then the file was written), the
    object's tag, by which a change is seen, and its bytes."""

    changed: bool
    tag: str
    size: int


def fetch(system: Any, address: str, path: Path, *, tag: str = "", what: str = "cell") -> Got:
    """Write the object to `path`, unless its tag is still `tag`; a server that fails is asked again.

    `system` is a `file_system`, `what` as in `core.limits`. Raises `Failed`; `MissingExtra`; `PolymodalError` where the
    disk does not take the file.
    """
    if has_password(address) and scheme_of(address) not in WEB:
        raise Failed("has a key in its address: take it out, and give it by the environment, as AWS_ACCESS_KEY_ID")
    for count, wait in enumerate((*WAITS, None), start=1):
        try:
            return _fetch_once(system, address, path, tag, what)
        except Exception as error:
            failed = why(error, address)
            if wait is None or not failed.fleeting or not threading.main_thread().is_alive():  # the program ends
                failed.reason += f", asked {count} times" if count > 1 else ""
                raise failed from error
            time.sleep(wait * random.uniform(0.5, 1.0))
    raise AssertionError("unreachable: the last wait is None")


def file_system(scheme: str, options: Mapping[str, Any]) -> Any:
    """fsspec's file system for a scheme, with these options. Raises `MissingExtra`, which names what to install."""
    module, package = PACKAGES[scheme]
    wait = most("remote wait")
    try:
        import fsspec

        __import__(module)
    except ImportError as error:
        raise MissingExtra(
            f"Addresses {scheme}:// are opened by {module!r}, which is not installed (or fails to load: {error}). "
            f"Install it with: pip install '{package}'"
        ) from error
    given = dict(options)
    if module == "aiohttp":
        import aiohttp

        patience = aiohttp.ClientTimeout(total=None, sock_connect=wait, sock_read=wait)
        given["client_kwargs"] = {"timeout": patience, **given.get("client_kwargs", {})}
    elif module == "s3fs":
        own = {"connect_timeout": wait, "read_timeout": wait, "max_pool_connections": CONNECTIONS}
        given["config_kwargs"] = {**own, "retries": {"total_max_attempts": 1}, **given.get("config_kwargs", {})}
    system = fsspec.filesystem(scheme, **{"use_listings_cache": False, "skip_instance_cache": True, **given})
    if module == "s3fs":
        system.retries = 1  # they are counted here
    return system


def _fetch_once(system: Any, address: str, path: Path, tag: str, what: str) -> Got:
    address = address.strip()
    if scheme_of(address) in WEB:
        from fsspec.asyn import sync

        return sync(system.loop, _fetch_web, system, address.partition("#")[0], path, tag, what)
    place = system._strip_protocol(address)
    info = system.info(place)
    if info.get("type") == "directory":
        raise IsADirectoryError(errno.EISDIR, "is a folder")
    size, now = int(info.get("size") or 0), _tag_of(info)
    if tag and now == tag:
        return Got(False, tag, size)
    check_size(size, what)
    system.get_file(place, str(path), callback=_watch(what))
    if (there := path.stat().st_size) != size:
        raise EOFError(f"{there:,} of {size:,} bytes")
    return Got(True, now, size)


def _tag_of(info: Mapping[str, Any]) -> str:
    """What changes with an object's content: its checksum, or else when it was written, and its size."""
    named = ("ETag", "etag", "md5Hash", "blob_id", "content_md5", "LastModified", "last_modified", "updated", "mtime")
    found = next((f"{name} {info[name]}" for name in named if info.get(name)), "")
    return f"{found} {info.get('size')}" if found else ""


async def _fetch_web(system: Any, address: str, path: Path, tag: str, what: str) -> Got:
    """By one request, which a server answers briefly where nothing changed."""
    from yarl import URL

    kind, _, value = tag.partition(" ")
    asked = {"ETag": "If-None-Match", "Last-Modified": "If-Modified-Since"}
    headers = {asked[kind]: value} if kind in asked else {}
    session = await system.set_session()
    quoted = URL(address, encoded=address.isascii() and " " not in address)  # a signature is of the very letters
    async with session.get(quoted, headers={"Accept-Encoding": "identity", **headers}) as answer:
        if answer.status == http.HTTPStatus.NOT_MODIFIED:
            return Got(False, tag, 0)
        answer.raise_for_status()
        now = next((f"{name} {answer.headers[name]}" for name in asked if answer.headers.get(name)), "")
        size, watch = 0, _watch(what)
        watch.set_size(answer.content_length)
        with path.open("wb") as file:
            async for block in answer.content.iter_chunked(_BLOCK):
                watch.relative_update(len(block))
                file.write(block)
                size += len(block)
    return Got(True, now, size)


def _watch(what: str) -> Any:
    """A callback of fsspec that stops what grows too large, or comes too slowly."""
    from fsspec.callbacks import Callback

    began, patience = time.monotonic(), most("remote wait")

    class Watch(Callback):
        def set_size(self, size: int | None) -> None:
            check_size(size or 0, what)

        def relative_update(self, inc: int = 1) -> None:
            self.value += inc
            check_size(self.value, what)
            if self.value < SLOWEST * (time.monotonic() - began - patience):
                raise TimeoutError("too slow")

    return Watch()


def why(error: BaseException, address: str) -> Failed:
    """What went wrong, in words that hold nothing of the error's own, which may tell a key.

    Raises what is no fault of the object's: `DiskFull`, `MissingExtra`.
    """
    chain = list(_causes(error))
    for one in chain:
        if isinstance(one, ImportError):
            raise MissingExtra(str(one)) from error
        if isinstance(one, OSError) and one.errno in FULL:
            raise refused(one) from error
        if isinstance(one, Refused):
            return Failed(one.reason)
    if status := next((number for one in chain if (number := _status(one))), 0):
        return _answered(status)
    if any(isinstance(one, socket.gaierror) for one in chain) or _called(chain, "DNSError"):
        return Failed(f"cannot be asked for: the name of its server{_host(address)} is not known (DNS)", silent=True)
    if _called(chain, "NoCredentials", "PartialCredentials", "CredentialRetrieval", "ProfileNotFound"):
        return Failed(
            "cannot be asked for: this machine has no credentials (as AWS_ACCESS_KEY_ID); if anyone may read it, say "
            "storage_options: {s3: {anon: true}}"
        )
    if any(isinstance(one, IsADirectoryError) for one in chain):
        return Failed("is a folder: name the object in it")
    if any(isinstance(one, FileNotFoundError) for one in chain):
        return _answered(http.HTTPStatus.NOT_FOUND)
    if any(isinstance(one, PermissionError) for one in chain):
        return _answered(http.HTTPStatus.FORBIDDEN)
    if any(isinstance(one, TimeoutError) for one in chain) or _called(chain, "Timeout"):
        return Failed(f"came too slowly: nothing for {most('remote wait')} s, or a trickle", silent=True)
    if _called(chain, "Certificate", "SSL"):
        return Failed("cannot be asked for: its server's certificate is not trusted")
    if _called(chain, "EOFError", "Payload", "IncompleteRead", "Disconnected", "ConnectionReset", "BrokenPipe"):
        return Failed("broke off before its end", fleeting=True)
    if _called(chain, "Connect", "Offline"):
        return Failed("cannot be asked for: its server does not answer (no connection)", silent=True)
    if _called(chain, "InvalidURL", "ParamValidation", "InvalidBucket"):
        return Failed("has an address that no object can have: correct it")
    if any(isinstance(one, OSError) and one.errno in _BUSY for one in chain):
        return Failed("is not given: its server fails", fleeting=True)
    return Failed(f"could not be fetched ({type(error).__name__})")


def _answered(status: int) -> Failed:
    """Of the number that a server answered with."""
    if status in (http.HTTPStatus.NOT_FOUND, http.HTTPStatus.GONE):
        return Failed(f"does not exist ({status:d}): correct the address, or put the object there", absent=True)
    if status in (http.HTTPStatus.UNAUTHORIZED, http.HTTPStatus.FORBIDDEN):
        needed = "credentials that may, or an address that has not expired"
        return Failed(f"may not be read ({status:d}): give this machine {needed}")
    known = {one.value: f" {one.phrase}" for one in http.HTTPStatus}
    busy = status >= http.HTTPStatus.INTERNAL_SERVER_ERROR or status in _LATER
    return Failed(f"is not given: its server answers {status}{known.get(status, '')}", fleeting=busy)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _called(chain: Iterable[BaseException], *words: str) -> bool:
    """Whether the class of an error, which a library that may not be there defines, has one of these words in it."""
    return any(word in type(one).__name__ for one in chain for word in words)


def _status(error: BaseException) -> int:
    """The number that a server answered with, 0 where there is none."""
    told = getattr(error, "response", None)
    told = told.get("ResponseMetadata", {}).get("HTTPStatusCode") if isinstance(told, dict) else told
    found = told if isinstance(told, int) else getattr(told, "status_code", None) or getattr(error, "status", None)
    return found if isinstance(found, int) and found >= http.HTTPStatus.BAD_REQUEST else 0


def _host(address: str) -> str:
    return f" {told_address(address).split('/')[2].partition(':')[0]}" if scheme_of(address) in WEB else ""
