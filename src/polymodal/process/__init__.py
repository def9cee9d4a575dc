"""The catalogue of processors. Nothing is imported until it is named."""

from polymodal.core.registry import Catalogue, Entry

PROCESSORS = Catalogue(
    "processor",
    "polymodal.process.base:Processor",
    {
        "text": Entry(
            "polymodal.process.text:TextProcessor", "Characters or byte-pair subwords, learned", "Sennrich 2016"
        ),
        "table": Entry("polymodal.process.table:TableProcessor", "Numbers, dates, truths and categories", "folklore"),
        "vector": Entry("polymodal.process.vector:VectorProcessor", "Standardised vectors of fixed width", "folklore"),
    },
)
