"""Group commit: what many callers want written, one thread writes together."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from threading import Condition, Thread
from typing import Generic, TypeVar

from routelab.errors import DatabaseError

Item = TypeVar("Item")

_DELAY_S = 0.05  # how long an item waits for others
_RETRY_S = 1.0  # after a failure
_IDLE_DELAYS = 20  # after which the thread ends, until it is needed again
_BATCHES_QUEUED = 64  # beyond which callers wait


class GroupCommit(Generic[Item]):
    """A queue in front of ``write``: many wait for the disk once, together (DeWitt et al., SIGMOD 1984).

    Items are written when ``batch_size`` of them wait, after 50 ms, or at once when somebody waits for them. One
    daemon thread calls ``write``; it starts with the first item and ends when there are none for a second.

    Args:
        write: writes all items or, when it raises, none; they are kept then and written later.
        batch_size: items that are written without waiting for more, ≥ 1.

    >>> disk: list[int] = []
    >>> queue = GroupCommit(disk.extend, 100)
    >>> queue.put([1, 2])
    >>> queue.written().result()
    >>> disk
    [1, 2]
    """

    def __init__(self, write: Callable[[list[Item]], None], batch_size: int) -> None:
        self._write, self._batch_size = write, batch_size
        self._changed = Condition()
        self._items: list[Item] = []
        self._waiting: list[Future[None]] = []
        self._writing = False
        self._failure: Exception | None = None
        self._thread: Thread | None = None
        self.closed = False

    def put(self, items: Sequence[Item]) -> None:
        """Queue ``items``; waits while more than 64 batches are queued.

        Raises:
            DatabaseError: it is closed; or that many are queued because writing fails.
        """
        with self._changed:
            while len(self._items) > _BATCHES_QUEUED * self._batch_size:
                if self._failure is not None:
                    raise DatabaseError(f"{len(self._items)} rows wait already: {self._failure}") from self._failure
                self._changed.wait(_DELAY_S)
            if self.closed:
                raise DatabaseError("the log is closed; open it anew")
            self._items.extend(items)
            self._start()
            if len(self._items) >= self._batch_size:
                self._changed.notify_all()

    def written(self) -> Future[None]:
        """Done when all that was put before is written, or failed as its writing did."""
        done: Future[None] = Future()
        with self._changed:
            if self._items or self._writing:
                self._waiting.append(done)
                self._start()
                self._changed.notify_all()
            else:
                done.set_result(None)
        return done

    def close(self) -> bool:
        """Take no more items, unless some are still to be written: whether it is closed now."""
        with self._changed:
            self.closed = self.closed or not (self._items or self._writing)
            return self.closed

    def _start(self) -> None:
        if self._thread is None:
            self._thread = Thread(target=self._run, name="routelab-db", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while (work := self._next()) is not None:
            items, waiting = work
            failure = self._try(items)
            for done in waiting:
                if not done.set_running_or_notify_cancel():
                    continue
                if failure is None:
                    done.set_result(None)
                else:
                    done.set_exception(failure)

    def _next(self) -> tuple[list[Item], list[Future[None]]] | None:
        with self._changed:
            self._writing = False
            for _ in range(_IDLE_DELAYS):
                self._changed.wait_for(self._is_urgent, _DELAY_S if self._failure is None else _RETRY_S)
                if self._items or self._waiting:
                    break
            else:
                self._thread = None
                return None
            work = self._items, self._waiting
            self._items, self._waiting, self._writing = [], [], True
            return work

    def _is_urgent(self) -> bool:
        return bool(self._waiting) or (self._failure is None and len(self._items) >= self._batch_size)

    def _try(self, items: list[Item]) -> Exception | None:
        failure: Exception | None = None
        try:
            if items:
                self._write(items)
        except Exception as error:  # whatever it is, the items are kept and those who wait are told
            failure = error
            if self._failure is None:
                logging.getLogger(__name__).warning("%d rows wait for a later try: %s", len(items), error)
        with self._changed:
            if failure is not None:
                self._items[:0] = items
            self._failure = failure
            self._changed.notify_all()
        return failure
