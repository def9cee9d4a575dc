"""Tiny random checkpoints saved to a folder, as `transformers` saves real ones."""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # before transformers is imported: a test never looks a name up

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "red", "shoe", "dog", "runs", "fast", "##er", "blue"]
SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}


def save_tokenizer(folder: Path, words: Sequence[str] = WORDS, **special: str) -> None:
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordPiece(vocab={w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        model_max_length=32, **special,
    ).save_pretrained(folder)  # fmt: skip


def save_bert(folder: Path) -> str:
    from transformers import BertConfig, BertModel

    BertModel(BertConfig(vocab_size=len(WORDS), max_position_embeddings=32, **SMALL)).save_pretrained(folder)
    save_tokenizer(folder)
    return str(folder)


def save_language_model(
    folder: Path, kind: str = "Llama", *, end: str | None = "[SEP]", words: Sequence[str] = WORDS
) -> str:
    import transformers

    options = {"vocab_size": len(words), "max_position_embeddings": 64, "tie_word_embeddings": True}
    options |= {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3, "initializer_range": 0.3}
    sizes = {"n_embd": 32, "n_layer": 2, "n_head": 4} if kind == "GPT2" else {**SMALL, "num_key_value_heads": 2}
    config = getattr(transformers, f"{kind}Config")(**options, **sizes)
    name = "GPT2LMHeadModel" if kind == "GPT2" else f"{kind}ForCausalLM"
    getattr(transformers, name)(config).save_pretrained(folder)
    save_tokenizer(folder, words, bos_token="[CLS]", **({"eos_token": end} if end else {}))
    return str(folder)


def save_vit(folder: Path) -> str:
    from transformers import ViTConfig, ViTModel

    ViTModel(ViTConfig(image_size=32, patch_size=8, **SMALL)).save_pretrained(folder)
    save_framing(folder, "ViTImageProcessor", {"size": {"height": 32, "width": 32}})
    return str(folder)


def save_framing(folder: Path, kind: str, options: dict) -> None:
    """A preprocessor_config.json, written by hand: the classes of that name want torchvision."""
    import json

    content = {
        "image_processor_type": kind, "do_resize": True, "do_rescale": True, "rescale_factor": 1 / 255,
        "do_normalize": True, "image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.25, 0.5], **options,
    }  # fmt: skip
    (folder / "preprocessor_config.json").write_text(json.dumps(content), encoding="utf-8")


def save_wav2vec2(folder: Path, *, masked: bool = True) -> str:
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model

    config = Wav2Vec2Config(
        conv_dim=(16, 16), conv_kernel=(10, 4), conv_stride=(5, 4), num_feat_extract_layers=2,
        num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=2, feat_extract_norm="layer", **SMALL,
    )  # fmt: skip
    Wav2Vec2Model(config).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(sampling_rate=8000, return_attention_mask=masked).save_pretrained(folder)
    return str(folder)


def save_whisper(folder: Path) -> str:
    from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperModel

    config = WhisperConfig(
        vocab_size=20, d_model=32, encoder_layers=2, decoder_layers=1, encoder_attention_heads=4,
        decoder_attention_heads=4, encoder_ffn_dim=48, decoder_ffn_dim=48, max_source_positions=100, num_mel_bins=8,
        pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1,
    )  # fmt: skip
    WhisperModel(config).save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=8, chunk_length=2).save_pretrained(folder)
    return str(folder)


def save_clip(folder: Path) -> str:
    from transformers import CLIPConfig, CLIPModel

    text = {"vocab_size": len(WORDS), "max_position_embeddings": 32, "eos_token_id": 3, "bos_token_id": 2, **SMALL}
    config = CLIPConfig(text_config=text, vision_config={"image_size": 32, "patch_size": 8, **SMALL}, projection_dim=24)
    CLIPModel(config).save_pretrained(folder)
    save_tokenizer(folder)
    framing = {"size": {"shortest_edge": 32}, "do_center_crop": True, "crop_size": {"height": 32, "width": 32}}
    save_framing(folder, "CLIPImageProcessor", framing)
    return str(folder)


def save_siglip_text(folder: Path) -> str:
    """A dual encoder whose text side pools the last place, be it padding."""
    from transformers import SiglipConfig, SiglipModel

    text = {"vocab_size": len(WORDS), "max_position_embeddings": 32, "projection_size": 32, **SMALL}
    config = SiglipConfig(text_config=text, vision_config={"image_size": 32, "patch_size": 8, **SMALL})
    SiglipModel(config).save_pretrained(folder)
    save_tokenizer(folder)
    return str(folder)


