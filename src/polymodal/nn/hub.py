"""Loading from the Hugging Face hub or a local folder, with an error that says what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from polymodal.core.errors import BadArgument, require


def load_pretrained(loader: str, model: str, **options: Any) -> Any:
    """`transformers.<loader>.from_pretrained(model)`. `model` is a hub name, `name@revision` or a folder.

    Code in it is never run. A name with a revision that lies in the local cache is opened there, without a network.

    Raises `MissingExtra` without transformers, and `BadArgument` when the model cannot be had or is not of this kind.
    """
    transformers = require("transformers", "hf")
    if not model:
        raise BadArgument("A pretrained part needs `model`: a Hugging Face hub name or the folder of a saved model.")
    name, _, revision = ("", "", "") if Path(model).is_dir() else str(model).partition("@")
    if revision:
        from huggingface_hub import try_to_load_from_cache

        held = try_to_load_from_cache(name, "config.json", revision=revision)
        model, options = (
            (str(Path(held).parent), options) if isinstance(held, str) else (name, {**options, "revision": revision})
        )
    try:
        return getattr(transformers, loader).from_pretrained(model, trust_remote_code=False, **options)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).strip().split("\n")[0]
        raise BadArgument(
            f"{loader} cannot load {str(model)!r}: {reason} Where the hub cannot be reached, download the model on a "
            f"machine that reaches it (hf download {model} --local-dir FOLDER), copy the folder and give model=FOLDER."
        ) from error
