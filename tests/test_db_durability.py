"""What PerformanceDB acknowledges is on disk, whoever writes, fails or is killed at the same time."""

from __future__ import annotations

import asyncio
import logging
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from durability import CONTEXT, kill_round, numbered
from routelab.errors import DatabaseError
from routelab.performance_db import Outcome, PerformanceDB


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'log.db'}"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "locked.db"


@contextmanager
def lock(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that holds the write lock of a SQLite store until it rolls back, or to the end."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
    finally:
        connection.close()


def record(db: PerformanceDB, decision_id: str) -> None:
    decision, outcome = numbered(decision_id)
    db.record_decision(decision)
    db.record_outcome(outcome)


def commits_during(db: PerformanceDB, work: Callable[[], object]) -> int:
    """How many transactions were committed while ``work`` ran."""
    commits: list[object] = []
    sa.event.listen(db._engine, "commit", commits.append)
    work()
    return len(commits)


async def save_one_by_one(db: PerformanceDB, callers: int, rows: int) -> None:
    async def caller(name: int) -> None:
        for i in range(rows):
            record(db, f"{name}-{i}")
            await db.saved()

    await asyncio.gather(*map(caller, range(callers)))


def flush_one_by_one(db: PerformanceDB, callers: int, rows: int) -> None:
    def caller(name: int) -> None:
        for i in range(rows):
            record(db, f"{name}-{i}")
            db.flush()

    threads = [threading.Thread(target=caller, args=(name,)) for name in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("how", ["tasks", "threads"])
def test_concurrent_callers_share_transactions(url: str, how: str) -> None:
    with PerformanceDB(url) as db, PerformanceDB(url) as reader:
        if how == "tasks":
            commits = commits_during(db, lambda: asyncio.run(save_one_by_one(db, 32, 10)))
        else:
            commits = commits_during(db, lambda: flush_one_by_one(db, 32, 10))
        assert 10 <= commits <= 80, "320 acknowledgements"
        assert reader.count() == (320, 320)


def test_what_is_acknowledged_is_on_disk_for_everybody(url: str) -> None:
    async def work() -> None:
        for i in range(20):
            record(db, str(i))
            await db.saved()
            assert reader.count() == (i + 1, i + 1)

    with PerformanceDB(url) as db, PerformanceDB(url) as reader:
        asyncio.run(work())
        record(db, "20")
        db.flush()
        assert reader.count() == (21, 21)


def test_each_caller_is_told_of_its_own_refused_rows_and_of_no_others(url: str) -> None:
    async def caller(number: int) -> str | None:
        known = number % 3 > 0
        db.record_outcome(numbered("known" if known else f"stranger {number}")[1])
        await asyncio.sleep(0.1 * (number % 2))  # some are written before anybody asks
        try:
            await db.saved()
        except DatabaseError as error:
            return str(error)
        return None

    async def callers() -> list[str | None]:
        return await asyncio.gather(*map(caller, range(12)))

    with PerformanceDB(url) as db:
        record(db, "known")
        db.flush()
        for number, told in enumerate(asyncio.run(callers())):
            if number % 3:
                assert told is None
            else:
                assert (
                    f"refused 1 rows, all others are written: outcome of unknown decision_id 'stranger {number}'"
                    in (told or "")
                )
        db.flush()
        assert db.count() == (1, 1)


def test_refused_rows_that_nobody_asked_about_are_logged_and_named_at_the_end(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    db = PerformanceDB(url)
    thread = threading.Thread(target=db.record_outcome, args=(numbered("stranger")[1],))
    thread.start()
    thread.join()
    db.flush()
    assert [record.message.count("'stranger'") for record in caplog.records] == [1]
    with pytest.raises(DatabaseError, match="unknown decision_id 'stranger'"):
        db.close()
    db.close()


def test_recording_neither_waits_nor_fails_while_the_store_is_locked(path: Path) -> None:
    with PerformanceDB(f"sqlite:///{path}?timeout=0.05", batch_size=10) as db, lock(path) as locked:
        for i in range(50):
            record(db, str(i))
        locked.execute("ROLLBACK")
        db.flush()
        assert db.count() == (50, 50)


def test_rows_that_could_not_be_written_are_written_later_without_anybody_asking(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with PerformanceDB(f"sqlite:///{path}?timeout=0.05") as db, lock(path) as locked:
        record(db, "0")
        until(lambda: "2 rows wait for a later try" in caplog.text)
        locked.execute("ROLLBACK")
        until(lambda: locked.execute("SELECT count(*) FROM outcomes").fetchone() == (1,))
        assert caplog.text.count("wait for a later try") == 1
        assert db.count() == (1, 1)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10.0
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_full_queue_refuses_more_while_the_store_fails_and_loses_nothing(
    path: Path,
) -> None:
    with PerformanceDB(f"sqlite:///{path}?timeout=0.05", batch_size=1) as db, lock(path) as locked:
        recorded: list[str] = []

        def fill() -> None:
            for i in range(1000):
                db.record_decision(numbered(str(i))[0])
                recorded.append(str(i))

        with pytest.raises(DatabaseError, match=r"rows wait already: .* database is locked"):
            fill()
        locked.execute("ROLLBACK")
        assert sorted(db.log()["decision_id"]) == sorted(recorded)


def test_a_full_queue_makes_callers_wait_while_the_store_is_busy(path: Path) -> None:
    with PerformanceDB(f"sqlite:///{path}", batch_size=1) as db, lock(path) as locked:
        thread = threading.Thread(target=lambda: [record(db, str(i)) for i in range(100)])
        thread.start()
        thread.join(0.3)
        assert thread.is_alive()
        locked.execute("ROLLBACK")
        thread.join()
        assert db.count() == (100, 100)


def test_whoever_stops_waiting_loses_nothing_and_disturbs_nobody(path: Path) -> None:
    async def work() -> None:
        record(db, "0")
        impatient, patient = asyncio.create_task(db.saved()), asyncio.create_task(db.saved())
        await asyncio.sleep(0.1)
        impatient.cancel()
        await asyncio.sleep(0.1)
        assert (impatient.cancelled(), patient.done()) == (True, False)
        locked.execute("ROLLBACK")
        await patient

    with PerformanceDB(f"sqlite:///{path}") as db, lock(path) as locked:
        asyncio.run(work())
        assert db.count() == (1, 1)


def test_a_lost_connection_costs_no_row(postgres_url: str) -> None:
    with PerformanceDB(postgres_url) as db, PerformanceDB(postgres_url) as other:
        record(db, "0")
        db.flush()
        others = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND state = 'idle'"
        )
        with other._reading() as connection:
            connection.exec_driver_sql(others)
        record(db, "1")
        until(lambda: other.count() == (2, 2))


def deliver(url: str, quality: float) -> None:
    """Write 300 decisions and their outcomes, in an order of its own; all that matters is who is first."""
    ids = [str(i) for i in range(300)]
    random.Random(quality).shuffle(ids)
    db = PerformanceDB(url, batch_size=20)
    for decision_id in ids:
        decision, outcome = numbered(decision_id)
        db.record_decision(decision)
        last = decision_id == "299"
        db.record_outcome(Outcome(decision_id, quality if last else outcome.quality, 0.1, observed_at=quality))
    db.close()


def test_the_same_rows_delivered_to_many_processes_are_written_once(url: str) -> None:
    writers = [CONTEXT.Process(target=deliver, args=(url, number / 4)) for number in range(4)]
    for process in writers:
        process.start()
    for process in writers:
        process.join()
    assert sorted(process.exitcode or 0 for process in writers) == [0, 1, 1, 1], "three brought another last outcome"
    with PerformanceDB(url) as db:
        assert db.count() == (300, 300)
        log = db.log().set_index("decision_id")
        assert log["quality"].drop("299").to_dict() == {str(i): numbered(str(i))[1].quality for i in range(299)}


def test_nothing_acknowledged_is_lost_when_all_writers_are_killed(url: str, tmp_path: Path) -> None:
    rng = random.Random(6)
    assert sum(kill_round(url, tmp_path, f"round{number}", rng) for number in range(3)) > 0


def test_a_write_lock_that_is_never_released_is_an_error(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("routelab.db_schema._LOCK_SECONDS", "0.2")
    with PerformanceDB(postgres_url) as db, PerformanceDB(postgres_url) as other:
        with other._writing():
            record(db, "0")
            with pytest.raises(DatabaseError, match="lock timeout"):
                db.flush()
        db.flush()
        assert db.count() == (1, 1)


def test_the_log_of_failures_never_names_a_password(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), pytest.raises(DatabaseError) as caught:
        PerformanceDB("postgresql://user:canary@127.0.0.1:1/nothing")
    assert "canary" not in str(caught.value) + caplog.text
