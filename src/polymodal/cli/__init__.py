"""The command line. Nothing heavy is imported before a command runs.

Exit codes: 0 when done, 2 for what the user can mend (one message says what), 130 when stopped too early to be of use.
"""

from __future__ import annotations

import errno
import sys

from polymodal.cli import aligning, parts, preparing, searching, training, using  # noqa: F401  (they add their commands)
from polymodal.cli.app import app, say
from polymodal.core.errors import PolymodalError


def _explained(error: OSError) -> str:
    """What the system refused, and what to do."""
    where = f"{error.filename}: " if error.filename else ""
    if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
        return (
            f"{where}the disk is full. Free some space (`polymodal store --clear all` empties the store), then give "
            "the same command again; with --resume fit and align go on where they stopped."
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{where}{error.strerror}. Choose a place that you may write to (--out; POLYMODAL_STORE for the store)."
    return f"{where}{error.strerror or error}."


def main() -> None:
    """Entry point: what the user can mend is one clear message, without a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal without some letter must not cost the answer
    try:
        app()
    except PolymodalError as error:
        say([f"polymodal: {error}"])
        sys.exit(error.exit_code)
    except OSError as error:
        say([f"polymodal: {_explained(error)}"])
        sys.exit(2)
