"""Tables in databases: rows of a table or of a query, and answers written back.

PostgreSQL, SQLite and DuckDB, over ADBC (Arrow Database Connectivity), which hands rows over as Arrow holds them. Needs
the extra `sql`.
"""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polymodal.core.errors import BadArgument, BadData, UnknownName, require, suggest
from polymodal.core.files import without_password
from polymodal.core.shown import many
from polymodal.data.tables.parquet import values_of
from polymodal.data.tables.table import Table, check_columns

if TYPE_CHECKING:
    import pyarrow

SCHEMES = {"postgresql": "postgresql", "postgres": "postgresql", "sqlite": "sqlite", "duckdb": "duckdb"}
SUFFIXES = {".sqlite": "sqlite", ".sqlite3": "sqlite", ".db": "sqlite", ".duckdb": "duckdb"}
PATIENCE = 10_000  # milliseconds for which another writer of a SQLite file is waited for
WAITS = (1.0, 3.0)  # seconds before a server that does not answer is asked again
WHOLE = 2**30  # rows of a batch
# Names of tables and views as they are asked for, and as SQL has them.
LISTED = {
    "postgresql": "SELECT CASE WHEN nspname = 'public' THEN relname ELSE nspname || '.' || relname END, "
    "quote_ident(nspname) || '.' || quote_ident(relname) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace "
    "WHERE relkind IN ('r', 'p', 'v', 'm', 'f') AND nspname NOT LIKE 'pg\\_%' AND nspname <> 'information_schema' "
    "ORDER BY 1",
    "sqlite": """SELECT name, '"' || replace(name, '"', '""') || '"' FROM sqlite_master """
    "WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY 1",
    "duckdb": "SELECT CASE WHEN table_schema = 'main' THEN table_name ELSE table_schema || '.' || table_name END, "
    """'"' || replace(table_schema, '"', '""') || '"."' || replace(table_name, '"', '""') || '"' """
    "FROM information_schema.tables WHERE table_catalog = current_database() ORDER BY 1",
}
BROKEN = (
    "connection refused",
    "server closed the connection",
    "could not connect",
    "connection to server",
    "terminating",
)
REFUSED = ("authentication", "does not exist", "no password", "could not translate host name")
_QUERY = re.compile(  # after remarks and brackets a word that begins one, and more: `values` alone may name a table
    r"(?:\s|\(|--[^\n]*\n|/\*.*?\*/)*(select|with|values|table|from)(\s*[(*'\"\[]|\s+\S)", re.IGNORECASE | re.DOTALL
)
_PIECES = re.compile(  # of a query: words in quotes, remarks, signs
    r"""'[^']*'|"[^"]*"|(?P<dollar>\$\w*\$).*?(?P=dollar)|(?P<remark>--[^\n]*|/\*.*?\*/|\s+)|.""", re.DOTALL
)
_PARTED = re.compile(r"[^/?@\[]*:(?!\d*[,/?]|\d*$)[^@/?]*(?:[/?]|$)")  # by a sign of the password's
_URL = re.compile(rf"({'|'.join(SCHEMES)})://([^#]*)(?:#(.*))?", re.DOTALL)
_FILE = re.compile(rf"(.+?(?:{'|'.join(map(re.escape, SUFFIXES))}))(?:#(.*))?", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True)
class Database:
    """A table or a query of a database. `where` is a server's address, or a file; `asked` is empty where neither is
    named."""

    kind: str
    where: str
    asked: str

    @classmethod
    def of(cls, source: str) -> Database | None:
        """What `postgresql://user@host/name#asked`, `sqlite:///file#asked`, `duckdb:///file#asked` (four strokes before
        an absolute path) or `file.db#asked` names; None for any other source, and for a file of just that name."""
        if url := _URL.fullmatch(source):
            kind = SCHEMES[url[1]]
            where = f"postgresql://{url[2]}" if kind == "postgresql" else url[2].removeprefix("/")
            if kind == "postgresql" and _PARTED.match(url[2]):
                raise BadArgument(
                    "The address of a database has neither a number behind host: nor an @ behind user:password. In a "
                    "password write # as %23, / as %2F, ? as %3F, @ as %40, : as %3A and % as %25."
                )
            return cls(kind, where, (url[3] or "").strip())
        file = _FILE.fullmatch(source)
        if file is None or (file[2] is not None and Path(source).expanduser().exists()):
            return None
        return cls(SUFFIXES[Path(file[1]).suffix.lower()], file[1], (file[2] or "").strip())

    @property
    def query(self) -> bool:
        """Whether rows are asked for in SQL, and not by a table's name."""
        return bool(_QUERY.match(self.asked))

    def __str__(self) -> str:
        asked = f"#{self.asked[:60]}" if self.asked else ""
        return without_password(self.where) + asked

    def read(self, *, limit: int | None = None) -> Table:
        """Its rows, in the order in which the database gives them; of a table in PostgreSQL, by its primary key.

        A query can change nothing: it is run in a transaction, or on a file, for reading alone. A server that does not
        answer, or breaks off, is asked three times. Paths in cells are relative to a database's file, or to the working
        folder where it is a server. Raises `MissingExtra`; `UnknownName` for a table that is not there, with those that
        are; `BadArgument` for several statements at once, of which a database runs or reads only some; `BadData` where
        the database does not exist or answer, or the query fails.
        """
        if self.query and _several(self.asked):
            raise BadArgument(f"{self} holds several statements: give one query, of which the rows are read.")
        for wait in (*WAITS, None):
            try:
                with self._connected(reads=True) as connection:
                    return self._table(self._asked(connection), connection, limit)
            except _failures() as error:
                if wait is None or not _broken_off(error):
                    raise BadData(f"{self} cannot be read: {_said(error)}.") from error
                time.sleep(wait)
        raise AssertionError("unreachable: the last wait is None")

    def check_writable(self) -> None:
        """Raise `BadArgument` unless a new table is named that can be made here. Worth asking beforehand."""
        if not self.asked or self.query:
            raise BadArgument(
                f"Cannot write {self}: name the table to make, as {without_password(self.where)}#answers."
            )
        try:
            with self._connected(reads=False) as connection:
                there = {name.lower() for name in self._tables(connection)}  # as all but PostgreSQL compare them
                if self.asked.lower() in there:
                    raise BadArgument(f"Cannot write {self}: there is such a table. Name another, or drop that one.")
        except _failures() as error:
            raise BadArgument(f"Cannot write {self}: {_said(error)}.") from error

    def write(self, table: pyarrow.Table) -> None:
        """Make the table of these columns: the whole of it or none. Lists are JSON in SQLite, which has none. Raises
        `BadData` where the database refuses."""
        import pyarrow as pa

        if self.kind == "sqlite":
            held = zip(table.column_names, table.columns)
            table = pa.table({name: _as_json(one) if pa.types.is_nested(one.type) else one for name, one in held})
        kinds = [pa.string() if pa.types.is_null(one.type) else one.type for one in table.schema]
        whole = table.cast(pa.schema(zip(table.column_names, kinds)))
        schema, _, name = ("", "", self.asked) if self.kind == "sqlite" else self.asked.rpartition(".")
        try:
            with self._connected(reads=False) as connection, connection.cursor() as cursor:
                own = {"db_schema_name": schema} if schema else {}
                cursor.adbc_ingest(name, whole, mode="create", **own)
                connection.commit()
        except _failures() as error:
            raise BadData(f"{self} cannot be written: {_said(error)}.") from error

    @property
    def base(self) -> Path:
        """To what paths in its cells are relative."""
        return Path.cwd() if self.kind == "postgresql" else Path(self.where).expanduser().resolve().parent

    @contextmanager
    def _connected(self, *, reads: bool) -> Iterator[Any]:
        """A connection, in one transaction; with `reads` nothing can be changed through it."""
        if self.kind == "postgresql":
            driver = require("adbc_driver_postgresql.dbapi", "sql")
            with driver.connect(self.where) as connection:
                if reads:
                    with connection.cursor() as cursor:
                        cursor.execute("SET TRANSACTION READ ONLY")
                yield connection
            return
        path = Path(self.where).expanduser().resolve()
        if reads and not path.is_file():
            raise BadData(f"{self.where} does not exist, so there is no database to read.")
        path.parent.mkdir(parents=True, exist_ok=True)
        if self.kind == "sqlite":
            driver = require("adbc_driver_sqlite.dbapi", "sql")
            with driver.connect(f"{path.as_uri()}?mode={'ro' if reads else 'rwc'}") as connection:
                _fetched(connection, f"PRAGMA busy_timeout = {PATIENCE}", None)
                yield connection
            return
        manager, driver = require("adbc_driver_manager", "sql"), require("adbc_driver_duckdb", "sql")
        dbapi = require("adbc_driver_manager.dbapi", "sql")
        mode = "READ_ONLY" if reads else "READ_WRITE"
        options = {"entrypoint": "duckdb_adbc_init", "path": str(path), "access_mode": mode}
        held = manager.AdbcDatabase(driver=driver.driver_path(), **options)
        with dbapi.Connection(held, manager.AdbcConnection(held)) as connection:
            yield connection

    def _tables(self, connection: Any) -> dict[str, str]:
        """Its tables and views, and how SQL has their names."""
        names, quoted = _fetched(connection, LISTED[self.kind], None).columns
        return dict(zip(map(str, names.to_pylist()), map(str, quoted.to_pylist())))

    def _asked(self, connection: Any) -> str:
        """The query; of a table, one for all of it."""
        if self.query:
            return self.asked
        tables, name = self._tables(connection), self.asked
        if not name and len(tables) == 1:
            name = next(iter(tables))
        if not name:
            told = f"holds {many(len(tables), 'table')}: {', '.join([*tables][:8])}" if tables else "holds no table"
            raise BadData(f"{self} {told}. Name one, or a query, as {self}#{next(iter(tables), 'orders')}.")
        if name not in tables:
            raise UnknownName(f"{without_password(self.where)} has no table {name!r}.{suggest(name, tables, most=8)}")
        quoted, order = tables[name], ""
        if self.kind == "postgresql":
            literal = quoted.replace("'", "''")
            keys = _fetched(connection, KEYS.format(literal), None).column(0).to_pylist()
            order = f" ORDER BY {', '.join(keys)}" if keys else ""
        return f"SELECT * FROM {quoted}{order}"

    def _table(self, query: str, connection: Any, limit: int | None) -> Table:
        held = _fetched(connection, query, limit)
        check_columns(held.column_names, str(self))
        faults: list[tuple[int, str, str]] = []
        data: dict[str, list[Any]] = {}
        for name, column in zip(held.column_names, held.columns):
            cells = values_of(column, name, faults)
            strange = any(hasattr(cell, "months") or isinstance(cell, uuid.UUID) for cell in cells[:1000])
            data[name] = [None if cell is None else _plain(cell) for cell in cells] if strange else cells
        name = "query" if self.query else self.asked or Path(self.where.partition("?")[0]).stem
        return Table.build(data, base=self.base, name=name, faults=faults)


