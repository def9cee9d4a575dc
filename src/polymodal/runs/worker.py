"""A worker process: reads one job a line as JSON, answers with one event a line as JSON.

Started by `runs.pool`, not as a fork, so a user's script is never imported again and needs no `__main__` guard.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading

from polymodal.core.files import finite
from polymodal.core.registry import import_path


def serve(runs: str, device: str) -> None:
    """Carry out jobs by the function that `runs` names until standard input closes, and then end at once.

    It closes when whoever started this process has ended, however that came about: nobody waits for what is under way.
    """
    channel = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints goes to standard error, never into the channel
    jobs: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(jobs,), daemon=True).start()
    try:
        run = import_path(runs)
        if torch := sys.modules.get("torch"):
            torch.set_num_threads(1)
        while True:
            for event in run(json.loads(jobs.get()), device):
                channel.write(json.dumps(finite(event.to_json())) + "\n")
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        os._exit(1)


def _listen(jobs: queue.SimpleQueue[str]) -> None:
    with open(0, encoding="utf-8", closefd=False) as lines:
        for line in lines:
            jobs.put(line)
    os._exit(0)
