"""What a folder or a hub's name is a model of, by its settings alone, and which generator opens it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from polymodal.core.errors import BadArgument
from polymodal.generators import GENERATORS
from polymodal.nn.hub import CONFIG, located, model_files, read_settings

PIPELINE, RUN = "model_index.json", "schema.json"
_NAME = re.compile(r"\w[\w.-]*(?P<hub>/\w[\w.-]*(@[\w./-]+)?)?")


@dataclass(frozen=True)
class About:
    """A model: `name` as it is opened by, its settings, the `kind` that transformers knows it by, or the class of its
    `pipeline` in diffusers."""

    name: str
    kind: str = ""
    pipeline: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def classes(self) -> list[str]:
        """The classes that its weights were saved of."""
        named = self.settings.get("architectures")
        return [str(one) for one in named] if isinstance(named, list) else []

    def told(self) -> str:
        """What it is, in words."""
        if self.pipeline:
            return f"a pipeline {self.pipeline} of diffusers"
        return f"a {self.classes[0]} of transformers" if self.classes else f"a model {self.kind!r} of transformers"


def is_model(name: str) -> bool:
    """Whether a folder holds a pretrained model rather than a run of ours; a name that is no folder here counts as one
    where a hub could have it, as `user/name`."""
    path = Path(name)
    if not path.exists():
        named = _NAME.fullmatch(name)
        return named is not None and (bool(named["hub"]) or Path(located(name)).is_dir())
    return path.is_dir() and not (path / RUN).exists() and any((path / file).is_file() for file in (CONFIG, PIPELINE))


def about(name: str) -> About:
    """What a model is. Raises `BadArgument` where there is none of this name, or its settings tell nothing."""
    name = located(name)
    found = model_files(name, PIPELINE, CONFIG)
    return _told(name, found.get(PIPELINE), found.get(CONFIG))


def _told(name: str, pipeline: Path | None, config: Path | None) -> About:
    if pipeline is not None:
        settings = read_settings(pipeline)
        called = settings.get("_class_name")
        pipeline_class = called[-1] if isinstance(called, list) and called else called
        return About(name, pipeline=str(pipeline_class), settings=settings)
    settings = read_settings(config) if config is not None else {}
    if not settings.get("model_type"):
        raise BadArgument(
            f"{name!r} tells no kind of model: its {CONFIG} names no model_type, and no {PIPELINE} is there."
        )
    return About(name, kind=str(settings["model_type"]), settings=settings)


def generator_of(model: About) -> str:
    """The name of the generator that opens a model. Raises `BadArgument`, with what it is and who wants it, where none
    does."""
    for name in GENERATORS:
        if GENERATORS.load(name).can(model):  # type: ignore[attr-defined]
            return name
    raise BadArgument(
        f"{model.name!r} is {model.told()}, which `generate` does not open: {_advice(model)}. What it opens: "
        f"finished runs; {'; '.join(GENERATORS.entry(name).summary for name in GENERATORS)}."
    )


def _advice(model: About) -> str:
    """Which part of polymodal wants a model that generates nothing by itself."""
    if model.pipeline:
        return "it draws by something else than a text alone"
    from transformers.models.auto import modeling_auto as known

    if any(one.endswith("ForCausalLM") for one in model.classes):
        return (
            "it goes on with words and sees nothing; a fit puts it behind a projector (heads: "
            "{TARGET: {name: writer_pretrained, model: FOLDER}})"
        )
    heard = (known.MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES, known.MODEL_FOR_CTC_MAPPING_NAMES)
    if any(one in names.values() for one in model.classes for names in heard):
        return "it writes down speech, as the step `transcribe` of `prepare` does"
    return "it reads, and writes nothing; `fit --models FOLDER` takes it as an encoder"
