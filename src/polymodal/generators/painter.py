"""Text-to-image pipelines of diffusers as they are: a picture of each text."""

from __future__ import annotations

import inspect
import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import torch

from polymodal.core.errors import BadArgument, require
from polymodal.core.runtime import device_of
from polymodal.core.values import check_range
from polymodal.data.storage.decode import Broken, guarded
from polymodal.generators.base import Asked, Generator, Said, batches, dtype_of, one_by_one
from polymodal.generators.opening import About
from polymodal.nn.check import check_count
from polymodal.nn.flow import row_seed
from polymodal.ops.networks import DEVICE, quiet

EXTRA = "diffusion"


class Painter(Generator):
    """Any pipeline of diffusers that draws a picture of a text alone: Stable Diffusion, SDXL, PixArt, Flux ….

    `steps` of its sampler, `guidance` towards the text, `width` and `height` in pixels and what a picture should not
    show (`negative`) are the pipeline's own unless given. A row's noise follows from the seed and its number, so that
    its picture is the same whatever is drawn beside it. `precision` is float32, bfloat16, or auto, as its weights were
    saved.
    """

    needs: ClassVar[tuple[str, ...]] = ("text",)
    column: ClassVar[str] = "picture"
    suffix: ClassVar[str] = ".png"

    def __init__(
        self,
        about: About,
        *,
        steps: int | None = None,
        guidance: float | None = None,
        width: int | None = None,
        height: int | None = None,
        negative: str = "",
        precision: str = "float32",
        batch: int = 4,
    ):
        super().__init__(about, batch=batch)
        for name, value in (("steps", steps), ("width", width), ("height", height)):
            if value is not None:
                check_count(name, value)
        if guidance is not None:
            check_range("[0, inf)", guidance=guidance)
        self.pipeline = _opened(about.name, precision).to(device_of(DEVICE.get()))
        self.pipeline.set_progress_bar_config(disable=True)
        self.networks = [part for part in self.pipeline.components.values() if isinstance(part, torch.nn.Module)]
        options = {"num_inference_steps": steps, "guidance_scale": guidance, "width": width, "height": height}
        self.given = {name: value for name, value in options.items() if value is not None}
        self.negative = negative
        self._check_options()

    @classmethod
    def can(cls, about: About) -> bool:
        if not about.pipeline:
            return False
        require("transformers", EXTRA)
        with quiet():
            return _draws(getattr(require("diffusers", EXTRA), about.pipeline, None))

    def _check_options(self) -> None:
        """Raise `BadArgument` for what this pipeline has no option for, or what it refuses before it draws."""
        takes = inspect.signature(self.pipeline.__call__).parameters
        called = {"num_inference_steps": "steps", "guidance_scale": "guidance"}
        asked = {**self.given, **({"negative_prompt": self.negative} if self.negative else {})}
        for name in asked:
            if name not in takes:
                own = called.get(name, name.partition("_")[0])
                raise BadArgument(f"{self.about.name!r} is {self.about.told()}, which takes no {own!r}: leave it out.")
        least = getattr(self.pipeline, "vae_scale_factor", 1)
        for name in ("width", "height"):
            if name in self.given and self.given[name] % least:
                raise BadArgument(f"{name} is a multiple of {least} for this pipeline; got {self.given[name]}.")

    def answers(self, rows: Sequence[Asked], seed: int) -> Iterator[tuple[int, Said]]:
        def draw(places: list[int]) -> Any:
            return guarded(lambda some: self._drawn([rows[place] for place in some], seed), places)

        for group in batches(range(len(rows)), self.batch):
            for place, found in one_by_one(draw, group, Broken):
                yield place, Said(None, found.reason) if isinstance(found, Broken) else found

    def _drawn(self, rows: Sequence[Asked], seed: int) -> list[Said]:
        texts = [" ".join(row.texts) for row in rows]
        noise = [torch.Generator().manual_seed(row_seed(row.number, seed)) for row in rows]
        given = self.given | ({"negative_prompt": [self.negative] * len(rows)} if self.negative else {})
        with torch.no_grad(), _quiet():
            found = self.pipeline(prompt=texts, generator=noise, output_type="pil", **given)
        hidden = getattr(found, "nsfw_content_detected", None) or [False] * len(rows)
        return [
            Said(None, "the model's own filter hid what it drew") if hide else Said(_png(picture), self._cut(text))
            for text, picture, hide in zip(texts, found.images, hidden, strict=True)
        ]

    def _cut(self, text: str) -> str:
        """What to say of a text that is longer than the model reads."""
        tokenizer = getattr(self.pipeline, "tokenizer", None)
        most = getattr(tokenizer, "model_max_length", None)
        if tokenizer is None or not isinstance(most, int) or most > 1 << 20:
            return ""
        with _quiet():
            count = len(tokenizer(text)["input_ids"])
        return f"is {count} tokens long, of which the model reads the first {most}" if count > most else ""


@contextmanager
def _quiet() -> Iterator[None]:
    """Without bars of files that are opened, and without what the library repeats for every text that it cuts."""
    from diffusers.utils import logging
    from transformers.utils import logging as beneath

    before, bars = logging.get_verbosity(), [one for one in (logging, beneath) if one.is_progress_bar_enabled()]
    logging.set_verbosity_error()
    for one in bars:
        one.disable_progress_bar()
    try:
        with quiet():
            yield
    finally:
        logging.set_verbosity(before)
        for one in bars:
            one.enable_progress_bar()


def _draws(pipeline: Any) -> bool:
    """Whether a class of diffusers draws pictures of a text and nothing else that must be given."""
    if not isinstance(pipeline, type):
        return False
    parameters = inspect.signature(pipeline.__call__).parameters
    must = [n for n, p in parameters.items() if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
    return "prompt" in parameters and not set(must) - {"self", "prompt"} and not _MEDIA & set(parameters)


_MEDIA = frozenset({"image", "mask_image", "video", "num_frames", "audio_length_in_s", "frames"})


def _opened(name: str, precision: str) -> Any:
    """The pipeline of a folder or a hub's name; code in it is never run. Raises `BadArgument` where there is none."""
    diffusers = require("diffusers", EXTRA)
    repository, _, revision = (name, "", "") if Path(name).is_dir() else name.partition("@")
    dtype = dtype_of(precision)
    options = {} if dtype == "auto" else {"dtype": dtype}
    try:
        with _quiet(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of settings that later versions will write otherwise
            return diffusers.DiffusionPipeline.from_pretrained(repository, revision=revision or None, **options)
    except Exception as error:  # of libraries for files that anybody wrote: weights, settings, tokenizers
        reason = str(error).strip().split("\n")[0].rstrip(".")
        raise BadArgument(
            f"diffusers cannot load {name!r}: {reason}. Its files are of another kind, lacking or damaged: copy them "
            "again, or where the hub cannot be reached, download the model on a machine that reaches it and give the "
            "folder."
        ) from error


def _png(picture: Any) -> bytes:
    held = io.BytesIO()
    picture.save(held, "PNG")
    return held.getvalue()
