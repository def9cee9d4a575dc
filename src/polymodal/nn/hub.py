"""Loading from the Hugging Face hub or a local folder, with an error that says what to do."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from polymodal.core.errors import BadArgument, BadData, require
from polymodal.core.files import read_json

CONFIG = "config.json"
LACKING = 0.1  # of the weights that may be missing: a pooling that was trained for no task


def load_pretrained(loader: str | type, model: str, **options: Any) -> Any:
    """`transformers.<loader>.from_pretrained(model)`. `model` is a hub name, `name@revision` or a folder.

    A `loader` that is no name is a class of the same kind from elsewhere, of whose weights none may be missing.

    Code in it is never run. A name with a revision that lies in the local cache is opened there, without a network.

    Raises `MissingExtra` without transformers, and `BadArgument` when the model cannot be had or is not of this kind.
    """
    transformers = require("transformers", "hf")
    if not model:
        raise BadArgument("A pretrained part needs `model`: a Hugging Face hub name or the folder of a saved model.")
    model = located(str(model))
    name, _, revision = ("", "", "") if Path(model).is_dir() else model.partition("@")
    if revision:
        from huggingface_hub import try_to_load_from_cache

        held = try_to_load_from_cache(name, "config.json", revision=revision)
        model, options = (
            (str(Path(held).parent), options) if isinstance(held, str) else (name, {**options, "revision": revision})
        )
    network = not isinstance(loader, str) or loader in ("AutoModel", "AutoModelForCausalLM")
    source: Any = getattr(transformers, loader) if isinstance(loader, str) else loader
    called = loader if isinstance(loader, str) else loader.__name__
    if network:
        # Weights of other shapes are refused below, by name: transformers would raise without a word of them.
        options = {**options, "output_loading_info": True, "ignore_mismatched_sizes": True}
    said = transformers.utils.logging
    before, bars = said.get_verbosity(), said.is_progress_bar_enabled()
    said.set_verbosity_error()  # of weights for other tasks; those that lack are told below
    said.disable_progress_bar()
    try:
        found = source.from_pretrained(model, trust_remote_code=False, **options)
    except Exception as error:  # of libraries for files that anybody wrote: weights, pickles, settings, tokenizers
        reason = str(error).strip().split("\n")[0].rstrip(".")
        advice = (
            "Install what it asks for" if isinstance(error, ImportError)
            else "Its files are of another kind, or damaged: copy them again" if Path(model).is_dir()
            else "Where the hub cannot be reached, download the model on a machine that reaches it (hf download "
            f"{model} --local-dir FOLDER), copy the folder and give model=FOLDER; "
            "of a run whose models were moved, let POLYMODAL_MODELS name the folder in which they lie"
        )  # fmt: skip
        raise BadArgument(f"{called} cannot load {str(model)!r}: {reason}. {advice}.") from error
    finally:
        said.set_verbosity(before)
        if bars:
            said.enable_progress_bar()
    return _whole(found[0], found[1], model, called, LACKING if called == loader else 0.0) if network else found


def located(model: str) -> str:
    """`model`, or where that is a folder that was moved, the one of its name in the folder that POLYMODAL_MODELS names.

    Raises `BadArgument` for what can only be a path, and leads nowhere.
    """
    path, shelf = Path(model), os.environ.get("POLYMODAL_MODELS")
    if path.is_dir():
        return model
    if shelf and any((Path(shelf) / path.name / file).is_file() for file in ("config.json", "model_index.json")):
        return str(Path(shelf) / path.name)
    if path.is_absolute() or path.parts[0] in (".", "..", "~") or len(path.parts) > 2:
        raise BadArgument(
            f"The model's folder {model!r} is not there. Put it back, or let POLYMODAL_MODELS name the folder in which "
            f"{path.name!r} lies."
        )
    return model


def model_files(model: str, *names: str) -> dict[str, Path]:
    """Those of the files `names` that a model has, a folder or of a hub. Raises `BadArgument` where a hub gives none of
    them, or no such model can be had."""
    model = located(str(model))
    if Path(model).is_dir():
        return {name: Path(model) / name for name in names if (Path(model) / name).is_file()}
    hub = require("huggingface_hub", "hf")
    repository, _, revision = model.partition("@")
    found, why = {}, ""
    for name in names:
        try:
            found[name] = Path(hub.hf_hub_download(repository, name, revision=revision or None))
        except (OSError, ValueError, hub.errors.HfHubHTTPError) as error:  # not there, offline, refused
            why = why or str(error).strip().split("\n")[0].rstrip(".")
    if not found:
        raise BadArgument(
            f"{model!r} is no folder here, and no model of this name can be had: {why}. Where the hub cannot be "
            f"reached, download it on a machine that reaches it (hf download {repository} --local-dir FOLDER), copy "
            "the folder and give FOLDER; a run is given by its folder."
        )
    return found


def read_settings(file: Path) -> dict[str, Any]:
    """What a model's file of settings says. Raises `BadArgument` where it cannot be read."""
    try:
        found = read_json(file)
    except (OSError, BadData) as error:
        raise BadArgument(f"{file} cannot be read: {error}. Copy the model again.") from error
    return found if isinstance(found, dict) else {}


def _whole(network: Any, info: dict[str, Any], model: str, loader: str, spare: float) -> Any:
    """The network itself. Raises `BadArgument` where more than the share `spare` of its weights was not in the files,
    or where some are of another shape than its configuration says."""
    if other := info.get("mismatched_keys"):
        name, held, wanted = min(other)
        raise BadArgument(
            f"{loader} cannot load {str(model)!r}: its weights do not fit its config.json: {name} is {tuple(held)}, "
            f"not {tuple(wanted)}. They are of different models: copy them again."
        )
    sizes = {name: weight.numel() for name, weight in network.named_parameters()}
    lacking = sum(sizes.get(name, 0) for name in info["missing_keys"])
    if lacking > spare * sum(sizes.values()):
        share = lacking / sum(sizes.values())
        raise BadArgument(
            f"The files of {str(model)!r} lack {max(1, 100 * share):.0f} % of the weights of "
            f"{type(network).__name__}: they are of another model, or were cut. Copy them again."
        )
    return network
