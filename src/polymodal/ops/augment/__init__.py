"""Ops that make further rows: the catalogue. Nothing is imported until it is named."""

from polymodal.core.registry import Catalogue, Entry
from polymodal.ops import engines

AUGMENT = Catalogue(
    "augment",
    "polymodal.ops.base:Op",
    {
        # pictures
        "flip": Entry(
            "polymodal.ops.augment.image:Flip",
            "Mirrors pictures, boxes and areas, and swaps left and right in the row's texts.",
            "folklore",
            engines=(engines.PILLOW,),
        ),
        "rotate": Entry(
            "polymodal.ops.augment.image:Rotate", "Turns pictures a little.", "folklore", engines=(engines.PILLOW,)
        ),
        "crop": Entry(
            "polymodal.ops.augment.image:Crop",
            "A window of the picture at the size of the whole.",
            "Szegedy et al. 2015",
            engines=(engines.PILLOW,),
        ),
        "affine": Entry(
            "polymodal.ops.augment.image:Affine",
            "Shifts, scales and shears pictures.",
            "folklore",
            engines=(engines.PILLOW,),
        ),
        "perspective": Entry(
            "polymodal.ops.augment.image:Perspective",
            "Pictures as seen from another place.",
            "folklore",
            engines=(engines.PILLOW,),
        ),
        "color": Entry(
            "polymodal.ops.augment.image:Color",
            "Other brightness, contrast, saturation and hue.",
            "folklore",
            engines=(engines.PILLOW,),
        ),
        "blur": Entry("polymodal.ops.augment.image:Blur", "Gaussian blur.", "folklore", engines=(engines.PILLOW,)),
        "noise": Entry(
            "polymodal.ops.augment.image:Noise", "Gaussian noise on pictures.", "folklore", engines=(engines.OURS,)
        ),
        "erase": Entry(
            "polymodal.ops.augment.image:Erase",
            "A rectangle becomes noise.",
            "Zhong, Zheng, Kang, Li, Yang 2020",
            engines=(engines.OURS,),
        ),
        "mixup": Entry(
            "polymodal.ops.augment.image:MixUp",
            "A weighted mean of two pictures of one label.",
            "Zhang, Cisse, Dauphin, Lopez-Paz 2018",
            engines=(engines.PILLOW,),
        ),
        "cutmix": Entry(
            "polymodal.ops.augment.image:CutMix",
            "A piece of another picture of the same label.",
            "Yun, Han, Oh, Chun, Choe, Yoo 2019",
            engines=(engines.PILLOW,),
        ),
        # text
        "synonyms": Entry(
            "polymodal.ops.augment.text:Synonyms",
            "Words give way to synonyms (WordNet, or a list of one's own).",
            "Wei & Zou 2019; Miller 1995 (WordNet)",
            engines=(engines.OURS, engines.WORDNET, engines.JIEBA),
        ),
        "insert_words": Entry(
            "polymodal.ops.augment.text:InsertWords",
            "Synonyms are put in.",
            "Wei & Zou 2019",
            engines=(engines.OURS, engines.WORDNET, engines.JIEBA),
        ),
        "drop_words": Entry(
            "polymodal.ops.augment.text:DropWords", "Words are left out.", "Wei & Zou 2019", engines=(engines.OURS,)
        ),
        "swap_words": Entry(
            "polymodal.ops.augment.text:SwapWords",
            "Words change places.",
            "Wei & Zou 2019",
            engines=(engines.OURS,),
        ),
        "back_translate": Entry(
            "polymodal.ops.augment.text:BackTranslate",
            "Translated there and back by MarianMT.",
            "Sennrich, Haddow, Birch 2016; Junczys-Dowmunt et al. 2018",
            "hf",
            engines=(engines.TRANSFORMERS,),
        ),
        "fill_in": Entry(
            "polymodal.ops.augment.text:FillIn",
            "Masked words filled in by a language model.",
            "Kobayashi 2018",
            "hf",
            engines=(engines.TRANSFORMERS,),
        ),
        # sound
        "turn_points": Entry(
            "polymodal.ops.augment.points:TurnPoints",
            "Clouds turned about the upright axis, shaken, with points left out.",
            "Qi et al. 2017",
            engines=(engines.OURS,),
        ),
        "volume": Entry("polymodal.ops.augment.audio:Volume", "Louder or softer.", "folklore", engines=(engines.OURS,)),
        "speed": Entry(
            "polymodal.ops.augment.audio:Speed",
            "Faster or slower; times in other columns move along.",
            "Ko, Peddinti, Povey, Khudanpur 2015",
            engines=(engines.SOXR,),
        ),
        "pitch": Entry(
            "polymodal.ops.augment.audio:Pitch",
            "Higher or lower at the same length.",
            "Flanagan & Golden 1966",
            engines=(engines.OURS, engines.SOXR),
        ),
        "shift": Entry("polymodal.ops.augment.audio:Shift", "Earlier or later.", "folklore", engines=(engines.OURS,)),
        "add_noise": Entry(
            "polymodal.ops.augment.audio:AddNoise",
            "Noise at a signal-to-noise ratio.",
            "folklore",
            engines=(engines.OURS,),
        ),
        "room": Entry(
            "polymodal.ops.augment.audio:Room", "As heard in a room.", "Polack 1988", engines=(engines.SCIPY,)
        ),
        "spec_augment": Entry(
            "polymodal.ops.augment.audio:SpecAugment",
            "Stretches of time and frequency are silenced.",
            "Park et al. 2019",
            engines=(engines.SCIPY,),
        ),
        # series, numbers, rows
        "series_jitter": Entry(
            "polymodal.ops.augment.series:SeriesJitter",
            "Noise on series.",
            "Um et al. 2017",
            engines=(engines.OURS,),
        ),
        "series_scale": Entry(
            "polymodal.ops.augment.series:SeriesScale",
            "Channels scaled.",
            "Um et al. 2017",
            engines=(engines.OURS,),
        ),
        "series_warp": Entry(
            "polymodal.ops.augment.series:SeriesWarp", "Time warped.", "Um et al. 2017", engines=(engines.SCIPY,)
        ),
        "series_window": Entry(
            "polymodal.ops.augment.series:SeriesWindow",
            "A stretch drawn out to the length of the whole.",
            "Le Guennec, Malinowski, Tavenard 2016",
            engines=(engines.OURS,),
        ),
        "jitter": Entry(
            "polymodal.ops.augment.table:Jitter",
            "Noise within a column's spread.",
            "folklore",
            engines=(engines.OURS,),
        ),
        "smote": Entry(
            "polymodal.ops.augment.table:Smote",
            "Numbers move towards a near row of the same label.",
            "Chawla, Bowyer, Hall, Kegelmeyer 2002",
            engines=(engines.SCIPY,),
        ),
        "drop_streams": Entry(
            "polymodal.ops.augment.across:DropStreams",
            "Copies in which streams are missing.",
            "Neverova, Wolf, Taylor, Nebout 2016",
            engines=(engines.OURS,),
        ),
    },
)
