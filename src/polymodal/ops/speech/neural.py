"""Recognition and synthesis by networks of the Hugging Face library."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np

from polymodal.core.errors import BadArgument, suggest
from polymodal.data.media.sound import Sound
from polymodal.ops.networks import in_parts, network, quiet

SILENT = 1e-6  # mean power below which a piece holds no words: -60 dB
UNSURE, NO_SPEECH = -1.0, 0.6  # mean log probability, and chance of no speech (Radford et al. 2023, section 4.5)
PIECE = 30  # seconds that a network without a length of its own hears at once
LETTERS = 500  # that VITS says at once: its attention grows with their square
AT_ONCE, NEGLIGIBLE = 8, 7.0  # spellings scored together; log probability below the best that adds nothing
PAUSE = 0.2  # seconds of quiet in which a long sound is cut


@cache
def listener(name: str, language: str, most: int) -> tuple[Any, Any, dict[str, str]]:
    """A Whisper model's processor and network, and what tells it the language.

    Raises `BadArgument` for a model that cannot be had, a language it does not know, and more tokens than it writes.
    """
    processor, model = network("WhisperForConditionalGeneration", "WhisperProcessor", name)
    settings = model.generation_config
    room = model.config.max_target_positions - 4  # start, language, task, no timestamps
    if most > room:
        raise BadArgument(f"The model {name!r} writes at most {room} tokens a piece; got most={most}.")
    if not language:
        return processor, model, {}
    known = [token.strip("<|>") for token in getattr(settings, "lang_to_id", None) or {}]
    if not getattr(settings, "is_multilingual", bool(known)):
        if language.lower() not in ("en", "english"):
            raise BadArgument(f"The model {name!r} is of English alone; got language={language!r}.")
        return processor, model, {}
    from transformers.models.whisper.tokenization_whisper import TO_LANGUAGE_CODE

    if TO_LANGUAGE_CODE.get(language.lower(), language.lower()) not in known:
        raise BadArgument(f"The model {name!r} knows no language {language!r}.{suggest(language, known)}")
    return processor, model, {"language": language.lower()}


def whisper(name: str, sound: Sound, language: str, most: int) -> tuple[str, float]:
    """Words by Whisper (Radford et al. 2023). What is longer than the model hears at once is cut where it is quiet.

    How sure: the geometric mean of the tokens' probabilities. `language` as in `en`, empty to let the model tell; at
    most `most` tokens a piece. Pieces without words, by their level or by the model's own account, give none.
    """
    import torch

    processor, model, given = listener(name, language, most)
    features = processor.feature_extractor
    wave = sound.at(features.sampling_rate)
    words, logs = [], []
    for samples in pieces(wave, features.sampling_rate, features.n_samples):
        if not _loud(samples):
            continue
        heard = features(samples, sampling_rate=features.sampling_rate, return_tensors="pt").input_features
        with torch.no_grad(), quiet():
            out = model.generate(
                heard, do_sample=False, num_beams=1, max_new_tokens=most, output_scores=True,
                return_dict_in_generate=True, **given,
            )  # fmt: skip
            scores = model.compute_transition_scores(out.sequences, out.scores, normalize_logits=True)[0]
        finite = scores[torch.isfinite(scores)].tolist()
        if not finite or (np.mean(finite) < UNSURE and _no_speech(model, heard) > NO_SPEECH):
            continue
        words.append(processor.batch_decode(out.sequences, skip_special_tokens=True)[0].strip())
        logs += finite
    return " ".join(w for w in words if w), float(np.exp(np.mean(logs))) if logs else 0.0


def whisper_among(name: str, sound: Sound, language: str, words: Sequence[str]) -> tuple[str, float]:
    """Which of some phrases is said, by the probability that Whisper writes it, small or with a capital, with or
    without a full stop; its share in that of all phrases says how sure. Only as much as the model hears at once, 30 s,
    is looked at. Silence gives none.

    The likeliest beginnings are followed first, and none whose first token alone is less likely than what was found.

    Raises `BadArgument` where a model of several languages is not told which.
    """
    import torch

    processor, model, _ = listener(name, language, 1)
    features = processor.feature_extractor
    wave = sound.at(features.sampling_rate)[: features.n_samples]
    if not _loud(wave):
        return "", 0.0
    start = beginning(name, model, language)
    ids, of = _spellings(name, tuple(words), tuple(start))
    heard = features(wave, sampling_rate=features.sampling_rate, return_tensors="pt").input_features
    scored = torch.full((len(ids),), -torch.inf)
    with torch.no_grad():
        states = model.model.encoder(heard).last_hidden_state
        first = model(encoder_outputs=(states,), decoder_input_ids=torch.tensor([start])).logits[0, -1].log_softmax(-1)
        bound = first[torch.tensor([one[len(start)] for one in ids])]
        for block in bound.argsort(descending=True, stable=True).split(AT_ONCE):
            if bound[block[0]] < scored.max() - NEGLIGIBLE:
                break
            scored[block] = _log_probability(model, states, [ids[i] for i in block.tolist()], len(start))
    chance = torch.stack([scored[of == i].logsumexp(0) for i in range(len(words))]).softmax(0)
    best = int(chance.argmax())
    return words[best], float(chance[best])


@cache
def _spellings(name: str, words: tuple[str, ...], start: tuple[int, ...]) -> tuple[list[Any], Any]:
    """Ways to write each phrase, as tokens with the beginning and the end; and which phrase each is."""
    import torch

    processor, model, _ = listener(name, "", 1)
    end = model.generation_config.eos_token_id
    ids, of = [], []
    for i, word in enumerate(words):
        for text in dict.fromkeys((word, word.capitalize())):
            for stop in ("", "."):
                spelt = processor.tokenizer.encode(f" {text}{stop}", add_special_tokens=False)
                ids.append(torch.tensor([*start, *spelt, end[0] if isinstance(end, list) else end]))
                of.append(i)
    return ids, torch.tensor(of)


def _log_probability(model: Any, states: Any, ids: Sequence[Any], given: int) -> Any:
    """[N]: how likely each of N rows of tokens is after its first `given`."""
    import torch

    rows = torch.nn.utils.rnn.pad_sequence(list(ids), batch_first=True)
    logits = model(encoder_outputs=(states.expand(len(rows), -1, -1),), decoder_input_ids=rows[:, :-1]).logits
    each = logits.log_softmax(-1).gather(2, rows[:, 1:, None])[..., 0]
    at, length = torch.arange(1, rows.shape[1]), torch.tensor([len(one) for one in ids])
    return (each * ((at >= given) & (at < length[:, None]))).sum(1)


def beginning(name: str, model: Any, language: str) -> list[int]:
    """The tokens that tell Whisper to write in a language, without times."""
    settings = model.generation_config
    tokens = [settings.decoder_start_token_id]
    known = getattr(settings, "lang_to_id", None)
    if known:
        if not language:
            raise BadArgument(f"The model {name!r} knows several languages: words need a language, such as 'en'.")
        from transformers.models.whisper.tokenization_whisper import TO_LANGUAGE_CODE

        tokens += [known[f"<|{TO_LANGUAGE_CODE.get(language.lower(), language.lower())}|>"]]
        tokens += [settings.task_to_id["transcribe"]]
    bare = getattr(settings, "no_timestamps_token_id", None)
    return tokens if bare is None else [*tokens, bare]


def _no_speech(model: Any, heard: Any) -> float:
    """How likely the model takes a piece for one without speech: of the token before that of no timestamps."""
    import torch

    bare = getattr(model.generation_config, "no_timestamps_token_id", None)
    if bare is None:
        return 0.0
    start = torch.tensor([[model.generation_config.decoder_start_token_id]])
    with torch.no_grad():
        return float(model(input_features=heard, decoder_input_ids=start).logits[0, 0].softmax(-1)[bare - 1])


def wav2vec2(name: str, sound: Sound) -> tuple[str, float]:
    """Words by wav2vec 2.0 with CTC (Baevski et al. 2020): the likeliest letter of each frame, repeats and blanks out.

    What is longer than 30 s is cut where it is quiet. How sure: the mean probability of those letters over the frames
    that are not blank.
    """
    import torch

    processor, model = network("Wav2Vec2ForCTC", "Wav2Vec2Processor", name)
    rate = processor.feature_extractor.sampling_rate
    words, chances = [], []
    for samples in pieces(sound.at(rate), rate, PIECE * rate):
        if not _loud(samples):
            continue
        if len(samples) < 400:
            samples = np.pad(samples, (0, 400 - len(samples)))  # the network's first frame spans 400 samples
        with torch.no_grad():
            given = processor(samples, sampling_rate=rate, return_tensors="pt")
            sure, letters = model(given.input_values).logits[0].softmax(-1).max(-1)
        words.append(processor.batch_decode(letters[None])[0].strip())
        chances += sure[letters != processor.tokenizer.pad_token_id].tolist()
    return " ".join(w for w in words if w), float(np.mean(chances)) if chances else 0.0


def pieces(wave: np.ndarray, rate: int, most: int) -> Iterator[np.ndarray]:
    """The wave in pieces of at most `most` samples, cut in the middle of the quietest stretch of `PAUSE` seconds in the
    last third of each, so that no word is cut that need not be."""
    span = max(1, round(PAUSE * rate))
    while len(wave) > most:
        first = most - most // 3
        total = np.concatenate([[0.0], np.cumsum(wave[first:most].astype(np.float64) ** 2)])
        at = first + int(np.argmin(total[span:] - total[:-span])) + span // 2
        yield wave[:at]
        wave = wave[at:]
    yield wave


def _loud(samples: np.ndarray) -> bool:
    """Whether there is anything to hear: a recogniser that is given silence makes words up."""
    return bool(len(samples)) and float((samples.astype(np.float64) ** 2).mean()) >= SILENT


@cache
def voice(name: str) -> tuple[Any, Any]:
    """A VITS model's tokenizer and network. Raises `BadArgument` where it cannot be had, or lacks a package to read."""
    tokenizer, model = network("VitsModel", "VitsTokenizer", name)
    for package, needed in (("phonemizer", tokenizer.phonemize), ("uroman", tokenizer.is_uroman)):
        if needed and importlib.util.find_spec(package) is None:
            raise BadArgument(f"The model {name!r} reads its letters by {package}: pip install {package}.")
    return tokenizer, model


def vits(name: str, text: str, seed: int, speed: float) -> Sound:
    """Speech by VITS (Kim, Kong & Son 2021): a network from letters or phonemes to the wave. The same seed, the same
    sound. Texts above 500 letters are said in parts, cut between sentences."""
    import torch

    tokenizer, model = voice(name)
    model.speaking_rate = speed
    said = []
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for part in in_parts(text, len, LETTERS):
            given = tokenizer(part, return_tensors="pt")
            if given["input_ids"].shape[1] > int(tokenizer.add_blank):  # a blank stands before and behind each letter
                said.append(model(**given).waveform[0].clamp(-1, 1).float().numpy())
    if not said:
        raise BadArgument(f"The model {name!r} knows no letter of {text!r}.")
    return Sound(np.concatenate(said), model.config.sampling_rate)
