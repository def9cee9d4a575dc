"""Which pretrained checkpoint a stream may use, and where it lies: a folder of models, the local cache, or the hub.

The table of defaults is `checkpoints.yaml`. Looking costs no import of transformers and no weight is read; the hub is
asked only on demand, once, and for a second at most.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

from polymodal.core.errors import BadArgument, PolymodalError
from polymodal.core.files import read_json, told_path
from polymodal.core.registry import Spec
from polymodal.core.values import read_yaml
from polymodal.learners.tabicl import checkpoint

ENCODERS_OF = {
    "text": "pretrained_text", "vision": "pretrained_vision", "audio": "pretrained_audio",
    "series": "pretrained_series", "video": "pretrained_video", "volume": "pretrained_volume",
}  # fmt: skip
WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
BOLT = "ChronosBoltPipeline"
HEADER = 100_000_000  # bytes that the head of a file of weights may have
DEPTHS = ("", "*/", "*/*/", "*/snapshots/*/")  # at which a learner's files may lie, as a hub's cache has them too
SECONDS = 1.0  # for which the hub is waited for
GRID, WIDTH = 49, 256  # tokens of a cell that words are written from, and the most of their width
SAMPLE = 500  # cells by which a column's letters are looked at
STRANGE = 0.01  # share of a column's letters beyond ASCII from which an English checkpoint is not its own
COVERS = {"en": "English", "many": "many languages"}


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A checkpoint: `name` on the hub (or of its folder), the `encoder` that opens it, and `model`, what that
    encoder's option says; `place` tells where it was found, in words."""

    name: str
    encoder: str
    licence: str = ""
    languages: str = ""
    megabytes: float = 0
    dim: int = 0
    revision: str | None = None
    source: str = ""
    model: str = ""
    place: str = ""

    @property
    def frozen(self) -> Spec:
        """Its features as they are, and learners on them."""
        return {"name": "scored", "of": {"name": self.encoder, "model": self.model}}

    @property
    def grid(self) -> Spec:
        """Its tokens, up to `GRID` of them, as they are but for their width: what is written from looks at places."""
        of = {"name": self.encoder, "model": self.model, "tokens": GRID}
        return {"name": "scored", "of": of, "keep": WIDTH}

    @property
    def aware(self) -> Spec:
        """The tower with adapters on its last blocks, trained on the target."""
        return {"name": self.encoder, "model": self.model, "tune": "lora_last"}

    def on(self, features: Spec) -> Spec:
        """It is a learner, on the features of an encoder."""
        return {"name": "scored", "of": features, "by": [{"name": self.encoder, "model": self.model}]}

    def told(self) -> str:
        """Name, where it lies, licence, size and languages, in words."""
        about = [
            self.place,
            self.licence or "licence not told",
            f"{self.megabytes:,.0f} MB",
            COVERS.get(self.languages, ""),
        ]
        return f"{self.name} ({', '.join(word for word in about if word)})"


@dataclass(frozen=True)
class Search:
    """The checkpoint that was found for a stream, and what is to be said of the choice; or why there is none."""

    found: Checkpoint | None
    why: str


@lru_cache(maxsize=1)
def defaults() -> tuple[Checkpoint, ...]:
    """The table of default checkpoints, in the order in which they are taken."""
    path = Path(__file__).with_name("checkpoints.yaml")
    return tuple(Checkpoint(**row) for row in read_yaml(path.read_text(encoding="utf-8"), path.name))