def save_dinov2(folder: Path) -> str:
    from transformers import Dinov2Config, Dinov2Model

    small = {name: value for name, value in SMALL.items() if name != "intermediate_size"}
    Dinov2Model(Dinov2Config(image_size=28, patch_size=7, mlp_ratio=2, **small)).save_pretrained(folder)
    framing = {"size": {"shortest_edge": 32}, "do_center_crop": True, "crop_size": {"height": 28, "width": 28}}
    save_framing(folder, "BitImageProcessor", framing)
    return str(folder)


def save_mobilenet(folder: Path) -> str:
    """Convolutional: no block of it has queries."""
    from transformers import MobileNetV2Config, MobileNetV2Model

    MobileNetV2Model(MobileNetV2Config(depth_multiplier=0.1, image_size=32, min_depth=4)).save_pretrained(folder)
    save_framing(folder, "MobileNetV2ImageProcessor", {"size": {"height": 32, "width": 32}})
    return str(folder)


def save_efficientnet(folder: Path) -> str:
    """Convolutional too; its framing divides by the spread twice, as that of published checkpoints does."""
    from transformers import EfficientNetConfig, EfficientNetModel

    config = EfficientNetConfig(
        image_size=32, width_coefficient=0.1, depth_coefficient=1.0, hidden_dim=128, kernel_sizes=[3, 5, 3],
        in_channels=[32, 16, 24], out_channels=[16, 24, 40], strides=[1, 2, 2], num_block_repeats=[1, 2, 1],
        expand_ratios=[1, 6, 6],
    )  # fmt: skip
    EfficientNetModel(config).save_pretrained(folder)
    framing = {"size": {"height": 32, "width": 32}, "include_top": True}
    save_framing(folder, "EfficientNetImageProcessor", framing)
    return str(folder)


def save_clap(folder: Path) -> str:
    from transformers import ClapConfig, ClapFeatureExtractor, ClapModel

    text = {"vocab_size": len(WORDS), "max_position_embeddings": 34, "projection_dim": 24, "pad_token_id": 0, **SMALL}
    audio = {
        "spec_size": 32, "num_mel_bins": 16, "patch_embeds_hidden_size": 16, "hidden_size": 32, "depths": [1, 1],
        "num_attention_heads": [2, 2], "projection_dim": 24, "window_size": 2, "num_hidden_layers": 2,
        "enable_fusion": False, "patch_size": 4, "patch_stride": [4, 4],
    }  # fmt: skip
    ClapModel(ClapConfig(text_config=text, audio_config=audio, projection_dim=24)).save_pretrained(folder)
    ClapFeatureExtractor(
        feature_size=16, sampling_rate=8000, max_length_s=1, fft_window_size=512, hop_length=160, frequency_max=4000,
        truncation="rand_trunc", padding="repeatpad",
    ).save_pretrained(folder)  # fmt: skip
    save_tokenizer(folder)
    return str(folder)


def save_bolt(folder: Path, *, reg: bool = True, context: int = 64) -> str:
    """Chronos-Bolt as its package saves it, decoder and all; weights by a formula, so that numbers can be stored."""
    import torch
    from safetensors.torch import save_file
    from transformers import T5Config, T5Model

    about = {"input_patch_size": 4, "input_patch_stride": 4, "prediction_length": 3, "quantiles": [0.1, 0.5, 0.9]}
    config = T5Config(
        vocab_size=1 + reg, d_model=16, d_kv=4, d_ff=24, num_layers=2, num_heads=4, feed_forward_proj="relu",
        chronos_config={**about, "context_length": context, "use_reg_token": reg}, pad_token_id=0,
        decoder_start_token_id=0, chronos_pipeline_class="ChronosBoltPipeline", reg_token_id=1,
        architectures=["ChronosBoltModelForForecasting"],
    )  # fmt: skip
    weights = dict(T5Model(config).state_dict())
    for name, (given, out) in {"input": (8, 16), "output": (16, 9)}.items():
        sizes = {"hidden_layer": (24, given), "output_layer": (out, 24), "residual_layer": (out, given)}
        for layer, (rows, columns) in sizes.items():
            weights[f"{name}_patch_embedding.{layer}.weight"] = torch.zeros(rows, columns)
            weights[f"{name}_patch_embedding.{layer}.bias"] = torch.zeros(rows)
    for name, weight in weights.items():
        pace = (1 + zlib.crc32(name.encode()) % 97) ** 0.5
        wave = torch.sin(torch.arange(weight.numel(), dtype=torch.float64) * pace).view_as(weight).float()
        weights[name] = 1 + 0.3 * wave if "layer_norm" in name else 0.5 * wave
    for part in ("encoder", "decoder"):
        del weights[f"{part}.embed_tokens.weight"]
    config.save_pretrained(folder)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return str(folder)
