"""Who may have objects fetched, and how: as local files, side by side, each once.

Nothing is ever fetched unless the user allowed it (`--allow-remote`, `allow_remote`, or `with allow_remote():`), since
a table that somebody else wrote could otherwise make this machine ask any server, one of the local network too. What a
table may have fetched, it carries with it from where it was read.
"""

from __future__ import annotations

import os
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from polymodal.core.addresses import canonical, has_password, name_of, scheme_of, told_address
from polymodal.core.digest import digest_text
from polymodal.core.errors import BadArgument, BadCell, refused
from polymodal.core.limits import most
from polymodal.core.shown import many
from polymodal.data.remote.cache import About, Cache, default_cache
from polymodal.data.remote.transfer import Failed, Got, fetch, file_system

THREADS = 32  # objects that are fetched at a time
REACH = 64  # rows that are fetched ahead of whoever reads in order
DOWN = 8  # objects that a server does not answer for, one after the other, before it is left alone …
REST = 60.0  # … for so many seconds; what failed is not asked for again as long, either
SECRETS = ("key", "secret", "token", "password", "passwd", "credential", "sas", "auth", "cookie", "username")
ALLOW = "--allow-remote (in Python allow_remote=True, or `with polymodal.allow_remote():`)"

_GRANTED: ContextVar[Remote | None] = ContextVar("granted", default=None)


def granted() -> Remote | None:
    """What may fetch here; None where nothing may."""
    return _GRANTED.get()


@contextmanager
def allow_remote(
    allowed: bool = True, storage_options: Mapping[str, Mapping[str, Any]] | None = None
) -> Iterator[None]:
    """Let tables that are read within be fetched by address (`s3://bucket/table.csv`), and what their cells name.

    `storage_options` are options of fsspec's file systems by scheme, as `{"s3": {"endpoint_url": "http://…"}}`;
    credentials come from the environment. Where `allowed` is False nothing changes: what was allowed outside stays so.
    Raises `BadArgument` for credentials among the options.
    """
    token = _GRANTED.set(Remote(storage_options) if allowed else _GRANTED.get())
    try:
        yield
    finally:
        _GRANTED.reset(token)


def check_options(options: Mapping[str, Any]) -> None:
    """Raise `BadArgument` for options that are none, or that hold credentials, which would be written to a run."""
    for scheme, given in options.items():
        if not isinstance(given, Mapping):
            raise BadArgument(
                f"storage_options are options by scheme, as {{s3: {{anon: true}}}}; got {scheme}: {given!r}."
            )
        if (held := next(_secrets(given), None)) is not None:
            raise BadArgument(
                f"storage_options of {scheme} hold {held!r}: options are written to the run's folder, so give "
                "credentials by the environment, as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
            )


def _secrets(options: Mapping[str, Any]) -> Iterator[str]:
    """Names of options that are credentials, or hold them."""
    for name, value in options.items():
        if isinstance(value, Mapping):
            yield from _secrets(value)
        elif any(word in str(name).lower() for word in SECRETS) or ("://" in str(value) and has_password(str(value))):
            yield str(name)


