"""What third parties can test their own parts with; see `polymodal.testing.conformance`."""

from polymodal.testing.conformance import *  # noqa: F403 - the public names are listed there, once
from polymodal.testing.conformance import __all__ as __all__
