"""The catalogue of fusions, feature level and decision level. Nothing is imported until it is named."""

from polymodal.core.registry import Catalogue, Entry

FUSIONS = Catalogue("fusion", "polymodal.fusion.base:Fusion", {})
DECISIONS = Catalogue("decision", "polymodal.fusion.base:DecisionFusion", {})
