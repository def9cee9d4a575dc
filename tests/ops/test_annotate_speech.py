"""Speech to text and back: what is said is heard, options count, small local models are used."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
import torch
from ops import applied, run

from polymodal.core.errors import BadArgument, MissingExtra
from polymodal.data.media.sound import Sound
from polymodal.nn.signal.cepstra import autocorrelation, levinson
from polymodal.ops.speech.formant import PHONEMES, RATE, phonemes
from polymodal.ops.speech.synthesis import joined, recordings, speak

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
    assert phonemes("café") == phonemes("cafe")
    assert phonemes("BBC, U.S.") == ["B", "IY", "B", "IY", "S", "IY", "_", "Y", "UW", "EH", "S"]
    assert phonemes("1,000") == phonemes("1000")
    assert phonemes("Dr. Bell") == phonemes("docter Bell"), "no pause after a title"
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
    many = joined("good day " * 3, tone)
    assert len(many.samples) == 6 * 800 - 5 * 160
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
    assert speak("你好", engine="espeak", voice="zh").seconds > 0.3
    with pytest.raises(BadArgument, match="says nothing"):
        speak("...", engine="espeak")
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


def test_bands_that_a_low_rate_lacks_are_filled():
    from polymodal.ops.speech.hmm import FILL, filled

    tone = np.sin(np.arange(16_000) * 0.2).astype(np.float32)
    assert filled(tone, 16_000) is tone
    added = np.abs(np.fft.rfft(filled(tone, 8_000) - tone)) ** 2
    assert added[:4000].sum() < 1e-6 * added[4000:].sum()
    assert (filled(tone, 8_000) - tone).std() == pytest.approx(FILL / 2**0.5, rel=0.05)
    assert np.array_equal(filled(tone, 8_000), filled(tone, 8_000))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"words": ["zzxqy"]}, "lacks zzxqy"),
        ({"words": ["one"], "grammar": "#JSGF V1.0;"}, "not several"),
        ({"grammar": "no-such-file"}, "JSGF"), ({"dictionary": "no-such-file"}, "does not exist"),
        ({"language_model": "no-such-file"}, "does not exist"), ({"model": "m"}, "pocketsphinx takes"),
        ({"engine": "whisper"}, "needs `model`"),
        ({"engine": "whisper", "model": "m", "grammar": "a"}, "cannot be told"),
        ({"engine": "wav2vec2", "model": "m", "words": ["a"]}, "cannot be told"),
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


NOISE = np.random.default_rng(0).normal(0, 0.1, 4000).astype(np.float32)


def words_with(tokenizer_class, letters, specials):
    """A byte-level tokenizer of single letters, with special tokens behind them."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    made = tokenizer_class(vocab={c: i for i, c in enumerate(bytes_to_unicode().values())}, merges=letters)
    made.add_special_tokens({"additional_special_tokens": specials})
    return made


@pytest.fixture(scope="module", params=["english", "many"])
def tiny_whisper(request, tmp_path_factory):
    """A folder as `save_pretrained` writes it; the network says B twice and ends, whatever it hears."""
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp(f"whisper-{request.param}")
    names = ["<|startoftranscript|>", "<|en|>", "<|de|>", "<|translate|>", "<|transcribe|>", "<|nospeech|>",
             "<|notimestamps|>"]  # fmt: skip
    tokenizer = words_with(transformers.WhisperTokenizer, [], names)
    end = tokenizer.convert_tokens_to_ids("<|endoftext|>")
    ids = dict(zip(names, tokenizer.convert_tokens_to_ids(names)))
    letter = tokenizer("B", add_special_tokens=False).input_ids[0]
    ends = {"bos_token_id": end, "eos_token_id": end, "pad_token_id": end, "decoder_start_token_id": ids[names[0]]}
    torch.manual_seed(0)
    model = transformers.WhisperForConditionalGeneration(transformers.WhisperConfig(
        vocab_size=len(tokenizer), d_model=8, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=8, decoder_ffn_dim=8, max_target_positions=24, **ends,
    ))  # fmt: skip
    decoder = model.model.decoder
    with torch.no_grad():  # positions alone speak: start, [language, task,] no timestamps, B, B, end
        for weights in (*decoder.layers.parameters(), decoder.embed_positions.weight, decoder.embed_tokens.weight):
            weights.zero_()
        first = 1 if request.param == "english" else 3
        decoder.embed_tokens.weight[letter, 0] = decoder.embed_tokens.weight[end, 1] = 5.0
        decoder.embed_positions.weight[: first + 2, 0] = 9.0
        decoder.embed_positions.weight[first + 2 :, 1] = 99.0
    more = {} if request.param == "english" else {
        "lang_to_id": {name: ids[name] for name in ("<|en|>", "<|de|>")},
        "task_to_id": {"translate": ids["<|translate|>"], "transcribe": ids["<|transcribe|>"]},
    }  # fmt: skip
    model.generation_config = transformers.GenerationConfig(
        **ends, **more, max_length=24, is_multilingual=request.param == "many", no_timestamps_token_id=ids[names[-1]],
    )  # fmt: skip
    model.save_pretrained(folder)
    transformers.WhisperProcessor(transformers.WhisperFeatureExtractor(), tokenizer).save_pretrained(folder)
    return request.param, str(folder)


