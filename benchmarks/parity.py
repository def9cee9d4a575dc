"""Every formula against an independent one at float64: the worst absolute error, forward and gradient.

The formulas are those that the tests try (`tests/reference`): `tests/test_parity.py` fails above 1e-9 and 1e-6. A
gradient is compared with central differences of the reference, whose own error is near 1e-10, or with its analytic one.

    python benchmarks/parity.py             # all
    python benchmarks/parity.py fusion      # those whose name holds the word
    python benchmarks/parity.py --markdown  # as a table for docs
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from tools import parser, show

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from reference.parity import Case, cases, compare


def row(case: Case) -> dict[str, Any]:
    errors = compare(case)
    return {
        "formula": case.name,
        "source": case.source,
        "against": case.against,
        "forward": f"{errors.forward:.0e}",
        "gradient": "none" if errors.gradient is None else f"{errors.gradient:.0e}",
    }


def markdown(rows: list[dict[str, Any]]) -> str:
    """The rows as a Markdown table."""
    lines = [list(rows[0]), ["---"] * len(rows[0]), *(list(r.values()) for r in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    options = parser(__doc__)
    options.add_argument("word", nargs="?", default="", help="only formulas whose name holds it")
    options.add_argument("--markdown", action="store_true", help="print a Markdown table")
    given = options.parse_args()
    torch.set_num_threads(1)
    rows = [row(case) for case in cases() if given.word in case.name]
    if not rows:
        options.error(f"no formula's name holds {given.word!r}")
    if given.markdown:
        print(markdown(rows))
    else:
        show(rows, given.json)
    if not given.json:
        worst = {
            key: max((float(r[key]) for r in rows if r[key] != "none"), default=0.0) for key in ("forward", "gradient")
        }
        print(f"\n{len(rows)} formulas; worst error forward {worst['forward']:.0e}, gradient {worst['gradient']:.0e}.")


if __name__ == "__main__":
    main()
