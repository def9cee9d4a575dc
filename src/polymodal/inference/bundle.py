"""Bundles: the files of a finished model or space. Written with digests, opened only if they are what was written.

    config.yaml schema.json     plain values: parts, options, what was fitted, classes
    weights.safetensors         tensors; no pickle
    manifest.json               a digest a file (XXH3, Collet 2019)

Whoever edits a file on purpose deletes `manifest.json`. What no bundle can mean (a weight that is no number, a
temperature of 0, classes in another order than the weights were trained for) is refused all the same.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from polymodal.core.digest import digest_file, fingerprint
from polymodal.core.errors import BadArgument, BadData, PolymodalError
from polymodal.core.files import finite, read_json, write_json, writing
from polymodal.core.limits import check_file
from polymodal.core.registry import Spec, plain
from polymodal.core.trust import check_path, dotted_paths, reading
from polymodal.core.values import check_types, read_written
from polymodal.data.schema import Schema
from polymodal.encoders.base import Encoder
from polymodal.models.build import build_encoder
from polymodal.nn.layers.named import module_name
from polymodal.process import PROCESSORS
from polymodal.process.base import Processor
from polymodal.targets.base import Target

_ABOUT = "polymodal"  # the one text in the metadata of the weights' file

log = logging.getLogger(__name__)

T = TypeVar("T")
CONFIG, SCHEMA, WEIGHTS, MANIFEST = "config.yaml", "schema.json", "weights.safetensors", "manifest.json"


def save_bundle(
    folder: Path,
    config: Mapping[str, Any],
    schema: Mapping[str, Any],
    weights: Mapping[str, Tensor],
    *,
    targets: Sequence[Target] = (),
    beside: Iterable[str] = (),
) -> None:
    """Write the files of a bundle, the manifest last; `beside` are files in the folder that belong to it too."""
    (folder / MANIFEST).unlink(missing_ok=True)  # a kill leaves none rather than one of other files
    with writing(folder / CONFIG) as temporary:
        text = yaml.safe_dump(plain(dict(config)), sort_keys=False, allow_unicode=True)
        temporary.write_text(text, encoding="utf-8")
    write_json(folder / SCHEMA, schema)
    kept = {name: value.cpu().contiguous().clone() for name, value in weights.items()}
    unbounded = [n for n, v in kept.items() if v.is_floating_point() and not v.isnan().any() and v.isinf().any()]
    about = {"manifest": MANIFEST, "answers": _answers(targets), "unbounded": unbounded}
    with writing(folder / WEIGHTS) as temporary:
        save_file(kept, temporary, {_ABOUT: json.dumps(about)})  # one text: several would be written in any order
    files = (CONFIG, SCHEMA, WEIGHTS, *beside)
    write_json(folder / MANIFEST, {"files": {name: digest_file(folder / name).hex() for name in files}})


def read_bundle(folder: Path) -> tuple[dict[str, Any], dict[str, Any], dict[str, Tensor]]:
    """What `save_bundle` wrote: config, schema and weights. Raises `BadData` for values that no bundle can hold."""
    config = read_written(folder / CONFIG)
    schema = read_json(folder / SCHEMA)
    with safe_open(folder / WEIGHTS, "pt") as file:
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
        about = json.loads((file.metadata() or {}).get(_ABOUT, "{}"))  # an older version wrote none
    if "manifest" in about and not (folder / MANIFEST).exists():
        log.warning("%s has no %s any more: its files are not checked", folder, MANIFEST)
    unbounded = about.get("unbounded", list(weights))
    for name, value in weights.items():
        if value.is_floating_point() and (value.isnan() if name in unbounded else ~value.isfinite()).any():
            raise impossible(folder / WEIGHTS, f"weights {name!r} are no finite numbers")
    for path, values in ((CONFIG, {k: config.get(k) for k in ("model", "space")}), (SCHEMA, schema)):
        check_numbers(folder / path, values)
    targets = [Target.from_json(values) for values in schema.get("targets", ())]
    for target in targets:
        _check_target(folder / SCHEMA, target)
    if about.get("answers", _answers(targets)) != _answers(targets):
        raise impossible(
            folder / SCHEMA, "its targets or their classes are others, or in another order, than the weights are for"
        )
    return config, schema, weights


def opened(
    folder: Path, read: Callable[[Path], T], *, what: str, command: str, mend: str, trust: str | Sequence[str] = ()
) -> T:
    """What `read` makes of a bundle of `what`, which `polymodal {command}` writes; `mend` says what may be wrong.

    Its parts come from the catalogues or from the modules that `trust` names. Raises `BadData` when the folder holds no
    finished bundle, one whose files are not those that were written, one that this code cannot read, or one that names
    other parts.
    """
    if not (folder / WEIGHTS).exists():
        raise BadData(
            f"{folder} holds no finished {what} (no weights.safetensors). Make one with `polymodal {command} … --out "
            f"{folder}`, or finish an interrupted one with --resume."
        )
    try:
        for name in (CONFIG, SCHEMA, WEIGHTS):
            if (folder / name).exists():
                check_file(folder / name, "table")
        with reading(folder, trust):
            try:
                _check_files(folder)
                return read(folder)
            except Exception:
                _check_parts(folder)
                raise
    except PolymodalError:
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":  # of a library in Rust
            raise
        reason = str(error).strip().split("\n")[0]
        raise BadData(
            f"The {what} in {folder} cannot be read: a file is damaged, {mend} ({type(error).__name__}: {reason})"
        ) from error


def impossible(path: Path, fault: str) -> BadData:
    """The error for a value that no bundle can hold."""
    return BadData(f"{path} is damaged: {fault}. Copy the folder again from where it was made, or make it again.")


def check_numbers(path: Path, value: Any, place: str = "") -> None:
    """Raise `BadData` for a number that is not finite anywhere in plain values; an interval may be without ends."""
    endless = value == math.inf and place.startswith(("model.radius.", "model.radius_of_prior."))
    if isinstance(value, float) and not math.isfinite(value) and not endless:
        raise impossible(path, f"{place} is {value}")
    inner = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        check_numbers(path, one, f"{place}.{key}" if place else str(key))


def check_positive(path: Path, place: str, values: Any, *, zero: bool = False) -> None:
    """Raise `BadData` unless each of the numbers by name is finite and above 0 (or, with `zero`, at least 0)."""
    for name, value in values.items():
        right = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not right or value < 0 or (value == 0 and not zero):
            raise impossible(path, f"{place} of {name!r} is {value}, which is not {'at least' if zero else 'above'} 0")


def kept_parts(specs: Mapping[str, Spec], processors: Mapping[str, Processor]) -> dict[str, Any]:
    """The processors of a bundle, each its spec and its state, as plain values."""
    return {name: {"spec": specs[name], "state": one.state()} for name, one in processors.items()}


def encoder_weights(encoders: Mapping[str, Encoder]) -> dict[str, Tensor]:
    """The encoders' tensors by their names in a bundle."""
    return {f"encoders.{module_name(n)}.{k}": v for n, one in encoders.items() for k, v in one.state_dict().items()}


