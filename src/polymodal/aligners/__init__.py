"""The catalogue of aligners. Nothing is imported until it is named."""

from polymodal.core.registry import Catalogue, Entry

ALIGNERS = Catalogue(
    "align",
    "polymodal.aligners.base:Aligner",
    {
        "infonce": Entry(
            "polymodal.aligners.contrastive:InfoNCE",
            "Softmax contrast, both ways, learned temperature.",
            "van den Oord et al. 2018; Radford et al. 2021",
        ),
        "siglip": Entry("polymodal.aligners.contrastive:SigLIP", "Sigmoid contrast, pair by pair.", "Zhai et al. 2023"),
        "knowledge": Entry(
            "polymodal.aligners.knowledge:Knowledge",
            "Softmax contrast with soft targets and hard negatives from a knowledge graph.",
            "Bordes et al. 2013; Sun et al. 2019; Andonian et al. 2022 (soft targets)",
        ),
        "cca": Entry(
            "polymodal.aligners.cca:CCA",
            "Canonical correlations, regularised, of two streams or more: closed form.",
            "Hotelling 1936; Kettenring 1971; Vinod 1976",
        ),
        "csa": Entry(
            "polymodal.aligners.cca:CSA",
            "Canonical directions weighted by their correlations: closed form.",
            "Li, Chinchali & Topcu 2025",
        ),
        "procrustes": Entry(
            "polymodal.aligners.procrustes:Procrustes",
            "Rotations of the streams onto one another: closed form.",
            "Schönemann 1966; Gower 1975",
        ),
        "ridge": Entry(
            "polymodal.aligners.procrustes:Ridge",
            "Ridge regression of every stream onto one of them: closed form.",
            "Hoerl & Kennard 1970",
        ),
        "adversarial": Entry(
            "polymodal.aligners.adversarial:Adversarial",
            "Rotations found without pairs, by an adversarial game and refinement; says when it found none.",
            "Conneau, Lample, Ranzato, Denoyer & Jégou 2018; Artetxe, Labaka & Agirre 2018",
        ),
    },
)

EMBEDDINGS = Catalogue(
    "embedding",
    "polymodal.aligners.embedding:Embedding",
    {
        "transe": Entry(
            "polymodal.aligners.embedding:TransE",
            "A relation moves its head to its tail.",
            "Bordes, Usunier, Garcia-Durán, Weston, Yakhnenko 2013",
        ),
        "rotate": Entry(
            "polymodal.aligners.embedding:RotatE",
            "A relation turns its head to its tail, in complex numbers; self-adversarial negatives.",
            "Sun, Deng, Nie, Tang 2019",
        ),
    },
)
