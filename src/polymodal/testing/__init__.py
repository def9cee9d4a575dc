"""What third parties can test their own parts with; see `polymodal.testing.conformance`."""

from polymodal.testing.conformance import (
    NotConformant,
    Violation,
    check_decision,
    check_encoder,
    check_fusion,
    check_head,
    check_processor,
)

__all__ = [
    "NotConformant", "Violation", "check_decision", "check_encoder", "check_fusion", "check_head", "check_processor",
]  # fmt: skip
