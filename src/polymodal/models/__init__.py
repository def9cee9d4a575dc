"""The catalogue of answers that are more than one fusion or one rule. Nothing is imported until it is named."""

from polymodal.core.registry import Catalogue, Entry

ANSWERS = Catalogue(
    "answer",
    "polymodal.models.base:Answer",
    {
        "hybrid": Entry(
            "polymodal.models.hybrid:Hybrid",
            "A joint fusion and each stream's own decision, combined by a rule.",
            "Atrey, Hossain, El Saddik, Kankanhalli 2010 (hybrid fusion)",
        ),
        "experts": Entry(
            "polymodal.models.experts:Experts",
            "Mixture of experts, one a stream; the gate leaves out streams that are absent.",
            "Li, Chen, Han 2025 (SimMLM: dynamic mixture of modality experts)",
        ),
        "dynamic": Entry(
            "polymodal.models.dynamic:Dynamic",
            "Cheap streams first; a row stops as soon as its answer is sure enough, and the rest is not encoded.",
            "after Xue & Marculescu 2023 (DynMM); Angelopoulos et al. 2021 (threshold)",
        ),
        "policy": Entry(
            "polymodal.models.policy:Policy",
            "A policy trained by reward says, row by row, what to encode next and when and by what to answer.",
            "Williams 1992 (REINFORCE)",
        ),
        "imputed": Entry(
            "polymodal.models.imputed:Imputed",
            "Absent streams filled in from the others, by what is expected or by draws of a flow, then answered from.",
            "Rubin 1987 (multiple imputation); Liu, Gong & Liu 2023 (rectified flow)",
        ),
        "consensus": Entry(
            "polymodal.models.consensus:Consensus",
            "Written answers: the reference of the nearest training rows that is most like all of theirs; a baseline.",
            "Devlin, Gupta, Girshick, Mitchell, Zitnick 2015",
        ),
        "blind": Entry(
            "polymodal.models.blind:Blind",
            "Written answers, by a head that is shown no stream; a baseline.",
            "folklore",
        ),
        "taste": Entry(
            "polymodal.models.taste:Taste",
            "What all rows say, and by how much each user's, or each other entity's, differ in it: random slopes.",
            "Laird & Ware 1982 (mixed models); Zhang et al. 2016 (GLMix)",
        ),
        "prefix_lm": Entry(
            "polymodal.models.prefix_lm:PrefixAnswer",
            "Written answers, by one stack over all streams' tokens and the words: streams first meet where it writes.",
            "Liu et al. 2018; Raffel et al. 2020 (prefix LM); Wang et al. 2022 (SimVLM)",
        ),
        "bandit": Entry(
            "polymodal.models.bandit:Bandit",
            "Chooses streams row by row and goes on learning from feedback at serving time.",
            "Li, Chu, Langford, Schapire 2010 (LinUCB); Russac, Vernade, Cappé 2019 (forgetting)",
        ),
    },
)
