"""Specs of parts before they are built: which class, which processor feeds it, and as what JSON carries it."""

from __future__ import annotations

from collections.abc import Mapping

from polymodal.aligners import ALIGNERS
from polymodal.core.errors import BadArgument
from polymodal.core.registry import Spec, import_path, label, options_of, plain
from polymodal.data.schema import Field
from polymodal.encoders import ENCODERS
from polymodal.models.build import CATALOGUES
from polymodal.objectives import OBJECTIVES
from polymodal.process import PROCESSORS

DEFAULT_ENCODERS = {
    "image": "image_resnet",
    "audio": "audio_cnn",
    "text": "text_tfidf",
    "table": "table_mlp",
    "series": "series_tcn",
    "vector": "vector_mlp",
    "links": "links_graph",
}


def processor_spec(field: Field, encoder: Spec, asked: Mapping[str, Spec]) -> Spec:
    """The processor's spec: asked for by stream or kind, or the one that feeds the encoder, with the field's options.

    Raises `BadArgument` when the encoder reads another kind.
    """
    given = asked.get(field.name, asked.get(field.kind))
    cls = part_class(encoder)
    spec = given if given is not None else getattr(cls, "processor", "") or field.kind
    options = dict(spec) if isinstance(spec, Mapping) else {"name": spec}
    if getattr(cls, "pretrained", False) and isinstance(encoder, Mapping):
        options = {"model": encoder.get("model"), **options}  # a pretrained tower and its processor are one model
    spec = {**options, **field.processor_options}
    reads = PROCESSORS.resolve(spec)[0].kind  # type: ignore[attr-defined]
    if reads and reads != field.kind:
        raise BadArgument(
            f"{label(encoder)} reads {reads}, but the stream {field.name!r} is {field.kind}. Name another encoder, or "
            "correct the kind in a schema."
        )
    return spec


def part_class(spec: Spec) -> type:
    """The class behind the spec of an encoder or of a strategy."""
    name = spec["name"] if isinstance(spec, Mapping) else spec
    if isinstance(name, type):
        return name
    for catalogue in (*CATALOGUES.values(), ENCODERS, OBJECTIVES, ALIGNERS):
        if name in catalogue:
            return catalogue.load(name)
    return import_path(str(name))


def portable(spec: Spec) -> Spec:
    """The spec as JSON can carry it to another process: parts from outside the package by their dotted path."""
    if not isinstance(
        spec, str | Mapping | type
    ):  # an instance stands for its class and options: each seed builds anew
        spec = {"name": type(spec), **options_of(spec)}
    cls = part_class(spec)
    if cls.__module__.startswith("polymodal."):
        return plain(spec)
    path = f"{cls.__module__}:{cls.__qualname__}"
    return plain({**spec, "name": path}) if isinstance(spec, Mapping) else path
