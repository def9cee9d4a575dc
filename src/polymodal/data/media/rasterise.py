"""Run by `drawing.py` in a process of its own: a drawing on standard input, its picture on standard output.

Its memory and time are bounded: what drawings ask for has no other limit, and a fault of a library ends this process
alone. Imports nothing of the package.
"""

from __future__ import annotations

import sys


def main(form: str, side: int, seconds: int, memory: int) -> None:
    """Write PNG or PPM; `form` is `svg` or `pdf`, `side` the longer side in pixels. Pages go to standard error."""
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        most = memory if hard == resource.RLIM_INFINITY else min(memory, hard)
        resource.setrlimit(resource.RLIMIT_AS, (most, hard))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except ImportError:  # Windows has no such limits; the time is bounded all the same
        pass
    content = sys.stdin.buffer.read()
    sys.stdout.buffer.write(svg(content, side) if form == "svg" else pdf(content, side))


def svg(content: bytes, side: int) -> bytes:
    """A PNG. Fonts of the machine are read only where there are words."""
    import resvg_py

    fonts = b"<text" in content or b":text" in content
    return resvg_py.svg_to_bytes(
        svg_string=content.decode("utf-8"), width=side, height=side, skip_system_fonts=not fonts
    )


def pdf(content: bytes, side: int) -> bytes:
    """A PPM of the first page."""
    import pypdfium2

    document = pypdfium2.PdfDocument(content)
    if len(document) > 1:
        print(f"pages {len(document)}", file=sys.stderr)
    page = document[0]
    bitmap = page.render(scale=side / max(1.0, *page.get_size()), rev_byteorder=True, prefer_bgrx=False)
    line, held = 3 * bitmap.width, memoryview(bitmap.buffer).cast("B")
    if bitmap.n_channels != 3:
        raise ValueError(f"{bitmap.n_channels} channels")
    rows = (held[row * bitmap.stride : row * bitmap.stride + line] for row in range(bitmap.height))
    return b"P6 %d %d 255\n" % (bitmap.width, bitmap.height) + b"".join(rows)


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