class Remote:
    """Fetches objects by address into the cache of this machine; several threads may ask at once."""

    def __init__(self, storage_options: Mapping[str, Mapping[str, Any]] | None = None, root: Path | None = None):
        check_options(storage_options or {})
        self.options = {scheme: dict(given) for scheme, given in (storage_options or {}).items()}
        self.cache = Cache(root or default_cache())
        self.fetched = self.reused = self.bytes = 0  # objects, copies that were there, and what was carried
        self._pool: ThreadPoolExecutor | None = None
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._flying: dict[str, Future[Path]] = {}
        self._checked: dict[str, float] = {}  # key -> when its server was last asked
        self._failed: dict[str, tuple[float, str]] = {}  # key -> until when it is not asked for again, and why
        self._silent: dict[str, tuple[int, float]] = {}  # server -> failures in a row, until when it is left alone
        self._warned: set[str] = set()
        self._systems: dict[str, Any] = {}  # of fsspec, by scheme
        self._opening = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return Remote, (self.options, self.cache.root)

    def local(self, address: str, what: str = "cell") -> Path:
        """The object's copy on this machine. `what` it is limits its size (see `core.limits`).

        Raises `BadCell` with the reason where it cannot be had; `MissingExtra`, `DiskFull` as `fetch`.
        """
        key, path = self._named(address)
        if self._settled(key) and self.cache.use(path, pin=what == "table"):
            return path
        try:
            return self._asked(key, path, address, what).result()
        except BadCell as error:
            raise BadCell(f"the object {told_address(address)} {error.reason}") from error

    def ahead(self, addresses: Iterable[str]) -> None:
        """Begin to fetch what will be asked for soon; what fails is said then."""
        for address in addresses:
            key, path = self._named(address)
            if not self._settled(key):
                self._asked(key, path, address, "cell")

    def told(self) -> list[str]:
        """What was fetched so far, in words; nothing where nothing was asked for."""
        if not self.fetched and not self.reused:
            return []
        fetched = f"{many(self.fetched, 'object')} fetched ({self.bytes / 1e6:,.1f} MB)"
        return [f"{fetched}, {self.reused:,} taken from copies of before."]

    def _settled(self, key: str) -> bool:
        return time.time() < self._checked.get(key, 0.0) + most("remote age")

    def _named(self, address: str) -> tuple[str, Path]:
        """The key of an object and the place of its copy; servers of one protocol may have buckets of one name."""
        scheme = scheme_of(address)
        server = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        at = [sorted(self.options.get(scheme, {}).items()), server if scheme == "s3" else None]
        key = digest_text(f"{canonical(address)} {at}").hex()
        return key, self.cache.place(key, name_of(address))

    def _asked(self, key: str, path: Path, address: str, what: str) -> Future[Path]:
        with self._lock:
            if self._pool is None or self._process != os.getpid():  # threads do not outlive a fork
                self._pool, self._process = ThreadPoolExecutor(THREADS, "fetch"), os.getpid()
                self._flying.clear()
            if key not in self._flying:
                self._flying[key] = self._pool.submit(self._settle, key, path, address, what)
            return self._flying[key]

    def _settle(self, key: str, path: Path, address: str, what: str) -> Path:
        try:
            until, reason = self._failed.get(key, (0.0, ""))
            if time.time() < until:
                raise BadCell(reason)
            try:
                self._checked[key] = self._copied(path, address, what)
            except Failed as error:
                self._failed[key] = time.time() + REST, error.reason
                raise
            self.cache.use(path, pin=what == "table")
            return path
        except OSError as error:  # of the cache
            raise refused(error) from error
        finally:
            with self._lock:
                self._flying.pop(key, None)

    def _copied(self, path: Path, address: str, what: str) -> float:
        """See that the copy is there, and no older than may be; when its server was last asked."""
        if (known := self._young(path)) is not None:
            return known.asked
        server = _server(address)
        with self.cache.alone(path) as part:
            if (known := self._young(path)) is not None:  # another process fetched it meanwhile
                return known.asked
            known, resting = self.cache.about(path), self._resting(server)
            try:
                if resting is not None:
                    raise resting
                got = fetch(self._system(scheme_of(address)), address, part, tag=known.tag if known else "", what=what)
            except Failed as error:
                if error is not resting:
                    self._note(server, error)
                if known is not None and not error.absent:
                    return self._as_it_was(server, error, known)
                self.cache.drop(path)
                raise
            self._note(server, None)
            if got.changed:
                os.replace(part, path)
            now = time.time()
            self.cache.keep(path, About(got.tag, path.stat().st_size, now))
        self._count(got)
        return now

    def _system(self, scheme: str) -> Any:
        with self._opening:
            if scheme not in self._systems:
                self._systems[scheme] = file_system(scheme, self.options.get(scheme, {}))
            return self._systems[scheme]

    def _count(self, got: Got) -> None:
        with self._lock:
            self.fetched, self.bytes = self.fetched + got.changed, self.bytes + got.size
            self.reused += not got.changed
        if got.changed:
            self.cache.make_room(got.size)

    def _young(self, path: Path) -> About | None:
        known = self.cache.about(path)
        if known is None or time.time() > known.asked + most("remote age"):
            return None
        self.reused += 1
        return known

    # --- servers that do not answer ---

    def _as_it_was(self, server: str, error: Failed, known: About) -> float:
        """Take the copy of before, and say so once."""
        if server not in self._warned:
            self._warned.add(server)
            day = time.strftime("%Y-%m-%d %H:%M", time.localtime(known.asked))
            said = f"{server} does not say whether its objects have changed. The first {error.reason}."
            warnings.warn(f"{said} Copies of before are used, that one of {day}.", stacklevel=2)
        return time.time() - most("remote age") + REST

    def _resting(self, server: str) -> Failed | None:
        """Why a server is left alone for the moment; None where it is not."""
        count, until = self._silent.get(server, (0, 0.0))
        if count < DOWN or time.time() > until:
            return None
        return Failed(f"was not asked for: {server} did not answer for {count} objects in a row", silent=True)

    def _note(self, server: str, error: Failed | None) -> None:
        with self._lock:
            count = self._silent.get(server, (0, 0.0))[0] + 1 if error is not None and error.silent else 0
            self._silent[server] = count, time.time() + REST


def _server(address: str) -> str:
    """What answers for an address: a host, or a bucket."""
    return "/".join(told_address(address).split("/", 3)[:3])


class ReadAhead:
    """Has the next rows fetched for whoever reads them in order, as a system reads ahead in a file.

    `addresses(row)` are those that a row's cell names. Reading the first row again begins a new pass.
    """

    def __init__(self, remote: Remote, addresses: Callable[[int], list[str]], count: int):
        self.remote, self.addresses, self.count = remote, addresses, count
        self._begin()

    def _begin(self) -> None:
        self._read, self._sent = bytearray(self.count), bytearray(self.count)

    def __call__(self, row: int) -> None:
        if row == 0 and self._read[0]:
            self._begin()
        self._read[row] = 1
        if row and not self._read[row - 1]:
            return
        for following in range(row, min(row + REACH, self.count)):
            if not self._sent[following]:
                self._sent[following] = 1
                self.remote.ahead(self.addresses(following))
