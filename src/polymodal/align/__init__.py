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
        "cca": Entry(
            "polymodal.align.cca:CCA",
            "Canonical correlations, regularised, of two streams or more: closed form.",
            "Hotelling 1936; Kettenring 1971; Vinod 1976",
        ),
        "csa": Entry(
            "polymodal.align.cca:CSA",
            "Canonical directions weighted by their correlations: closed form.",
            "Li, Chinchali & Topcu 2025",
        ),
        "procrustes": Entry(
            "polymodal.align.procrustes:Procrustes",
            "Rotations of the streams onto one another: closed form.",
            "Schönemann 1966; Gower 1975",
        ),
        "ridge": Entry(
            "polymodal.align.procrustes:Ridge",
            "Ridge regression of every stream onto one of them: closed form.",
            "Hoerl & Kennard 1970",
        ),
    },
)