def test_whisper_by_a_local_model(tiny_whisper):
    kind, folder = tiny_whisper
    stereo = Sound(np.stack([NOISE, NOISE], 1), 8000)
    long = Sound(np.tile(NOISE, 180), 16000)  # 45 s
    silent, empty = Sound(np.zeros(8000, np.float32), 16000), Sound(np.zeros(0, np.float32), 16000)
    spec = {"engine": "whisper", "model": folder, "language": "en", "most": 8}
    found, op = hears(spec, [Sound(NOISE, 8000), stereo, long, silent, empty, None])
    assert [text for text, _ in found] == ["BB", "BB", "BB BB", "", "", None]
    assert all(0 < sure <= 1 for _, sure in found[:3])
    assert found[0] == found[1], "both channels hold the same"
    assert [sure for _, sure in found[3:]] == [0.0, 0.0, None]
    assert pickle.loads(pickle.dumps(op)).told(Sound(NOISE, 8000))["transcript"] == "BB"
    assert hears({**spec, "language": "", "most": 1}, [long])[0][0][0] == "B B"
    for options, message in (
        ({"language": "xx"}, "of English alone" if kind == "english" else "knows no language 'xx'"),
        ({"most": 99}, "writes at most 20 tokens"),
    ):
        with pytest.raises(BadArgument, match=message):
            hears({**spec, **options}, [])
    german = {"english": "of English alone", "many": None}[kind]
    if german is None:
        assert hears({**spec, "language": "german"}, [long])[0][0][0] == "BB BB"
    else:
        with pytest.raises(BadArgument, match=german):
            hears({**spec, "language": "german"}, [])


@pytest.mark.parametrize("at_once", [1, 8])
def test_whisper_told_the_words(tiny_whisper, tmp_path, monkeypatch, at_once):
    """Against every spelling scored by itself."""
    from polymodal.ops.speech import neural

    transformers = pytest.importorskip("transformers")
    kind, folder = tiny_whisper
    model = transformers.WhisperForConditionalGeneration.from_pretrained(folder)
    torch.manual_seed(1)
    for weights in model.parameters():
        torch.nn.init.normal_(weights, std=0.5)
    model.save_pretrained(tmp_path / "random")
    processor = transformers.WhisperProcessor.from_pretrained(folder)
    processor.save_pretrained(tmp_path / "random")
    words = ["ab", "b", "cab dab", "Ba"]
    monkeypatch.setattr(neural, "AT_ONCE", at_once)
    spec = {"engine": "whisper", "model": str(tmp_path / "random"), "language": "en", "words": words}
    (said, sure), silent = hears(spec, [Sound(NOISE, 8000), Sound(np.zeros(8000, np.float32), 16000)])[0]
    assert silent == ("", 0.0)

    begin = {"english": ["<|startoftranscript|>"], "many": ["<|startoftranscript|>", "<|en|>", "<|transcribe|>"]}[kind]
    start = processor.tokenizer.convert_tokens_to_ids([*begin, "<|notimestamps|>"])
    heard = processor.feature_extractor(Sound(NOISE, 8000).at(16000), sampling_rate=16000, return_tensors="pt")
    chances = []
    for word in words:
        chances.append(0.0)
        for text in {f" {w}{stop}" for w in (word, word.capitalize()) for stop in ("", ".")}:
            ids = [*start, *processor.tokenizer.encode(text, add_special_tokens=False), model.config.eos_token_id]
            with torch.no_grad():
                told = model.eval()(input_features=heard.input_features, decoder_input_ids=torch.tensor([ids])).logits
            logs = [told[0, i - 1].log_softmax(-1)[ids[i]].item() for i in range(len(start), len(ids))]
            chances[-1] += np.exp(sum(logs))
    assert said == words[int(np.argmax(chances))]
    assert sure == pytest.approx(max(chances) / sum(chances), abs=2e-3)
    if kind == "many":
        with pytest.raises(BadArgument, match="knows several languages: words need a language"):
            hears({**spec, "language": ""}, [])


