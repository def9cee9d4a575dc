"""The command line. Nothing heavy is imported before a command runs.

Exit codes: 0 when done, 2 for what the user can mend (one message says what), 130 when stopped too early to be of use,
or, by `generate`, before every row was answered.
"""

from __future__ import annotations

import signal
import sys
import threading
import traceback
from typing import NoReturn

from polymodal.cli import aligning, parts, preparing, searching, training, using  # noqa: F401  (they add their commands)
from polymodal.cli.app import app, say
from polymodal.core.errors import PolymodalError, refused

INTERRUPTED = 130  # the exit code after Ctrl-C


def main() -> None:
    """Entry point: what the user can mend is one clear message, without a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal without some letter must not cost the answer
    if threading.current_thread() is threading.main_thread():
        for name in ("SIGTERM", "SIGHUP"):  # as Ctrl-C does, they end the command's own way: no worker is left behind
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is signal.SIG_DFL:  # `nohup` has it ignored
                signal.signal(number, _ended)
    try:
        app()
    except SystemExit as end:
        if end.code == INTERRUPTED and _interrupted(end):  # by a command that has nothing of its own to say of it
            say(["polymodal: stopped before it was done."])
        raise
    except PolymodalError as error:
        say([f"polymodal: {error}"])
        sys.exit(error.exit_code)
    except OSError as error:
        say([f"polymodal: {refused(error)}"])
        sys.exit(2)
    except MemoryError:
        say(["polymodal: the memory is full. Give fewer rows or smaller files, or close other programs."])
        sys.exit(2)
    except Exception:  # noqa: BLE001 - a fault of ours: all that Python tells of it, but nothing that steers the terminal
        say(traceback.format_exc().splitlines())
        sys.exit(1)


def _interrupted(end: BaseException) -> bool:
    """Whether nothing between Ctrl-C and this end answered for it."""
    cause: BaseException | None = end
    while cause is not None and not isinstance(cause, KeyboardInterrupt):
        cause = cause.__cause__ or cause.__context__
    return cause is not None


def _ended(number: int, frame: object) -> NoReturn:
    sys.exit(128 + number)
