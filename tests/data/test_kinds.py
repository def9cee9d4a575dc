"""The table of kinds: every record is complete, what is not is caught, and it grows from outside."""

from __future__ import annotations

import ast
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from polymodal.catalogues import show_part
from polymodal.core.errors import BadArgument, UnknownName
from polymodal.data import kinds as kinds_module
from polymodal.data.kinds import BUILT_IN, KINDS, Kind, Kinds, register_kind
from polymodal.data.schema import Schema
from polymodal.data.tables.table import Table
from polymodal.inference.explanation import Look, drawn
from polymodal.report.cards import cell_card
from polymodal.testing import NotConformant, check_kind

MORSE = Kind("morse", suffixes=(".morse",), processor="series", encoder="series_tcn", card="series", example="x:y")
MODULE = """
from polymodal.data.kinds import Kind

MORSE = Kind("morse", suffixes=(".morse",), magic={rb"MORSE": ".morse"}, processor="p", encoder="e", card="text")
WORDS = ("...", "---")


def card(shown):
    return {"note": f"{len(shown['array'])} beats"}


def drawing(predictor, name, decoded, shown, look):
    return {"drawing": f"{name}: {len(shown['array'])}"}
"""


@pytest.fixture
def kinds():
    """The kinds of the package alone, to be added to."""
    return Kinds(BUILT_IN)


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A module `own_kinds` that nothing has imported yet; what is registered is forgotten afterwards."""
    (tmp_path / "own_kinds.py").write_text(MODULE, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    for table in ("_kinds", "_ends", "_modules"):
        monkeypatch.setattr(KINDS, table, dict(getattr(KINDS, table)))
    yield "own_kinds"
    sys.modules.pop("own_kinds", None)


@pytest.mark.parametrize("kind", BUILT_IN, ids=lambda kind: kind.name)
def test_every_kind_that_is_learnt_from_has_all_its_parts(kind):
    check_kind(kind)


@pytest.mark.parametrize(
    ("changes", "law"),
    [
        ({"processor": ""}, "has processor"),
        ({"processor": "image"}, "has processor"),
        ({"encoder": ""}, "has encoder"),
        ({"encoder": "image_resnet"}, "encoder"),
        ({"card": ""}, "has card"),
        ({"card": "polymodal.data.examples:nothing"}, "card"),
        ({"example": ""}, "has example"),
        ({"example": "polymodal.data.examples:image"}, "example"),
        ({"drawing": "polymodal.data.examples:nothing"}, "drawing"),
        ({"ready_encoder": "image_resnet"}, "encoder"),
        ({"learnt": False}, "only known"),
    ],
)
def test_a_record_that_lacks_a_part_is_caught(changes, law):
    with pytest.raises(NotConformant) as caught:
        check_kind(replace(KINDS["series"], **changes))
    assert law in [violation.law for violation in caught.value.violations]


def test_kinds_of_files(kinds):
    assert kinds.of_file("a/b.JPG") == "image"
    assert kinds.of_file("x.nii.gz") == "volume"
    assert kinds.of_file("a.b.png") == "image"
    assert kinds.of_file("a.npy") == "array"
    assert [kinds.of_file(name) for name in ("a", ".png", "3.5", "end of a sentence.", "a.unknown")] == [None] * 5


@pytest.mark.parametrize(
    ("content", "kind", "suffix"),
    [
        (b"\x89PNG....", "image", ".png"),
        (b"II*\0....", "image", ".tif"),
        (b"RIFF\0\0\0\0WEBP", "image", ".webp"),
        (b"RIFF\n\0\n\0WAVEfmt", "audio", ".wav"),
        (b"RIFF\0\0\0\0AVI LIST", "video", ".avi"),
        (b"\0\0\0\x18ftypmp42", "video", None),
        (b"\0\0\0\x18ftypM4A ", "audio", ".m4a"),
        (b"\xff\xf3..", "audio", ".mp3"),
        (b"\0\0\0\x18ftypheic", "image", ".heic"),
        (b"\0\0\0\x18ftypavif", "image", ".avif"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "image", ".jp2"),
        (b"%PDF-1.7\n", "image", ".pdf"),
        (b"<svg xmlns=", "image", ".svg"),
        (b'\xef\xbb\xbf<?xml version="1.0"?>\n<!-- by hand -->\n<svg:svg>', "image", ".svg"),
        (b"<?xml version='1.0'?><kml>", None, None),
        (b"<!-- words --><p>", None, None),
        (b"#!AMR\n", "audio", ".amr"),
        (b"\xff\xf1P\x80", "audio", ".aac"),
        (b"\x1a\x45\xdf\xa3....webm", "video", ".mkv"),
        (b"\x93NUMPY\x01", "array", ".npy"),
        (bytes(128) + b"DICM", "volume", ".dcm"),
        (b"words", None, None),
        (b"", None, None),
    ],
)
def test_kinds_of_first_bytes(kinds, content, kind, suffix):
    assert (kinds.of_bytes(content), kinds.suffix_of(content)) == (kind, suffix)


def test_a_kind_from_outside_is_told_by_its_files(kinds):
    kinds.add(replace(MORSE, magic={rb"BM1": ".morse"}), "own_kinds")
    assert kinds.of_file("call.MORSE") == "morse"
    assert (kinds.of_bytes(b"BM1 ..."), kinds.suffix_of(b"BM1")) == ("morse", ".morse")  # and before the shorter "BM"
    assert kinds.of_bytes(b"BM2 ...") == "image"
    assert list(kinds)[-1] == "morse"
    assert kinds.modules(["image", "morse"]) == {"morse": "own_kinds"}


def test_the_same_kind_again_changes_nothing(kinds):
    kinds.add(MORSE, "own_kinds")
    kinds.add(replace(MORSE), "elsewhere")
    kinds.add(KINDS["vector"], "elsewhere")
    assert kinds.modules(kinds) == {"morse": "own_kinds"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "image"}, "kind 'image' exists already"),
        ({"name": "two words"}, "one word"),
        ({"suffixes": (".png",)}, r"Files that end in \.png are of the kind 'image'"),
        ({"suffixes": ("morse",)}, r"written as '\.png'"),
        ({"suffixes": (".MORSE",)}, "small letters"),
        ({"cell": "fil"}, "cannot have cell='fil'. Did you mean 'file'"),
        ({"copies": "pictures"}, "Did you mean 'picture'"),
        ({"magic": {rb"(": ""}}, "no pattern of bytes"),
        ({"magic": {"text": ""}}, "no pattern of bytes"),
        ({"written": ".morse"}, r"No recipe opens cells of the kind 'morse'"),
    ],
)
def test_a_record_that_cannot_stand_is_refused(kinds, changes, message):
    with pytest.raises(BadArgument, match=message):
        kinds.add(replace(MORSE, **changes), "own_kinds")
    assert "morse" not in kinds


def test_kinds_are_found_by_path_module_and_name(own):
    assert KINDS.find("image") == "image"
    assert KINDS.find("nonsense") == "nonsense"  # said by who asked for it
    assert KINDS.find(f"{own}:MORSE") == "morse"
    assert KINDS.register(own) == ["morse"]
    KINDS.know({"morse": "no_such_module"})  # known already: nothing is imported
    with pytest.raises(UnknownName, match="No kind is called 'mors'. Did you mean 'morse'"):
        KINDS["mors"]
    assert KINDS.get("mors") is None


@pytest.mark.parametrize(
    ("ask", "error", "message"),
    [
        (lambda own: KINDS.find(f"{own}:WORDS"), BadArgument, "is no kind but a tuple"),
        (lambda own: KINDS.find(f"{own}:MORS"), UnknownName, "Did you mean 'MORSE'"),
        (lambda own: KINDS.register("no_such_module"), UnknownName, "No module 'no_such_module'"),
        (lambda own: KINDS.register("json"), BadArgument, "holds no kind"),
        (lambda own: KINDS.know({"other_morse": own}), UnknownName, "holds no kind 'other_morse' any more"),
        (lambda own: KINDS.know({"semaphore": "gone_kinds"}), UnknownName, "No module 'gone_kinds'"),
    ],
)
def test_what_is_not_there_is_said(own, ask, error, message):
    with pytest.raises(error, match=message):
        ask(own)


def table(**more: list[str]) -> Table:
    return Table.build({"call": [f"{i}.morse" for i in range(30)], "y": ["a", "b"] * 15, **more})


@pytest.mark.parametrize(
    "said",
    [
        {"register": ["own_kinds"]}, {"register": "own_kinds"}, {"fields": {"call": "own_kinds:MORSE"}},
        {"fields": {"call": {"kind": "own_kinds:MORSE"}}}, {"kinds": {"call": "own_kinds:MORSE"}},
    ],
)  # fmt: skip
def test_a_schema_names_kinds_from_outside(own, said):
    schema = Schema.infer(table(), "y", said)
    assert schema.fields["call"].kind == "morse"
    assert schema.fields["call"].about == KINDS["morse"]
    kept = schema.to_json()
    assert kept["kinds"] == {"morse": own}
    sys.modules.pop(own)
    KINDS._kinds.pop("morse"), KINDS._modules.pop("morse"), KINDS._ends.pop(".morse")
    assert Schema.from_json(kept).to_json() == kept  # another process: the module is imported again
    assert own in sys.modules


def test_a_kind_draws_its_own_card_and_where_a_model_looked_in_it(own):
    KINDS.add(replace(MORSE, card=f"{own}:card", drawing=f"{own}:drawing"), own)
    shown = {"kind": "morse", "array": [1, 0]}
    assert cell_card("call", shown) == {"stream": "call", "kind": "morse", "note": "2 beats"}
    look = Look(np.array([0.2, 0.0]), np.arange(2.0))
    assert drawn(None, "call", b"-", shown, look) == {"drawing": "call: 2"}
    assert drawn(None, "vector", None, {"kind": "vector", "array": [1]}, look) == {}  # a kind without a drawing


def test_a_schema_of_kinds_of_the_package_names_no_module():
    schema = Schema.infer(Table.build({"x": [f"{i}.png" for i in range(9)], "y": ["a", "b", "a"] * 3}), "y")
    assert "kinds" not in schema.to_json()


def test_an_entry_point_makes_a_kind_known(own, kinds, monkeypatch):
    points = {"polymodal.kind": [SimpleNamespace(name="morse", value=f"{own}:MORSE")]}
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: points.get(group, []))
    assert kinds["morse"].suffixes == (".morse",)
    assert kinds.modules(["morse"]) == {"morse": own}


def test_an_entry_point_that_fails_is_said_and_left_out(own, kinds, monkeypatch):
    points = [SimpleNamespace(name="morse", value=f"{own}:MORS"), SimpleNamespace(name="gone", value="gone_kinds:GONE")]
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: points)
    with pytest.warns(UserWarning, match="is left out") as said:
        assert len(kinds) == len(BUILT_IN)
    assert ["morse" in str(said[0].message), "gone" in str(said[1].message)] == [True, True]


def test_a_script_registers_its_own_kind(own):
    assert register_kind(MORSE) is MORSE
    assert KINDS.modules(["morse"]) == {"morse": __name__}


def test_the_table_imports_nothing_heavy():
    heavy = "'numpy', 'torch', 'PIL', 'pandas', 'pyarrow', 'polymodal.process', 'polymodal.encoders'"
    code = f"import polymodal.data.kinds, sys; print(sorted({{{heavy}}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_code_branches_on_the_name_of_a_field_s_kind():
    """What differs from kind to kind stands in the table; ops and a processor say which kinds they take."""
    root = Path(kinds_module.__file__).parents[1]
    found = [
        f"{path.relative_to(root)}: {ast.unparse(node)}"
        for path in root.rglob("*.py")
        if path.relative_to(root).parts[0] not in ("ops", "preparation") and path.name != "kinds.py"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if _names_a_kind(node)
    ]
    assert found == []


@pytest.mark.parametrize("code", ["one.kind == 'image'", "kind in ('vector', 'series')", "field.kind != 'links'"])
def test_a_planted_branch_is_found(code):
    assert any(map(_names_a_kind, ast.walk(ast.parse(code))))


def _names_a_kind(node: ast.AST) -> bool:
    if not isinstance(node, ast.Compare):
        return False
    words = {one.value for one in ast.walk(node) if isinstance(one, ast.Constant) and isinstance(one.value, str)}
    return "kind" in ast.unparse(node.left) and bool(words & {kind.name for kind in BUILT_IN if kind.stream})


def test_what_is_read_is_listed_and_a_film_can_be_heard():
    told = show_part("audio")
    assert "files: .wav" in told
    assert ".m4a" in told
    assert ".heic" in show_part("image")
