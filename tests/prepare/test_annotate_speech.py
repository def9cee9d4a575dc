"""Speech to text and back: what is said is heard, options count, small local models are used."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
import torch
from ops import applied, run

from polymodal.core.errors import BadArgument, MissingExtra
from polymodal.nn.cepstra import autocorrelation, levinson
from polymodal.prepare.media import Sound
from polymodal.prepare.speech.formant import PHONEMES, RATE, phonemes
from polymodal.prepare.speech.synthesis import joined, recordings, speak

DIGITS = ["one", "two", "five", "six", "seven"]


def test_vowels_have_their_formants():
    for vowel in ("IY", "AE", "AA"):
        wave = speak(f"{{{' '.join([vowel] * 4)}}}").samples.astype(np.float64)
        frame = np.append(0, np.diff(wave))[3200:4000] * np.hamming(800)
        predictor, _ = levinson(autocorrelation(torch.from_numpy(frame)[None], 12))
        roots = np.roots(np.append(1, -predictor[0].numpy()))
        found = np.sort(np.angle(roots[(roots.imag > 0) & (np.abs(roots) > 0.9)])) * RATE / (2 * np.pi)
        for formant in PHONEMES[vowel][:2]:
            assert np.abs(found - formant).min() < 90, (vowel, formant, found)


def test_formant_speech_reads_letters_and_obeys():
    assert phonemes("Make it, {HH AY}") == ["M", "EY", "K", "IH", "T", "_", "HH", "AY"]
    assert phonemes("city page 2") == ["S", "IH", "T", "IY", "P", "EY", "JH", "T", "UW"]
    base = speak("seven")
    assert np.array_equal(speak("seven").samples, base.samples)
    assert np.abs(base.samples).max() <= 1
    assert len(speak("seven", speed=2.0).samples) < 0.6 * len(base.samples)
    for more in ({"pitch": 200.0}, {"seed": 1}):
        assert not np.array_equal(speak("seven", **more).samples, base.samples)
    for text, message in (("{XX}", "Unknown phoneme"), ("中文", "nothing to say"), ("  ", "empty")):
        with pytest.raises(BadArgument, match=message):
            speak(text)
    for more in ({"pitch": 5.0}, {"speed": 9.0}, {"engine": "formants"}, {"engine": "units"}, {"engine": "vits"}):
        with pytest.raises(BadArgument):
            speak("seven", **more)


def test_units_are_joined(tmp_path):
    import soundfile

    tone = {name: Sound(np.full(800, level, np.float32), 8000) for name, level in (("good", 0.1), ("day", 0.2))}
    both = joined("Good day!", tone)
    assert len(both.samples) == 1600 - 160
    assert np.all(np.diff(both.samples) >= -1e-6), "blended, without a jump"
    whole = {**tone, "good day": Sound(np.zeros(8, np.float32), 8000)}
    assert len(joined("good day", whole).samples) == 8, "the longest unit wins"
    for name, sound in tone.items():
        soundfile.write(tmp_path / f"{name}.wav", sound.samples, 8000)
    assert set(recordings(str(tmp_path))) == {"good", "day"}
    rows, _ = applied(
        {"speak": {"engine": "units", "units": str(tmp_path)}}, {"x": ["good day", "good night", None]}, {"x": "text"}
    )
    assert [row.number for row in rows.kept] == [0, 2]
    assert "No unit says 'night'" in rows.refused[0].reason
    assert rows.kept[0].get("x_spoken").rate == 8000


def test_espeak_speaks():
    try:
        slow = speak("good morning", engine="espeak")
    except MissingExtra as error:
        pytest.skip(str(error))
    fast = speak("good morning", engine="espeak", speed=2.0)
    assert len(fast.samples) < 0.8 * len(slow.samples)
    high = speak("good morning", engine="espeak", pitch=190.0)
    german = speak("good morning", engine="espeak", voice="de")
    assert not np.array_equal(high.samples[:5000], slow.samples[:5000])
    assert len(german.samples) != len(slow.samples)
    with pytest.raises(BadArgument, match="no voice"):
        speak("x", engine="espeak", voice="no-such")


def hears(spec, cells):
    try:
        rows, op = applied({"name": "transcribe", **spec}, {"x": cells}, {"x": "audio"})
    except MissingExtra as error:
        pytest.skip(str(error))
    return [(r.get("x_transcript"), r.get("x_transcript_confidence")) for r in rows], op


def test_pocketsphinx_hears_espeak():
    try:
        said = [speak(word, engine="espeak", speed=0.8) for word in DIGITS]
    except MissingExtra as error:
        pytest.skip(str(error))
    found, op = hears({"words": DIGITS}, [*said, None])
    assert sum(text == word for (text, _), word in zip(found, DIGITS)) >= 4
    assert all(0 <= sure <= 1 for _, sure in found[:-1])
    assert found[-1] == (None, None)
    backwards, _ = hears({"words": DIGITS}, said[::-1])
    assert backwards[::-1] == found[:-1], "each sound is heard by itself"
    grammar = "#JSGF V1.0; grammar g; public <d> = cat | dog;"
    assert {text for text, _ in hears({"grammar": grammar}, said)[0]} <= {"cat", "dog", ""}
    again = pickle.loads(pickle.dumps(op))
    assert again.told(said[0])["transcript"] == found[0][0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"words": ["zzxqy"]}, "lacks zzxqy"),
        ({"words": ["one"], "grammar": "#JSGF V1.0;"}, "not several"),
        ({"grammar": "no-such-file"}, "JSGF"), ({"dictionary": "no-such-file"}, "does not exist"),
        ({"language_model": "no-such-file"}, "does not exist"), ({"model": "m"}, "pocketsphinx takes"),
        ({"engine": "whisper"}, "needs `model`"),
        ({"engine": "whisper", "model": "m", "words": ["a"]}, "cannot be told"),
        ({"engine": "wav2vec2", "model": "m", "language": "en"}, "has its language"),
        ({"engine": "sphinx"}, "Did you mean"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(options, message):
    try:
        with pytest.raises(BadArgument, match=message):
            applied({"name": "transcribe", **options}, {"x": []}, {"x": "audio"})
    except MissingExtra as error:
        pytest.skip(str(error))


def test_wav2vec2_by_a_local_model(tmp_path):
    transformers = pytest.importorskip("transformers")
    folder = tmp_path / "tiny"
    folder.mkdir()
    letters = ["<pad>", "<s>", "</s>", "<unk>", "|", "A", "B", "C"]
    (folder / "vocab.json").write_text(json.dumps({c: i for i, c in enumerate(letters)}))
    config = transformers.Wav2Vec2Config(
        vocab_size=len(letters), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        conv_dim=(8, 8), conv_kernel=(10, 8), conv_stride=(5, 4), num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=2, feat_extract_norm="layer", do_stable_layer_norm=True, pad_token_id=0,
    )  # fmt: skip
    model = transformers.Wav2Vec2ForCTC(config)
    torch.nn.init.zeros_(model.lm_head.weight)
    with torch.no_grad():
        model.lm_head.bias.copy_(torch.tensor([0.0, 0, 0, 0, 0, 0, 9, 0]))  # it says B, whatever it hears
    model.save_pretrained(folder)
    processor = transformers.Wav2Vec2Processor(
        transformers.Wav2Vec2FeatureExtractor(), transformers.Wav2Vec2CTCTokenizer(str(folder / "vocab.json"))
    )
    processor.save_pretrained(folder)
    sound = Sound(np.random.default_rng(0).normal(0, 0.1, 4000).astype(np.float32), 8000)
    found, _ = hears({"engine": "wav2vec2", "model": str(folder)}, [sound, Sound(sound.samples[:9], 8000), None])
    assert [text for text, _ in found] == ["B", "B", None]
    assert found[0][1] == pytest.approx(np.exp(9) / (np.exp(9) + 7), abs=1e-3)


def test_speak_op_sets_aside_what_it_cannot_say():
    after, reasons = run("speak", ["two dogs", "中文", None])
    assert list(reasons) == [1]
    assert "nothing to say" in reasons[1]
    assert after[0] == "two dogs"
