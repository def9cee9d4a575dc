"""The catalogue of heads. Nothing is imported until it is named."""

from polymodal.core.registry import Catalogue, Entry

HEADS = Catalogue("head", "polymodal.heads.base:Head", {})
