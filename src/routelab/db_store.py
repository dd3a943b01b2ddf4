"""Store: a queue of rows in front of a database."""

from __future__ import annotations

import asyncio
import atexit
import logging
import weakref
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from threading import Lock, RLock, current_thread
from time import sleep
from typing import Self, get_args

import sqlalchemy as sa

from routelab.db_group_commit import GroupCommit
from routelab.db_rows import Prompts, Row
from routelab.db_schema import SCHEMA_VERSION, create_schema, open_engine, transaction
from routelab.db_writing import Queued, Refusal, insert_rows
from routelab.errors import DatabaseError

_log = logging.getLogger(__name__)
_REFUSED_KEPT = 10_000
_YIELD_S = 2e-5
_Item = tuple[str, Row | Callable[[], Row], object]  # the name of its table, and who is told when it is refused


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
        self._rows = GroupCommit(self._write, batch_size)
        self._refused: list[Refusal] = []  # of which nobody was told yet
        self._refusing = Lock()
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
                    older = create_schema(connection, repr(self))
            except BaseException:
                self._engine.dispose()
                raise
        if older is not None:  # to stderr, unless told otherwise: whoever only wants to read may not expect it
            _log.warning(
                "%r had schema version %d and has %d now: a routelab that knows only the older one refuses it",
                *(self, older, SCHEMA_VERSION),
            )
        atexit.register(_close, weakref.ref(self))

    def flush(self) -> None:
        """Wait until all that was recorded before is on disk; callers at the same time share one transaction.

        Raises:
            DatabaseError: the store failed, and the rows are kept and tried again every second; or rows that this
                thread or asyncio task recorded were refused (a decision id again with another content, an outcome of
                an unknown decision, a second, different outcome or variant): these are dropped and named, all others
                are written. The same row again is no error.
        """
        self._rows.written().result()
        self._raise_refused(_caller())

    async def saved(self) -> None:
        """What :meth:`flush` does, without holding up the event loop."""
        await asyncio.wrap_future(self._rows.written())
        self._raise_refused(_caller())

    def close(self) -> None:
        """Flush and let go of the store; stays open when the store failed, so that nothing queued is lost.

        Raises:
            DatabaseError: as :meth:`flush`, and for all rows refused of which nobody was told yet.
        """
        try:
            self._rows.written().result()
        finally:
            if self._rows.close():
                self._engine.dispose()
        self._raise_refused(None)

    def __enter__(self) -> Self:
        """The database itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def __repr__(self) -> str:
        return f"PerformanceDB({self._origin!r})"

    def _delete(self, some: Callable[[sa.Connection, float], int], before: float) -> int:
        """Call ``some``, each time in a transaction of its own, until it finds none; how many it deleted."""
        total = 0
        while True:
            with self._writing() as connection:
                deleted = some(connection, before)
            if not deleted:
                return total
            total += deleted

    def _queue(self, table: str, rows: Iterable[Row | Callable[[], Row]]) -> None:
        caller = _caller()
        self._rows.put([(table, row, caller) for row in rows])

    def _write(self, queued: list[_Item]) -> None:
        by_table: defaultdict[str, list[Queued]] = defaultdict(list)
        unmade: list[Refusal] = []
        for table, row, caller in queued:
            try:
                by_table[table].append(Queued(table, _made(row) if callable(row) else row, caller))
            except Exception as error:  # whatever it is, the other rows are written
                unmade.append(Refusal(caller, f"a row of {table} could not be made ({type(error).__name__}: {error})"))
        with self._writing() as connection:
            refused = unmade + insert_rows(connection, by_table)
        if refused:
            with self._refusing:
                self._refused = (self._refused + refused)[-_REFUSED_KEPT:]
            _log.warning("%r refused %d rows: %s", self, len(refused), _named(refused))

    def _raise_refused(self, caller: object) -> None:
        """Tell ``caller`` of its refused rows; None is told of everybody's."""
        with self._refusing:
            mine = [refusal for refusal in self._refused if caller in (None, refusal.caller)]
            self._refused = [refusal for refusal in self._refused if caller not in (None, refusal.caller)]
        if mine:
            raise DatabaseError(f"{self!r} refused {len(mine)} rows, all others are written: {_named(mine)}")

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
        if self._rows.closed:
            raise DatabaseError(f"{self!r} is closed; open it anew")


def _made(row: Callable[[], Row]) -> Row:
    sleep(_YIELD_S)  # between two rows the event loop may run: this thread would hold the interpreter for all of them
    return row()


def _caller() -> object:
    """Who is told what became of the rows recorded now: the asyncio task, else the thread."""
    try:
        return asyncio.current_task() or current_thread()
    except RuntimeError:  # no event loop runs in this thread
        return current_thread()


def _named(refused: list[Refusal]) -> str:
    return "; ".join(refusal.reason for refusal in refused[:5]) + ("; …" if len(refused) > 5 else "")


def _close(reference: weakref.ref[Store]) -> None:
    """Close a database that is still in use when Python exits."""
    if (db := reference()) is not None:
        db.close()
