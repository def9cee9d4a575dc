"""Objects by address: fetched once, from servers that fail in every way, into a cache of bounded size."""

import io
import multiprocessing
import os
import pickle
import time
from pathlib import Path

import numpy as np
import pytest
from films import film
from PIL import Image
from servers import Web, fetched_there

import polymodal as pm
from polymodal.core.errors import BadArgument, BadCell, BadData, DiskFull, MissingExtra
from polymodal.data.cells import cells
from polymodal.data.remote import cache as caching
from polymodal.data.remote import remote as fetching
from polymodal.data.remote import transfer
from polymodal.data.remote.remote import Remote, allow_remote, granted
from polymodal.data.schema import Field, Schema
from polymodal.data.storage.decode import Broken, fetch
from polymodal.data.tables.table import Table

pytest.importorskip("aiohttp")
PHOTO = Field("photo", "image", ("photo",))


def picture(seed: int, size: int = 16) -> bytes:
    content = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (size, size, 3), np.uint8)).save(content, "PNG")
    return content.getvalue()


@pytest.fixture
def web(tmp_path, monkeypatch):
    monkeypatch.setenv("POLYMODAL_REMOTE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("POLYMODAL_REMOTE_WAIT_SECONDS", "1")
    monkeypatch.setattr(transfer, "WAITS", (0.02, 0.04))
    with Web().running() as server:
        server.objects = {f"/{n}.png": picture(n) for n in range(8)}
        yield server


@pytest.fixture
def age(monkeypatch):
    """Copies whose server is asked again at every look."""

    def old():
        monkeypatch.setattr(fetching, "most", lambda what: 0 if what == "remote age" else 1)
        monkeypatch.setattr(fetching, "REST", 0.0)

    return old


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and path.name not in (caching.ABOUT, caching.LOCK)]


# --- one object ---


def test_an_object_is_fetched_once_and_named_as_it_was(web):
    remote = Remote()
    path = remote.local(f"{web.url}/1.png?token=secret")
    assert path.name == "1.png"
    assert path.read_bytes() == web.objects["/1.png"]
    assert remote.local(f"{web.url}/1.png?token=secret") == path == Remote().local(f"{web.url}/1.png?token=secret")
    assert web.asked["/1.png"] == 1
    assert web.queries == ["token=secret"]
    assert files(remote.cache.root) == [path]
    if os.name == "posix":
        assert remote.cache.root.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("faults", [[500, 503], ["short", 500], ["slow"], ["drip"], [429], ["/2.png"]])
def test_what_fails_for_a_while_is_asked_for_again(web, faults):
    web.faults["/1.png"] = [*faults]
    path = Remote().local(f"{web.url}/1.png")
    assert path.read_bytes() == web.objects["/2.png" if faults == ["/2.png"] else "/1.png"]


@pytest.mark.parametrize(
    ("faults", "said", "asked"),
    [
        ([404], r"/1.png does not exist \(404\): correct the address", 1),
        ([403], r"may not be read \(403\): give this machine credentials", 1),
        ([401], r"may not be read \(401\)", 1),
        ([418], "its server answers 418", 1),
        ([500] * 3, r"its server answers 500 Internal Server Error, asked 3 times", 3),
        (["short"] * 3, "broke off before its end, asked 3 times", 3),
        (["slow"] * 3, "came too slowly: nothing for 1 s, or a trickle, asked 3 times", 3),
    ],
)
def test_reasons_are_told_apart(web, faults, said, asked):
    web.faults["/1.png"] = list(faults)
    remote = Remote()
    with pytest.raises(BadCell, match=said) as caught:
        remote.local(f"{web.url}/1.png?X-Amz-Signature=hidden")
    assert "hidden" not in str(caught.value)
    assert web.asked["/1.png"] == asked
    with pytest.raises(BadCell, match=said):  # and not asked for again at once
        remote.local(f"{web.url}/1.png?X-Amz-Signature=hidden")
    assert web.asked["/1.png"] == asked
    assert not files(remote.cache.root)


def test_names_and_servers_that_are_not_there():
    with pytest.raises(BadCell, match=r"the name of its server no-such-host\.invalid is not known \(DNS\)"):
        transfer_fails("http://ann:secret@no-such-host.invalid/a.png")
    with pytest.raises(BadCell, match=r"its server does not answer \(no connection\)"):
        transfer_fails("http://127.0.0.1:9/a.png")


def transfer_fails(address):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transfer, "WAITS", ())
        Remote().local(address)


