"""Rows of a database whose photos lie in a bucket, through every verb; servers that go away while a fit runs."""

import csv
import json
import sqlite3

import pytest
import servers
from servers import SECRET, Web, s3
from small_table import ABSENT, BROKEN, EMPTY, write_shop
from typer.testing import CliRunner

import polymodal as pm
from polymodal.cli import app
from polymodal.core.errors import BadData, PolymodalError
from polymodal.data.remote import remote as fetching
from polymodal.data.remote import transfer

pytest.importorskip("s3fs")
pytest.importorskip("moto")
pytest.importorskip("adbc_driver_manager")
QUICK = {
    "trackers": "none", "workers": 0, "quiet": True, "dim": 8, "seeds": 1, "joint": False, "fusion": ["concat"],
    "encoders": {"photo": "image_hog", "title": "text_linear"}, "training": {"epochs": 3}, "evidence": "validation",
    "noise": False, "ensemble": False,
}  # fmt: skip
ROWS = 60
COLUMNS = ("id", "photo", "title", "price", "weight", "category")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("POLYMODAL_REMOTE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("POLYMODAL_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("POLYMODAL_REMOTE_WAIT_SECONDS", "2")
    monkeypatch.setattr(transfer, "WAITS", (0.02, 0.04))
    write_shop(tmp_path, ROWS)
    return tmp_path


@pytest.fixture
def bucket(folder, monkeypatch):
    """A server whose bucket holds the photos of the shop."""
    with s3(monkeypatch) as server:
        import s3fs

        system = s3fs.S3FileSystem(skip_instance_cache=True)
        system.mkdir("photos")
        for path in (folder / "pictures").iterdir():
            system.pipe(f"photos/2026/{path.name}", path.read_bytes())
        yield server


def rows(folder):
    with (folder / "shop.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            photo = row["photo"] and row["photo"].replace("pictures/", "s3://photos/2026/")
            yield tuple((photo if name == "photo" else row[name]) or None for name in COLUMNS)


@pytest.fixture
def shop(folder):
    """The rows in SQLite, as a query."""
    with sqlite3.connect(folder / "shop.db") as held:
        held.execute(f"CREATE TABLE shop ({', '.join(COLUMNS)})")
        held.executemany(f"INSERT INTO shop VALUES ({', '.join('?' * len(COLUMNS))})", rows(folder))
    held.close()
    return f"{folder}/shop.db#SELECT * FROM shop ORDER BY rowid"


@pytest.fixture(scope="module")
def postgresql(tmp_path_factory):
    with servers.postgresql(tmp_path_factory.mktemp("pg")) as address:
        yield address


def aside(run):
    return [json.loads(line) for line in (run / "set_aside.jsonl").read_text("utf-8").splitlines()]


def told(*folders):
    """All that files say, as text."""
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return "".join(path.read_bytes().decode("latin-1") for path in files)


def scores(run):
    return [{k: v for k, v in row.items() if "ms" not in k and "seconds" not in k} for row in run.leaderboard]


def test_a_fit_from_postgresql_and_s3_is_that_from_files(folder, bucket, postgresql):
    import adbc_driver_postgresql.dbapi as driver

    with driver.connect(postgresql) as held, held.cursor() as cursor:
        cursor.execute(f"CREATE TABLE shop ({', '.join(f'{name} text' for name in COLUMNS)}, place serial)")
        for row in rows(folder):
            cursor.execute(f"INSERT INTO shop VALUES ({', '.join(f'${n + 1}' for n in range(len(row)))})", row)
        held.commit()
    asked = f"{postgresql}#SELECT {', '.join(COLUMNS)} FROM shop ORDER BY place"
    here = pm.fit(folder / "shop.csv", target="category", out=folder / "here", **QUICK)
    there = pm.fit(asked, target="category", out=folder / "there", allow_remote=True, **QUICK)
    assert scores(there) == scores(here)
    assert there.predict(folder / "shop.csv") == here.predict(folder / "shop.csv")
    found = {one["row"]: one["reason"] for one in aside(folder / "there") if one["column"] == "photo"}
    assert set(found) == {f"r{BROKEN}", f"r{ABSENT}"}
    assert found[f"r{ABSENT}"] == (
        f"the object s3://photos/2026/{ABSENT}.png does not exist (404): correct the address, or put the object there"
    )
    assert f"{ROWS - 2} objects fetched" in told(folder / "there")
    assert SECRET not in told(folder / "there")
    config = (folder / "there" / "config.yaml").read_text("utf-8")
    assert "allow_remote: true" in config

    bucket.stop()  # the copies are young: nothing is asked for, and nothing encoded again
    again = pm.fit(asked, target="category", out=folder / "again", allow_remote=True, **QUICK)
    assert scores(again)[0]["strategy"] == scores(here)[0]["strategy"]
    assert {one["row"] for one in aside(folder / "again") if one["column"] == "photo"} == set(found)


def test_a_server_that_is_killed_midway_costs_cells_and_not_the_run(folder, bucket, shop, monkeypatch):
    fetched = []

    def dying(system, address, *args, **options):
        if len(fetched) == 30:
            bucket.stop()
        fetched.append(address)
        return transfer.fetch(system, address, *args, **options)

    monkeypatch.setattr(fetching, "fetch", dying)
    monkeypatch.setattr(fetching, "THREADS", 4)
    run = pm.fit(shop, target="category", out=folder / "run", allow_remote=True, **QUICK)
    lost = [one for one in aside(folder / "run") if one["column"] == "photo" and "server" in one["reason"]]
    gone = [one for one in aside(folder / "run") if "did not answer for" in one["reason"]]
    assert 25 <= len(lost) + len(gone) <= 40
    assert all(one["row"].startswith("r") for one in lost)
    assert any("its server does not answer (no connection), asked 3 times" in one["reason"] for one in lost)
    assert any("was not asked for: s3://photos did not answer" in one["reason"] for one in gone)
    assert run.predict(folder / "shop.csv")["category"]
    assert SECRET not in told(folder / "run")


def test_a_run_goes_on_after_its_server_is_gone(folder, bucket, shop, monkeypatch):
    def stopped(*args):
        raise KeyboardInterrupt

    asked = []

    def noted(system, address, *args, **more):
        asked.append(address)
        return transfer.fetch(system, address, *args, **more)

    options = {"target": "category", "out": folder / "run", "allow_remote": True, **QUICK}
    with monkeypatch.context() as patch:
        patch.setattr("polymodal.experiment.session.Session.write", stopped)
        with pytest.raises(PolymodalError, match="--resume"):
            pm.fit(shop, **options)
    bucket.stop()
    monkeypatch.setattr(fetching, "fetch", noted)
    assert pm.fit(shop, resume=True, **options).leaderboard
    assert asked == [f"s3://photos/2026/{ABSENT}.png"]  # which was not there before, either


def test_every_command_takes_the_option(folder, bucket, shop):
    def ran(*words, code=0):
        result = CliRunner().invoke(app, [*map(str, words)])
        assert result.exit_code == code, result.output
        return result.output

    closed = ran("inspect", shop, "--target", "category")
    assert f"{ROWS - 1} of {ROWS} cells are web addresses of image files" in closed
    assert "--allow-remote" in closed
    assert ran("inspect", shop, "--target", "category", "--allow-remote").count("s3://photos/2026/9.png does not exist")
    assert fetching.granted() is None, "what one command may, the next may not"
    sets = [word for name, value in QUICK.items() if name not in ("quiet", "encoders", "training")
            for word in ("--set", f"{name}={json.dumps(value)}")]  # fmt: skip
    ran(
        "fit",
        shop,
        "--target",
        "category",
        "--out",
        folder / "run",
        "--allow-remote",
        "--quiet",
        "--preset",
        "fast",
        *sets,
    )
    ran("predict", folder / "run", shop, "--out", folder / "answers.csv", "--allow-remote")
    with (folder / "answers.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == ROWS
    assert "does not exist (404)" in lines[ABSENT]["problem"]
    ran("predict", folder / "run", shop, "--out", folder / "closed.csv")
    with (folder / "closed.csv").open() as file:
        assert "web address" in next(csv.DictReader(file))["problem"], "a run lets nobody in"
    ran("evaluate", folder / "run", shop, "--allow-remote")
    ran("explain", folder / "run", shop, "--row", "r1", "--out", folder / "why.html", "--allow-remote")
    assert "data:image/" in (folder / "why.html").read_text()
    (folder / "recipe.yaml").write_text("- normal: {columns: [photo]}\n")
    ran(
        "prepare",
        shop,
        "--recipe",
        folder / "recipe.yaml",
        "--out",
        folder / "made",
        "--allow-remote",
        "--workers",
        "0",
    )
    made = pm.read_table(folder / "made" / "data.parquet")
    photos = [one for one in made.column("photo") if one is not None]
    assert len(photos) == ROWS - len([ABSENT, EMPTY, BROKEN])
    assert all((folder / "made" / one).is_file() for one in photos)
    told_aside = pm.read_table(folder / "made" / "set_aside.parquet").column("reason")
    assert any("9.png does not exist (404)" in reason for reason in told_aside)


def test_align_index_and_search(folder, bucket, shop):
    options = {"towers": "scratch", "training": {"epochs": 1}, "quiet": True, "trackers": "none", "dim": 8, "width": 8}
    pm.align(shop, ["photo", "title"], out=folder / "space", allow_remote=True, **options)
    with pm.allow_remote():
        found = pm.index(folder / "space", shop, out=folder / "index", quiet=True)
    assert found.index.counts()["photo"] == ROWS - len([ABSENT, EMPTY, BROKEN])


def test_a_table_in_a_bucket(folder, bucket, monkeypatch):
    import s3fs

    text = (folder / "shop.csv").read_text("utf-8").replace("pictures/", "2026/")
    s3fs.S3FileSystem().pipe("photos/shop.csv", text.encode())
    with pytest.raises(BadData, match="s3://photos/shop.csv is a web address"):
        pm.plan("s3://photos/shop.csv", target="category")
    here = pm.fit(folder / "shop.csv", target="category", out=folder / "here", **QUICK)
    where = {"s3": {"endpoint_url": bucket_address(bucket)}}
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    options = {"allow_remote": True, "storage_options": where, **QUICK}
    there = pm.fit("s3://photos/shop.csv", target="category", out=folder / "there", **options)
    assert scores(there) == scores(here)
    assert "train: s3://photos/shop.csv" in (folder / "there" / "config.yaml").read_text("utf-8")


def bucket_address(server):
    host, port = server.get_host_and_port()
    return f"http://{host}:{port}"


def test_addresses_that_are_signed_are_told_to_nobody(folder):
    with Web().running() as web:
        web.objects = {f"/{p.name}": p.read_bytes() for p in (folder / "pictures").iterdir()}
        text = (folder / "shop.csv").read_text("utf-8").replace("pictures/", f"{web.url}/")
        web.objects["/shop.csv"] = text.replace(".png", ".png?X-Amz-Signature=c0ffee").encode()
        pm.fit(
            f"{web.url}/shop.csv?X-Amz-Signature=c0ffee",
            target="category",
            out=folder / "run",
            allow_remote=True,
            **QUICK,
        )
    assert "c0ffee" not in told(folder / "run")
    reason = next(one["reason"] for one in aside(folder / "run") if one["row"] == f"r{ABSENT}")
    assert reason.startswith(f"the object {web.url}/{ABSENT}.png does not exist")
