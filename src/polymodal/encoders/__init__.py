"""The catalogue of encoders. Nothing is imported until it is named."""

from polymodal.core.registry import Catalogue, Entry

ENCODERS = Catalogue(
    "encoder",
    "polymodal.encoders.base:Encoder",
    {
        "text_tfidf": Entry(
            "polymodal.encoders.text_tfidf:TextTfidf",
            "Hashed bag of n-grams with learned vectors",
            "Weinberger 2009; Joulin 2017",
        ),
        "table_mlp": Entry(
            "polymodal.encoders.table:TableMLP",
            "Perceptron over embedded columns",
            "Gorishniy, Rubachev & Babenko 2022",
        ),
        "vector_mlp": Entry("polymodal.encoders.vector:VectorMLP", "Linear map plus perceptron", "folklore"),
    },
)
