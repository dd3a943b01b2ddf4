"""Store: a queue of rows in front of a database."""

from __future__ import annotations

import atexit
import weakref
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from threading import RLock
from typing import Self, get_args

import sqlalchemy as sa

from routelab.db_schema import create_schema, open_engine, transaction
from routelab.db_writing import Prompts, Row, insert_rows
from routelab.errors import DatabaseError


class Store:
    """Opens, queues, flushes and closes; ``PerformanceDB`` says what the arguments are and what the rows mean."""

    def __init__(
        self, url: str = "sqlite:///routelab.db", *, batch_size: int = 256, prompts: Prompts = "hashed"
    ) -> None:
        if batch_size < 1:
            raise DatabaseError(f"PerformanceDB.batch_size is {batch_size!r}; give an int ≥ 1")
        if prompts not in get_args(Prompts):
            raise DatabaseError(f"PerformanceDB.prompts is {prompts!r}; give one of {', '.join(get_args(Prompts))}")
        self.batch_size, self.prompts = batch_size, prompts
        self._lock = RLock()
        self._queued: defaultdict[str, list[Row]] = defaultdict(list)  # by name of their table
        self._closed = False
        try:
            parsed = sa.make_url(url)
        except sa.exc.ArgumentError:
            # Not quoted, as it may hold a password.
            raise DatabaseError("PerformanceDB.url is no SQLAlchemy URL; give 'sqlite:///routelab.db'") from None
        self._origin = parsed.set(query={}).render_as_string(hide_password=True)
        self._in_memory = parsed.get_backend_name() == "sqlite" and parsed.database in (None, "", ":memory:")
        with self._reported():
            self._engine = open_engine(parsed, shared_connection=self._in_memory)
            try:
                with transaction(self._engine) as connection:
                    create_schema(connection, repr(self))
            except BaseException:
                self._engine.dispose()
                raise
        atexit.register(_close, weakref.ref(self))

    def flush(self) -> None:
        """Write the queue in one transaction; on disk when this returns.

        Raises:
            DatabaseError: the store failed, and the queue is kept for a later flush; or rows were refused
                (a decision id twice, an outcome of an unknown decision, a second, different outcome or variant): these
                are dropped and named, all others are written. The same outcome or exposure again is no error.
        """
        with self._lock:
            if not self._queued:
                return
            with self._writing() as connection:
                refused = insert_rows(connection, self._queued)
            self._queued.clear()
        if refused:
            named = "; ".join(refused[:5]) + ("; …" if len(refused) > 5 else "")
            raise DatabaseError(f"{self!r} refused {len(refused)} rows, all others are written: {named}")

    def close(self) -> None:
        """Flush and let go of the store; stays open when the store failed, so that nothing queued is lost."""
        with self._lock:
            try:
                if not self._closed:
                    self.flush()
            finally:
                if not self._queued:
                    self._closed = True
                    self._engine.dispose()

    def __enter__(self) -> Self:
        """The database itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def __repr__(self) -> str:
        return f"PerformanceDB({self._origin!r})"

    def _queue(self, table: str, rows: Sequence[Row]) -> None:
        with self._lock:
            self._check_open()
            if rows:
                self._queued[table].extend(rows)
            if sum(map(len, self._queued.values())) >= self.batch_size:
                self.flush()

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        self._check_open()
        self.flush()
        # A connection of its own never waits for writers; in memory there is only one connection.
        guard: AbstractContextManager[object] = self._lock if self._in_memory else nullcontext()
        with guard, self._reported(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        with self._lock, self._reported():
            self._check_open()
            with transaction(self._engine) as connection:
                yield connection

    @contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except sa.exc.SQLAlchemyError as error:
            cause = getattr(error, "orig", None) or error
            raise DatabaseError(
                f"{self!r} failed: {cause}; see that it is a database and may be written, then try again"
            ) from error

    def _check_open(self) -> None:
        if self._closed:
            raise DatabaseError(f"{self!r} is closed; open it anew")


def _close(reference: weakref.ref[Store]) -> None:
    """Close a database that is still in use when Python exits."""
    if (db := reference()) is not None:
        db.close()
