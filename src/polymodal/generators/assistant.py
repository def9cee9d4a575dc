"""Vision-language models of transformers as they are: captions and answers about pictures."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from polymodal.core.errors import BadArgument, BadCell, require
from polymodal.data.storage.decode import Broken, guarded
from polymodal.generators.base import Asked, Generator, Said, batches, dtype_of, one_by_one
from polymodal.generators.opening import About
from polymodal.nn.decoding import Decoding, drawn, row_draws
from polymodal.nn.hub import load_pretrained
from polymodal.ops.networks import network, quiet

TEXT = "{text}"  # in a prompt: where a row's own words go
DESCRIBE = "Describe this picture."  # what a model that chats is asked where nobody asks anything
LOADER = "AutoModelForImageTextToText"
AHEAD = 8  # batches of rows that are made ready, so that those of one shape go together


class Assistant(Generator):
    """Any vision-language model of transformers that `AutoModelForImageTextToText` opens: BLIP, GIT, LLaVA, Idefics,
    PaliGemma, Qwen-VL, SmolVLM …. It captions a row's picture, or answers the row's text about it.

    `prompt` is what is asked of every row; `{text}` in it stands for the row's own text, which is all that is asked by
    default. Models that chat are asked in their template, and take several turns (a list of texts, the user's first)
    and several pictures; others read the prompt as it is, behind a place for each picture. Only what they write is
    kept, not what they read.

    `beams`, `temperature`, `top_k`, `top_p`, `length_penalty`, `no_repeat`, `least` and `most` (of the model's tokens)
    are those of `nn.decoding.Decoding`; draws go by a row's number. Rows of one shape go through the model together,
    `batch` at most: nothing is padded, so that a row's words are the same alone. `precision` is float32, bfloat16, or
    auto, as its weights were saved.
    """

    needs: ClassVar[tuple[str, ...]] = ("image",)
    takes: ClassVar[tuple[str, ...]] = ("text",)
    column: ClassVar[str] = "answer"

    def __init__(
        self,
        about: About,
        *,
        prompt: str = "",
        beams: int = 1,
        temperature: float = 0.0,
        top_k: int = 0,
        top_p: float = 1.0,
        length_penalty: float = 1.0,
        no_repeat: int = 0,
        least: int = 0,
        most: int = 64,
        precision: str = "float32",
        batch: int = 8,
    ):
        super().__init__(about, batch=batch)
        self.how = Decoding(
            beams=beams, temperature=temperature, top_k=top_k, top_p=top_p, length_penalty=length_penalty,
            no_repeat=no_repeat, least=least, most=most,
        )  # fmt: skip
        self.prompt = prompt
        self.samples = temperature > 0
        self.processor, self.model = network(LOADER, "AutoProcessor", about.name, dtype=dtype_of(precision))
        self.networks = [self.model]
        if getattr(self.processor, "image_processor", None) is None:
            self.processor = _Pair(about.name)
        self.chats = bool(getattr(self.processor, "chat_template", None))
        self._marks: dict[int, bool] = {}  # by a row's pictures, whether the prompt must hold their places

    @classmethod
    def can(cls, about: About) -> bool:
        if about.pipeline:
            return False
        require("transformers", "hf")
        from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES as known

        able = known.get(about.kind)
        return able is not None and (not about.classes or able in about.classes)

    def check_reads(self, kinds: Collection[str]) -> None:
        if TEXT in self.prompt and "text" not in kinds:
            raise BadArgument(f"The prompt asks for {TEXT}, and no column of texts is named: name it by `columns`.")
        if self.prompt and TEXT not in self.prompt and "text" in kinds:
            raise BadArgument(f"The prompt leaves the rows' texts no place: write {TEXT} where they go.")

    def answers(self, rows: Sequence[Asked], seed: int) -> Iterator[tuple[int, Said]]:
        for some in batches(range(len(rows)), AHEAD * self.batch):
            ready: dict[int, Mapping[str, Tensor]] = {}
            for place in some:
                inputs = guarded(self._ready, rows[place])
                if isinstance(inputs, Broken):
                    yield place, Said(None, inputs.reason)
                else:
                    ready[place] = inputs
            for alike in _alike(ready):
                write = partial(guarded, partial(self._written, rows, ready, seed))
                for group in batches(alike, self.batch):
                    for place, text in one_by_one(write, group, Broken):
                        yield place, Said(None, text.reason) if isinstance(text, Broken) else Said(text)

    def _ready(self, row: Asked) -> Mapping[str, Tensor]:
        """What the model reads of a row, a batch of one. Raises `BadCell`, or what its processor does."""
        turns = list(row.texts)
        if self.prompt:
            turns = [*turns[:-1], self.prompt.replace(TEXT, turns[-1] if turns else "")]
        with quiet():
            inputs = self._chat(turns, row) if self.chats else self._plain(turns, row)
        return {name: value for name, value in inputs.items() if isinstance(value, Tensor)}

    def _chat(self, turns: list[str], row: Asked) -> Mapping[str, Any]:
        if turns and len(turns) % 2 == 0:
            raise BadCell(f"holds {len(turns)} turns; the last one is the user's, so their number must be odd")
        said: list[dict[str, Any]] = []
        for k, text in enumerate(turns or [DESCRIBE]):
            shown = [{"type": "image", "image": picture} for picture in row.pictures] if k == 0 else []
            said.append({"role": "assistant" if k % 2 else "user", "content": [*shown, {"type": "text", "text": text}]})
        return self.processor.apply_chat_template(
            said, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
        )

    def _plain(self, turns: list[str], row: Asked) -> Mapping[str, Any]:
        if len(turns) > 1:
            raise BadCell(f"holds {len(turns)} turns; this model has no template of a chat, so it takes one text")
        text, pictures = "".join(turns), list(row.pictures)
        mark = getattr(self.processor, "image_token", None)
        mark = str(getattr(mark, "content", mark)) if mark is not None else ""
        places = bool(mark) and mark not in text and self._places(text, row, mark)
        if places:
            text = mark * len(pictures) + ("\n" if text else "") + text
        # What puts places before a text by itself wants one, be it empty.
        read = [text] if text or (mark and not places) else None
        return self.processor(images=pictures, text=read, return_tensors="pt")

    def _places(self, text: str, row: Asked, mark: str) -> bool:
        """Whether the prompt must hold places of the row's pictures: a processor, as PaliGemma's and BLIP-2's, may put
        as many as it needs before a text by itself. Tried once for each number of pictures; a row that cannot be read
        so says nothing of others."""
        count = len(row.pictures)
        if count not in self._marks:
            found = guarded(
                lambda one: self.processor(images=list(row.pictures), text=[one], return_tensors="pt"), text
            )
            if isinstance(found, Broken):
                return True
            ids = found.get("input_ids")
            itself = ids is not None and bool((ids == self.processor.tokenizer.convert_tokens_to_ids(mark)).any())
            self._marks[count] = not itself
        return self._marks[count]

    def _written(
        self, rows: Sequence[Asked], ready: Mapping[int, Mapping[str, Tensor]], seed: int, places: Sequence[int]
    ) -> list[str]:
        """What the model writes about the rows at `places`, whose inputs are `ready` and of one shape."""
        how, choosing = self.how, _Choosing(replace(self.how, seed=seed), [rows[place].number for place in places])
        inputs = {name: torch.cat([ready[place][name] for place in places]) for name in ready[places[0]]}
        asked: dict[str, Any] = {"max_new_tokens": how.most, "num_beams": how.beams, "do_sample": False}
        asked |= {"min_new_tokens": how.least} if how.least else {}
        asked |= {"no_repeat_ngram_size": how.no_repeat} if how.no_repeat else {}
        asked |= {"length_penalty": how.length_penalty} if how.beams > 1 else {}
        floats = getattr(self.model, "dtype", torch.float32)
        inputs = {name: value.to(floats) if value.is_floating_point() else value for name, value in inputs.items()}
        with torch.no_grad(), quiet():
            ids = self.model.generate(**inputs, **asked, logits_processor=[choosing])
        words = getattr(self.processor, "tokenizer", self.processor)
        return [text.strip() for text in words.batch_decode(ids[:, choosing.start :], skip_special_tokens=True)]


class _Pair:
    """What reads pictures and writes words of a model that has no processor for both, as an encoder and a decoder."""

    def __init__(self, name: str):
        self.image_processor = load_pretrained("AutoImageProcessor", name)
        self.tokenizer = load_pretrained("AutoTokenizer", name)

    def __call__(self, *, images: list[Any], text: list[str] | None, return_tensors: str) -> Mapping[str, Any]:
        if text is not None:
            raise BadCell("asks something; this model captions pictures, and reads no text")
        return self.image_processor(images=images, return_tensors=return_tensors)


class _Choosing:
    """Chooses words as our decoders do, by draws of each row's own, and notes how long what was read is, which goes
    before what is written."""

    def __init__(self, how: Decoding, numbers: Sequence[int]):
        self.how = how
        self.draws = row_draws(how, numbers) if how.temperature else None
        self.start: int | None = None

    def __call__(self, ids: Tensor, scores: Tensor) -> Tensor:
        if self.start is None:
            self.start = ids.shape[1]
        if self.draws is None:
            return scores
        draw = self.draws[:, ids.shape[1] - self.start].to(scores.device)
        word = drawn(scores, draw, self.how)
        return torch.full_like(scores, float("-inf")).scatter(1, word[:, None], 0.0)


def _alike(ready: Mapping[int, Mapping[str, Tensor]]) -> list[list[int]]:
    """The places of rows whose inputs can be joined along the first axis."""
    found: dict[Any, list[int]] = {}
    for place, inputs in ready.items():
        shape = tuple((name, len(value) if name == "input_ids" else None, value.shape[1:], value.dtype)
                      for name, value in sorted(inputs.items()))  # fmt: skip
        found.setdefault(shape, []).append(place)
    return list(found.values())
