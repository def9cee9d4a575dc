"""Photos from a bucket against the same photos as files: rows a second through a processor into the store.

    python benchmarks/remote.py [--rows 2000] [--side 256] [--delay 0] [--repeats 3] [--json]

An S3 server on this machine (moto's, of one Python process) holds JPEG pictures of noise, `side` pixels wide; with
`delay` an answer takes so many milliseconds more, as one from afar does. Each repeat has a new, empty store and cache.
A line a way: from files; from the bucket with an empty cache; again with the cache filled, in a new store; again with
the store filled; and, for what fetching alone costs, the objects by s3fs's own `get` of a list, with no cache, no retry
and no processing. Mean rows a second over the repeats, the least and the most.
"""

from __future__ import annotations

import io
import os
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tools import parser, show

import polymodal as pm
from polymodal.data.cells import cells
from polymodal.data.schema import Field
from polymodal.data.storage.dataset import process_table
from polymodal.data.storage.store import Store
from polymodal.process import PROCESSORS

FIELD = Field("photo", "image", ("photo",))


@contextmanager
def bucket(delay: float) -> Any:
    """An S3 server in a process of its own, to which the environment points."""
    import multiprocessing

    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there, delay), daemon=True)
    process.start()
    os.environ |= {
        "AWS_ENDPOINT_URL": here.recv(), "AWS_ACCESS_KEY_ID": "anyone", "AWS_SECRET_ACCESS_KEY": "any",
        "AWS_DEFAULT_REGION": "us-east-1",
    }  # fmt: skip
    try:
        yield
    finally:
        process.terminate()
        process.join()


def _serve(pipe: Any, delay: float) -> None:
    import logging

    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    app = DomainDispatcherApplication(create_backend_app)

    def late(environ: Any, start: Any) -> Any:
        time.sleep(delay / 1000)
        return app(environ, start)

    server = make_server("127.0.0.1", 0, late if delay else app, threaded=True)
    pipe.send(f"http://127.0.0.1:{server.port}")
    server.serve_forever()


def pictures(count: int, side: int, folder: Path) -> None:
    draw = np.random.default_rng(0)
    for row in range(count):
        content = io.BytesIO()
        small = draw.integers(0, 255, (side // 8, side // 8, 3), np.uint8)
        Image.fromarray(small).resize((side, side)).save(content, "JPEG", quality=90)
        (folder / f"{row}.jpg").write_bytes(content.getvalue())


def seconds(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def processed(photos: list[str], store: Path) -> None:
    """Every photo through the processor into the store."""
    with pm.allow_remote():
        table = pm.read_table({"photo": photos})
    processor = PROCESSORS.build("image")
    found = process_table({"photo": cells(table, FIELD)}, {"photo": processor}, Store(store), ids=table.ids)
    assert not found.bad, found.bad[0]


def plainly(photos: list[str], folder: Path) -> None:
    import s3fs

    s3fs.S3FileSystem(skip_instance_cache=True).get(photos, [str(folder / Path(one).name) for one in photos])


def repeat(photos: dict[str, list[str]], folder: Path) -> dict[str, float]:
    os.environ["POLYMODAL_REMOTE_CACHE"] = str(folder / "cache")
    took = {"files": seconds(lambda: processed(photos["files"], folder / "a"))}
    for name, store in (("bucket, first time", "b"), ("bucket, from the cache", "c"), ("bucket, from the store", "c")):
        took[name] = seconds(lambda store=store: processed(photos["bucket"], folder / store))
    (folder / "plain").mkdir()
    took["s3fs alone"] = seconds(lambda: plainly(photos["bucket"], folder / "plain"))
    return took


def main() -> None:
    asked = parser(__doc__)
    asked.add_argument("--rows", type=int, default=2000)
    asked.add_argument("--side", type=int, default=256)
    asked.add_argument("--delay", type=float, default=0.0)
    asked.add_argument("--repeats", type=int, default=3)
    options = asked.parse_args()
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as place, bucket(options.delay):
        here = Path(place) / "photos"
        here.mkdir()
        pictures(options.rows, options.side, here)
        import s3fs

        s3fs.S3FileSystem().mkdir("photos")
        s3fs.S3FileSystem().put([str(path) for path in here.iterdir()], [f"photos/{p.name}" for p in here.iterdir()])
        names = [f"{row}.jpg" for row in range(options.rows)]
        photos = {"files": [str(here / name) for name in names], "bucket": [f"s3://photos/{name}" for name in names]}
        for _ in range(options.repeats):
            with tempfile.TemporaryDirectory(dir=place) as folder:
                for name, took in repeat(photos, Path(folder)).items():
                    found.setdefault(name, []).append(options.rows / took)
    lines = [
        {"from": name, "rows_a_second": float(np.mean(each)), "least": min(each), "most": max(each)}
        for name, each in found.items()
    ]
    show(lines, options.json)


if __name__ == "__main__":
    main()