def read_parts(
    folder: Path, model: Mapping[str, Any], stored: Mapping[str, Any], weights: Mapping[str, Tensor], width: int
) -> tuple[Schema, dict[str, Processor], dict[str, Encoder]]:
    """Schema, processors and encoders of a bundle as they were. Raises `BadData` where they do not fit one another."""
    schema = Schema.from_json(stored["schema"])  # first: it makes kinds from outside known
    try:
        for one in (schema, *schema.fields.values()):
            check_types(one)
    except BadArgument as error:
        raise impossible(folder / SCHEMA, str(error).rstrip(".")) from error
    processors: dict[str, Processor] = {}
    for name, entry in stored["processors"].items():
        processors[name] = PROCESSORS.build(entry["spec"])
        processors[name].load_state(entry["state"])
    encoders: dict[str, Encoder] = {}
    for name, spec in model["encoders"].items():
        facts = model["facts"][name]
        _check_facts(folder / CONFIG, name, processors[name].facts(), facts)
        encoders[name] = build_encoder(spec, facts, width)
        encoders[name].load_state_dict(under(weights, f"encoders.{module_name(name)}."))
    return schema, processors, encoders


def under(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Those weights whose names begin with `prefix`, without it."""
    return {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}


def _check_facts(path: Path, stream: str, found: Mapping[str, Any], told: Mapping[str, Any]) -> None:
    """Raise `BadData` where what an encoder was told of its processor (`told`) is not what that says of itself now."""
    here, there = finite(dict(found)), finite(dict(told))
    if odd := [name for name in here if name in there and here[name] != there[name]]:
        raise impossible(path, f"the facts of {stream!r} ({', '.join(odd)}) are not those of its processor")


def _check_files(folder: Path) -> None:
    """Raise `BadData` where a file is not what the manifest says. Without one, files are read as they are."""
    if not (folder / MANIFEST).exists():
        return
    way = f"if you changed it yourself and mean it, delete {folder / MANIFEST}, and files are read as they are"
    try:
        files = read_json(folder / MANIFEST)["files"]
        told = {name: bytes.fromhex(files[name]) for name in dict.fromkeys((CONFIG, SCHEMA, WEIGHTS, *files))}
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise BadData(f"{folder / MANIFEST} is damaged. Copy the folder again; {way}.") from error
    for name, digest in told.items():
        path = folder / name
        if Path(name).name != name or not path.is_file():
            raise BadData(f"{path} is missing: the bundle is not whole. Copy the folder again, or make it again.")
        if digest_file(path) != digest:
            raise BadData(
                f"{path} is not the file that was saved: it was damaged or changed since. Copy the folder again, or "
                f"make it again; {way}."
            )


def _check_parts(folder: Path) -> None:
    """Raise as `check_path` for a part that a bundle which cannot be opened names: it is the greater danger."""
    named: set[str] = set()
    for name in (CONFIG, SCHEMA):
        with contextlib.suppress(PolymodalError, ValueError, OSError):  # what cannot be read names nothing
            named |= dotted_paths(read_written(folder / name))
    for part in sorted(part for part in named if not part.startswith("polymodal.")):
        check_path(part)


def _check_target(path: Path, target: Target) -> None:
    shares = getattr(target, "frequencies", ())
    if len(set(target.labels)) < len(target.labels) or len(shares) not in (0, len(target.labels)):
        raise impossible(path, f"the classes of {target.name!r} are not as many as were trained")
    check_positive(path, f"the share of a class of {target.name!r}", dict(zip(target.labels, shares)), zero=True)
    scale = getattr(target, "scale", ())
    for one in scale if isinstance(scale, tuple) else (scale,):
        check_positive(path, "the scale", {target.name: one})


def _answers(targets: Sequence[Target]) -> str:
    """A digest of what is asked: names, kinds and classes, in the order of the weights."""
    return fingerprint([[target.name, target.kind, list(target.labels)] for target in targets])
