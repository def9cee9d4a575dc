"""Files of arrays that notice when they were damaged: safetensors with a digest of all their bytes in the metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import xxhash

from polymodal.core.errors import BadData
from polymodal.core.files import writing

_SEAL = "digest"
_BLANK = "0" * 32  # what stands in the place of the digest while it is computed


def save_sealed(path: Path, arrays: Mapping[str, Any], about: Mapping[str, str] | None = None) -> None:
    """Write NumPy arrays or torch tensors, and texts `about` them, at once."""
    import numpy as np
    import safetensors.numpy
    import safetensors.torch

    told = {**(about or {}), _SEAL: _BLANK}
    with writing(path) as temporary:
        if any(isinstance(array, np.ndarray) for array in arrays.values()):
            contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
            safetensors.numpy.save_file(contiguous, temporary, told)
        else:
            kept = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in arrays.items()}
            safetensors.torch.save_file(kept, temporary, told)
        content = temporary.read_bytes()
        with temporary.open("r+b") as file:
            file.seek(_place(content, _BLANK))
            file.write(xxhash.xxh3_128_hexdigest(content).encode())


def load_sealed(path: Path, *, tensors: bool = False) -> tuple[dict[str, Any], dict[str, str]]:
    """What `save_sealed` wrote, arrays or tensors, and the texts about them; files of before are read unchecked.

    Raises `BadData` where the file is not what was written.
    """
    import safetensors.numpy
    import safetensors.torch

    content = path.read_bytes()
    try:
        about = json.loads(content[8 : _header_end(content)]).get("__metadata__", {})
        if told := about.pop(_SEAL, None):
            at = _place(content, told)
            state = xxhash.xxh3_128(content[:at])
            state.update(_BLANK.encode())
            state.update(memoryview(content)[at + len(_BLANK) :])
            if state.hexdigest() != told:
                raise ValueError("it does not have its digest")
        load = safetensors.torch.load if tensors else safetensors.numpy.load
        return load(content), about
    except (ValueError, AttributeError, TypeError, safetensors.SafetensorError) as error:
        raise BadData(
            f"{path} was damaged on the disk ({error}). Delete it, and the .json of its name if there is one: --resume "
            "makes it again; of feedback, what was learned since the fit is lost."
        ) from error


def _header_end(content: bytes) -> int:
    return 8 + int.from_bytes(content[:8], "little")


def _place(content: bytes, digest: str) -> int:
    """Where the header says the digest."""
    return content.index(f'"{_SEAL}":"{digest}"'.encode(), 8, _header_end(content)) + len(_SEAL) + 4
