"""The catalogue of learners: shallow models fitted in one go to features. Nothing is imported until it is named."""

from polymodal.core.registry import Catalogue, Entry

LEARNERS = Catalogue(
    "learner",
    "polymodal.learners.base:Learner",
    {
        "boosted": Entry(
            "polymodal.learners.boosted:Boosted",
            "Gradient-boosted trees over pooled vectors and table columns.",
            "Friedman 2001; Ke et al. 2017 (histograms)",
        ),
        "ridge": Entry(
            "polymodal.learners.ridge:Ridge",
            "A linear map with an L2 penalty chosen by leaving out one row at a time.",
            "Hoerl & Kennard 1970; Golub, Heath, Wahba 1979",
        ),
        "kernel": Entry(
            "polymodal.learners.ridge:Kernel",
            "Ridge regression on a Gaussian kernel with landmarks: a support vector machine with a squared loss.",
            "Saunders, Gammerman, Vovk 1998; Suykens & Vandewalle 1999; Williams & Seeger 2001 (landmarks)",
        ),
        "logistic": Entry(
            "polymodal.learners.logistic:Logistic",
            "Logistic regression with an L2 penalty; of numbers, ridge.",
            "Cox 1958; Hoerl & Kennard 1970",
        ),
        "sparse": Entry(
            "polymodal.learners.sparse:Sparse",
            "A linear model of many features of which a row holds few, as they are.",
            "Cox 1958; Hoerl & Kennard 1970; Liu & Nocedal 1989 (the way there)",
        ),
        "extra_trees": Entry(
            "polymodal.learners.extra:ExtraTrees",
            "The mean of many trees whose splits are drawn at random.",
            "Geurts, Ernst, Wehenkel 2006",
        ),
        "tabm": Entry(
            "polymodal.learners.tabm:TabM",
            "Many perceptrons that share their weights, trained by gradients.",
            "Gorishniy, Kotelnikov, Babenko 2025; Wen, Tran, Ba 2020",
        ),
        "tabicl": Entry(
            "polymodal.learners.tabicl:TabICL",
            "A pretrained network that reads the training rows as it answers.",
            "Qu, Holzmüller, Varoquaux & Le Morvan 2025",
            "tabicl",
        ),
    },
)
