"""A proxy whose log fails: it answers, and tells nobody where the log is."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any, Never

import pytest

from proxying import ASKED, Speaking, bandit, error_of, send
from routelab import BanditRouter, PerformanceDB
from routelab.errors import DatabaseError
from routelab.proxy import answering, create_app, serve_in_thread

CHAT = "/v1/chat/completions"
URL = "postgresql://host/log"


class Full(PerformanceDB):
    """Takes nothing."""

    def _queue(self, *_: Any) -> Never:
        raise DatabaseError(f"PerformanceDB('{URL}'): 6400 rows wait already")


class Broken(BanditRouter):
    """Fails with its log."""

    async def complete(self, *_: Any, **__: Any) -> Never:
        raise DatabaseError(f"PerformanceDB('{URL}'): the disk is full")


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_the_log_does_not_take_has_no_decision_to_grade(stream: bool) -> None:
    with Full("sqlite://") as db:
        router = bandit(Speaking(), db=db)
        with serve_in_thread(create_app(router)) as served:
            status, headers, told = send(served.url, CHAT, {"model": "routelab", "messages": ASKED, "stream": stream})
            assert (status, headers["x-routelab-provider"]) == (200, "a")
            assert b"scatters" in told
            assert "x-routelab-decision-id" not in headers
            assert router.last_decision is not None
            assert router.last_decision.decision_id.encode() not in told


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_does_not_wait_for_a_log_that_another_process_locks(
    stream: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answering, "SAVING_S", 0.05)
    file, body = tmp_path / "log.db", {"model": "routelab", "messages": ASKED, "stream": stream}
    with (
        PerformanceDB(f"sqlite:///{file}?timeout=30") as db,
        serve_in_thread(create_app(bandit(Speaking(), db=db))) as served,
    ):
        other = sqlite3.connect(file, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        try:
            status, headers, _ = send(served.url, CHAT, body)
        finally:
            other.execute("ROLLBACK")
            other.close()
        assert status == 200
        assert "x-routelab-decision-id" not in headers
        db.flush()
        assert db.count()[0] == 1  # late, but not lost
        assert "x-routelab-decision-id" in send(served.url, CHAT, body)[1]


def test_an_error_of_the_log_is_told_without_its_address(db: PerformanceDB, monkeypatch: pytest.MonkeyPatch) -> None:
    router = bandit(Speaking(), db=db)
    app = create_app(router, routers={"broken": Broken([Speaking()])})
    with serve_in_thread(app) as served:
        failed = send(served.url, CHAT, {"model": "broken", "messages": ASKED})
        decided = send(served.url, CHAT, {"model": "routelab", "messages": ASKED})[1]["x-routelab-decision-id"]
        monkeypatch.setattr(db, "_queue", Full._queue.__get__(db))
        ungraded = send(served.url, "/v1/feedback", {"decision_id": decided, "quality": 0.5})
        monkeypatch.undo()
        assert send(served.url, "/v1/feedback", {"decision_id": decided, "quality": 0.5})[0] == 200
    for answer in (failed, ungraded):
        assert error_of(answer)[:2] == (503, "log_unavailable")
        assert answer[1]["retry-after"] == "1"
        assert URL.encode() not in answer[2]
