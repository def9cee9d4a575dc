"""Plant every kind of dirt in a table and check that `inspect` names each fault, and nothing that is no fault.

    python benchmarks/messy.py [--rows 10000] [--keep FOLDER] [--fit [--epochs 2]]

With --fit, `polymodal fit` is run on the table too, and what it set aside must be what was planted, cell by cell: a
fault that is not listed was replaced in silence. Exits with 1 when a fault goes unnamed or a good cell is called
broken.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from planted_faults import Fault, messy
from tools import measured, polymodal

import polymodal as pm
from polymodal.data.inspection.findings import Inspection
from polymodal.data.inspection.inspect import inspect_table
from polymodal.data.schema import Schema
from polymodal.data.tables.source import read_table
from polymodal.process import PROCESSORS

BORNE = ("missing", "copy")  # faults of the data that a fit uses as they are


def named(fault: Fault, found: Inspection) -> bool:
    """Whether the inspection names this fault by its row and column."""
    where = (fault.row, fault.column)
    if fault.what == "missing":
        return fault.row in found.missing.get(fault.column, ())
    if fault.what == "copy":
        return any(doubled.stream == fault.column and fault.row in doubled.ids for doubled in found.duplicates)
    listed = {"broken": found.broken, "misfit": found.misfits}.get(fault.what, found.problems)
    return where in {(problem.row, problem.column) for problem in listed}


def main() -> int:
    """Run the benchmark; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--keep", type=Path, help="write the table here and leave it")
    parser.add_argument("--fit", action="store_true", help="fit as well, and check what it set aside")
    parser.add_argument("--epochs", type=int, default=2, help="of each encoder, with --fit")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.keep or Path(scratch)
        planted = messy(folder, options.rows)
        start = time.perf_counter()
        table = read_table(folder / "messy.csv")
        schema = Schema.infer(table, "label")
        told = time.perf_counter()
        media = [name for name, one in schema.fields.items() if one.kind in ("image", "audio")]
        readers = {name: PROCESSORS.build(schema.fields[name].kind).read for name in media}
        found = inspect_table(table, schema, readers=readers)
        done = time.perf_counter()
        wrong = fit(folder / "messy.csv", Path(scratch), planted, options.epochs) if options.fit else 0
    print(found.text(most=2))
    print(
        f"\n{len(table):,} rows read and told in {told - start:.1f} s, inspected in {done - told:.1f} s, "
        f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB at most."
    )
    return max(report(planted, found), wrong)


def fit(table: Path, scratch: Path, planted: list[Fault], epochs: int) -> int:
    """Fit on the table; 1 when the cells set aside are not the ones planted."""
    asked = ["--fusion", "gated", "--seeds", "1", f"--set=encoder_training={{epochs: {epochs}}}", "--quiet"]
    command = polymodal("fit", table, "--target", "label", "--out", scratch / "run", *asked)
    usage = measured(command, POLYMODAL_STORE=str(scratch / "store"))
    lines = (scratch / "run" / "set_aside.jsonl").read_text(encoding="utf-8").splitlines()
    listed = {(one["row"], one["column"]) for one in map(json.loads, lines)}
    expected = {(fault.row, fault.column) for fault in planted if fault.what not in BORNE}
    run = pm.load(scratch / "run")
    print(f"fit: {usage.wall:.1f} s, {usage.cpu:.1f} CPU s, {usage.peak_mb:.0f} MB at most in all processes.")
    print(f"fit: {run.verdict}")
    print(f"fit: {len(expected & listed)} of {len(expected)} faults listed, and {len(listed - expected)} good cells.")
    for row, column in sorted(expected ^ listed)[:10]:
        print("not set aside:" if (row, column) in expected else "no fault:", row, column)
    return int(expected != listed)


def report(planted: list[Fault], found: Inspection) -> int:
    """Print planted and named faults by kind; 1 when one is unnamed or a good cell is called broken."""
    unnamed = [fault for fault in planted if not named(fault, found)]
    total = Counter((fault.what, fault.column) for fault in planted)
    lost = Counter((fault.what, fault.column) for fault in unnamed)
    for (what, column), count in sorted(total.items()):
        print(f"{what:10s} {column or '(row)':8s} planted {count:4d}, named {count - lost[what, column]:4d}")
    faulty = {(fault.row, fault.column) for fault in planted}
    alarms = [problem for problem in [*found.broken, *found.misfits] if (problem.row, problem.column) not in faulty]
    for fault in unnamed[:10]:
        print("not named:", fault)
    for problem in alarms[:10]:
        print("no fault:", problem)
    print(f"{len(planted)} faults planted, {len(planted) - len(unnamed)} named, {len(alarms)} false alarms.")
    return 1 if unnamed or alarms else 0


if __name__ == "__main__":
    sys.exit(main())
