"""The catalogue of aligners. Nothing is imported until it is named."""

from polymodal.core.registry import Catalogue, Entry

ALIGNERS = Catalogue(
    "align",
    "polymodal.align.base:Aligner",
    {
        "infonce": Entry(
            "polymodal.align.contrastive:InfoNCE",
            "Softmax contrast, both ways, learned temperature",
            "van den Oord et al. 2018; Radford et al. 2021",
        ),
        "siglip": Entry("polymodal.align.contrastive:SigLIP", "Sigmoid contrast, pair by pair", "Zhai et al. 2023"),
    },
)
