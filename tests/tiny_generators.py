"""Tiny random models that write, draw and speak, saved to a folder as transformers and diffusers save real ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tiny_towers import SMALL

LETTERS = "abcdefghijklmnopqrstuvwxyz"
SIDES = ("USER:", "ASSISTANT:")
MARKS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "<image>", *SIDES)
ALL = [*MARKS, "?", ".", "\n", *LETTERS, *(f"##{letter}" for letter in LETTERS)]
CHAT = (
    "{% for m in messages %}{{ 'USER: ' if m.role == 'user' else 'ASSISTANT: ' }}{% for c in m.content %}"
    "{% if c.type == 'image' %}<image>{% else %}{{ c.text }}{% endif %}{% endfor %} {% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT: {% endif %}"
)
TEXT = {"vocab_size": len(ALL), "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3, "max_position_embeddings": 256}
LOUD = {"initializer_range": 0.3}  # so that words hang on what is read
EYES = {"image_size": 32, "patch_size": 8}


def tokenizer(*, begins: bool = True):
    """Spells words letter by letter; marks are single tokens."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    held = Tokenizer(models.WordPiece(vocab={word: i for i, word in enumerate(ALL)}, unk_token="[UNK]"))
    held.normalizer = normalizers.Lowercase()
    held.decoder = decoders.WordPiece()
    held.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    if begins:
        held.post_processor = processors.TemplateProcessing(single="[CLS] $A", special_tokens=[("[CLS]", 2)])
    return PreTrainedTokenizerFast(
        tokenizer_object=held, pad_token="[PAD]", unk_token="[UNK]", bos_token="[CLS]", eos_token="[SEP]",
        additional_special_tokens=["<image>", *SIDES], model_max_length=77,
    )  # fmt: skip


def save_llava(folder: Path, *, chats: bool = True) -> str:
    from transformers import (
        CLIPImageProcessorPil,
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
    )

    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**EYES, **SMALL), text_config=LlamaConfig(**TEXT, **SMALL, **LOUD),
        image_token_index=4, image_seq_length=16,
    )  # fmt: skip
    LlavaForConditionalGeneration(config).save_pretrained(folder)
    size = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    LlavaProcessor(
        CLIPImageProcessorPil(**size), tokenizer(), patch_size=8, vision_feature_select_strategy="default",
        num_additional_image_tokens=1, chat_template=CHAT if chats else None,
    ).save_pretrained(folder)  # fmt: skip
    return str(folder)


def save_blip(folder: Path) -> str:
    from transformers import BlipConfig, BlipForConditionalGeneration, BlipImageProcessorPil, BlipProcessor

    text = {**TEXT, **SMALL, **LOUD, "sep_token_id": 3, "encoder_hidden_size": 32}
    BlipForConditionalGeneration(BlipConfig(text_config=text, vision_config={**EYES, **SMALL})).save_pretrained(folder)
    BlipProcessor(BlipImageProcessorPil(size={"height": 32, "width": 32}), tokenizer()).save_pretrained(folder)
    return str(folder)


def save_idefics3(folder: Path) -> str:
    """Each picture as one part and no rows of parts; it chats."""
    from transformers import (
        Idefics3Config,
        Idefics3ForConditionalGeneration,
        Idefics3ImageProcessorPil,
        Idefics3Processor,
    )

    grid = [f"<row_{i}_col_{j}>" for i in (1, 2, 3) for j in (1, 2, 3)]
    held = tokenizer()
    marks = ["<image>", *SIDES, "<fake_token_around_image>", "<end_of_utterance>", "<global-img>", *grid]
    held.add_special_tokens({"additional_special_tokens": marks})
    config = Idefics3Config(
        vision_config={**EYES, **SMALL}, scale_factor=2, image_token_id=4, pad_token_id=0,
        text_config={"model_type": "llama", **TEXT, **SMALL, **LOUD, "vocab_size": len(held)},
    )  # fmt: skip
    Idefics3ForConditionalGeneration(config).save_pretrained(folder)
    frames = Idefics3ImageProcessorPil(size={"longest_edge": 64}, max_image_size={"longest_edge": 32})
    Idefics3Processor(frames, held, image_seq_len=4, chat_template=CHAT).save_pretrained(folder)
    return str(folder)


