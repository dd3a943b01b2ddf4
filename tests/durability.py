"""Processes that write a performance log until they are killed, and what must be left of it then."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
import time
from multiprocessing.synchronize import Semaphore
from pathlib import Path

import numpy as np

from routelab.performance_db import Decision, Outcome, PerformanceDB

PROCESSES, TASKS = 8, 4
SHARED_EVERY = 5  # of the ids, one that all processes write
EARLY = 0.2  # chance that the moment may come before all writers have begun
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["routelab.performance_db"])


def numbered(decision_id: str) -> tuple[Decision, Outcome]:
    """A decision and its outcome that depend on its id only."""
    quality = sum(decision_id.encode()) % 100 / 100
    made = Decision(
        decision_id=decision_id,
        request_id=decision_id,
        decided_at=float(len(decision_id)),
        provider="a",
        providers=("a", "b"),
        probabilities=(0.5, 0.5),
        propensity=0.5,
        features=np.full(4, quality),
        feature_set="durability",
        policy="none",
    )
    return made, Outcome(decision_id, quality=quality, cost_usd=0.1, observed_at=1.0)


def write_until_killed(url: str, acknowledged: str, prefix: str, writer: int, started: Semaphore) -> None:
    """Write rows one by one, many at a time; an id goes to the file once its rows are said to be on disk."""
    file = os.open(acknowledged, os.O_APPEND | os.O_WRONLY)

    async def task(db: PerformanceDB, name: str) -> None:
        for i in range(10**9):
            decision_id = f"{prefix}/{'all' if i % SHARED_EVERY == 0 else name}/{i}"
            decision, outcome = numbered(decision_id)
            db.record_decision(decision)
            db.record_outcome(outcome)
            await db.saved()
            os.write(file, f"{decision_id}\n".encode())

    async def tasks(db: PerformanceDB) -> None:
        await asyncio.gather(*(task(db, f"{writer}.{number}") for number in range(TASKS)))

    with PerformanceDB(url) as db:
        started.release()
        asyncio.run(tasks(db))


def kill_round(url: str, folder: Path, prefix: str, rng: random.Random) -> int:
    """Let 8 processes write, kill them all at a random moment, and check the log; how many rows were acknowledged."""
    acknowledged = folder / f"{prefix}.txt"
    acknowledged.touch()
    started = CONTEXT.Semaphore(0)
    writers = [
        CONTEXT.Process(target=write_until_killed, args=(url, str(acknowledged), prefix, number, started))
        for number in range(PROCESSES)
    ]
    for process in writers:
        process.start()
    if rng.random() >= EARLY:
        for _ in writers:
            assert started.acquire(timeout=60.0), "a writer never began"
    time.sleep(rng.uniform(0.0, 0.5))
    failed = [process.exitcode for process in writers if process.exitcode is not None]
    for process in writers:
        process.kill()
    for process in writers:
        process.join()
    assert not failed, "a writer ended before it was killed"
    ids = set(acknowledged.read_text().splitlines())
    check_log(url, ids, prefix)
    return len(ids)


def check_log(url: str, acknowledged: set[str], prefix: str) -> None:
    """The log opens clean, holds each acknowledged row once, and every row as it was written."""
    with PerformanceDB(url) as db, db._reading() as connection:
        rows = connection.exec_driver_sql(
            "SELECT d.decision_id, o.quality FROM decisions d LEFT JOIN outcomes o ON d.decision_id = o.decision_id"
            f" WHERE d.decision_id LIKE '{prefix}/%%'".replace("%%", "%%" if "postgres" in url else "%")
        ).all()
        if url.startswith("sqlite"):
            assert connection.exec_driver_sql("PRAGMA integrity_check").scalars().all() == ["ok"]
            assert connection.exec_driver_sql("PRAGMA foreign_key_check").all() == []
    qualities = dict(rows)
    assert len(rows) == len(qualities), "no row twice"
    lost = {decision_id for decision_id in acknowledged if qualities.get(decision_id) is None}
    assert not lost
    for decision_id, quality in rows:
        assert quality is None or quality == numbered(decision_id)[1].quality
