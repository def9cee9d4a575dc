"""How light the package is: start-up, the longest file, the widest signature, import cycles.

    python benchmarks/light.py [--runs 10] [--json]

Start-up is the wall time of a fresh process, its median over runs, and the CPU time, which other work on the machine
disturbs less; `python -c pass` is there for comparison.
"""

from __future__ import annotations

import ast
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tools import parser, show

import polymodal

ROOT = Path(polymodal.__file__).parent
Function = ast.FunctionDef | ast.AsyncFunctionDef


def seconds(command: list[str], runs: int) -> tuple[float, float]:
    """Median wall and CPU seconds of a fresh process, after one that fills the file cache."""
    taken = []
    for _ in range(runs + 1):
        started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
        taken.append((time.perf_counter() - started, cpu))
    walls, cpus = zip(*taken[1:])
    return statistics.median(walls), statistics.median(cpus)


def sources() -> dict[str, ast.Module]:
    """Every module of the package by its dotted name."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = ("polymodal", *path.relative_to(ROOT).with_suffix("").parts)
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


def longest_file() -> tuple[int, str]:
    """Lines and name."""
    return max((p.read_text(encoding="utf-8").count("\n"), str(p.relative_to(ROOT))) for p in ROOT.rglob("*.py"))


def functions(tree: ast.Module) -> Iterator[Function]:
    """All functions and methods of a module."""
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def width(function: Function) -> int:
    """How many parameters it takes, `self` and `cls` aside."""
    given = function.args
    return sum(a.arg not in ("self", "cls") for a in (*given.posonlyargs, *given.args, *given.kwonlyargs))


def widest(trees: dict[str, ast.Module], *, commands: bool) -> tuple[int, str]:
    """The widest signature; the command line's functions, whose parameters are its options, are counted apart."""
    chosen = {name: tree for name, tree in trees.items() if (name == "polymodal.cli") == commands}
    return max((width(f), f"{name}.{f.name}") for name, tree in chosen.items() for f in functions(tree))


def longest_function(trees: dict[str, ast.Module]) -> tuple[int, str]:
    """Lines and name."""
    return max(
        (f.end_lineno - f.lineno + 1, f"{name}.{f.name}")
        for name, tree in trees.items()
        for f in functions(tree)
        if f.end_lineno is not None
    )


def cycles(trees: dict[str, ast.Module]) -> int:
    """How many modules lie on a cycle of imports, those inside functions counted."""
    graph = {name: imports(tree, trees) - {name} for name, tree in trees.items()}

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = list(graph[start])
        while waiting:
            name = waiting.pop()
            if name not in seen:
                seen.add(name)
                waiting += graph[name]
        return seen

    return sum(name in reached(name) for name in graph)


def imports(tree: ast.Module, known: dict[str, ast.Module]) -> set[str]:
    """Modules of the package that a module imports anywhere; the package's lazy top is a table and no dependence."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                found.add(whole if whole in known else node.module)
    return {name for name in found if name in known and name != "polymodal"}


def main() -> None:
    """Run the benchmark."""
    arguments = parser(__doc__)
    arguments.add_argument("--runs", type=int, default=10)
    options = arguments.parse_args()
    python = sys.executable
    trees = sources()
    told: list[dict[str, Any]] = []
    for what, command in (
        ("python -c pass", [python, "-c", "pass"]),
        ("import polymodal", [python, "-c", "import polymodal"]),
        ("polymodal --help", [python, "-m", "polymodal.cli", "--help"]),
    ):
        wall, cpu = seconds(command, options.runs)
        told.append({"what": f"{what}, seconds", "value": round(wall, 3), "where": f"{cpu:.3f} of CPU"})
    for what, (value, where) in (
        ("longest file, lines", longest_file()),
        ("longest function, lines", longest_function(trees)),
        ("widest signature", widest(trees, commands=False)),
        ("widest command", widest(trees, commands=True)),
    ):
        told.append({"what": what, "value": value, "where": where})
    told.append({"what": "modules on an import cycle", "value": cycles(trees), "where": f"of {len(trees)}"})
    show(told, options.json)


if __name__ == "__main__":
    main()
