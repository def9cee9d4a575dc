"""The catalogues of fusions: feature level, decision level. Nothing is imported until it is named."""

from polymodal.core.registry import Catalogue, Entry

FUSIONS = Catalogue(
    "fusion",
    "polymodal.fusion.base:Fusion",
    {
        "concat": Entry(
            "polymodal.fusion.simple:Concat",
            "Pooled vectors side by side and one linear map: the baseline.",
            "folklore",
        ),
        "mean": Entry(
            "polymodal.fusion.simple:Mean", "The mean of the streams, each through a linear map.", "folklore"
        ),
        "weighted": Entry(
            "polymodal.fusion.simple:Weighted",
            "α·a + (1 - α)·b for any number of streams: weights fixed, learned or cross-validated.",
            "folklore",
        ),
        "mlp": Entry("polymodal.fusion.simple:Mlp", "Pooled vectors side by side and a perceptron.", "folklore"),
        "gated": Entry(
            "polymodal.fusion.gated:Gated",
            "A learned gate for every channel of every stream.",
            "Arevalo, Solorio, Montes-y-Gómez, González 2017",
        ),
        "attention": Entry(
            "polymodal.fusion.attention:Attention",
            "A learned query attends to the streams' pooled vectors.",
            "Lee, Lee, Kim, Kosiorek, Choi, Teh 2019 (pooling by attention)",
        ),
        "cross": Entry(
            "polymodal.fusion.cross:Cross",
            "Every stream's tokens attend to the tokens of all others.",
            "simplified from Lu, Batra, Parikh, Lee 2019; Tsai, Bai, Liang, Kolter, Morency, Salakhutdinov 2019",
        ),
        "unified": Entry(
            "polymodal.fusion.unified:Unified",
            "One Transformer over all tokens of all streams, read at a class token.",
            "Chen, Li, Yu, El Kholy, Ahmed, Gan, Cheng, Liu 2020; Kim, Son, Kim 2021",
        ),
        "relation": Entry(
            "polymodal.fusion.relation:Relation",
            "What all streams together look up among a stream's tokens, and how every token stands to that.",
            "Santoro, Raposo, Barrett, Malinowski, Pascanu, Battaglia, Lillicrap 2017; Katharopoulos et al. 2020",
        ),
        "kxk": Entry(
            "polymodal.fusion.kxk:KxK",
            "A weight for every ordered pair of streams: each hears every other as much as it should.",
            "Vaswani et al. 2017, over streams in place of words",
        ),
        "mult": Entry(
            "polymodal.fusion.mult:MulT",
            "A cross-modal Transformer for every ordered pair of streams, then self-attention per target.",
            "Tsai, Bai, Liang, Kolter, Morency, Salakhutdinov 2019",
        ),
        "mbt": Entry(
            "polymodal.fusion.mbt:Mbt",
            "Transformers a stream that exchange only through a few bottleneck tokens.",
            "Nagrani, Yang, Arnab, Jansen, Schmid, Sun 2021",
        ),
        "perceiver": Entry(
            "polymodal.fusion.perceiver:Perceiver",
            "A few learned latents read all tokens of all streams, at a cost linear in their number.",
            "Jaegle, Gimeno, Brock, Zisserman, Vinyals, Carreira 2021; Alayrac et al. 2022 (resampler)",
        ),
        "deep": Entry(
            "polymodal.fusion.deep:Deep",
            "A network a stream and a central one; they exchange at every depth.",
            "Vielzeuf, Lechervy, Pateux, Jurie 2018; Joze, Shaban, Iuzzolino, Koishida 2020",
        ),
        "tensor": Entry(
            "polymodal.fusion.tensor:Tensor",
            "The outer product of all streams: every product between them.",
            "Zadeh, Chen, Poria, Cambria, Morency 2017",
        ),
        "temporal": Entry(
            "polymodal.fusion.temporal:Temporal",
            "Streams put onto one clock by interpolation, then fused moment by moment by any fusion.",
            "folklore",
        ),
        "lowrank": Entry(
            "polymodal.fusion.tensor:LowRank",
            "Tensor fusion with a weight tensor of low rank: products of many streams, cheaply.",
            "Liu, Shen, Lakshminarasimhan, Liang, Zadeh, Morency 2018",
        ),
        "mfb": Entry(
            "polymodal.fusion.bilinear:Mfb",
            "Factorised bilinear pooling: products summed in groups, signed root, l2 norm.",
            "Yu, Yu, Fan, Tao 2017",
        ),
        "mlb": Entry(
            "polymodal.fusion.bilinear:Mlb",
            "The product of all streams, each mapped and normalised: what only they together tell.",
            "Kim, On, Lim, Kim, Ha, Zhang 2017",
        ),
        "mutan": Entry(
            "polymodal.fusion.bilinear:Mutan",
            "A Tucker decomposition of all products, with a core of low rank.",
            "Ben-younes, Cadene, Cord, Thome 2017",
        ),
        "graph": Entry(
            "polymodal.fusion.graph:Graph",
            "Tokens of all streams are nodes of a graph with learned edges; they send one another messages.",
            "Veličković et al. 2018; Brody, Alon, Yahav 2022; Bresson & Laurent 2017",
        ),
    },
)

DECISIONS = Catalogue(
    "decision",
    "polymodal.fusion.base:DecisionFusion",
    {
        "late_mean": Entry(
            "polymodal.fusion.late:LateMean",
            "The mean of the streams' probabilities: the baseline of late fusion.",
            "folklore",
        ),
        "late_weighted": Entry(
            "polymodal.fusion.late:LateWeighted",
            "The weighted mean of the streams' probabilities, each with a temperature of its own.",
            "Stone 1961 (linear opinion pool); Guo, Pleiss, Sun, Weinberger 2017 (temperature)",
        ),
        "product": Entry(
            "polymodal.fusion.late:Product",
            "The product of the streams' probabilities over the prior: right if they are independent given the class.",
            "Kittler, Hatef, Duin, Matas 1998; Hinton 2002; Tresp 2000 (numbers)",
        ),
        "stacking": Entry(
            "polymodal.fusion.late:Stacking",
            "A logistic regression on the streams' log-probabilities and on which streams are there.",
            "Wolpert 1992; Ting & Witten 1999",
        ),
        "qmf": Entry(
            "polymodal.fusion.qmf:Qmf",
            "Each stream counts by its energy, and learns to be unsure where it erred (classes only).",
            "Zhang, Wu, Zhang, Hu, Fu, Zhou, Peng 2023",
        ),
        "tmc": Entry(
            "polymodal.fusion.evidential:Tmc",
            "Each stream gives evidence and its uncertainty, joined by the reduced rule of Dempster (classes only).",
            "Han, Zhang, Fu, Zhou 2021; Sensoy, Kaplan, Kandemir 2018",
        ),
    },
)