def save_paligemma(folder: Path) -> str:
    """Its processor puts places of pictures before a text by itself, and wants a text."""
    from transformers import (
        PaliGemmaConfig,
        PaliGemmaForConditionalGeneration,
        PaliGemmaProcessor,
        SiglipImageProcessorPil,
    )

    held, frames = tokenizer(), SiglipImageProcessorPil(size={"height": 32, "width": 32})
    frames.image_seq_length = 16
    processor = PaliGemmaProcessor(frames, held)
    text = {**TEXT, **SMALL, **LOUD, "vocab_size": len(held), "num_key_value_heads": 4}
    config = PaliGemmaConfig(
        vision_config={"model_type": "siglip_vision_model", "projection_dim": 32, **EYES, **SMALL},
        text_config={"model_type": "gemma", "head_dim": 8, **text}, image_token_index=4, projection_dim=32,
    )  # fmt: skip
    PaliGemmaForConditionalGeneration(config).save_pretrained(folder)
    processor.save_pretrained(folder)
    return str(folder)


def save_git(folder: Path) -> str:
    from transformers import CLIPImageProcessorPil, GitConfig, GitForCausalLM, GitProcessor

    GitForCausalLM(GitConfig(vision_config={**EYES, **SMALL}, **TEXT, **SMALL, **LOUD)).save_pretrained(folder)
    size = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    GitProcessor(CLIPImageProcessorPil(**size), tokenizer()).save_pretrained(folder)
    return str(folder)


def save_captioner(folder: Path) -> str:
    """An encoder and a decoder without a processor for both."""
    from tiny_towers import save_framing
    from transformers import GPT2Config, GPT2LMHeadModel, VisionEncoderDecoderModel, ViTConfig, ViTModel

    sizes = {"vocab_size": len(ALL), "n_embd": 32, "n_layer": 1, "n_head": 2, "add_cross_attention": True, **LOUD}
    model = VisionEncoderDecoderModel(
        encoder=ViTModel(ViTConfig(**EYES, **SMALL)),
        decoder=GPT2LMHeadModel(GPT2Config(**sizes, bos_token_id=2, eos_token_id=3)),
    )
    for settings in (model.config, model.generation_config):
        settings.decoder_start_token_id, settings.pad_token_id = 2, 0
    model.save_pretrained(folder)
    save_framing(folder, "ViTImageProcessor", {"size": {"height": 32, "width": 32}})
    tokenizer().save_pretrained(folder)
    return str(folder)


def save_musicgen(folder: Path) -> str:
    from transformers import (
        EncodecConfig,
        EncodecFeatureExtractor,
        GenerationConfig,
        MusicgenConfig,
        MusicgenDecoderConfig,
        MusicgenForConditionalGeneration,
        MusicgenProcessor,
        T5Config,
    )

    config = MusicgenConfig(
        text_encoder=T5Config(
            vocab_size=len(ALL), d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2, pad_token_id=0, eos_token_id=3
        ).to_dict(),
        audio_encoder=EncodecConfig(
            sampling_rate=8000, target_bandwidths=[8.0], num_filters=2, hidden_size=8, codebook_size=16,
            upsampling_ratios=[4, 2], num_lstm_layers=1, codebook_dim=8,
        ).to_dict(),
        decoder=MusicgenDecoderConfig(
            vocab_size=16, hidden_size=16, num_hidden_layers=1, ffn_dim=16, num_attention_heads=2, num_codebooks=2,
            max_position_embeddings=64, pad_token_id=16, bos_token_id=16,
        ).to_dict(),
    )  # fmt: skip
    model = MusicgenForConditionalGeneration(config)
    for layer in model.audio_encoder.quantizer.layers:
        layer.codebook.embed.normal_()  # zeros before it is trained
    model.generation_config = GenerationConfig(
        max_length=12, do_sample=True, decoder_start_token_id=16, pad_token_id=16
    )
    model.save_pretrained(folder)
    MusicgenProcessor(EncodecFeatureExtractor(sampling_rate=8000), tokenizer()).save_pretrained(folder)
    return str(folder)


def save_vits(folder: Path) -> str:
    import json

    from transformers import VitsConfig, VitsModel, VitsTokenizer

    config = VitsConfig(
        vocab_size=28, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, ffn_dim=16, flow_size=16,
        spectrogram_bins=17, upsample_initial_channel=16, upsample_rates=[4, 4], upsample_kernel_sizes=[8, 8],
        resblock_kernel_sizes=[3], resblock_dilation_sizes=[[1]], prior_encoder_num_flows=1,
        prior_encoder_num_wavenet_layers=1, posterior_encoder_num_wavenet_layers=1, duration_predictor_num_flows=1,
        duration_predictor_filter_channels=16, depth_separable_num_layers=1, sampling_rate=8000,
    )  # fmt: skip
    VitsModel(config).save_pretrained(folder)
    (folder / "letters.json").write_text(json.dumps({letter: i for i, letter in enumerate(f"_{LETTERS} ")}))
    VitsTokenizer(
        str(folder / "letters.json"), pad_token="_", unk_token="_", add_blank=True, phonemize=False
    ).save_pretrained(folder)
    return str(folder)