def test_a_page_in_place_of_a_photo_and_a_wrong_length_are_broken_cells(web):
    web.faults = {"/1.png": ["page"], "/2.png": ["lies"]}
    with allow_remote():
        table = Table.build({"photo": [f"{web.url}/{n}.png" for n in range(3)], "y": [1, 2, 3]})
    found = pm.inspect(table, "y")
    reasons = {problem.row: problem.reason for problem in found.broken}
    assert list(reasons) == ["1", "2"]
    assert "web page, as a server sends instead of a file" in reasons["1"]
    assert "'2.png'" in reasons["2"]


def test_too_large_an_object_is_not_carried(web, monkeypatch):
    monkeypatch.setenv("POLYMODAL_MAX_CELL_MB", "0.0001")
    with pytest.raises(
        BadCell, match="above the 0 MB that are read of a cell: make it smaller, or raise POLYMODAL_MAX"
    ):
        Remote().local(f"{web.url}/1.png")


def test_a_missing_package_is_named(web, monkeypatch):
    monkeypatch.setitem(transfer.PACKAGES, "gs", ("no_such_package", "gcsfs"))
    with pytest.raises(MissingExtra, match="gs:// are opened by 'no_such_package'.*pip install 'gcsfs'"):
        Remote().local("gs://bucket/a.png")


