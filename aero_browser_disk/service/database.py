"""A database of the service: SQLite for one instance, PostgreSQL for several.

Every call blocks; raises `StoreError` when the database fails.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from sqlalchemy import (
    Connection,
    Engine,
    MetaData,
    Row,
    Table,
    create_engine,
    event,
    func,
    make_url,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry

from .stores.image_store import StoreError

# A slower database counts as down.
_CONNECT_TIMEOUT_S: Final = 5
_BUSY_TIMEOUT_MS: Final = 5000
# Any number that nobody else locks.
_TABLES_LOCK: Final = 0x6165726F


class Database:
    """The database at `url` (`sqlite:///file`, `postgresql+psycopg://…`).

    Creates the tables of `metadata`. `subject` is what messages call its contents. Raises
    `ValueError` for another URL, else `StoreError`.
    """

    def __init__(self, url: str, subject: str, metadata: MetaData) -> None:
        self._subject = subject
        self._is_closed = False
        try:
            options = _connect_options(url)
            self._engine = create_engine(
                url, pool_pre_ping=True, pool_size=5, max_overflow=5, connect_args=options
            )
        except (ArgumentError, ModuleNotFoundError, SQLAlchemyError):
            # Do not quote the error: the URL may contain a password.
            raise ValueError(
                f"the database of {subject}: write sqlite:///file or, with the extra postgres, "
                "postgresql+psycopg://user:password@host/name"
            ) from None
        event.listen(self._engine, "checkin", self._close_returned)
        self._is_sqlite = self._engine.dialect.name == "sqlite"
        if self._is_sqlite:
            _prepare_sqlite(self._engine)
        try:
            self._create_tables(metadata)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Closes its connections; those in use, in a request that hangs, once they are returned."""
        self._is_closed = True
        self._engine.dispose()

    def _close_returned(self, _: object, record: ConnectionPoolEntry) -> None:
        # Its pool was disposed of before it came back, and would not close it.
        if self._is_closed:
            record.invalidate()

    @contextmanager
    def transaction(self, *, writes: bool = False) -> Iterator[Connection]:
        """A transaction, committed at the end of the block, rolled back if that raises."""
        engine = self._engine.execution_options(writes=writes)
        with self._errors_mapped(), engine.begin() as connection:
            yield connection

    def lock(self, connection: Connection, table: Table, **values: str) -> Row[Any]:
        """Locks the row with the first of `values`, added if missing; returns it."""
        add = (sqlite if self._is_sqlite else postgresql).insert(table).values(values)
        key = table.c[next(iter(values))]
        find = select(table).where(key == values[key.name]).with_for_update()
        while True:
            connection.execute(add.on_conflict_do_nothing())
            row = connection.execute(find).first()
            # Otherwise it was removed in between. Once locked, it cannot be.
            if row is not None:
                return row

    def _create_tables(self, metadata: MetaData) -> None:
        with self.transaction(writes=True) as connection:
            if not self._is_sqlite:
                # Two instances that start at once would both make them.
                connection.execute(select(func.pg_advisory_xact_lock(_TABLES_LOCK)))
            metadata.create_all(connection)

    @contextmanager
    def _errors_mapped(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            reason = str(getattr(error, "orig", None) or type(error).__name__).splitlines()[0]
            raise StoreError(f"the database of {self._subject}: {reason}") from error


def _connect_options(url: str) -> dict[str, Any]:
    """Options for what the URL leaves open."""
    asked = make_url(url)
    if asked.get_backend_name() == "sqlite":
        return {}
    given = {"connect_timeout": _CONNECT_TIMEOUT_S}
    return {name: value for name, value in given.items() if name not in asked.query}


def _prepare_sqlite(engine: Engine) -> None:
    """Readers do not wait for a writer; a writer takes its turn before it reads."""

    @event.listens_for(engine, "connect")
    def _(connection: Any, _: object) -> None:
        # The driver would begin at the first write, after reads that may be stale by then.
        connection.isolation_level = None
        connection.execute(f"PRAGMA busy_timeout={_BUSY_TIMEOUT_MS}")
        connection.execute("PRAGMA journal_mode=WAL")

    @event.listens_for(engine, "begin")
    def _(connection: Connection) -> None:
        writes = connection.get_execution_options().get("writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
