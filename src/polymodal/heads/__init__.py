"""The catalogue of heads. Nothing is imported until it is named."""

from polymodal.core.registry import Catalogue, Entry

HEADS = Catalogue(
    "head",
    "polymodal.heads.base:Head",
    {
        "classes": Entry(
            "polymodal.heads.classes:Classes",
            "One of several classes: softmax with class weights, focal loss and label smoothing.",
            "Bridle 1990; Lin et al. 2017 (focal); Szegedy et al. 2016 (smoothing)",
        ),
        "flow": Entry(
            "polymodal.heads.flow:Flow",
            "A picture or a sound, drawn from noise along a learned velocity, with classifier-free guidance.",
            "Liu, Gong, Liu 2023; Esser et al. 2024 (times); Ho & Salimans 2021 (guidance)",
        ),
        "gan": Entry(
            "polymodal.heads.gan:Gan",
            "A picture, drawn in one pass by a generator that learns against a critic, by turns.",
            "Goodfellow et al. 2014; Miyato & Koyama 2018 (projection); Zhao et al. 2020 (DiffAugment)",
        ),
        "multilabel": Entry(
            "polymodal.heads.multilabel:Multilabel",
            "Any number of labels at once: one logistic regression a label, rare labels weighed up if asked.",
            "folklore",
        ),
        "number": Entry(
            "polymodal.heads.number:Number",
            "A number, or several: the standardised mean under a Huber or squared loss.",
            "Huber 1964",
        ),
        "ordinal": Entry(
            "polymodal.heads.ordinal:Ordinal",
            "Ordered classes: one score and a threshold between neighbours, each a yes-or-no question.",
            "Cao, Mirjalili, Raschka 2020 (CORAL); McCullagh 1980",
        ),
        "quantiles": Entry(
            "polymodal.heads.quantiles:Quantiles",
            "Quantiles of a number that never cross, under the pinball loss.",
            "Koenker & Bassett 1978; Gasthaus et al. 2019 (by increments)",
        ),
        "writer": Entry(
            "polymodal.heads.writer:Writer",
            "Words, by a Transformer that attends to all tokens; greedy, by beams, sampled or from a list of answers.",
            "Vaswani et al. 2017; Szegedy et al. 2016 (smoothing)",
        ),
        "writer_pretrained": Entry(
            "polymodal.heads.writer_pretrained:WriterPretrained",
            "Words, by a pretrained language model that reads the tokens before them, frozen, with adapters or tuned.",
            "Wolf et al. 2020; Mokady, Hertz, Bermano 2021 (frozen); Hu et al. 2022 (LoRA)",
            extra="hf",
        ),
        "writer_recurrent": Entry(
            "polymodal.heads.writer_recurrent:WriterRecurrent",
            "Words, by an LSTM that looks anew at all tokens before each.",
            "Xu, Ba, Kiros, Cho, Courville, Salakhutdinov, Zemel, Bengio 2015",
        ),
        "writer_unified": Entry(
            "polymodal.heads.writer_unified:WriterUnified",
            "Words, by one stack of blocks over tokens and words: both ways over tokens, onwards over words.",
            "Liu, Saleh, Pot, Goodrich, Sepassi, Kaiser, Shazeer 2018; Raffel et al. 2020 (prefix LM)",
        ),
    },
)
