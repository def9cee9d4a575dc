"""A lock between processes."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from polymodal.core import lock as lock_module
from polymodal.core.errors import PolymodalError
from polymodal.core.lock import Lock


def test_where_bytes_are_locked_it_is_one_byte_for_all(tmp_path, monkeypatch):
    """As on Windows: a lock of other bytes for everyone would keep nobody out, one of those to read would hide them."""
    held = []

    def locking(handle, how, count):
        at = os.lseek(handle, 0, os.SEEK_CUR)
        if (how, at) in held:
            raise OSError("held")
        held.append((how, at))

    monkeypatch.setitem(sys.modules, "msvcrt", SimpleNamespace(locking=locking, LK_NBLCK=2))
    monkeypatch.setattr(lock_module, "os", SimpleNamespace(name="nt", getpid=os.getpid))
    with Lock(tmp_path / "lock"):
        with pytest.raises(PolymodalError, match=f"Another process .{os.getpid()}."), Lock(tmp_path / "lock", 0.05):
            pass
        assert held[0][1] > (tmp_path / "lock").stat().st_size


def test_the_lock_of_a_killed_process_is_free(tmp_path):
    code = "import sys, time\nfrom polymodal.core.lock import Lock\nfrom pathlib import Path\n"
    code += "with Lock(Path(sys.argv[1])):\n    print('held', flush=True); time.sleep(60)"
    command = [sys.executable, "-c", code, str(tmp_path / "lock")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "held"
    with pytest.raises(PolymodalError, match="Another process"), Lock(tmp_path / "lock", 0.05):
        pass
    process.kill()
    process.communicate()
    with Lock(tmp_path / "lock", 5):
        pass
