"""Pretrained models that write, draw and speak as they are, of a folder or a hub: one module a kind."""

from __future__ import annotations

from polymodal.core.registry import Catalogue, Entry

GENERATORS = Catalogue(
    "generator",
    "polymodal.generators.base:Generator",
    {
        "assistant": Entry(
            "polymodal.generators.assistant:Assistant",
            "Vision-language models of transformers: captions and answers about pictures, in words",
            "AutoModelForImageTextToText (Wolf et al. 2020)",
            extra="hf",
        ),
        "painter": Entry(
            "polymodal.generators.painter:Painter",
            "Text-to-image pipelines of diffusers: a picture of each text",
            "von Platen et al. 2022",
            extra="diffusion",
        ),
        "voice": Entry(
            "polymodal.generators.voice:Voice",
            "Voices of transformers: VITS, SpeechT5 with a vocoder, Bark and the like say each text",
            "AutoModelForTextToWaveform (Wolf et al. 2020)",
            extra="hf",
        ),
    },
)
