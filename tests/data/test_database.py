"""Tables in databases: SQLite and DuckDB files, and a PostgreSQL server that the test starts."""

import datetime as dt
import sqlite3
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import servers
from typer.testing import CliRunner

import polymodal as pm
from polymodal.cli import app
from polymodal.core.errors import BadArgument, BadData, UnknownName
from polymodal.core.files import told_path, without_password
from polymodal.data.inputs import Inputs
from polymodal.data.tables.database import Database
from polymodal.data.tables.write import check_writable, write_columns

pytest.importorskip("adbc_driver_manager")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with servers.postgresql(tmp_path_factory.mktemp("pg")) as address:
        yield address


@pytest.fixture
def shop(tmp_path):
    """A SQLite file of two tables."""
    path = tmp_path / "shop.db"
    with sqlite3.connect(path) as held:
        held.executescript(
            "CREATE TABLE pets (id INTEGER PRIMARY KEY, name TEXT, price REAL, photo BLOB);"
            'CREATE TABLE "odd name" (x INTEGER); INSERT INTO "odd name" VALUES (7);'
        )
        rows = [(n, f"pet {n}", None if n == 2 else n / 2, b"\x89PNG" if n == 1 else None) for n in range(1, 6)]
        held.executemany("INSERT INTO pets VALUES (?, ?, ?, ?)", rows)
    held.close()
    return path


def test_rows_of_a_table_and_of_a_query(shop, monkeypatch):
    table = pm.read_table(f"{shop}#pets")
    assert table.columns == ["id", "name", "price", "photo"]
    assert table.column("price")[:3] == [0.5, None, 1.5]
    assert table.column("photo")[0] == b"\x89PNG"
    assert table.base == shop.parent
    assert table.name == "pets"
    assert pm.read_table(f"sqlite:///{shop}#odd name").column("x") == [7]
    asked = pm.read_table(f"{shop}#SELECT name, price * 2 AS twice FROM pets WHERE id > 3 ORDER BY id DESC")
    assert asked.column("name") == ["pet 5", "pet 4"]
    assert asked.column("twice") == [5.0, 4.0]
    assert len(pm.read_table(f"{shop}#pets", limit=2)) == 2
    monkeypatch.chdir(shop.parent)
    assert len(pm.read_table("sqlite:///shop.db#pets")) == 5


def test_what_cannot_be_read_is_said(shop, tmp_path):
    with pytest.raises(BadData, match="holds 2 tables: odd name, pets. Name one, or a query"):
        pm.read_table(str(shop))
    with pytest.raises(UnknownName, match="has no table 'pet'.*Did you mean 'pets'"):
        pm.read_table(f"{shop}#pet")
    with pytest.raises(BadData, match="no such column: colour"):
        pm.read_table(f"{shop}#SELECT colour FROM pets")
    with pytest.raises(BadData, match="does not exist, so there is no database"):
        pm.read_table(f"{tmp_path}/none.db#pets")
    (tmp_path / "text.db").write_text("no database at all, but long enough to be one" * 9)
    with pytest.raises(BadData, match="file is not a database"):
        pm.read_table(f"{tmp_path}/text.db#pets")
    with pytest.raises(BadData, match="readonly"):
        pm.read_table(f"{shop}#WITH a AS (SELECT 1) DELETE FROM pets")
    assert len(pm.read_table(f"{shop}#pets")) == 5


def test_of_a_single_table_no_name_is_needed(tmp_path):
    with sqlite3.connect(tmp_path / "one.db") as held:
        held.executescript("CREATE TABLE things (x INTEGER); INSERT INTO things VALUES (7);")
    held.close()
    table = pm.read_table(tmp_path / "one.db")
    assert table.column("x") == [7]
    assert table.name == "one"  # it is no query


def test_other_databases_are_refused_without_their_passwords():
    with pytest.raises(
        BadData, match=r"mysql://ann:\*\*\*@host/shop#pets names nothing that is read; databases .*SQLite"
    ):
        pm.read_table("mysql://ann:secret@host/shop#pets")


