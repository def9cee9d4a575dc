"""The catalogue of encoders. Nothing is imported until it is named."""

from polymodal.core.registry import Catalogue, Entry

ENCODERS = Catalogue("encoder", "polymodal.encoders.base:Encoder", {})