def test_long_sounds_are_cut_where_they_are_quiet():
    from polymodal.ops.speech.neural import pieces

    rng = np.random.default_rng(0)
    wave = rng.normal(0, 0.1, 100_000).astype(np.float32)
    wave[24_000:26_000] *= 0.01
    wave[33_000:34_000] = 0  # quiet, but beyond the first piece
    cut = list(pieces(wave, 8000, 30_000))
    assert np.array_equal(np.concatenate(cut), wave)
    assert max(map(len, cut)) <= 30_000
    assert 24_000 < len(cut[0]) < 26_000
    assert len(list(pieces(wave[:30_000], 8000, 30_000))) == 1


def test_long_sounds_and_silence_by_wav2vec2(tmp_path, monkeypatch):
    from polymodal.ops.speech import neural

    test_wav2vec2_by_a_local_model(tmp_path)
    spec = {"engine": "wav2vec2", "model": str(tmp_path / "tiny")}
    long, silent = Sound(np.tile(NOISE, 180), 16000), Sound(np.zeros(8000, np.float32), 16000)
    assert hears(spec, [long, silent])[0] == [("B B", pytest.approx(0.999, abs=1e-3)), ("", 0.0)]
    monkeypatch.setattr(neural, "PIECE", 60)
    assert hears(spec, [long])[0][0][0] == "B"


@pytest.fixture(scope="module")
def tiny_vits(tmp_path_factory):
    """A folder as `save_pretrained` writes it: random, so that what it says is noise."""
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("vits")
    letters = ["<pad>", *"abcdefghijklmnopqrstuvwxyz' ", "<unk>"]
    (folder / "vocab.json").write_text(json.dumps({c: i for i, c in enumerate(letters)}))
    torch.manual_seed(0)
    transformers.VitsModel(transformers.VitsConfig(
        vocab_size=len(letters), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, ffn_dim=16, flow_size=16,
        spectrogram_bins=9, prior_encoder_num_flows=2, prior_encoder_num_wavenet_layers=1,
        posterior_encoder_num_wavenet_layers=1, duration_predictor_filter_channels=16,
        duration_predictor_num_flows=1, depth_separable_num_layers=1, upsample_initial_channel=16,
        upsample_rates=[4, 4], upsample_kernel_sizes=[8, 8], resblock_kernel_sizes=[3],
        resblock_dilation_sizes=[[1, 3]],
    )).save_pretrained(folder)  # fmt: skip
    tokenizer = transformers.VitsTokenizer(str(folder / "vocab.json"), phonemize=False)
    tokenizer.save_pretrained(folder)
    tokenizer.phonemize = True
    tokenizer.init_kwargs["phonemize"] = True
    transformers.VitsModel.from_pretrained(folder).save_pretrained(folder / "phonemes")
    tokenizer.save_pretrained(folder / "phonemes")
    return folder


def test_vits_by_a_local_model(tiny_vits):
    spec = {"name": "speak", "engine": "vits", "model": str(tiny_vits)}
    long = "good morning to you all. " * 40  # 1,000 letters
    rows, _ = applied(spec, {"x": ["good day", long, None, "42", "Good day!"]}, {"x": "text"})
    assert {one.row.number: one.reason for one in rows.refused}.keys() == {3}
    assert "knows no letter of '42'" in rows.refused[0].reason
    said = {row.number: row.get("x_spoken") for row in rows.kept}
    assert said[2] is None
    assert said[0].rate == 16000
    assert np.isfinite(said[0].samples).all()
    assert np.abs(said[0].samples).max() <= 1
    assert np.array_equal(said[0].samples, said[4].samples), "capitals and signs are not said"
    assert len(said[1].samples) > 10 * len(said[0].samples)
    assert rows.kept[0].get("x_spoken_model") == tiny_vits.name
    usual = speak("good day", engine="vits", model=str(tiny_vits))
    assert np.array_equal(usual.samples, said[0].samples)
    assert not np.array_equal(speak("good day", engine="vits", model=str(tiny_vits), seed=1).samples, usual.samples)
    slow = speak("good day", engine="vits", model=str(tiny_vits), speed=0.4)
    assert len(slow.samples) > 1.5 * len(usual.samples)


def test_models_that_cannot_speak_are_refused_before_any_row(tiny_vits):
    import importlib.util

    for model, message in (("phonemes", "reads its letters by phonemizer"), ("absent", "is not there")):
        if model == "absent" or importlib.util.find_spec("phonemizer") is None:
            with pytest.raises(BadArgument, match=message):
                applied({"name": "speak", "engine": "vits", "model": str(tiny_vits / model)}, {"x": []}, {"x": "text"})