def test_a_full_disk_is_no_broken_cell(web, monkeypatch):
    def full(*args, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(caching.Cache, "alone", full)
    with pytest.raises(DiskFull):
        Remote().local(f"{web.url}/1.png")


def test_keys_in_an_address_or_an_option_are_refused(web):
    with pytest.raises(BadCell, match="s3://photos/7.jpg has a key in its address: take it out") as caught:
        Remote().local("s3://AKIA:se/cret@photos/7.jpg")
    assert "cret" not in str(caught.value)
    for options in (
        {"key": "a"},
        {"client_kwargs": {"headers": {"Authorization": "b"}}},
        {"endpoint_url": "http://a:b@h"},
    ):
        with pytest.raises(BadArgument, match="give credentials by the environment"):
            Remote({"s3": options})
        with pytest.raises(BadArgument, match="give credentials by the environment"):
            pm.Config(storage_options={"s3": options})
    with pytest.raises(BadArgument, match="are options by scheme"):
        Remote({"anon": True})


# --- copies ---


def test_a_changed_object_is_seen_and_an_unchanged_one_not_carried_again(web, age):
    remote = Remote()
    address = f"{web.url}/1.png"
    path = remote.local(address)
    age()
    assert remote.local(address) == path
    assert (web.asked["/1.png"], web.given["/1.png"]) == (2, 1)  # asked, and answered that nothing changed
    web.objects["/1.png"] = picture(99)
    assert remote.local(address).read_bytes() == picture(99)
    del web.objects["/1.png"]
    with pytest.raises(BadCell, match="does not exist"):
        remote.local(address)
    assert not path.exists()


def test_without_tags_an_old_copy_is_fetched_anew(web, age):
    web.tagged = False
    remote = Remote()
    remote.local(f"{web.url}/1.png")
    web.objects["/1.png"] = picture(99)
    age()
    assert remote.local(f"{web.url}/1.png").read_bytes() == picture(99)


def test_copies_outlive_their_server_and_that_is_said(web, age):
    remote = Remote()
    paths = [remote.local(f"{web.url}/{n}.png") for n in range(3)]
    web.stop()
    assert Remote().local(f"{web.url}/1.png") == paths[1]  # young enough not to be asked for
    age()
    with pytest.warns(
        UserWarning, match="http://127.0.0.1:.* does not say whether its objects have changed. The first "
    ) as said:
        assert [remote.local(f"{web.url}/{n}.png") for n in range(3)] == paths
    assert len(said) == 1


def test_an_address_that_has_expired_leaves_its_copy(web, age):
    remote = Remote()
    path = remote.local(f"{web.url}/1.png?X-Amz-Signature=old")
    web.faults["/1.png"] = [403]
    age()
    with pytest.warns(UserWarning, match=r"may not be read \(403\).* Copies of before are used"):
        assert remote.local(f"{web.url}/1.png?X-Amz-Signature=old") == path


def test_a_copy_that_was_cut_short_is_fetched_again(web):
    path = Remote().local(f"{web.url}/1.png")
    path.write_bytes(b"half")
    assert Remote().local(f"{web.url}/1.png").read_bytes() == web.objects["/1.png"]


def test_the_longest_unused_go_first_and_the_limit_holds(web, monkeypatch):
    size = len(web.objects["/1.png"])
    monkeypatch.setenv("POLYMODAL_REMOTE_CACHE_MB", str(3.5 * size / 1e6))
    monkeypatch.setattr(caching, "GRACE", -1.0)
    remote = Remote()
    paths = []
    for n in range(3):
        paths.append(remote.local(f"{web.url}/{n}.png"))
        os.utime(paths[-1], (time.time() - 100 + n,) * 2)
    remote.local(f"{web.url}/0.png")  # used again: now the last to go
    for n in (3, 4):
        remote.local(f"{web.url}/{n}.png")
        assert sum(path.stat().st_size for path in files(remote.cache.root)) <= 3.5 * size
    assert paths[0].exists()
    assert not paths[1].exists()
    assert not paths[2].exists()
    assert remote.local(f"{web.url}/1.png").read_bytes() == web.objects["/1.png"]  # fetched anew
    assert web.given["/1.png"] == 2


def test_what_was_handed_out_a_moment_ago_stays(web, monkeypatch):
    monkeypatch.setenv("POLYMODAL_REMOTE_CACHE_MB", "0.000001")
    remote = Remote()
    assert all(remote.local(f"{web.url}/{n}.png").exists() for n in range(4))
    assert len(files(remote.cache.root)) == 4


def test_servers_of_one_protocol_do_not_share_copies():
    here, there = Remote({"s3": {"endpoint_url": "http://here"}}), Remote({"s3": {"endpoint_url": "http://there"}})
    assert here._named("s3://b/k.png")[0] != there._named("s3://b/k.png")[0]
    assert here._named("s3://b/k.png") == here._named("s3a://b/k.png")
    assert pickle.loads(pickle.dumps(here)).options == here.options


def test_several_processes_share_the_cache(web):
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    addresses = [f"{web.url}/{n}.png" for n in range(8)]
    workers = [context.Process(target=fetched_there, args=(addresses, results)) for _ in range(3)]
    for worker in workers:
        worker.start()
    found = [results.get(timeout=120) for _ in workers]
    for worker in workers:
        worker.join(60)
    assert found == [[web.objects[f"/{n}.png"] for n in range(8)]] * 3
    assert all(web.given[f"/{n}.png"] == 1 for n in range(8))


# --- servers that are gone ---


def test_a_server_that_is_gone_is_left_alone(web, monkeypatch):
    monkeypatch.setattr(transfer, "WAITS", (0.01,))
    monkeypatch.setattr(fetching, "THREADS", 1)
    web.stop()
    remote = Remote()
    reasons = []
    for n in range(20):
        with pytest.raises(BadCell) as caught:
            remote.local(f"{web.url}/{n}.png")
        reasons.append(caught.value.reason)
    assert all("does not answer (no connection), asked 2 times" in one for one in reasons[: fetching.DOWN])
    assert all("was not asked for: http://127.0.0.1" in one for one in reasons[fetching.DOWN :])
    assert "did not answer for 8 objects in a row" in reasons[-1]


# --- tables and cells ---


def test_nothing_is_fetched_unless_it_was_allowed(web):
    address = f"{web.url}/1.png"
    table = Table.build({"photo": [address] * 3 + [None], "y": [1, 2, 3, 4]})
    assert granted() is None
    cell = fetch(cells(table, PHOTO), 0)
    assert isinstance(cell, Broken)
    assert "is a web address; download the file and give its path, or let it be fetched: --allow-remote" in cell.reason
    schema = Schema.infer(table, "y", bare=True)
    assert "3 of 4 cells are web addresses of image files" in schema.ignored["photo"]
    assert "--allow-remote" in schema.ignored["photo"]
    with pytest.raises(BadData, match="is a web address; only local files are read.*--allow-remote"):
        pm.read_table(f"{web.url}/t.csv?token=secret")
    with allow_remote(False):
        assert granted() is None
    assert not web.asked


def test_a_table_carries_what_it_may_fetch(web):
    with allow_remote():
        table = Table.build({"photo": [f"{web.url}/1.png"]})
    assert granted() is None
    assert cells(table, PHOTO)[0].name == "1.png"
    assert cells(table.select([0]), PHOTO)[0].name == "1.png"
    assert cells(Table.concat([table, Table.build({"photo": ["a.png"]})]), PHOTO)[0].name == "1.png"
    frame = Table.build({"photo": [f"{web.url}/1.png"]})
    with allow_remote():
        assert pm.read_table(frame).remote is not None
    assert pm.read_table(frame) is frame


def test_whoever_reads_in_order_is_read_ahead_for(web):
    web.objects = {f"/{n}.png": picture(n) for n in range(40)}
    with allow_remote():
        table = Table.build({"photo": [f"{web.url}/{n}.png" for n in range(40)]})
    found = cells(table, PHOTO)
    assert found[0].name == "0.png"
    until = time.monotonic() + 20
    while len(web.given) < 40 and time.monotonic() < until:
        time.sleep(0.01)
    assert len(web.given) == 40
    assert [one.name for one in found] == [f"{n}.png" for n in range(40)]
    size = sum(map(len, web.objects.values())) / 1e6
    assert table.remote.told() == [f"40 objects fetched ({size:.1f} MB), 0 taken from copies of before."]


def test_who_reads_here_and_there_is_not_read_ahead_for(web):
    with allow_remote():
        table = Table.build({"photo": [f"{web.url}/{n}.png" for n in range(8)]})
    found = cells(table, PHOTO)
    found[6], found[3]
    assert set(web.asked) == {"/6.png", "/3.png"}


def test_tables_by_address_of_every_form_and_their_cells(web, tmp_path):
    rows = {"photo": ["photos/1.png", f"{web.url}/2.png", "no.png"], "note": ["a", "b", "c"], "y": [1, 2, 3]}
    from polymodal.data.tables.write import write_columns

    web.objects["/data/photos/1.png"] = picture(1)
    for form in ("csv", "parquet", "jsonl"):
        write_columns(rows, tmp_path / f"t.{form}", files=True)
        web.objects[f"/data/t.{form}"] = (tmp_path / f"t.{form}").read_bytes()
    from openpyxl import Workbook

    book = Workbook()
    for line in zip(*([name, *values] for name, values in rows.items())):
        book.active.append(line)
    book.active.title = "May"
    book.save(tmp_path / "t.xlsx")
    web.objects["/data/t.xlsx"] = (tmp_path / "t.xlsx").read_bytes()
    with allow_remote():
        for name in ("t.csv", "t.parquet", "t.jsonl", "t.csv?token=secret", "t.xlsx#May"):
            table = pm.read_table(f"{web.url}/data/{name}")
            assert table.columns == ["photo", "note", "y"]
            schema = Schema.infer(table, "y")
            assert schema.fields["photo"].kind == "image"
            found = cells(table, PHOTO)
            assert found[0].read_bytes() == picture(1)
            assert found[1].read_bytes() == web.objects["/2.png"]
            with pytest.raises(BadCell, match="/data/no.png does not exist"):
                found[2]
        with pytest.raises(BadData, match=r"The object http://.*/none.csv does not exist \(404\)"):
            pm.read_table(f"{web.url}/none.csv?token=secret")


def test_lists_of_objects_arrays_texts_and_vectors(web, tmp_path):
    content = io.BytesIO()
    np.save(content, np.arange(6, dtype=np.float32))
    web.objects |= {"/v.npy": content.getvalue(), "/t.txt": b"words of a text"}
    at = web.url
    with allow_remote():
        table = Table.build({
            "film": [[f"{at}/1.png", f"{at}/2.png"], [f"{at}/3.png", f"{at}/none.png"]] * 4,
            "v": [f"{at}/v.npy?sig=1"] * 8, "t": [f"{at}/t.txt"] * 8, "y": range(8),
        })  # fmt: skip
        schema = Schema.infer(table, "y", {"fields": {"film": {"kind": "video"}, "v": "vector", "t": "text"}})
    film = cells(table, schema.fields["film"])
    assert [one.name for one in film[0]] == ["1.png", "2.png"]
    with pytest.raises(BadCell, match="none.png does not exist"):
        film[1]
    assert cells(table, Field("v", "vector", ("v",)))[0].suffix == ".npy"
    assert Schema.infer(table, "y").fields["v"].kind == "vector"  # by the shape of some
    assert cells(table, Field("t", "text", ("t",), {"files": True}))[0] == "words of a text"
    assert cells(table, Field("t", "text", ("t",)))[0] == f"{at}/t.txt"  # no file, no look


def test_a_film_by_address_has_its_sound(web):
    pytest.importorskip("av")
    web.objects |= {"/d/film.mp4": film(12, sound=True), "/d/t.csv": b"clip,y\n" + b"film.mp4,a\nfilm.mp4,b\n" * 20}
    with allow_remote():
        schema = Schema.infer(pm.read_table(f"{web.url}/d/t.csv"), "y")
    assert {name: one.kind for name, one in schema.fields.items()} == {"clip": "video", "clip_audio": "audio"}


def test_addresses_in_texts_and_categories_are_left_alone(web):
    with allow_remote():
        table = Table.build({"home": [f"{web.url}/{n % 3}" for n in range(60)], "y": [n % 2 for n in range(60)]})
        Schema.infer(table, "y")
    assert not web.asked


def test_file_addresses_are_paths(tmp_path):
    (tmp_path / "my photo.png").write_bytes(picture(1))
    table = Table.build({"photo": [(tmp_path / "my photo.png").as_uri()]})
    assert cells(table, PHOTO)[0] == tmp_path / "my photo.png"
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    assert pm.read_table((tmp_path / "t.csv").as_uri()).columns == ["a", "b"]
