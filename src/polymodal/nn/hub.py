"""Loading from the Hugging Face hub or a local folder, with an error that says what to do."""

from __future__ import annotations

from typing import Any

from polymodal.core.errors import BadArgument, require


def load_pretrained(loader: str, model: str, **options: Any) -> Any:
    """`transformers.<loader>.from_pretrained(model)`. `model` is a hub name or a folder; code in it is never run.

    Raises `MissingExtra` without transformers, and `BadArgument` when the model cannot be had or is not of this kind.
    """
    transformers = require("transformers", "hf")
    if not model:
        raise BadArgument("A pretrained part needs `model`: a Hugging Face hub name or the folder of a saved model.")
    try:
        return getattr(transformers, loader).from_pretrained(model, trust_remote_code=False, **options)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).strip().split("\n")[0]
        raise BadArgument(
            f"{loader} cannot load {str(model)!r}: {reason} Where the hub cannot be reached, download the model on a "
            f"machine that reaches it (hf download {model} --local-dir FOLDER), copy the folder and give model=FOLDER."
        ) from error
