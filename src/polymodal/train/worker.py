"""A worker process: reads one job a line as JSON, answers with one event a line as JSON.

Started as `python -m polymodal.train.worker`, so a user's script is never imported again and needs no `__main__` guard.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from typing import Any, TextIO

from polymodal.core.errors import PolymodalError
from polymodal.core.files import finite


def main() -> None:
    """Serve jobs until standard input closes."""
    channel = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints goes to standard error, never into the channel
    import torch

    from polymodal.train.jobs import run_job

    torch.set_num_threads(1)
    _send(channel, {"event": "ready"})
    for line in sys.stdin:
        job = json.loads(line)
        try:
            for event in run_job(job):
                _send(channel, event)
        except PolymodalError as error:
            _send(channel, {"event": "failed", "reason": str(error), "trace": ""})
        except Exception as error:  # noqa: BLE001 - reported to the parent, which sets the strategy aside with its reason
            reason = f"{type(error).__name__}: {error}"
            _send(channel, {"event": "failed", "reason": reason, "trace": traceback.format_exc()})


def _send(channel: TextIO, event: dict[str, Any]) -> None:
    channel.write(json.dumps(finite(event)) + "\n")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
