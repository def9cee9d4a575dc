"""Processors of pretrained towers: the tokenizer, image processor or feature extractor that a checkpoint comes with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polymodal.core.errors import BadArgument
from polymodal.core.values import check_range
from polymodal.data.media.film import Film
from polymodal.data.media.sound import Sound
from polymodal.data.media.volume import Volume
from polymodal.nn.check import check_count
from polymodal.nn.hub import load_pretrained
from polymodal.process.audio import AudioProcessor
from polymodal.process.base import Processor
from polymodal.process.image import WORKING_SIDE, ImageProcessor
from polymodal.process.text import TextProcessor, strange_words
from polymodal.process.video import FRAMES, FilmReader
from polymodal.process.volume import ScanReader, resampled


class PretrainedTextProcessor(Processor):
    """A checkpoint's own tokenizer (Wolf et al. 2020).

    `process` gives `ids` int32, `mask` bool, `word` int16 (the word of each token, -1 for special tokens and padding)
    and `spans` int32 [N, L, 2] (first and last + 1 character). L is the longest training text, at most `length` and
    what the model can read.

    Options: `model`, a hub name or a folder; `length`, most tokens a text.
    """

    kind = "text"

    def __init__(self, *, model: str = "", length: int = 128):
        self.model = model
        self.length = check_count("length", length)
        self.tokenizer = load_pretrained("AutoTokenizer", model)
        if not self.tokenizer.is_fast:
            raise BadArgument(
                f"The tokenizer of {model!r} does not say where its tokens lie in the text; a model with a "
                "tokenizer.json is needed."
            )
        self.tokenizer.padding_side = self.tokenizer.truncation_side = "right"
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        self.length_ = min(length, int(self.tokenizer.model_max_length))

    def read(self, cell: Any) -> str:
        """The cell as a string. Raises `BadCell` when it holds no character or is not UTF-8."""
        return TextProcessor(lowercase=False).read(cell)

    def fit(self, cells: Iterable[str]) -> None:
        """Learn the length; the vocabulary is the model's."""
        longest = max((len(ids) for ids in self.tokenizer(list(cells), verbose=False)["input_ids"]), default=1)
        self.length_ = min(self.length, int(self.tokenizer.model_max_length), 8 * -(-longest * 9 // 64))

    def process(self, cells: Sequence[str]) -> dict[str, np.ndarray]:
        """`ids`, `mask`, `word` and `spans`; see the class."""
        encoded = self.tokenizer(
            list(cells), padding="max_length", truncation=True, max_length=self.length_, return_offsets_mapping=True
        )
        spans = np.array(encoded["offset_mapping"], np.int32)
        words = [_words(encoded.word_ids(row)) for row in range(len(cells))]
        return {
            "ids": np.array(encoded["input_ids"], np.int32),
            "mask": np.array(encoded["attention_mask"], bool),
            "word": np.array(words, np.int16),
            "spans": spans,
        }

    def facts(self) -> dict[str, Any]:
        return {"model": self.model, "length": self.length_}

    def state(self) -> dict[str, Any]:
        return {"length": self.length_}

    def load_state(self, state: dict[str, Any]) -> None:
        self.length_ = int(state["length"])

    def corrupt(self, inputs: dict[str, Tensor], level: float, generator: torch.Generator) -> dict[str, Tensor]:
        """A share `level` of the tokens is replaced by tokens drawn from the batch."""
        ids, real = inputs["ids"], inputs["word"] >= 0
        pool = ids[real]
        if not len(pool):
            return inputs
        drawn = pool[torch.randint(len(pool), ids.shape, generator=generator)]
        hit = (torch.rand(ids.shape, generator=generator) < level) & real
        return {**inputs, "ids": torch.where(hit, drawn, ids)}

    def strange(self, text: str) -> list[str]:
        """Words with a token that stands for everything unknown, or a letter that is spelt in bytes."""
        text = f"a {text}"
        encoded = self.tokenizer(text, return_offsets_mapping=True)
        unknown = [token == self.tokenizer.unk_token_id for token in encoded["input_ids"]]
        if self.tokenizer.unk_token_id in (self.tokenizer.eos_token_id, self.tokenizer.pad_token_id):
            unknown = []  # one token for all of these, as in GPT-2 and CLIP, whose words are never unknown
        return strange_words(text, encoded.word_ids(), encoded["offset_mapping"], unknown=unknown)

    def show(self, cell: str) -> dict[str, Any]:
        return {"kind": "text", "text": cell}


class PretrainedVisionProcessor(Processor):
    """A checkpoint's own resizing and cropping, by PIL (Wolf et al. 2020); its scaling is left to the encoder.

    `process` gives `pixels` uint8 [N, 3, H, W]. Options: `model`, a hub name or a folder.
    """

    kind = "image"

    def __init__(self, *, model: str = ""):
        self.model = model
        self.framer = load_pretrained("AutoImageProcessor", model, use_fast=False)
        self.reader = ImageProcessor(size=_shorter_side(self.framer))
        # EfficientNet's, which divides once more, is `include_top`; ViViT's, which shifts besides, `offset`.
        scales = ("do_rescale", "do_normalize", "include_top", "offset")
        self._plain = {name: False for name in scales if hasattr(self.framer, name)}

    def read(self, cell: Any) -> np.ndarray:
        """A path or bytes to uint8 [H, W, C]. Raises `BadCell`."""
        return self.reader.read(cell)

    def process(self, cells: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """`pixels`; see the class. Raises `BadArgument` for a model whose pictures differ in shape."""
        framed = [self._frame(cell) for cell in cells]
        if len({picture.shape for picture in framed}) > 1:
            raise BadArgument(
                f"{self.model!r} makes pictures of several shapes; a model with one fixed shape is needed."
            )
        return {"pixels": np.stack(framed)}

    def facts(self) -> dict[str, Any]:
        """`model`; `mean` and `spread` [3], by which pixels / 255 are scaled."""
        mean, spread = _scaling(self.framer)
        return {"model": self.model, "mean": mean, "spread": spread}

    def corrupt(self, inputs: dict[str, Tensor], level: float, generator: torch.Generator) -> dict[str, Tensor]:
        """White noise whose deviation is 2 · `level` times that of the picture."""
        return self.reader.corrupt(inputs, level, generator)

    def show(self, cell: np.ndarray) -> dict[str, Any]:
        return {"kind": "image", "array": cell}

    def _frame(self, cell: np.ndarray) -> np.ndarray:
        picture = np.repeat(cell, 3, axis=2) if cell.shape[2] == 1 else cell
        made = self.framer(picture, **self._plain, return_tensors="np", input_data_format="channels_last")
        pixels = np.asarray(made["pixel_values"][0]).round().clip(0, 255).astype(np.uint8)
        return pixels[0] if pixels.ndim == 4 else pixels  # of a checkpoint for films: the one frame


class PretrainedVideoProcessor(FilmReader):
    """Frames of a film, each framed as a checkpoint for pictures or films does (Wolf et al. 2020).

    `frames`: None takes as many as a checkpoint for films reads, 16 for one of pictures. `process` gives `pixels` uint8
    [N, frames, 3, H, W], black where a film has fewer, `times` float32 [N, frames] and `length` int32 [N].

    Options: `model`, a hub name or a folder; for the others see `FilmReader`.
    """

    def __init__(
        self,
        *,
        model: str = "",
        frames: int | None = None,
        sampling: str = "even",
        start: float = 0.0,
        seconds: float | None = None,
    ):
        self.picture = PretrainedVisionProcessor(model=model)
        own = getattr(load_pretrained("AutoConfig", model), "num_frames", None) or FRAMES
        super().__init__(own if frames is None else frames, sampling, start, seconds)
        self.model, self.frames = model, frames

    def read(self, cell: Any) -> Film:
        """A path, bytes or a list of pictures to the film's frames. Raises `BadCell`."""
        return self.film(cell, self.picture.reader.size or WORKING_SIDE)

    def process(self, cells: Sequence[Film]) -> dict[str, np.ndarray]:
        """`pixels`, `times` and `length`; see the class."""
        framed = [self.picture.process(list(film.frames))["pixels"] for film in cells]
        return self.arrays(framed, cells)

    def facts(self) -> dict[str, Any]:
        """`model`, `mean` and `spread` as of pictures; `frames`."""
        return {**self.picture.facts(), "frames": self.count}


class PretrainedVolumeProcessor(ScanReader):
    """Slices of a scan, evenly spaced and with square pixels, each framed as a checkpoint does (Wolf et al. 2020).

    `process` gives `pixels` uint8 [N, slices, 3, H, W]. Options: `model`, a hub name or a folder; `slices`, how many;
    for `window` see `ScanReader`.
    """

    def __init__(self, *, model: str = "", slices: int = 16, window: str | Sequence[float] = "auto"):
        super().__init__(window)
        check_range("[1, 256]", slices=slices)
        self.model, self.slices = model, slices
        self.picture = PretrainedVisionProcessor(model=model)

    def read(self, cell: Any) -> Volume:
        """A path, bytes, an array or a list of slices to the scan. Raises `BadCell`."""
        return self.scan(cell, max(WORKING_SIDE, self.slices))

    def process(self, cells: Sequence[Volume]) -> dict[str, np.ndarray]:
        """`pixels`; see the class."""
        return {"pixels": np.stack([self._framed(cell) for cell in cells])}

    def facts(self) -> dict[str, Any]:
        """`model`, `mean` and `spread` as of pictures; `frames`, how many slices."""
        return {**self.picture.facts(), "frames": self.slices}

    def _framed(self, scan: Volume) -> np.ndarray:
        high, wide = (size * step for size, step in zip(scan.values.shape[1:], scan.spacing[1:]))
        sides = [max(1, round(extent * WORKING_SIDE / max(high, wide))) for extent in (high, wide)]
        grey = resampled(self.seen(scan), (self.slices, *sides))
        return self.picture.process(list(grey.round().clip(0, 255).astype(np.uint8)[..., None]))["pixels"]


class PretrainedAudioProcessor(Processor):
    """A checkpoint's own feature extractor, at its own rate (Wolf et al. 2020).

    `process` gives `values` float32, [N, L] samples or [N, bands, frames] as the model reads them, `share` float32 [N],
    the share of L that is sound, and `mask` bool [N, L] where the model was trained with one.

    Options: `model`, a hub name or a folder; `seconds` kept of a file (None: see `AudioProcessor`).
    """

    kind = "audio"

    def __init__(self, *, model: str = "", seconds: float | None = None):
        self.model = model
        self.seconds = seconds
        self.extractor = load_pretrained("AutoFeatureExtractor", model)
        if not hasattr(self.extractor, "sampling_rate"):
            raise BadArgument(f"The feature extractor of {model!r} does not read sound.")
        self.reader = AudioProcessor(rate=int(self.extractor.sampling_rate), seconds=seconds)

    def read(self, cell: Any) -> Sound:
        """A path or bytes to mono sound. Raises `BadCell`."""
        return self.reader.read(cell)

    def fit(self, cells: Iterable[Sound]) -> None:
        """Learn the length."""
        self.reader.fit(cells)

    def process(self, cells: Sequence[Sound]) -> dict[str, np.ndarray]:
        """`values`, `share` and perhaps `mask`; see the class."""
        raw = self.reader.process(cells)
        waves = [row[:n].astype(np.float32) / 32767 for row, n in zip(raw["samples"], raw["length"])]
        options: dict[str, Any] = {}
        if self._reads_samples():
            options = {"padding": "max_length", "max_length": self.reader.length_, "truncation": True}
        rate = int(self.extractor.sampling_rate)
        made = self.extractor(waves, sampling_rate=rate, return_tensors="np", **options)
        values = np.asarray(made[self.extractor.model_input_names[0]], np.float32)
        span = self._span()
        share = np.minimum(1.0, raw["length"] / span) if span else np.ones(len(cells))
        arrays = {"values": values, "share": share.astype(np.float32)}
        if self._reads_samples() and self.extractor.return_attention_mask:
            return arrays | {"mask": np.arange(values.shape[1])[None] < raw["length"][:, None]}
        return arrays

    def facts(self) -> dict[str, Any]:
        """`model`; `seconds` that L stands for, None where the extractor does not say."""
        span = self._span()
        return {"model": self.model, "seconds": span / int(self.extractor.sampling_rate) if span else None}

    def _reads_samples(self) -> bool:
        """Whether the model reads the wave itself (Wav2Vec2, HuBERT, WavLM) and not a spectrogram."""
        return self.extractor.model_input_names[0] == "input_values" and not hasattr(self.extractor, "num_mel_bins")

    def _span(self) -> int | None:
        """Samples that a row of `values` stands for: Whisper always reads 30 s; other spectrograms do not say."""
        return self.reader.length_ if self._reads_samples() else getattr(self.extractor, "n_samples", None)

    def state(self) -> dict[str, Any]:
        return self.reader.state()

    def load_state(self, state: dict[str, Any]) -> None:
        self.reader.load_state(state)

    def corrupt(self, inputs: dict[str, Tensor], level: float, generator: torch.Generator) -> dict[str, Tensor]:
        """White noise whose deviation is 2 · `level` times that of the values."""
        values = inputs["values"]
        spread = values.flatten(1).std(1).clamp(min=1e-4).view(-1, *[1] * (values.ndim - 1))
        return {**inputs, "values": values + 2 * level * spread * torch.randn(values.shape, generator=generator)}

    def show(self, cell: Sound) -> dict[str, Any]:
        return {"kind": "audio", "array": cell.samples, "rate": cell.rate}


def _words(ids: Sequence[int | None]) -> list[int]:
    """Consecutive word numbers from 0, -1 for special tokens and padding; where all are, the first is word 0."""
    numbers, number, before = [], -1, None
    for word in ids:
        if word is not None and word != before:
            number += 1
        before = word
        numbers.append(-1 if word is None else number)
    return numbers if number >= 0 else [0, *numbers[1:]]


def _scaling(framer: Any) -> tuple[list[float], list[float]]:
    """Mean and spread by which the framer scales pixels / 255: as it says, unless black and white come out otherwise.

    Some shift pixels to -1..1 besides (ALIGN's), or divide by the spread twice (EfficientNet's).
    """
    scaled = bool(getattr(framer, "do_normalize", False))
    mean = list(framer.image_mean) if scaled else [0.0] * 3
    spread = list(framer.image_std) if scaled else [1.0] * 3
    side = _shorter_side(framer) or 64
    ends = []
    for level in (0, 255):
        picture = np.full((side, side, 3), level, np.uint8)
        made = np.asarray(framer(picture, return_tensors="np", input_data_format="channels_last")["pixel_values"][0])
        made = made[0] if made.ndim == 4 else made  # of a checkpoint for films
        if made.ndim != 3:  # patches in a row
            return mean, spread
        ends.append(made[:, made.shape[1] // 2, made.shape[2] // 2].astype(float))
    black, white = ends
    wanted = (-np.array(mean) / spread, (1 - np.array(mean)) / spread)
    if np.allclose((black, white), wanted, atol=1e-3) or (black == white).any():
        return mean, spread
    return (-black / (white - black)).tolist(), (1 / (white - black)).tolist()


def _shorter_side(framer: Any) -> int | None:
    """The side in pixels that the model wants, so that pictures are not decoded smaller than it."""
    sizes = [getattr(framer, "size", None), getattr(framer, "crop_size", None)]
    sides = [side for size in sizes if size for side in dict(size).values() if isinstance(side, int)]
    return min(2048, max(sides)) if sides else None
