"""The catalogue of objectives against greedy learning. Nothing is imported until it is named."""

from polymodal.core.registry import Catalogue, Entry

OBJECTIVES = Catalogue(
    "objective",
    "polymodal.objectives.base:Objective",
    {
        "agm": Entry(
            "polymodal.objectives.agm:Agm",
            "A stream's gradient is slowed while its Shapley share answers better than it used to, beside the others.",
            "Li, Li, Hu, Lei, Li, Zhou 2023",
        ),
        "gblend": Entry(
            "polymodal.objectives.gblend:GBlend",
            "Losses of the fusion and of each stream, weighted by how well they generalise for how much they overfit.",
            "Wang, Tran, Feiszli 2020",
        ),
        "mmpareto": Entry(
            "polymodal.objectives.mmpareto:MMPareto",
            "A head a stream; where its gradient and the fusion's conflict, towers take the one that harms neither.",
            "Wei, Hu 2024; Sener, Koltun 2018 (the least norm)",
        ),
        "modality_dropout": Entry(
            "polymodal.objectives.dropout:ModalityDropout",
            "Streams of a row are hidden at random, so that the fusion learns to do without.",
            "Neverova, Wolf, Taylor, Nebout 2016",
        ),
        "ogm": Entry(
            "polymodal.objectives.ogm:Ogm",
            "The gradient of the stream that answers best is slowed, and noise added to all.",
            "Peng, Wei, Deng, Wang, Hu 2022",
        ),
        "pmr": Entry(
            "polymodal.objectives.pmr:Pmr",
            "The streams that answer worst are pulled to the prototypes of their classes.",
            "Fan, Xu, Wang, Wang, Guo 2023",
        ),
        "ranking": Entry(
            "polymodal.objectives.ranking:Ranking",
            "More modalities never hurt: a row's loss with some streams hidden must not be below that with all.",
            "Li, Chen, Han 2025",
        ),
        "unimodal": Entry(
            "polymodal.objectives.unimodal:Unimodal",
            "A head a stream, whose loss is added: every stream learns the answer on its own too.",
            "folklore; Wang, Tran, Feiszli 2020 (as baseline)",
        ),
    },
)
