"""A finished run shared: its bundle and a model card in a folder, on a model hub and back from it."""

from __future__ import annotations

import contextlib
import importlib
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from polymodal.core.errors import BadArgument, BadData, require
from polymodal.core.files import writing
from polymodal.inference.bundle import CONFIG, MANIFEST, SCHEMA, WEIGHTS
from polymodal.inference.card import model_card
from polymodal.inference.predictor import LEARNED, NEIGHBOURS

FILES = (CONFIG, SCHEMA, WEIGHTS, "metrics.json", "leaderboard.csv")
OPTIONAL = (MANIFEST, NEIGHBOURS, LEARNED)  # runs of before have no manifest
ADDRESS = re.compile(r"hf:/{1,2}(?P<name>[^/@\s]+/[^/@\s]+)(@(?P<revision>[^\s]+))?")  # a path joins slashes to one


def share(run: Path, out: Path, *, name: str | None = None, licence: str | None = None, report: bool = False) -> Path:
    """Copy what a run needs elsewhere into the new folder `out`, with a model card as `README.md`.

    The report shows rows and pictures of the data, so it goes along only if asked for. Raises `BadData` when the run is
    not finished, `BadArgument` when `out` holds something.
    """
    if lacking := [file for file in (*FILES, "evaluation.json") if not (run / file).exists()]:
        raise BadData(f"{run} is no finished run: {lacking[0]} is not there. Finish it with --resume.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BadArgument(f"{out} is there already. Give a new folder.")
    out.mkdir(parents=True, exist_ok=True)
    for file in (*FILES, *OPTIONAL, *(["report.html"] if report else [])):
        if (run / file).exists():
            shutil.copyfile(run / file, out / file)
    with writing(out / "README.md") as temporary:
        temporary.write_text(model_card(run, name=name or run.resolve().name, licence=licence), encoding="utf-8")
    return out


def push(run: Path, name: str, *, token: str | None = None, private: bool = True, **options: Any) -> str:
    """Share a run as the model repository `name` (`user/name`) of the Hugging Face hub; returns its address.

    `options` as for `share`. Raises `MissingExtra` without huggingface_hub, `BadArgument` for a name of another form or
    where the hub cannot be reached or refuses.
    """
    if not ADDRESS.fullmatch(f"hf://{name}") or "@" in name:
        raise BadArgument(f"A repository is named user/name; got {name!r}.")
    hub = require("huggingface_hub", "hf")
    api = hub.HfApi(token=token)
    with tempfile.TemporaryDirectory() as temporary, _said("take", name):
        folder = share(run, Path(temporary) / "model", name=name, **options)
        api.create_repo(name, private=private, exist_ok=True)
        api.upload_folder(repo_id=name, folder_path=folder, commit_message="A model of polymodal")
    return f"hf://{name}"


def fetched(address: str | Path) -> Path:
    """The folder of a run: where it lies, or for `hf://user/name` or `hf://user/name@revision` its local copy.

    Downloads only what the cache lacks. Raises as `push`.
    """
    asked = ADDRESS.fullmatch(str(address))
    if asked is None:
        if str(address).startswith("hf:"):
            raise BadArgument(f"An address of the hub is hf://user/name or hf://user/name@revision; got {address}.")
        return Path(address)
    hub = require("huggingface_hub", "hf")
    with _said("give", asked["name"]):
        patterns = [*FILES, *OPTIONAL, "report.html"]
        return Path(hub.snapshot_download(asked["name"], revision=asked["revision"], allow_patterns=patterns))


@contextlib.contextmanager
def _said(verb: str, name: str) -> Iterator[None]:
    """What a hub answers in place of doing it, in one line."""
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    failures: list[type[Exception]] = [HfHubHTTPError, LocalEntryNotFoundError, OSError]
    with contextlib.suppress(ImportError):  # before 1.0 the hub's library goes by requests, whose errors are OSError
        failures.append(importlib.import_module("httpx").HTTPError)
    try:
        yield
    except tuple(failures) as error:
        reason = str(error).strip().split("\n")[0]
        raise BadArgument(
            f"The hub did not {verb} {name}: {reason} Log in with `hf auth login`, or carry the folder of "
            "`Run.share` by hand: polymodal loads it from anywhere."
        ) from error
