"""Ops that add columns: the catalogue. Nothing is imported until it is named."""

from polymodal.core.registry import Catalogue, Entry
from polymodal.ops import engines

ANNOTATE = Catalogue(
    "annotate",
    "polymodal.ops.base:Op",
    {
        # text
        "segment": Entry(
            "polymodal.ops.annotate.words:Segment",
            "Words of a text: jieba for Chinese, rules, or what was learnt from one's own corpus.",
            "Xue 2003 (labels of letters); Rabiner 1989 (HMM); Lafferty, McCallum & Pereira 2001 (CRF)",
            "language",
            engines=(
                engines.JIEBA.called("jieba"),
                engines.OURS.called("rules"),
                engines.LEARNT.called("learnt"),
                engines.CRFSUITE.called("learnt"),
            ),
        ),
        "tags": Entry(
            "polymodal.ops.annotate.words:Tags",
            "Parts of speech: jieba for Chinese, textblob for English, one's own corpus, or a pretrained model.",
            "Brants 2000; Lafferty, McCallum & Pereira 2001; De Smedt & Daelemans 2012",
            "language",
            engines=(
                engines.JIEBA.called("auto"),
                engines.TEXTBLOB.called("auto"),
                engines.LEARNT.called("learnt"),
                engines.CRFSUITE.called("learnt"),
                engines.TRANSFORMERS.called("transformers"),
                engines.SPACY.called("spacy"),
                engines.STANZA.called("stanza"),
            ),
        ),
        "parse": Entry(
            "polymodal.ops.annotate.trees:Parse",
            "Dependency trees by a parser learnt from one's own treebank, or a spaCy or stanza model.",
            "Kuhlmann, Gómez-Rodríguez & Satta 2011; Goldberg & Nivre 2012",
            "language",
            engines=(
                engines.LEARNT.called("learnt"),
                engines.CRFSUITE.called("learnt"),
                engines.SPACY.called("spacy"),
                engines.STANZA.called("stanza"),
            ),
        ),
        "roles": Entry(
            "polymodal.ops.annotate.trees:Roles",
            "Who does what to whom, by rules over the dependency tree (models as for parse).",
            "after Gildea & Jurafsky 2002",
            "language",
            engines=(
                engines.LEARNT.called("learnt"),
                engines.CRFSUITE.called("learnt"),
                engines.SPACY.called("spacy"),
                engines.STANZA.called("stanza"),
            ),
        ),
        "entities": Entry(
            "polymodal.ops.annotate.entities:Entities",
            "Names, dates, amounts: rules, a gazetteer and jieba, transformers, spaCy or stanza models.",
            "folklore; Tjong Kim Sang & De Meulder 2003 (BIO labels)",
            "language",
            engines=(
                engines.OURS.called("rules"),
                engines.JIEBA.called("rules"),
                engines.TRANSFORMERS.called("transformers"),
                engines.SPACY.called("spacy"),
                engines.STANZA.called("stanza"),
            ),
        ),
        "sentiment": Entry(
            "polymodal.ops.annotate.opinion:Sentiment",
            "Feeling: VADER for English, snownlp for Chinese, or a transformers model.",
            "Hutto & Gilbert 2014 (VADER); Wang 2013 (snownlp)",
            "language",
            engines=(
                engines.VADER.called("auto"),
                engines.SNOWNLP.called("auto"),
                engines.TRANSFORMERS.called("transformers"),
            ),
        ),
        "keywords": Entry(
            "polymodal.ops.annotate.opinion:Keywords",
            "What a text is about: TF-IDF over the table, or YAKE.",
            "Spärck Jones 1972; Campos et al. 2020 (YAKE)",
            "language",
            engines=(engines.OURS.called("tfidf"), engines.YAKE.called("yake")),
        ),
        # sound
        "transcribe": Entry(
            "polymodal.ops.annotate.speech:Transcribe",
            "Speech to text, by pocketsphinx, Whisper or wav2vec 2.0.",
            "Huggins-Daines et al. 2006; Radford et al. 2023; Baevski et al. 2020",
            "speech",
            engines=(
                engines.POCKETSPHINX.called("pocketsphinx"),
                engines.TRANSFORMERS.called("whisper"),
                engines.TRANSFORMERS.called("wav2vec2"),
            ),
        ),
        "speak": Entry(
            "polymodal.ops.annotate.speech:Speak",
            "Text to speech: formants, eSpeak NG, recorded units, or VITS.",
            "Klatt 1980; Dunn et al. 2015 (eSpeak NG); Kim, Kong & Son 2021 (VITS)",
            engines=(
                engines.OURS.called("formant"),
                engines.ESPEAK.called("espeak"),
                engines.LEARNT.called("units"),
                engines.TRANSFORMERS.called("vits"),
            ),
        ),
        "turns": Entry(
            "polymodal.ops.annotate.audio:Turns",
            "Who speaks when, by energy or by silero-vad, voices by their cepstra.",
            "Silero Team 2024; Sokal & Michener 1958 (clusters)",
            engines=(engines.OURS.called("energy"), engines.SILERO.called("silero")),
        ),
        "sound_class": Entry(
            "polymodal.ops.annotate.audio:SoundClass",
            "What kind of sound it is: by the signal alone, or by a network.",
            "Gong, Chung & Glass 2021",
            engines=(engines.OURS.called("signal"), engines.TRANSFORMERS.called("transformers")),
        ),
        "cepstra": Entry(
            "polymodal.ops.annotate.audio:Cepstra",
            "MFCC or LPC cepstra as a series.",
            "Davis & Mermelstein 1980; Atal 1974",
            engines=(engines.OURS,),
        ),
        # pictures
        "image_class": Entry(
            "polymodal.ops.annotate.image:ImageClass",
            "What a picture shows, by EfficientNet-Lite0 or a transformers model.",
            "Tan & Le 2019",
            "vision",
            engines=(
                engines.LITERT.called("litert"),
                engines.TFLITE_MODELS.called("litert"),
                engines.TRANSFORMERS.called("transformers"),
            ),
        ),
        "objects": Entry(
            "polymodal.ops.annotate.image:Objects",
            "What is where: faces by a cascade, 20 classes by DeepLab v3, or what a transformers model finds.",
            "Viola & Jones 2001; Chen et al. 2017; Carion et al. 2020",
            "image",
            engines=(
                engines.SCIKIT_IMAGE.called("faces", model="inside"),
                engines.LITERT.called("litert"),
                engines.TFLITE_MODELS.called("litert"),
                engines.TRANSFORMERS.called("transformers"),
            ),
        ),
        "segments": Entry(
            "polymodal.ops.annotate.image:Segments",
            "Parts of a picture: by colour, by DeepLab v3 or a transformers model.",
            "Felzenszwalb & Huttenlocher 2004; Achanta et al. 2012; Chen et al. 2017",
            "image",
            engines=(
                engines.SCIKIT_IMAGE.called("felzenszwalb"),
                engines.SCIKIT_IMAGE.called("slic"),
                engines.LITERT.called("litert"),
                engines.TFLITE_MODELS.called("litert"),
                engines.TRANSFORMERS.called("transformers"),
            ),
        ),
    },
)
