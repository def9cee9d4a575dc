"""The catalogues of preparing: clean, annotate, augment. Nothing is imported until it is named."""

from polymodal.core.registry import Catalogue, Entry

CLEAN = Catalogue(
    "clean",
    "polymodal.prepare.base:Op",
    {
        "readable": Entry(
            "polymodal.prepare.clean_image:Readable", "Sets aside media that cannot be opened.", "folklore"
        ),
        "upright": Entry("polymodal.prepare.clean_image:Upright", "Turns pictures as their EXIF tag says.", "folklore"),
        "uniform": Entry("polymodal.prepare.clean_image:Uniform", "Sets aside pictures of one colour.", "folklore"),
        "spaces": Entry("polymodal.prepare.clean_text:Spaces", "One space between words.", "folklore"),
        "exact_duplicates": Entry(
            "polymodal.prepare.clean_text:ExactDuplicates", "Keeps the first of equal rows.", "folklore"
        ),
    },
)
ANNOTATE = Catalogue("annotate", "polymodal.prepare.base:Op", {})
AUGMENT = Catalogue("augment", "polymodal.prepare.base:Op", {})
