"""Conformance checks: does a part, ours or a stranger's, keep its family's contract?

    from polymodal.testing import check_fusion

    def test_my_fusion():
        check_fusion(MyFusion)

Each check raises `NotConformant`, an AssertionError that lists every broken law, what was found and how to mend it.
"""

from polymodal.testing.aligner import check_aligner
from polymodal.testing.answer import check_answer
from polymodal.testing.decision import check_decision
from polymodal.testing.devices import check_devices
from polymodal.testing.embedding import check_embedding
from polymodal.testing.encoder import check_encoder
from polymodal.testing.examples import example_cells, example_inputs
from polymodal.testing.export import check_export
from polymodal.testing.fusion import check_fusion
from polymodal.testing.head import check_head
from polymodal.testing.kind import check_kind
from polymodal.testing.metric import check_metric
from polymodal.testing.objective import check_objective
from polymodal.testing.op import check_op
from polymodal.testing.processor import check_processor
from polymodal.testing.subject import NotConformant, Subject, Violation
from polymodal.testing.target import check_target, example_target

__all__ = [
    "NotConformant", "Subject", "Violation", "check_aligner", "check_answer", "check_decision", "check_devices",
    "check_embedding", "check_encoder", "check_export", "check_fusion", "check_head", "check_kind", "check_metric",
    "check_objective", "check_op", "check_processor", "check_target", "example_cells", "example_inputs",
    "example_target",
]  # fmt: skip
