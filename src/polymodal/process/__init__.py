"""The catalogue of processors. Nothing is imported until it is named."""

from polymodal.core.registry import Catalogue, Entry

PROCESSORS = Catalogue("processor", "polymodal.process.base:Processor", {})