def test_a_file_with_such_a_name_is_a_file(tmp_path):
    path = tmp_path / "odd.db#1.csv"
    path.write_text("a,b\n1,2\n3,4\n")
    assert pm.read_table(path).column("a") == ["1", "3"]
    assert Database.of("shop.xlsx#May") is None
    assert Database.of("table.csv") is None


def test_duckdb(tmp_path):
    duckdb = pytest.importorskip("duckdb")
    path = tmp_path / "shop.duckdb"
    with duckdb.connect(path) as held:
        held.execute("CREATE TABLE t AS SELECT i AS n, [i, i + 1] AS l, INTERVAL 2 DAY AS wait FROM range(3) r(i)")
    table = pm.read_table(str(path))
    assert table.column("n") == [0, 1, 2]
    assert table.column("l")[1] == [1, 2]
    assert table.column("wait")[0] == "2 days"
    with pytest.raises(BadData, match="cannot be read"):
        pm.read_table(f"{path}#WITH a AS (SELECT 1) DELETE FROM t")
    write_columns({"n": [1, None], "said": ["a", "b"], "none": [None, None]}, f"duckdb:///{path}#answers")
    assert pm.read_table(f"{path}#answers").column("said") == ["a", "b"]


def test_postgresql(server):
    import adbc_driver_postgresql.dbapi as driver

    with driver.connect(server) as held, held.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE pets (key text PRIMARY KEY, price numeric(8, 2), born date, tags text[], extra jsonb, "
            "own uuid, photo bytea, wait interval)"
        )
        cursor.execute(
            "INSERT INTO pets SELECT 'k' || (9 - i), i * 1.5, date '2020-01-01' + i, array['a', 'b'], '{\"k\": 1}', "
            "'4d555f3a-5614-41a4-aaf1-ca69efe3aaa3', '\\x8950', interval '1 month 2 days' FROM generate_series(1, 5) i"
        )
        cursor.execute("CREATE SCHEMA other")
        cursor.execute("CREATE TABLE other.things AS SELECT 1 AS x")
        held.commit()
    table = pm.read_table(f"{server}#pets")
    assert table.column("key") == ["k4", "k5", "k6", "k7", "k8"]  # by the primary key
    assert table.column("price")[-1] == "1.50"
    assert table.column("born")[-1] == dt.date(2020, 1, 2)
    assert table.column("tags")[0] == ["a", "b"]
    assert table.column("own")[0] == "4d555f3a-5614-41a4-aaf1-ca69efe3aaa3"
    assert table.column("photo")[0] == b"\x89P"
    assert table.column("wait")[0] == "1 months 2 days"
    assert pm.read_table(f"{server}#other.things").column("x") == [1]
    with pytest.raises(UnknownName, match="has no table 'pest'"):
        pm.read_table(f"{server}#pest")
    with pytest.raises(BadData, match="read-only transaction"):
        pm.read_table(f"{server}#WITH gone AS (DELETE FROM pets RETURNING *) SELECT * FROM gone")
    with pytest.raises(BadData, match="division by zero"):
        pm.read_table(f"{server}#SELECT 1 / (price - price) FROM pets")
    write_columns({"row": [1, 2], "said": ["a", None], "sure": [0.5, 0.25]}, f"{server}#answers")
    assert pm.read_table(f"{server}#answers").column("said") == ["a", None]
    with pytest.raises(BadArgument, match="there is such a table"):
        check_writable(f"{server}#answers")


def test_a_server_that_does_not_answer_is_asked_again(server, monkeypatch):
    waited = []
    monkeypatch.setattr("polymodal.data.tables.database.time.sleep", waited.append)
    nobody = "postgresql://me:secret@127.0.0.1:9/shop#pets"
    with pytest.raises(BadData, match="cannot be read") as error:
        pm.read_table(nobody)
    assert len(waited) == 2
    assert "secret" not in str(error.value)


