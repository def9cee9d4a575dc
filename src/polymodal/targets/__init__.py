"""The catalogue of targets: what can be asked of a row. Nothing is imported until it is named."""

from polymodal.core.registry import Catalogue, Entry

TARGETS = Catalogue(
    "target",
    "polymodal.targets.base:Target",
    {
        "classes": Entry(
            "polymodal.targets.classes:ClassesTarget",
            "One of several classes that exclude one another.",
            "folklore",
        ),
        "multilabel": Entry(
            "polymodal.targets.multilabel:MultilabelTarget",
            "Any number of labels at once: list cells, or labels parted by `|`, `;` or `,`.",
            "folklore",
        ),
        "numbers": Entry(
            "polymodal.targets.numbers:NumbersTarget",
            "Several numbers at once, from list cells; entries may be missing one by one.",
            "folklore",
        ),
        "ordinal": Entry(
            "polymodal.targets.ordinal:OrdinalTarget",
            "One of several classes that have an order.",
            "McCullagh 1980",
        ),
        "picture": Entry(
            "polymodal.targets.picture:PictureTarget",
            "A picture of up to 64 x 64 pixels, drawn.",
            "folklore",
        ),
        "quantiles": Entry(
            "polymodal.targets.quantiles:QuantilesTarget",
            "Quantiles of a number: its median and an interval that follows the row.",
            "Koenker & Bassett 1978; Romano, Patterson, Candès 2019 (interval)",
        ),
        "number": Entry(
            "polymodal.targets.number:NumberTarget",
            "A number, standardised; by its logarithm where it is positive and skewed; with an interval.",
            "Lei, G'Sell, Rinaldo, Tibshirani, Wasserman 2018 (interval)",
        ),
        "sound": Entry(
            "polymodal.targets.sound:SoundTarget",
            "A sound of some seconds, such as a spoken word, drawn as a log-mel spectrogram.",
            "Griffin & Lim 1984; Perraudin, Balazs, Søndergaard 2013 (phases); Kong, Kim, Bae 2020 (vocoder)",
        ),
        "text": Entry(
            "polymodal.targets.text:TextTarget",
            "Words that are written: a caption, an answer, a report; several references a row where there are.",
            "Vedantam, Zitnick, Parikh 2015 (likeness); Sennrich, Haddow, Birch 2016 (pieces of words)",
        ),
    },
)