def save_speecht5(folder: Path, vocoder: Path, speaker: Path, *, bands: int = 8) -> str:
    from transformers import SpeechT5Config, SpeechT5ForTextToSpeech, SpeechT5HifiGan, SpeechT5HifiGanConfig

    config = SpeechT5Config(
        vocab_size=len(ALL), hidden_size=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16, num_mel_bins=8, reduction_factor=2,
        speech_decoder_prenet_units=8, speech_decoder_postnet_units=8, speech_decoder_postnet_layers=2,
        speaker_embedding_dim=4, **LOUD, max_text_positions=20, pad_token_id=0, bos_token_id=2, eos_token_id=3,
    )  # fmt: skip
    SpeechT5ForTextToSpeech(config).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    SpeechT5HifiGan(
        SpeechT5HifiGanConfig(
            **LOUD,
            model_in_dim=bands,
            sampling_rate=4000,
            upsample_initial_channel=16,
            upsample_rates=[4, 4],
            upsample_kernel_sizes=[8, 8],
            resblock_kernel_sizes=[3],
            resblock_dilation_sizes=[[1]],
        )
    ).save_pretrained(vocoder)
    np.save(speaker, np.linspace(-1, 1, 4, dtype=np.float32))
    return str(folder)


def save_vocoder(folder: Path, *, kind: str = "SpeechT5HifiGan", told: bool = True, **changed) -> str:
    """Of 16 bands at 8 kHz, windows of 256 samples, 64 apart; `told` beside it, with what of that is `changed`."""
    import transformers

    if kind == "UnivNetModel":
        config = transformers.UnivNetConfig(
            model_in_channels=4, model_hidden_channels=4, num_mel_bins=16, kernel_predictor_hidden_channels=4,
            resblock_kernel_sizes=[3, 3], resblock_stride_sizes=[8, 8], resblock_dilation_sizes=[[1], [1]],
        )  # fmt: skip
        spectral = transformers.UnivNetFeatureExtractor(
            **{"sampling_rate": 8000, "num_mel_bins": 16, "hop_length": 64, "win_length": 256, "filter_length": 256}
            | changed
        )
    else:
        config = getattr(transformers, f"{kind}Config")(
            **LOUD, model_in_dim=16, upsample_initial_channel=8, upsample_rates=[8, 8], upsample_kernel_sizes=[16, 16],
            resblock_kernel_sizes=[3], resblock_dilation_sizes=[[1]],
            **({"sampling_rate": 8000} if kind == "SpeechT5HifiGan" else {}),
        )  # fmt: skip
        spectral = transformers.SpeechT5FeatureExtractor(
            **{"sampling_rate": 8000, "num_mel_bins": 16, "hop_length": 8, "win_length": 32, "fmax": 3800} | changed
        )
    getattr(transformers, kind)(config).save_pretrained(folder)
    if told:
        spectral.save_pretrained(folder)
    return str(folder)


def save_diffusion(folder: Path, **parts) -> str:
    """Stable Diffusion of 16 x 16 pixels."""
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    unet = UNet2DConditionModel(
        sample_size=8, in_channels=4, out_channels=4, block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=32, attention_head_dim=2,
    )  # fmt: skip
    vae = AutoencoderKL(
        block_out_channels=(8, 8), down_block_types=("DownEncoderBlock2D",) * 2, latent_channels=4, norm_num_groups=4,
        up_block_types=("UpDecoderBlock2D",) * 2, sample_size=16,
    )  # fmt: skip
    text = CLIPTextModel(CLIPTextConfig(**{**TEXT, "max_position_embeddings": 77}, **SMALL, **LOUD))
    sampler = DDIMScheduler(steps_offset=1, clip_sample=False)
    StableDiffusionPipeline(
        unet=unet, vae=vae, text_encoder=text, tokenizer=clip_tokenizer(folder), scheduler=sampler,
        safety_checker=None, feature_extractor=None, requires_safety_checker=False, **parts,
    ).save_pretrained(folder)  # fmt: skip
    return str(folder)


def clip_tokenizer(folder: Path):
    """CLIP's own, of letters."""
    import json

    from transformers import CLIPTokenizer

    folder.mkdir(parents=True, exist_ok=True)
    words: Sequence[str] = ["<|startoftext|>", "<|endoftext|>", *LETTERS, *(f"{letter}</w>" for letter in LETTERS)]
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=77)
