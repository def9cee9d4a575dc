"""Near-duplicate removal over many short texts against datasketch; picture ops against a plain Pillow loop.

    python benchmarks/scale_prepare.py [--rows 100000 1000000] [--pictures 300] [--texts-only] [--json]

Texts are drawn from a vocabulary, one in ten a slip away from an earlier one. Both sides use 128 hashes of 5-byte
shingles and the threshold 0.8; datasketch chooses its own bands for it, which miss more pairs. It is measured on a
tenth of the rows first, and where the whole would take more than five minutes its time is extrapolated in proportion,
and marked so. Memory is the most that the process held beyond the texts. The growth exponent is that of our time
between the two largest sizes.
"""

from __future__ import annotations

import io
import resource
import subprocess
import sys
import time
from math import log

import numpy as np
from tools import parser, show

THRESHOLD, HASHES, LIMIT = 0.8, 128, 300.0
ALONE = "--alone"


def texts(rows: int, seed: int = 0) -> list[str]:
    """Texts of 8 to 16 words; every tenth is an earlier one with a letter changed."""
    rng = np.random.default_rng(seed)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    words = ["".join(rng.choice(letters, n)) for n in rng.integers(3, 10, 20_000)]
    found: list[str] = []
    for i in range(rows):
        if i % 10 == 9:
            text = found[int(rng.integers(0, i))]
            at = int(rng.integers(0, len(text)))
            found.append(text[:at] + "z" + text[at + 1 :])
        else:
            found.append(" ".join(words[w] for w in rng.integers(0, len(words), rng.integers(8, 17))))
    return found


def ours(given: list[str]) -> int:
    """How many texts are copies, by `nn.minhash`, in batches as `prepare` reads them."""
    from polymodal.data.media.minhash import near_duplicates, signatures

    parts = [signatures(given[i : i + 4096], HASHES) for i in range(0, len(given), 4096)]
    first = near_duplicates(np.concatenate(parts), THRESHOLD)
    return int((first != np.arange(len(first))).sum())


def theirs(given: list[str]) -> int:
    """The same by a plain datasketch script."""
    from datasketch import MinHash, MinHashLSH

    index = MinHashLSH(threshold=THRESHOLD, num_perm=HASHES)
    kept: dict[str, MinHash] = {}
    copies = 0
    for i, text in enumerate(given):
        raw = text.encode()
        one = MinHash(num_perm=HASHES)
        one.update_batch({raw[k : k + 5] for k in range(max(1, len(raw) - 4))})
        if any(kept[k].jaccard(one) >= THRESHOLD for k in index.query(one)):
            copies += 1
        else:
            index.insert(str(i), one)
            kept[str(i)] = one
    return copies


kept: dict[str, object] = {}


def alone(which: str, rows: int) -> None:
    """One measurement in a process of its own: rows, seconds, MB beyond the texts, copies."""
    given = texts(rows)
    work = {"polymodal": ours, "datasketch": theirs}[which]
    work(given[:50])  # imports are no part of the work
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    copies = work(given)
    spent = time.perf_counter() - start
    print(spent, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024, copies)


def measured(which: str, rows: int) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, __file__, ALONE, which, str(rows)], check=True, capture_output=True, text=True
    )
    seconds, megabytes, copies = map(float, done.stdout.split())
    return {"what": which, "rows": rows, "seconds": seconds, "memory_MB": megabytes, "copies": int(copies), "note": ""}


def compared(sizes: list[int]) -> list[dict[str, object]]:
    found = [measured("polymodal", n) for n in (sizes[0] // 10, *sizes)]
    found += [tenth := measured("datasketch", sizes[0] // 10)]
    for rows in sizes:
        expected = float(tenth["seconds"]) * rows / (sizes[0] // 10)  # type: ignore[arg-type]
        if expected <= LIMIT:
            found.append(measured("datasketch", rows))
        else:
            note = f"extrapolated in proportion from {sizes[0] // 10:,} rows"
            found.append({**tenth, "rows": rows, "seconds": expected, "memory_MB": 0.0, "copies": 0, "note": note})
    return found


def exponent(rows: list[dict[str, object]]) -> float:
    """b of time = a · rows^b between the two largest sizes of ours."""
    own = sorted((r["rows"], r["seconds"]) for r in rows if r["what"] == "polymodal")[-2:]
    (n, s), (m, t) = own
    return log(t / s) / log(m / n)  # type: ignore[operator]


def pictures(count: int) -> list[dict[str, object]]:
    """Turn upright, fit within 256 pixels, RGB, PNG: our op on decoded media, and a loop of Pillow calls."""
    from PIL import Image, ImageOps

    from polymodal.data.media.cell import Media
    from polymodal.ops.clean.image import Normal, Upright
    from polymodal.ops.rows import Row, Rows

    rng = np.random.default_rng(0)
    files = []
    for _ in range(24):
        small = Image.fromarray(rng.integers(0, 255, (12, 16, 3), np.uint8)).resize((640, 480))
        out = io.BytesIO()
        small.save(out, "JPEG", quality=90)
        files.append(out.getvalue())
    kinds = {"photo": "image"}
    ops = [Upright(), Normal(size=256)]
    for op in ops:
        op.bind(kinds)

    def plain(content: bytes) -> bytes:
        picture = ImageOps.exif_transpose(Image.open(io.BytesIO(content))).convert("RGB")
        picture = ImageOps.contain(picture, (256, 256), Image.Resampling.LANCZOS)
        out = io.BytesIO()
        picture.save(out, "PNG", compress_level=3)
        return out.getvalue()

    def op_by_op(content: bytes) -> bytes:
        rows = Rows([Row("r", 0, {"photo": Media("image", content)}, kinds)])
        for op in ops:
            op.apply(rows)
        out = io.BytesIO()
        rows.kept[0].get("photo").save(out, "PNG", compress_level=3)
        return out.getvalue()

    assert op_by_op(files[0]) == plain(files[0]), "not the same work"
    found = []
    for name, work in (("polymodal", op_by_op), ("Pillow loop", plain)) * 2:
        start = time.perf_counter()
        for i in range(count):
            work(files[i % len(files)])
        found.append({"what": name, "pictures_a_second": count / (time.perf_counter() - start)})
    return found


def main() -> None:
    if ALONE in sys.argv:
        alone(sys.argv[2], int(sys.argv[3]))
        return
    arguments = parser(__doc__)
    arguments.add_argument("--rows", type=int, nargs="+", default=[100_000], help="numbers of texts, ascending")
    arguments.add_argument("--pictures", type=int, default=300)
    arguments.add_argument("--texts-only", action="store_true")
    options = arguments.parse_args()
    found = compared(options.rows)
    show(found, options.json)
    print(f"growth exponent of our time: {exponent(found):.2f}", file=sys.stderr)
    if not options.texts_only:
        show(pictures(options.pictures), options.json)


if __name__ == "__main__":
    main()
