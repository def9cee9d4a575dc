"""Ops that mend cells or set rows aside: the catalogue. Nothing is imported until it is named."""

from polymodal.core.registry import Catalogue, Entry
from polymodal.ops import engines

CLEAN = Catalogue(
    "clean",
    "polymodal.ops.base:Op",
    {
        # any media
        "readable": Entry(
            "polymodal.ops.clean.image:Readable",
            "Sets aside media that cannot be opened: absent, empty, truncated, too large to decode.",
            "folklore",
            engines=(engines.PILLOW, engines.SOUNDFILE, engines.AV, engines.PYDICOM, engines.NIBABEL),
        ),
        "exact_duplicates": Entry(
            "polymodal.ops.clean.duplicates:ExactDuplicates",
            "Keeps the first of rows whose cells are equal, byte for byte.",
            "Collet 2012 (xxHash)",
            engines=(engines.XXHASH,),
        ),
        # text
        "spaces": Entry(
            "polymodal.ops.clean.text:Spaces",
            "One space between words, no empty lines.",
            "folklore",
            engines=(engines.OURS,),
        ),
        "unicode": Entry(
            "polymodal.ops.clean.text:Unicode",
            "Mends text that was decoded wrongly, composes letters one way.",
            "Speer 2019 (ftfy)",
            "text",
            engines=(engines.FTFY,),
        ),
        "markup": Entry(
            "polymodal.ops.clean.text:Markup",
            "HTML and XML to the text that a reader sees.",
            "folklore",
            engines=(engines.OURS,),
        ),
        "language": Entry(
            "polymodal.ops.clean.language:Language",
            "Sets aside texts in other languages than those allowed.",
            "Lui & Baldwin 2012",
            "text",
            engines=(engines.PY3LANGID,),
        ),
        "spelling": Entry(
            "polymodal.ops.clean.spelling:Spelling",
            "Mends misspelt words, ranked by what stands beside them.",
            "Garbe 2012 (SymSpell)",
            "text",
            engines=(engines.SYMSPELLPY,),
        ),
        "near_duplicates": Entry(
            "polymodal.ops.clean.duplicates:NearDuplicates",
            "Keeps the first of rows whose texts nearly agree.",
            "Broder 1997; Indyk & Motwani 1998",
            engines=(engines.OURS, engines.XXHASH),
        ),
        "length": Entry(
            "polymodal.ops.clean.quality:Length",
            "Sets aside texts too short or too long.",
            "folklore",
            engines=(engines.OURS,),
        ),
        "boilerplate": Entry(
            "polymodal.ops.clean.boilerplate:Boilerplate",
            "Sentences and lines that stand in many texts go.",
            "after Wenzek et al. 2020",
            engines=(engines.OURS,),
        ),
        "repetition": Entry(
            "polymodal.ops.clean.quality:Repetition",
            "Sets aside texts that repeat themselves.",
            "Rae et al. 2021",
            engines=(engines.OURS,),
        ),
        "unlikely": Entry(
            "polymodal.ops.clean.quality:Unlikely",
            "Sets aside texts like no other in the data, by an n-gram model of the data themselves.",
            "Witten & Bell 1991; Wenzek et al. 2020 (filtering by perplexity)",
            engines=(engines.LEARNT,),
        ),
        "personal": Entry(
            "polymodal.ops.clean.personal:Personal",
            "Masks mails, phones, cards, accounts and national numbers whose checksums are right.",
            "Luhn 1960; ISO 7064; GB 11643-1999",
            "text",
            engines=(engines.OURS, engines.STDNUM, engines.PHONENUMBERS),
        ),
        # pictures
        "upright": Entry(
            "polymodal.ops.clean.image:Upright",
            "Turns pictures as their EXIF tag says.",
            "folklore",
            engines=(engines.PILLOW,),
        ),
        "uniform": Entry(
            "polymodal.ops.clean.image:Uniform",
            "Sets aside pictures of one colour.",
            "folklore",
            engines=(engines.PILLOW,),
        ),
        "blurred": Entry(
            "polymodal.ops.clean.image:Blurred",
            "Sets aside blurred pictures by the variance of their Laplacian.",
            "Pech-Pacheco, Cristóbal, Chamorro-Martínez, Fernández-Valdivia 2000",
            engines=(engines.OURS,),
        ),
        "normal": Entry(
            "polymodal.ops.clean.image:Normal", "One size and colour space.", "folklore", engines=(engines.PILLOW,)
        ),
        "denoise": Entry(
            "polymodal.ops.clean.image:Denoise",
            "Non-local means where a picture is noisy.",
            "Buades, Coll & Morel 2005; Donoho & Johnstone 1994",
            "image",
            engines=(engines.SCIKIT_IMAGE,),
        ),
        "near_pictures": Entry(
            "polymodal.ops.clean.image:NearPictures",
            "Keeps the first of rows whose pictures' perceptual hashes lie within a radius.",
            "Zauner 2010; Norouzi, Punjani & Fleet 2012",
            engines=(engines.SCIPY,),
        ),
        # sound
        "silent": Entry(
            "polymodal.ops.clean.audio:Silent", "Sets aside silent sounds.", "folklore", engines=(engines.OURS,)
        ),
        "clipped": Entry(
            "polymodal.ops.clean.audio:Clipped",
            "Sets aside sounds cut off at the top.",
            "folklore",
            engines=(engines.OURS,),
        ),
        "trim": Entry(
            "polymodal.ops.clean.audio:Trim",
            "Cuts silence before and after by voice activity.",
            "after Sohn, Kim & Sung 1999",
            engines=(engines.OURS,),
        ),
        "resample": Entry(
            "polymodal.ops.clean.audio:Resample",
            "One sampling rate.",
            "folklore",
            engines=(engines.SOXR,),
        ),
        "loudness": Entry(
            "polymodal.ops.clean.audio:Loudness",
            "One loudness in LUFS.",
            "ITU-R BS.1770-4; Steinmetz & Reiss 2021",
            "audio",
            engines=(engines.PYLOUDNORM,),
        ),
        "gate": Entry(
            "polymodal.ops.clean.noise:Gate",
            "Noise reduction by spectral gating; clean sounds stay.",
            "Ephraim & Malah 1984; Stahl, Fischer & Bippus 2000; Plapous, Marro & Scalart 2006",
            engines=(engines.SCIPY,),
        ),
        "same_sound": Entry(
            "polymodal.ops.clean.audio:SameSound",
            "Keeps the first of rows with the same sound, by fingerprint.",
            "Haitsma & Kalker 2002",
            engines=(engines.OURS, engines.SOXR),
        ),
        # video, series, scans
        "frames": Entry(
            "polymodal.ops.clean.video:Frames",
            "Frames and sound of a film as columns.",
            "folklore",
            "video",
            engines=(engines.AV,),
        ),
        "shots": Entry(
            "polymodal.ops.clean.video:Shots",
            "Where the shots of a film end.",
            "Zhang, Kankanhalli & Smoliar 1993",
            "video",
            engines=(engines.AV,),
        ),
        "gaps": Entry(
            "polymodal.ops.clean.series:Gaps",
            "Fills short gaps; sets long ones aside.",
            "folklore",
            engines=(engines.OURS,),
        ),
        "drift": Entry(
            "polymodal.ops.clean.series:Drift", "Takes a slow trend out.", "folklore", engines=(engines.OURS,)
        ),
        "series_resample": Entry(
            "polymodal.ops.clean.series:SeriesResample",
            "Another number of samples.",
            "folklore",
            engines=(engines.SCIPY,),
        ),
        "smooth": Entry(
            "polymodal.ops.clean.series:Smooth",
            "Smoothing that keeps peaks; single spikes go.",
            "Savitzky & Golay 1964; Hampel 1974",
            engines=(engines.SCIPY,),
        ),
        "stray_points": Entry(
            "polymodal.ops.clean.points:StrayPoints",
            "Points of clouds that lie far from all others.",
            "Rusu et al. 2008",
            engines=(engines.SCIPY,),
        ),
        "scan": Entry(
            "polymodal.ops.clean.medical:Scan",
            "DICOM and NIfTI scans to pictures under a window and level.",
            "Mason et al. 2025 (pydicom); Brett et al. 2025 (nibabel)",
            "medical",
            engines=(engines.PYDICOM, engines.NIBABEL),
        ),
        "anonymise": Entry(
            "polymodal.ops.clean.medical:Anonymise",
            "Takes what names a person out of DICOM files.",
            "DICOM PS3.15 2025, Annex E",
            "medical",
            engines=(engines.PYDICOM,),
        ),
        # numbers and categories
        "units": Entry(
            "polymodal.ops.clean.table:Units",
            "Numbers with units to numbers in one unit.",
            "folklore",
            engines=(engines.PINT,),
        ),
        "range": Entry(
            "polymodal.ops.clean.table:Range",
            "Sets aside numbers that cannot be.",
            "folklore",
            engines=(engines.OURS,),
        ),
        "outliers": Entry(
            "polymodal.ops.clean.table:Outliers",
            "Sets aside numbers many median absolute deviations from the median.",
            "Iglewicz & Hoaglin 1993",
            engines=(engines.OURS,),
        ),
        "categories": Entry(
            "polymodal.ops.clean.table:Categories",
            "One spelling a category: case, accents, slips of a letter.",
            "Damerau 1964; Levenshtein 1966 (distance)",
            engines=(engines.RAPIDFUZZ,),
        ),
        # across rows and modalities
        "leaks": Entry(
            "polymodal.ops.across.leaks:Leaks",
            "Sets aside training rows that stand in test too.",
            "folklore",
            engines=(engines.OURS,),
        ),
        "label_errors": Entry(
            "polymodal.ops.across.labels:LabelErrors",
            "Finds labels that the rest of the row contradicts, by cross-validated confidence.",
            "after Northcutt, Jiang & Chuang 2021 (confident learning); Efron 2008 (how many to doubt)",
            engines=(engines.SCIKIT_LEARN,),
        ),
        "mismatched": Entry(
            "polymodal.ops.across.pairs:Mismatched",
            "Sets aside pairs that do not belong together, by an aligned space.",
            "Conneau et al. 2018 (CSLS); Efron 2008 (the cut); after Schuhmann et al. 2021 (filtering by a space)",
            engines=(engines.LEARNT,),
        ),
    },
)
