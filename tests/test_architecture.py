"""Layers, cycles, sizes and start-up: what must not drift."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

CODE = re.compile(r"polymodal(\.\w+)+(:[\w.]+)?")
ROOT = Path(__file__).parents[1] / "src" / "polymodal"
FAMILIES = ("process", "encoders", "aligners", "fusion", "heads", "objectives", "ops")
FLOORS = (  # each stands on those before it
    ("core",),
    ("nn",),
    ("targets", "metrics"),
    ("data",),
    ("learners",),
    ("presets",),
    (*FAMILIES, "report", "runs", "config"),
    ("models", "evaluation"),
    ("train", "explanation"),
    ("inference",),
    ("preparation", "generators"),
    ("experiment", "alignment", "retrieval"),
    ("tuning", "pretraining"),
    ("catalogues", "testing", "sklearn", "recipes"),
    ("cli",),
    ("__init__",),
)
LAYERS = {name: floor for floor, names in enumerate(FLOORS) for name in names}


def _modules() -> dict[str, Path]:
    found = {}
    for path in ROOT.rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)] = path
    return found


MODULES = _modules()


def _imports(path: Path) -> set[str]:
    return _imports_of(path.read_text(encoding="utf-8"), path)


def _imports_of(code: str, path: Path) -> set[str]:
    """Modules of this package that a file imports: inside functions too, and those that a string names as code.

    A string that names a module counts like an import of it, unless it is of the same package: a catalogue, in its
    family's `__init__.py`, names the family's own parts. Imports for type checkers only do not count.
    """
    found: set[str] = set()
    own = path.relative_to(ROOT).with_suffix("").parts[0]

    def name(text: str) -> None:
        module = text.partition(":")[0].removeprefix("polymodal").lstrip(".")
        while module and module not in MODULES:
            module = module.rpartition(".")[0]
        if module.split(".")[0] != own:
            found.add(module)

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            return
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "polymodal":
            base = (node.module or "").removeprefix("polymodal").lstrip(".")
            for alias in node.names:
                full = f"{base}.{alias.name}".lstrip(".")
                found.add(full if full in MODULES else base or "__init__")
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and CODE.fullmatch(node.value):
            name(node.value)
        if isinstance(node, ast.Import):
            found.update(a.name.removeprefix("polymodal.") for a in node.names if a.name.startswith("polymodal."))
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(code))
    return {name for name in found if name}


GRAPH = {name: _imports(path) - {name} for name, path in MODULES.items()}


def test_imports_point_down():
    wrong = []
    for name, targets in GRAPH.items():
        package = name.split(".")[0]
        for target in targets:
            other = target.split(".")[0]
            if LAYERS[other] > LAYERS[package] and target != "__init__":
                wrong.append(f"{name} imports {target}, which lies above it")
            if package in FAMILIES and other in FAMILIES and package != other:
                wrong.append(f"{name} imports {target}: families never import one another")
    assert not wrong, "\n".join(wrong)


def test_no_two_packages_import_each_other():
    pairs = {(name.split(".")[0], target.split(".")[0]) for name, targets in GRAPH.items() for target in targets}
    assert not [pair for pair in pairs if pair[0] < pair[1] and pair[::-1] in pairs]


def test_no_package_bears_a_command_s_name():
    """So that `polymodal.align` is a function, whatever was imported before."""
    from polymodal.cli import app

    commands = {command.name or command.callback.__name__ for command in app.registered_commands}
    commands |= {group.name for group in app.registered_groups}
    packages = {name.split(".")[0] for name in MODULES}
    assert commands & {"fit", "align", "recipe"} == {"fit", "align", "recipe"}
    assert not commands & packages


def test_strings_count_as_imports():
    path = ROOT / "nn" / "planted.py"
    code = "from importlib import import_module\nimport_module('polymodal.train.loop')\nRUN = 'polymodal.cli:main'\n"
    assert _imports_of(code, path) == {"train.loop", "cli"}


def test_every_package_has_a_layer():
    assert {name.split(".")[0] for name in MODULES} <= set(LAYERS)


def test_no_import_cycle_counting_deferred_imports():
    done: set[str] = set()

    def walk(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join((*trail[trail.index(name) :], name))
        if name in done:
            return
        for target in sorted(GRAPH.get(name, ())):
            walk(target, (*trail, name))
        done.add(name)

    for name in sorted(GRAPH):
        if name != "__init__":
            walk(name, ())


def test_files_and_signatures_stay_small():
    wrong = []
    for name, path in MODULES.items():
        text = path.read_text(encoding="utf-8")
        if (lines := text.count("\n")) > 500:
            wrong.append(f"{name} has {lines} lines; split it")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and name.split(".")[0] != "cli":
                arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                count = sum(a.arg not in ("self", "cls") for a in arguments)
                if count > 12:
                    wrong.append(f"{name}.{node.name} takes {count} arguments")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "command", ["import polymodal", "import polymodal.cli", "import polymodal.config, polymodal.catalogues"]
)
def test_light_import(command: str):
    heavy = "'torch', 'transformers', 'sklearn', 'matplotlib', 'pyarrow', 'tokenizers', 'PIL'"
    code = f"{command}; import sys; print(sorted({{{heavy}}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_listing_the_catalogue_loads_no_torch():
    code = (
        "from polymodal.catalogues import show_all; show_all(None, 'text'); import sys; print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_public_names_resolve():
    import polymodal

    for name in polymodal.__all__:
        assert getattr(polymodal, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'fitt'"):
        polymodal.fitt  # noqa: B018
