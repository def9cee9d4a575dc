"""Stretches of recordings: rows that say which seconds of a film or a sound are theirs."""

import io

import numpy as np
import pytest
import soundfile
import yaml
from films import film

from polymodal.core.digest import digest_cells
from polymodal.core.errors import BadArgument, BadCell, BadData, UnknownName
from polymodal.data.cells import cells
from polymodal.data.copies import held_together
from polymodal.data.inspection.proposals import weighty
from polymodal.data.media.sound import read_sound
from polymodal.data.media.stretch import Stretch
from polymodal.data.schema import Schema
from polymodal.data.tables.table import Table
from polymodal.process.audio import AudioProcessor
from polymodal.process.video import VideoProcessor

FIELDS = {
    "lips": {"kind": "video", "columns": "clip", "from": "begin", "to": "end"},
    "voice": {"kind": "audio", "columns": "clip", "from": "begin", "to": "end"},
}


def table(tmp_path, **changed):
    (tmp_path / "a.mp4").write_bytes(film(50, sound=True))
    columns = {
        "clip": ["a.mp4"] * 4, "begin": [1.0, 3.0, "0", None], "end": [2.0, 4.0, "1.5", None], "label": list("abab"),
    }  # fmt: skip
    return Table.build({**columns, **changed}, base=tmp_path)


def schema(given, **fields):
    return Schema.infer(given, "label", {"fields": {**FIELDS, **fields}})


def test_film_and_sound_are_cut_alike(tmp_path):
    given = table(tmp_path)
    found = schema(given)
    assert set(found.fields) == {"lips", "voice"}
    assert found.ignored["begin"] == "says which stretch of lips and voice is read"
    seen, heard = (cells(given, found.fields[name]) for name in ("lips", "voice"))
    shown = [VideoProcessor(frames=4).read(cell) for cell in seen]
    assert shown[0].times == pytest.approx([0.1, 0.3, 0.6, 0.8], abs=0.06)
    assert shown[0].frames[:, 24, 32, 1].astype(int) == pytest.approx([56, 66, 82, 92], abs=8)
    assert (shown[1].frames[:, 24, 32, 0] > 200).all()
    sounds = [AudioProcessor().read(cell) for cell in heard]
    assert [round(one.seconds, 1) for one in sounds] == [1.0, 1.0, 1.5, pytest.approx(5.0, abs=0.15)]


def test_a_stretch_begins_where_it_says():
    wave = np.concatenate([np.zeros(8000), 0.5 * np.ones(8000)]).astype(np.float32)
    for form in ("WAV", "FLAC"):
        stream = io.BytesIO()
        soundfile.write(stream, wave, 8000, format=form)
        assert read_sound(stream.getvalue(), 0.5, 0.75).samples == pytest.approx(wave[6000:10_000], abs=1e-3)
        with pytest.raises(BadCell, match="no sample after 3 seconds"):
            read_sound(stream.getvalue(), 1.0, 3.0)


def test_rows_of_one_file_are_no_copies_unless_their_stretch_is_the_same(tmp_path):
    given = table(tmp_path)
    digests = digest_cells(cells(given, schema(given).fields["lips"]))
    assert len({bytes(one) for one in digests}) == 4
    apart = table(tmp_path, begin=[1.0, 3.0, 0.0, 4.0], end=[2.0, 4.0, 1.0, None])
    assert held_together(apart, schema(apart)) is None
    again = table(tmp_path, begin=[1.0, 1.0, 2.0, 3.0], end=[2.0, 2.0, 3.0, 4.0])
    assert held_together(again, schema(again)) == [0, 0, 2, 3]


def test_rows_whose_stretches_overlap_stay_together_directly_or_through_others(tmp_path):
    given = table(tmp_path, begin=[3.0, 0.0, 1.5, 4.0], end=[3.5, 2.0, 3.2, None])
    assert held_together(given, schema(given)) == [0, 0, 0, 3]
    apart = table(tmp_path, clip=["a.mp4", "b.mp4", "a.mp4", "b.mp4"], begin=[0.0, 1.0, 1.0, 0.0], end=[2.0] * 4)
    assert held_together(apart, schema(apart)) == [0, 1, 0, 1]
    long = table(tmp_path, begin=[0.0, 1.0, 5.0, 3.0], end=[9.0, 2.0, 6.0, "soon"])  # one within another; one broken
    assert held_together(long, schema(long)) == [0, 0, 0, 3]


def test_rows_of_one_recording_are_proposed_as_a_group(tmp_path):
    ends = {"begin": [0.0, 1.0] * 3, "end": [1.0, 2.0] * 3, "label": list("abcabc")}
    given = Table.build({"clip": [f"{name}.mp4" for name in "aabbcc"], **ends}, base=tmp_path)
    (found,) = weighty(given, schema(given))
    assert found.schema == "group: clip"
    assert "6 rows read stretches of 3 recordings" in found.why
    assert not weighty(given, schema(given), ["train"] * 4 + ["test"] * 2)
    assert weighty(given, schema(given), ["train", "test"] * 3)
    grouped = Schema.infer(given, "label", {"fields": FIELDS, **yaml.safe_load(found.schema)})
    assert set(grouped.fields) == set(FIELDS)
    assert held_together(given, grouped) == given.column("clip")
    assert not weighty(given, grouped)
    single = Table.build({"clip": [f"{name}.mp4" for name in "abcdef"], **ends}, base=tmp_path)
    assert not weighty(single, schema(single))


@pytest.mark.parametrize(
    ("begin", "end", "why"),
    [("soon", 2.0, "'soon', where seconds were expected"), (-1.0, 2.0, "-1"), (3.0, 2.0, "not after it begins at 3")],
)
def test_a_wrong_stretch_costs_its_cell(tmp_path, begin, end, why):
    given = table(tmp_path, begin=[begin, 3.0, 0.0, None], end=[end, 4.0, 1.0, None])
    one = cells(given, schema(given).fields["lips"])
    with pytest.raises(BadCell, match=why):
        one[0]
    assert one[1].start == 3.0


def test_wrong_fields_are_refused(tmp_path):
    given = table(tmp_path)
    with pytest.raises(UnknownName, match="begins"):
        schema(given, lips={**FIELDS["lips"], "from": "begins"})
    with pytest.raises(BadArgument, match=r"stretch of a recording \(audio or video\)"):
        schema(given, lips={"kind": "image", "columns": "clip", "from": "begin"})
    with pytest.raises(UnknownName, match="begin"):
        schema(given).check(Table.build({"clip": ["a.mp4"], "end": [1.0]}))


def test_a_stretch_does_not_begin_or_end_by_the_target(tmp_path):
    given = table(tmp_path)
    with pytest.raises(BadData, match="'begin', which is the target"):
        Schema.infer(given, "begin", {"fields": FIELDS})


def test_a_stretch_of_a_list_of_files_is_another_once_a_file_is(tmp_path):
    frame = tmp_path / "a.png"
    frame.write_bytes(b"one")
    cell = Stretch([frame], 0.0, 1.0)
    before = digest_cells([cell])
    frame.write_bytes(b"two")
    assert (digest_cells([cell]) != before).any()