class Shelf:
    """The checkpoints at hand: in the folder `models`, in the local cache, and, if `hub`, on the hub.

    Raises `BadArgument` where `models` is no folder.
    """

    def __init__(self, models: str | None, *, hub: bool = False):
        self.folder = models or os.environ.get("POLYMODAL_MODELS") or ""
        if self.folder and not Path(self.folder).is_dir():
            raise BadArgument(f"models names {self.folder!r}, which is no folder; let it hold models, a folder each.")
        self.hub = hub
        self.lacking = "" if find_spec("transformers") else "transformers is not installed (extra hf)"
        self.damaged: list[str] = []
        self._found = list(self._look()) if not self.lacking else []

    def of(self, encoder: str, strange: float = 0.0) -> Search:
        """The checkpoint to use with `encoder`, for a column of whose letters a share `strange` lies beyond ASCII."""
        if self.lacking:
            return Search(None, self.lacking)
        foreign = encoder == ENCODERS_OF["text"] and strange > STRANGE
        said = f"{100 * strange:.0f} % of its letters are beyond English"
        able = [one for one in self._found if one.encoder == encoder]
        fit = [one for one in able if not (foreign and one.languages == "en")]
        reasons = [f"{said}, so no English checkpoint"] if foreign else []
        if fit:
            if rest := dict.fromkeys(one.name for one in fit[1:] if one.name != fit[0].name):
                reasons.append(f"also there: {', '.join(rest)}")
            return Search(fit[0], "; ".join(reasons))
        silent = _hub_silent() if self.hub else "the hub is not asked (pretrained=true asks it)"
        wanted = [one for one in defaults() if one.encoder == encoder and not (foreign and one.languages == "en")]
        if wanted and not silent:
            one = wanted[0]
            model = f"{one.name}@{one.revision}" if one.revision else one.name
            place = "from the hub" if one.revision else "from the hub, newest revision"
            return Search(replace(one, model=model, place=place), "; ".join(reasons))
        why = [f"none in {told_path(self.folder)}"] if self.folder else []
        why = [f"{said}, and {able[0].name} is for English"] if able else [*why, "none in the local cache"]
        return Search(None, "; ".join([*why, silent, *self.damaged]))

    def learner(self, name: str, meanings: Iterable[str]) -> Search:
        """The checkpoints to use with a pretrained learner, for scores of all these `meanings`; never from the hub."""
        if not find_spec(name):
            return Search(None, f"{name} is not installed (extra {name})")
        one = next(one for one in defaults() if one.encoder == name)
        held = _cache() / f"models--{one.name.replace('/', '--')}"
        places = [(Path(self.folder), f"in {told_path(self.folder)}")] if self.folder else []
        for root, place in (*places, (held, "in the local cache")):
            for folder in sorted({path.parent for depth in DEPTHS for path in root.glob(f"{depth}{name}-*.ckpt")}):
                files = {checkpoint(folder, meaning) for meaning in meanings}
                if cut := [file.name for file in files if file and not is_zipfile(file)]:
                    return Search(None, f"{' and '.join(cut)} {'is' if len(cut) == 1 else 'are'} damaged: copy again")
                if None not in files:
                    size = sum(file.stat().st_size for file in files if file) / 1e6
                    return Search(replace(one, model=str(folder), place=place, megabytes=size), "")
        where = f"{told_path(self.folder)} or the local cache" if self.folder else "the local cache"
        return Search(None, f"no checkpoint {name}-*.ckpt for {' and '.join(sorted(meanings))} in {where}")

    def _look(self) -> Iterator[Checkpoint]:
        """What lies in the folder, the table's first, then what lies in the cache."""
        here, place = dict(self._here()), f"in {told_path(self.folder)}"
        reads = {name: [ENCODERS_OF[modality] for modality in _modalities(path)] for name, path in here.items()}
        for one in defaults():
            for name in (one.name, one.name.split("/")[-1]):
                if one.encoder in reads.get(name, ()):
                    reads[name].remove(one.encoder)
                    yield replace(one, model=str(here[name]), place=place, megabytes=_megabytes(here[name]))
        for name, encoders in sorted(reads.items()):
            for encoder in encoders:
                yield Checkpoint(
                    name=name, encoder=encoder, model=str(here[name]), place=place, licence=_licence(here[name]),
                    megabytes=_megabytes(here[name]),
                )  # fmt: skip
        for one in defaults():
            held = _snapshot(_cache() / f"models--{one.name.replace('/', '--')}", one.revision)
            if held and [*self._sound(one.name, held)]:
                told = "" if held.name == one.revision else f", revision {held.name[:12]}"
                model = f"{one.name}@{held.name}"
                yield replace(one, model=model, place=f"in the local cache{told}", megabytes=_megabytes(held))

    def _here(self) -> Iterator[tuple[str, Path]]:
        """Folders of models in the folder, by name; those that cannot be used are noted in `damaged`."""
        if not self.folder:
            return
        root = Path(self.folder)
        single = (root / "config.json").is_file()
        for path in [root] if single else sorted(p for p in root.iterdir() if p.is_dir()):
            if path.name.startswith("models--"):
                name = path.name.removeprefix("models--").replace("--", "/")
                table = {one.name: one.revision for one in defaults()}
                if held := _snapshot(path, table.get(name)):
                    yield from self._sound(name, held)
            elif (path / "config.json").is_file():
                yield from self._sound(path.name, path)
            elif inner := sorted(p for p in path.iterdir() if (p / "config.json").is_file()):
                for one in inner:  # a folder of an organisation
                    yield from self._sound(f"{path.name}/{one.name}", one)
            elif any((path / file).exists() for file in WEIGHTS):
                self.damaged.append(f"{path.name} has weights and no config.json")

    def _sound(self, name: str, path: Path) -> Iterator[tuple[str, Path]]:
        if fault := _fault(path):
            self.damaged.append(f"{name} {fault}")
        else:
            yield name, path


