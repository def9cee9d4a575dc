"""Scans of bodies through every verb: NIfTI files beside folders of slices, one broken."""

import json

import numpy as np
import pytest

import polymodal as pm
from polymodal.data.examples import volume
from polymodal.data.schema import Schema
from polymodal.data.tables.table import Table
from polymodal.inference.explanation import write_explanation

nibabel = pytest.importorskip("nibabel")

QUICK = {"trackers": "none", "workers": 0, "quiet": True, "dim": 8, "seeds": 1, "joint": False, "fusion": ["concat"],
         "encoders": {"scan": "volume_plain"}}  # fmt: skip
ROWS = 60


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Whether a scan holds a ball or a box is the answer; the last file is cut short."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("scans")
    draw = np.random.default_rng(0)
    lines = ["scan,age,shape"]
    for row in range(ROWS):
        values, name = volume(draw, row), f"{row}.nii.gz"
        if row % 10:
            body = nibabel.Nifti1Image(values.transpose(2, 1, 0), np.diag([1, 1, 1, 1.0]))
            body.to_filename(folder / name)
        else:
            name = f"slices{row}"
            (folder / name).mkdir()
            for number, page in enumerate(values):
                Image.fromarray((page + 20).clip(0, 255).astype(np.uint8)).save(folder / name / f"{number}.png")
        lines.append(f"{name},{draw.normal():.3f},{('box', 'ball')[row % 2]}")
    (folder / "broken.nii.gz").write_bytes((folder / "1.nii.gz").read_bytes()[:300])
    (folder / "table.csv").write_text("\n".join([*lines, "broken.nii.gz,0.1,box"]) + "\n")
    return folder


def test_a_table_of_scans(data, tmp_path, monkeypatch):
    monkeypatch.setenv("POLYMODAL_STORE", str(tmp_path / "store"))
    pm.fit(data / "table.csv", target="shape", out=tmp_path / "run", **QUICK)
    aside = [json.loads(line) for line in (tmp_path / "run" / "set_aside.jsonl").read_text().splitlines()]
    assert ["broken.nii.gz" in one["reason"] and "cut short" in one["reason"] for one in aside] == [True]
    assert "volume_plain" in (tmp_path / "run" / "evaluation.json").read_text()

    again = pm.load(tmp_path / "run")
    answers = again.predict(data / "table.csv")["shape"]
    right = np.mean([said == truth for said, truth in zip(answers, ["box", "ball"] * (ROWS // 2))])
    assert right > 0.9
    for row, explained in enumerate(again.explain(data / "table.csv", limit=3)):
        assert set(explained["worth"]) >= {"scan"}, row
    page = tmp_path / "why.html"
    write_explanation(again, data / "table.csv", again.explain(data / "table.csv", limit=3), page)
    text = page.read_text()
    assert text.count("data:image/") >= 3
    assert text.count('class="photo small"') >= 3  # slices of few pixels are enlarged, not drawn as stamps
    assert "bright where the answer came from" in text
    assert again.predict({"scan": [volume(np.random.default_rng(5), 1)], "age": [0.0]})["shape"] == ["ball"]


def test_columns_of_scans_are_told(data):
    told = Schema.infer(Table.build({"scan": [np.zeros((4, 5, 6))] * 40, "y": ["a", "b"] * 20}), "y")
    assert told.fields["scan"].kind == "volume"
    for row in range(40):
        np.save(data / f"{row}.npy", np.zeros((5, 6) if row == 3 else (4, 5, 6)))  # one slice alone is a fault
    told = Schema.infer(Table.build({"scan": [f"{n}.npy" for n in range(40)], "y": ["a", "b"] * 20}, base=data), "y")
    assert told.fields["scan"].kind == "volume"
    folders = Table.build({"scan": [f"slices{10 * row}" for row in range(6)], "y": ["a", "b"] * 3}, base=data)
    assert Schema.infer(folders, "y").fields["scan"].kind == "video"  # pictures in folders are a film, unless told
    assert Schema.infer(folders, "y", {"fields": {"scan": "volume"}}).fields["scan"].kind == "volume"