KEYS = (
    "SELECT quote_ident(a.attname) FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND "
    "a.attnum = ANY(i.indkey) WHERE i.indisprimary AND i.indrelid = '{}'::regclass ORDER BY a.attnum"
)


def _fetched(connection: Any, query: str, limit: int | None) -> pyarrow.Table:
    """The rows of a query, the first `limit` of them.

    A column of SQLite may hold anything, and has here the type of what the first batch of it holds: where a later one
    does not fit, all rows are asked for as one batch.
    """
    try:
        return _batched(connection, query, limit)
    except _failures() as error:
        if "Type mismatch" not in str(error):
            raise
        return _batched(connection, query, limit, **{"adbc.sqlite.query.batch_rows": str(limit or WHOLE)})


def _batched(connection: Any, query: str, limit: int | None, **options: str) -> pyarrow.Table:
    import pyarrow as pa

    with connection.cursor() as cursor:
        cursor.adbc_statement.set_options(**options)
        cursor.execute(query)
        reader = cursor.fetch_record_batch()
        batches, count = [], 0
        for batch in reader:
            if limit is not None and count >= limit:
                break
            batches.append(batch)
            count += len(batch)
        return pa.Table.from_batches(batches, reader.schema).slice(0, limit)


def _several(query: str) -> bool:
    """Whether anything but remarks stands behind a semicolon that ends a statement."""
    ended = False
    for piece in _PIECES.finditer(query):
        if piece["remark"] is None:
            if ended and piece[0] != ";":
                return True
            ended |= piece[0] == ";"
    return False


def _as_json(column: pyarrow.ChunkedArray) -> pyarrow.Array:
    import pyarrow as pa

    cells = column.to_pylist()
    return pa.array(
        [None if one is None else json.dumps(one, default=str, ensure_ascii=False) for one in cells], pa.string()
    )


def _plain(cell: Any) -> Any:
    """Cells that no kind of column knows, in words: identifiers, and spans of time with months in them."""
    if isinstance(cell, uuid.UUID):
        return str(cell)
    spans = ((cell.months, "months"), (cell.days, "days"), (cell.nanoseconds / 1e9, "s"))
    return " ".join(f"{count:g} {unit}" for count, unit in spans if count) or "0 s"


def _failures() -> tuple[type[Exception], ...]:
    """What a driver raises, and what Arrow does in its name while it reads on."""
    import pyarrow as pa

    return require("adbc_driver_manager", "sql").Error, pa.ArrowException, OSError


def _broken_off(error: Exception) -> bool:
    """Whether a server did not answer, or went away: not whether it refused."""
    words = str(error).lower()
    return any(sign in words for sign in BROKEN) and not any(sign in words for sign in REFUSED)


def _said(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return without_password(lines[0])[:300].rstrip(".") if lines else type(error).__name__
