"""The catalogue of aligners. Nothing is imported until it is named."""

from polymodal.core.registry import Catalogue

ALIGNERS = Catalogue("align", "polymodal.align.base:Aligner", {})
