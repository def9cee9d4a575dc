"""Recognition and synthesis by networks of the Hugging Face library."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from polymodal.core.errors import BadArgument
from polymodal.nn.hub import load_pretrained
from polymodal.prepare.media import Sound
from polymodal.prepare.speech.sound import at_rate


@cache
def _loaded(loader: str, processor: str, name: str) -> tuple[Any, Any]:
    return load_pretrained(processor, name), load_pretrained(loader, name).eval()


def whisper(name: str, sound: Sound, language: str, most: int) -> tuple[str, float]:
    """Words by Whisper (Radford et al. 2023), in pieces of as many seconds as the model hears at once.

    How sure: the geometric mean of the tokens' probabilities. `language` as in `en`, empty to let the model tell; at
    most `most` tokens a piece.
    """
    import torch

    processor, model = _loaded("WhisperForConditionalGeneration", "WhisperProcessor", name)
    features = processor.feature_extractor
    wave = at_rate(sound, features.sampling_rate)
    given = {"language": language} if language else {}
    words, logs = [], []
    for start in range(0, len(wave), features.n_samples):
        piece = features(
            wave[start : start + features.n_samples], sampling_rate=features.sampling_rate, return_tensors="pt"
        )
        with torch.no_grad():
            out = model.generate(
                piece.input_features, do_sample=False, num_beams=1, max_new_tokens=most, output_scores=True,
                return_dict_in_generate=True, **given,
            )  # fmt: skip
            scores = model.compute_transition_scores(out.sequences, out.scores, normalize_logits=True)
        words.append(processor.batch_decode(out.sequences, skip_special_tokens=True)[0].strip())
        logs += scores[0][torch.isfinite(scores[0])].tolist()
    return " ".join(w for w in words if w), float(np.exp(np.mean(logs))) if logs else 0.0


def wav2vec2(name: str, sound: Sound) -> tuple[str, float]:
    """Words by wav2vec 2.0 with CTC (Baevski et al. 2020): the likeliest letter of each frame, repeats and blanks out.

    How sure: the mean probability of those letters over the frames that are not blank.
    """
    import torch

    processor, model = _loaded("Wav2Vec2ForCTC", "Wav2Vec2Processor", name)
    rate = processor.feature_extractor.sampling_rate
    wave = at_rate(sound, rate)
    if len(wave) < 400:
        wave = np.pad(wave, (0, 400 - len(wave)))  # the network's first frame spans 400 samples
    with torch.no_grad():
        given = processor(wave, sampling_rate=rate, return_tensors="pt")
        sure, letters = model(given.input_values).logits[0].softmax(-1).max(-1)
    heard = letters != processor.tokenizer.pad_token_id
    text = processor.batch_decode(letters[None])[0].strip()
    return text, float(sure[heard].mean()) if heard.any() else 0.0


def vits(name: str, text: str, seed: int, speed: float) -> Sound:
    """Speech by VITS (Kim, Kong & Son 2021): a network from letters or phonemes to the wave. The same seed, the same
    sound."""
    import torch

    tokenizer, model = _loaded("VitsModel", "VitsTokenizer", name)
    given = tokenizer(text, return_tensors="pt")
    if not given["input_ids"].numel():
        raise BadArgument(f"The model {name!r} knows no letter of {text!r}.")
    model.speaking_rate = speed
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        wave = model(**given).waveform[0]
    return Sound(wave.clamp(-1, 1).float().numpy(), model.config.sampling_rate)