def strange_letters(cells: Iterable[Any]) -> float:
    """The share of letters beyond ASCII in texts."""
    letters = [c for cell in cells if isinstance(cell, str) for c in cell[:500] if c.isalpha()]
    return sum(not c.isascii() for c in letters) / len(letters) if letters else 0.0


def _cache() -> Path:
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "huggingface"
    return Path(os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE") or Path(home) / "hub")


def _snapshot(path: Path, revision: str | None) -> Path | None:
    """The snapshot of a cached model: the pinned one, that of main, or the only one there is."""
    shots = path / "snapshots"
    if not shots.is_dir():
        return None
    main = path / "refs" / "main"
    wanted = [revision, main.read_text(encoding="utf-8").strip() if main.is_file() else None]
    there = [shots / one for one in wanted if one and (shots / one / "config.json").is_file()]
    return there[0] if there else next((p for p in sorted(shots.iterdir()) if (p / "config.json").is_file()), None)


def _config(path: Path) -> dict[str, Any]:
    """Settings of a model's folder, {} where there are none that can be read."""
    try:
        found = read_json(path)
    except (OSError, PolymodalError):
        return {}
    return found if isinstance(found, dict) else {}


def _fault(path: Path) -> str:
    """Why a folder cannot be opened, as far as that shows without reading its weights."""
    if not _config(path / "config.json").get("model_type"):
        return "has a config.json that names no model_type"
    weights = next((path / file for file in WEIGHTS if (path / file).is_file()), None)
    if weights is None:
        return f"has no weights ({WEIGHTS[0]})"
    if weights.name == WEIGHTS[0] and not _whole(weights):
        return "has damaged weights: copy them again"
    if _modalities(path):
        return ""
    if kind := _forecaster(path):
        return f"is a {kind}, of which no encoder is opened; a {BOLT} is"
    return "has neither a tokenizer nor a preprocessor_config.json"


def _forecaster(path: Path) -> str:
    """The class that a forecaster of series is for, by its settings; nothing for other models."""
    config = _config(path / "config.json")
    return str(config.get("chronos_pipeline_class", "ChronosPipeline")) if "chronos_config" in config else ""


def _whole(weights: Path) -> bool:
    """Whether a file of weights is as long as its head says."""
    with weights.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        try:
            head = json.loads(file.read(length)) if length < HEADER else {}
            ends = [int(one["data_offsets"][1]) for name, one in head.items() if name != "__metadata__"]
        except (ValueError, KeyError, TypeError, AttributeError):
            return False
    return bool(ends) and weights.stat().st_size >= 8 + length + max(ends)


def _modalities(path: Path) -> list[str]:
    """What a model's files say that it reads: those that its side files prepare; series need none."""
    if _forecaster(path) == BOLT:
        return ["series"]
    config, framing = _config(path / "config.json"), _config(path / "preprocessor_config.json")
    found = []
    if "num_frames" in config:
        found.append("video")
    elif framing:
        found += ["audio"] if "sampling_rate" in framing else ["vision", "video", "volume"]
    words = any((path / file).is_file() for file in ("tokenizer.json", "tokenizer_config.json"))
    if words and (not framing or "text_config" in config):
        found.append("text")
    return found


def _licence(path: Path) -> str:
    """The licence that the model's card names at its head."""
    card = path / "README.md"
    if not card.is_file():
        return ""
    with card.open(encoding="utf-8", errors="replace") as file:
        lines = [line.strip() for line, _ in zip(file, range(60))]
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("license:")), "")


def _megabytes(path: Path) -> float:
    return sum(file.stat().st_size for file in path.iterdir() if file.suffix in (".safetensors", ".bin")) / 1e6


@lru_cache(maxsize=1)
def _hub_silent() -> str:
    """Why the hub is not to be had; nothing where it answers. Asked once a process, for `SECONDS` at most."""
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        if os.environ.get(name, "").upper() in ("1", "ON", "YES", "TRUE"):
            return f"offline ({name} is set)"
    heard: list[bool] = []

    def ask() -> None:
        from urllib.request import urlopen  # half the cost of a plan, for those who ask alone

        try:
            urlopen(os.environ.get("HF_ENDPOINT", "https://huggingface.co"), timeout=SECONDS).close()
            heard.append(True)
        except (OSError, ValueError):
            heard.append(False)

    thread = threading.Thread(target=ask, daemon=True)  # a name server may keep silent for longer than a socket
    thread.start()
    thread.join(SECONDS)
    return "" if heard == [True] else "the hub does not answer"
