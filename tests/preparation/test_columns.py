"""What prepare takes the columns for: kinds told from the cells or said by a schema, and what each row is for."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from polymodal.core.errors import BadArgument
from polymodal.data.tables.source import read_table
from polymodal.data.tables.write import write_columns
from polymodal.preparation.run import Source, prepare

ROWS = 12


def table(folder, **columns):
    write_columns({"id": [f"r{i}" for i in range(ROWS)], **columns}, folder / "data.csv")
    return folder / "data.csv"


def test_a_schema_corrects_kinds(tmp_path):
    data = table(tmp_path, code=[str(100 + i) for i in range(ROWS)], film=[f"{i}.bin" for i in range(ROWS)])
    assert Source.read(data).kinds["code"] != "text"
    schema = {"kinds": {"code": "text"}, "ignore": "film"}
    kinds = Source.read(data, schema).kinds
    assert (kinds["code"], kinds["film"]) == ("text", "ignore")
    with pytest.raises(BadArgument, match="'code' is of kind text; this op takes"):
        prepare(data, [{"range": {"columns": "code", "most": 3}}], out=tmp_path / "out", schema=schema, quiet=True)
    assert Source.read(data, {"fields": {"film": "video", "code": {"kind": "table"}}}).kinds["film"] == "video"
    with pytest.raises(BadArgument, match="'code' cannot be of kind 'nummber'. Did you mean 'number'"):
        Source.read(data, {"kinds": {"code": "nummber"}})


@pytest.mark.parametrize(("column", "schema"), [("split", None), ("Split", None), ("fold", {"split": "fold"})])
def test_only_training_rows_are_varied_however_the_split_is_written(tmp_path, column, schema):
    words = ["Training", "train ", "val", "dev", "test", "testing"]
    data = table(
        tmp_path,
        **{column: [words[i % 6] for i in range(ROWS)]},
        words=[f"a brown dog number {i} runs over wet grass" for i in range(ROWS)],
    )
    done = prepare(
        data, [{"drop_words": {"columns": "words"}}], out=tmp_path / "out", schema=schema, workers=0, quiet=True
    )
    copies = [name for name in read_table(done.table).ids if "~" in name]
    assert {int(name[1:].split("~")[0]) % 6 for name in copies} == {0, 1}


def test_broken_cells_do_not_stop_what_looks_at_other_rows(tmp_path):
    (tmp_path / "photos").mkdir()
    rng = np.random.default_rng(0)
    for i in range(ROWS):
        path = tmp_path / "photos" / f"{i}.png"
        Image.fromarray(rng.integers(0, 255, (16, 16, 3), np.uint8)).save(path)
        if i == 3:
            path.write_bytes(path.read_bytes()[:200])
        if i == 4:
            path.unlink()
    photos = [f"photos/{i}.png" for i in range(ROWS)]
    data = table(
        tmp_path,
        photo=photos,
        shade=["red", "blue"] * (ROWS // 2),
        words=[f"wet grass and dog number {i}" for i in range(ROWS)],
    )
    done = prepare(data, [{"mixup": {"label": "shade"}}], out=tmp_path / "mixed", workers=0, quiet=True)
    assert (done.kept, done.set_aside, done.report["rows"]["added"]) == (10, 2, 10)
    done = prepare(data, [{"drop_streams": {"chance": 0.9}}], out=tmp_path / "dropped", workers=0, quiet=True)
    assert done.kept == ROWS, "what is emptied need not be whole"
    page = (tmp_path / "dropped" / "report.html").read_text()
    assert "broken: the file &#39;3.png&#39; is a picture that is cut short" in page


def test_a_row_refused_after_a_new_column_was_made_goes_out_as_it_came(tmp_path):
    import pyarrow.parquet as pq
    import soundfile

    soundfile.write(tmp_path / "a.wav", np.sin(np.arange(4000) / 9), 8000)
    data = table(tmp_path, sound=["a.wav"] * ROWS, price=[str(i) for i in range(ROWS)])
    steps = ["cepstra", {"range": {"columns": "price", "most": 5}}]
    prepare(data, steps, out=tmp_path / "out", schema={"kinds": {"price": "number"}}, workers=0, quiet=True)
    aside = pq.read_table(tmp_path / "out" / "set_aside.parquet").to_pylist()
    assert [line["id"] for line in aside] == [f"r{i}" for i in range(6, ROWS)]
    assert aside[0]["sound"] == "a.wav"


def test_prepare_reads_numbers_as_their_column_writes_them(tmp_path):
    values = [f"{1 + i / 1000:.3f}".replace(".", ",") for i in range(60)]
    table = {"id": [f"r{i}" for i in range(62)], "x": [*values, "0,5", "2000,5"]}
    steps = ["outliers", {"range": {"columns": "x", "least": 0.9}}]
    done = prepare(table, steps, out=tmp_path / "out", workers=0, quiet=True)
    aside = pq.read_table(done.folder / "set_aside.parquet").to_pylist()
    assert {row["id"] for row in aside} == {"r60", "r61"}
    assert read_table(done.table).column("x")[:60] == values, "as they were written"