def test_a_connection_that_is_cut_is_made_again(server, monkeypatch):
    """The server ends the first connection while it answers; the second is let be."""
    import adbc_driver_postgresql.dbapi as driver

    monkeypatch.setattr("polymodal.data.tables.database.WAITS", (0.0, 0.0))
    cut = threading.Event()

    def cutting():
        with driver.connect(server, autocommit=True) as held, held.cursor() as cursor:
            for _ in range(200):
                cursor.execute(
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                    "WHERE query LIKE '%pg_sleep(0.3)%' AND pid <> pg_backend_pid()"
                )
                if cursor.fetchone()[0]:
                    return cut.set()
                time.sleep(0.02)

    thread = threading.Thread(target=cutting)
    thread.start()
    table = pm.read_table(f"{server}#SELECT 1 AS x, pg_sleep(0.3)::text AS slept")
    thread.join()
    assert cut.is_set()
    assert table.column("x") == [1]


def test_passwords_are_told_to_nobody():
    address = "postgresql://me:se@cret@host:5432/shop?sslmode=require#pets"
    assert "cret" not in without_password(address)
    assert (
        without_password("postgresql://host/shop?user=me&password=secret")
        == "postgresql://host/shop?user=me&password=***"
    )
    assert told_path(address).startswith("postgresql://me:***@host:5432/shop")
    assert "cret" not in str(Database.of(address))


def test_a_fit_reads_a_query_and_writes_its_answers(tmp_path, monkeypatch):
    monkeypatch.setenv("POLYMODAL_STORE", str(tmp_path / "store"))
    draw = np.random.default_rng(0)
    with sqlite3.connect(tmp_path / "shop.db") as held:
        held.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, size REAL, weight REAL, kind TEXT)")
        for row in range(120):
            size = draw.normal(3 * (row % 2))
            held.execute("INSERT INTO orders VALUES (?, ?, ?, ?)", (row, size, draw.normal(), "ab"[row % 2]))
    held.close()
    source = f"sqlite:///{tmp_path}/shop.db#SELECT * FROM orders ORDER BY id"
    pm.fit(source, target="kind", out=tmp_path / "run", trackers="none", workers=0, quiet=True, seeds=1, joint=False)
    assert "SELECT" in (tmp_path / "run" / "evaluation.json").read_text()
    out = f"sqlite:///{tmp_path}/shop.db#answers"
    done = CliRunner().invoke(app, ["predict", str(tmp_path / "run"), source, "--out", out])
    assert done.exit_code == 0, done.output
    answers = pm.read_table(f"{tmp_path}/shop.db#answers")
    assert len(answers) == 120
    assert set(answers.column("kind")) == {"a", "b"}
    again = CliRunner().invoke(app, ["predict", str(tmp_path / "run"), source, "--out", out])
    assert isinstance(again.exception, BadArgument)
    assert "there is such a table" in str(again.exception)


def test_cells_of_a_later_type_are_read_all_the_same(tmp_path):
    path = tmp_path / "late.db"
    with sqlite3.connect(path) as held:
        held.execute("CREATE TABLE late (a, b)")
        held.executemany("INSERT INTO late VALUES (?, ?)", [(None, 1)] * 1500 + [("word", 2.5)])
    held.close()
    table = pm.read_table(f"{path}#late")
    assert (len(table), table.column("a")[-1], table.column("b")[-1]) == (1501, "word", 2.5)


def test_strange_names_and_queries(tmp_path):
    path = tmp_path / "strange.db"
    with sqlite3.connect(path) as held:
        for name in ("values", "a.b", 'q"x é #1', "db", "sqliteer"):
            quoted = name.replace('"', '""')
            held.execute(f'CREATE TABLE "{quoted}" (x)')
            held.execute(f'INSERT INTO "{quoted}" VALUES (7)')
    held.close()
    asked = ("values", "a.b", 'q"x é #1', "sqliteer", "SELECT * FROM main.db", "-- all of it\nSELECT * FROM db;")
    for one in asked:
        assert pm.read_table(f"{path}#{one}").column("x") == [7], one
    assert pm.read_table(f"{path}#SELECT 'b.db#c' AS x").column("x") == ["b.db#c"]
    with pytest.raises(BadArgument, match="there is such a table"):
        check_writable(f"{path}#VALUES")


