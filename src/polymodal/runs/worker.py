"""A worker process: reads one job a line as JSON, answers with one event a line as JSON.

Started as `python -m polymodal.runs.worker module:function device`, so a user's script is never imported again and
needs no `__main__` guard.
"""

from __future__ import annotations

import json
import os
import sys

from polymodal.core.files import finite
from polymodal.core.registry import import_path


def main() -> None:
    """Serve jobs until standard input closes."""
    channel = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints goes to standard error, never into the channel
    run = import_path(sys.argv[1])
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)
    for line in sys.stdin:
        for event in run(json.loads(line), sys.argv[2]):
            channel.write(json.dumps(finite(event.to_json())) + "\n")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
