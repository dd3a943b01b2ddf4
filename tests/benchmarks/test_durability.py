"""PerformanceDB at full size: ``pytest -s tests/benchmarks/test_durability.py`` prints its figures, 25 minutes.

``ROUTELAB_KILLS=10`` makes fewer rounds of kills than 200; ``-k "kills and postgresql"`` runs one part.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter

import numpy as np
import pytest

from durability import CONTEXT, PROCESSES, kill_round, numbered
from routelab.performance_db import PerformanceDB

KILLS, LOGGED, CALLERS = int(os.environ.get("ROUTELAB_KILLS", "200")), 10_000_000, 32


def tell(url: str, **figures: object) -> None:
    print("\n" + json.dumps({"store": url.split(":")[0], **figures}))


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'log.db'}"
        (tmp_path / "log.db").unlink(missing_ok=True)
    else:
        yield request.getfixturevalue("postgres_url")


def test_nothing_acknowledged_is_lost_at_200_kills(url: str, tmp_path: Path) -> None:
    rng, start = random.Random(200), perf_counter()
    acknowledged = [kill_round(url, tmp_path, f"round{number}", rng) for number in range(KILLS)]
    tell(
        url,
        kills=KILLS,
        processes=PROCESSES,
        pairs_acknowledged=sum(acknowledged),
        median_a_round=float(np.median(acknowledged)),
        rounds_without=acknowledged.count(0),
        lost=0,
        seconds=round(perf_counter() - start, 1),
    )


def rate(rows: int, work: Callable[[], object]) -> float:
    start = perf_counter()
    work()
    return rows / (perf_counter() - start)


def test_batches_are_written_at_20_000_outcomes_a_second(url: str) -> None:
    rows = [numbered(f"{i * 7919 % 100_000:032x}") for i in range(100_000)]
    with PerformanceDB(url) as db:

        def write(record: Callable[[list[object]], None], column: int) -> None:
            for start in range(0, len(rows), 5_000):
                record([row[column] for row in rows[start : start + 5_000]])
                db.flush()

        made = rate(len(rows), lambda: write(db.record_decisions, 0))  # type: ignore[arg-type]
        joined = rate(len(rows), lambda: write(db.record_outcomes, 1))  # type: ignore[arg-type]
    tell(url, batch=5_000, decisions_per_s=round(made), outcomes_per_s=round(joined))
    assert joined >= 20_000


def write_batches(url: str, writer: int) -> None:
    rows = [numbered(f"{writer}/{i}") for i in range(10_000)]
    with PerformanceDB(url) as db:
        for start in range(0, len(rows), 1_000):
            db.record_decisions(row[0] for row in rows[start : start + 1_000])
            db.record_outcomes(row[1] for row in rows[start : start + 1_000])
            db.flush()


def test_eight_processes_write_at_once(url: str) -> None:
    PerformanceDB(url).close()
    writers = [CONTEXT.Process(target=write_batches, args=(url, writer)) for writer in range(PROCESSES)]

    def work() -> None:
        for process in writers:
            process.start()
        for process in writers:
            process.join()

    told = rate(20_000 * PROCESSES, work)
    tell(url, processes=PROCESSES, rows_per_s_with_their_start=round(told))
    assert [process.exitcode for process in writers] == [0] * PROCESSES
    with PerformanceDB(url) as db:
        assert db.count() == (80_000, 80_000)


@pytest.mark.parametrize("callers", [1, CALLERS])
def test_single_writes_are_acknowledged_at_2_000_a_second(url: str, callers: int) -> None:
    """Of outcomes, one a row, from asyncio tasks and from threads."""
    rows = [numbered(f"{i:032x}") for i in range(200 * callers * 2)]
    calls, waits = np.empty(len(rows)), np.empty(len(rows))
    with PerformanceDB(url) as db:
        db.record_decisions(row[0] for row in rows)
        db.flush()

        def record(i: int) -> None:
            start = perf_counter()
            db.record_outcome(rows[i][1])
            calls[i] = perf_counter() - start

        async def task(numbers: range) -> None:
            for i in numbers:
                record(i)
                start = perf_counter()
                await db.saved()
                waits[i] = perf_counter() - start

        async def tasks() -> None:
            await asyncio.gather(*(task(range(c * 200, c * 200 + 200)) for c in range(callers)))

        def thread(numbers: range) -> None:
            for i in numbers:
                record(i)
                db.flush()

        half = 200 * callers
        threads = [
            threading.Thread(target=thread, args=(range(half + c * 200, half + c * 200 + 200),)) for c in range(callers)
        ]
        saved = rate(half, lambda: asyncio.run(tasks()))

        def run_threads() -> None:
            for one in threads:
                one.start()
            for one in threads:
                one.join()

        flushed = rate(half, run_threads)
        assert db.count() == (2 * half, 2 * half)
    call, wait = np.quantile(calls[:half] * 1e6, [0.5, 0.99]), np.quantile(waits[:half] * 1e3, [0.5, 0.99])
    tell(
        url,
        callers=callers,
        acknowledged_per_s={"tasks": round(saved), "threads": round(flushed)},
        saved_ms={"p50": round(wait[0], 2), "p99": round(wait[1], 2)},
        record_outcome_us={"p50": round(call[0]), "p99": round(call[1])},
    )
    if callers == CALLERS:
        assert min(saved, flushed) >= 2_000


def test_recording_a_decision_takes_its_caller_less_than_50_us(url: str) -> None:
    rows = [numbered(f"{i:032x}")[0] for i in range(20_000)]
    taken = np.empty(len(rows))
    with PerformanceDB(url) as db:
        for i, row in enumerate(rows):
            start = perf_counter()
            db.record_decision(row)
            taken[i] = perf_counter() - start
            if i % 10 == 9:
                db.flush()
    p50, p99 = np.quantile(taken * 1e6, [0.5, 0.99])
    tell(url, record_decision_us={"p50": round(p50), "p99": round(p99)})
    assert p50 < 50


READ = """
import resource, sys
from routelab.performance_db import PerformanceDB
with PerformanceDB(sys.argv[1]) as db:
    read = sum(len(batch) for batch in db.batches())
print(read, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_ten_million_rows_are_read_within_a_gigabyte(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    PerformanceDB(f"sqlite:///{path}").close()
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute(f"WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {LOGGED - 1}) {MADE}")
    connection.execute(
        "INSERT INTO outcomes (decision_id, quality, cost_usd, observed_at) "
        "SELECT decision_id, 0.5, 0.001, decided_at FROM decisions"
    )
    connection.close()
    start = perf_counter()
    done = subprocess.run([sys.executable, "-c", READ, f"sqlite:///{path}"], capture_output=True, text=True, check=True)
    rows, kilobytes = map(int, done.stdout.split())
    tell("sqlite:", rows_read=rows, seconds=round(perf_counter() - start), peak_gb=round(kilobytes / 1e6, 2))
    path.unlink()
    assert rows == LOGGED
    assert kilobytes < 1_000_000


MADE = """
INSERT INTO decisions (decision_id, request_id, decided_at, provider, providers, probabilities, propensity, features,
                       feature_set, policy, policy_version, objective)
SELECT printf('%032x', i), 'r' || i, i / 10, 'b', '["a", "b", "c"]', '[0.2, 0.7, 0.1]', 0.7, zeroblob(64),
       'set', 'LinUCB', '3', '{"cost_weight": 1.0}' FROM n
"""