def test_lists_are_json_in_sqlite_and_folders_are_made(tmp_path):
    out = f"{tmp_path}/new/answers.db#of.today"
    check_writable(out)
    write_columns({"row": [1, 2], "labels": [["a", "ü"], None]}, out)
    assert pm.read_table(out).column("labels") == ['["a", "ü"]', None]


@pytest.mark.parametrize("sign", "#/?")
def test_a_password_that_parts_its_address_is_refused_and_not_told(sign):
    with pytest.raises(BadArgument, match="%23") as told:
        pm.read_table(f"postgresql://me:se{sign}cret@127.0.0.1:1/shop#orders")
    assert "cret" not in str(told.value)
    assert "secret" not in without_password("postgresql://me:a/secret@host/db")
    for whole in ("h1:1,h2:2/db#t", "[::1]:5432/db#t", "localhost:/db#t", "me:a@host:1/db?x=y:z#t", "/db?host=/a:b#t"):
        assert Database.of(f"postgresql://{whole}").asked == "t"


def test_views_and_schemas_of_a_server(server):
    import adbc_driver_postgresql.dbapi as driver

    with driver.connect(server) as connection, connection.cursor() as cursor:
        for line in (
            'CREATE SCHEMA "my own"', 'CREATE TABLE "my own"."a.b" (x int)', 'INSERT INTO "my own"."a.b" VALUES (7)',
            'CREATE VIEW seen AS SELECT * FROM "my own"."a.b"',
        ):  # fmt: skip
            cursor.execute(line)
        connection.commit()
    assert pm.read_table(f"{server}#my own.a.b").column("x") == [7]
    assert pm.read_table(f"{server}#seen").column("x") == [7]


def test_schemas_of_duckdb(tmp_path):
    path = tmp_path / "kept.duckdb"
    write_columns({"x": [7]}, f"{path}#plain")
    with Database.of(str(path))._connected(reads=False) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE SCHEMA own")
        cursor.execute("CREATE TABLE own.kept AS SELECT 8 AS x")
        connection.commit()
    assert pm.read_table(f"{path}#own.kept").column("x") == [8]
    assert pm.read_table(f"{path}#plain").column("x") == [7]


def test_another_writer_is_waited_for(shop):
    writing = "import sqlite3, sys; held = sqlite3.connect(sys.argv[1], isolation_level=None); "
    writing += "held.execute('BEGIN EXCLUSIVE'); print('now', flush=True); sys.stdin.readline(); held.execute('COMMIT')"
    command = [sys.executable, "-c", writing, str(shop)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"now\n"
        threading.Timer(0.5, other.communicate, [b"\n"]).start()
        write_columns({"x": [7]}, f"{shop}#answers")
    assert pm.read_table(f"{shop}#answers").column("x") == [7]


def test_a_query_is_told_whole(shop):
    query = "SELECT price / 2 AS half FROM pets"
    assert Inputs.read(f"{shop}#{query}").told() == {"train": f"shop.db#{query}"}


@pytest.mark.parametrize("name", ["held.duckdb", "held.db"])
def test_of_several_statements_none_is_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_columns({"x": [7]}, f"{name}#t")
    for second in ("COPY (SELECT 1) TO 'out.csv'", "SELECT 2 AS x"):
        with pytest.raises(BadArgument, match="several statements"):
            pm.read_table(f"{name}#SELECT x FROM t; {second}")
    assert not (tmp_path / "out.csv").exists()
    for one in (
        "SELECT x FROM t;",
        "SELECT x FROM t; -- all; of it\n",
        "SELECT x FROM t WHERE 'a;b' != 'it''s;' /* ; c */",
    ):
        assert pm.read_table(f"{name}#{one}").column("x") == [7], one
