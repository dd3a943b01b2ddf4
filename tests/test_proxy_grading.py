"""Behind the proxy: graders that are asked when the answer is sent, and routers that have others do the work."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from proxying import ASKED, WORDS, Speaking, bandit, client, error_of, send
from routelab import (
    ABRouter,
    ABTest,
    LinTSPolicy,
    LLMRequest,
    OnlineMLRouter,
    PerformanceDB,
    ShadowRouter,
)
from routelab.evaluators import Grade
from routelab.policies.linear_arms import LEVEL_PRECISION
from routelab.providers import Completion
from routelab.proxy import create_app, serve_in_thread

CHAT = "/v1/chat/completions"
BODY = {"model": "routelab", "messages": ASKED}


def online(db: PerformanceDB, grader: Any, **settings: Any) -> OnlineMLRouter:
    return OnlineMLRouter([Speaking("a")], LinTSPolicy(), db=db, grader=grader, retrain_after=None, **settings)


def soon(holds: Callable[[], bool]) -> bool:
    """Whether something becomes true within five seconds."""
    end = time.monotonic() + 5.0
    while not holds() and time.monotonic() < end:
        time.sleep(0.01)
    return holds()


@pytest.mark.parametrize("body", [BODY, BODY | {"stream": True}], ids=["whole", "streamed"])
def test_a_grader_is_asked_behind_the_answer_and_its_grade_is_learned(db: PerformanceDB, body: dict[str, Any]) -> None:
    asked: list[tuple[str, str]] = []
    go = threading.Event()

    async def grader(request: LLMRequest, completion: Completion) -> Grade:
        asked.append((request.prompt, completion.text))
        while not go.is_set():
            await asyncio.sleep(0.01)
        return Grade(0.75, se=0.1, cost_usd=0.01)

    router = online(db, grader)
    with serve_in_thread(create_app(router)) as served:
        assert send(served.url, CHAT, body)[0] == 200  # though the grader waits
        threading.Timer(0.2, go.set).start()
    assert asked == [(ASKED[0]["content"], "".join(WORDS))]
    told = ["quality", "quality_se", "grading_cost_usd", "cost_usd"]  # the end of the proxy waited for it
    assert db.log()[told].to_numpy().tolist() == [[0.75, 0.1, 0.01, 2e-5]]
    assert router.policy.arms_.precision[0, 0, 0] > LEVEL_PRECISION  # type: ignore[attr-defined]


@pytest.mark.parametrize("grade", [ZeroDivisionError("no"), 7.0, float("nan"), None])
def test_a_grader_that_fails_costs_no_answer_and_feedback_can_still_come(db: PerformanceDB, grade: Any) -> None:
    def grader(request: LLMRequest, completion: Completion) -> Any:
        asked.append(request)
        if isinstance(grade, Exception):
            raise grade
        return grade

    asked: list[LLMRequest] = []
    with serve_in_thread(create_app(online(db, grader))) as served:
        status, headers, _ = send(served.url, CHAT, BODY)
        assert soon(lambda: len(asked) == 1)
        told = {"decision_id": headers["x-routelab-decision-id"], "quality": 0.5}
        assert (status, send(served.url, "/v1/feedback", told)[0]) == (200, 200)
    assert db.log()["quality"].tolist() == [0.5]


def test_feedback_that_comes_before_the_grade_stays(db: PerformanceDB, caplog: pytest.LogCaptureFixture) -> None:
    go = threading.Event()

    async def grader(request: LLMRequest, completion: Completion) -> float:
        while not go.is_set():
            await asyncio.sleep(0.01)
        return 1.0

    with caplog.at_level(logging.WARNING), serve_in_thread(create_app(online(db, grader))) as served:
        told = {"decision_id": send(served.url, CHAT, BODY)[1]["x-routelab-decision-id"], "quality": 0.25}
        assert send(served.url, "/v1/feedback", told)[0] == 200
        go.set()
    assert db.log()["quality"].tolist() == [0.25]
    assert [record.message for record in caplog.records] == [f"decision {told['decision_id']} was not graded"]


def test_the_proxy_ends_though_a_grader_does_not(db: PerformanceDB, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("routelab.proxy.grading._END_S", 0.2)

    async def grader(request: LLMRequest, completion: Completion) -> float:
        await asyncio.sleep(60.0)
        return 1.0

    with serve_in_thread(create_app(online(db, grader))) as served:
        send(served.url, CHAT, BODY)
    assert db.log()["quality"].isna().all()


def test_an_ab_test_is_served_graded_and_counted(db: PerformanceDB) -> None:
    test = ABTest("t", ("one", "two"), (0.5, 0.5), "s")
    routers = {
        "one": bandit(Speaking("a"), db=db),
        "two": OnlineMLRouter([Speaking("b")], db=db, grader=lambda *_: 0.9),
    }
    router = ABRouter(test, routers, db)
    users = [f"user {number}" for number in range(8)]
    with serve_in_thread(create_app(router)) as served, client(served.url) as asking:
        for number, user in enumerate(users):
            raw = asking.chat.completions.with_raw_response.create(
                model="routelab", messages=ASKED, user=user, stream=number % 2 == 1
            )
            raw.http_response.read()
            assert raw.headers["x-routelab-provider"] == {"one": "a", "two": "b"}[test.assign(user)]
            if test.assign(user) == "one":
                told = {"decision_id": raw.headers["x-routelab-decision-id"], "quality": 0.1}
                assert send(served.url, "/v1/feedback", told)[0] == 200
        status, code, message = error_of(send(served.url, CHAT, BODY))
        assert (status, code, "has no unit_id" in message) == (400, "invalid_request", True)
        assert send(served.url, CHAT, BODY | {"model": "b"})[1]["x-routelab-provider"] == "b"  # by name: no decision
        assert {model.id for model in asking.models.list()} >= {"routelab", "routelab:cheap", "a", "b"}
        told_metrics = send(served.url, "/metrics", method="GET")[2].decode()
    assert 'routelab_provider_calls_total{outcome="success",provider="b"}' in told_metrics
    frame = db.experiment("t").set_index("unit")
    assert frame["variant"].to_dict() == {user: test.assign(user) for user in users}
    assert (frame["quality"] == frame["variant"].map({"one": 0.1, "two": 0.9})).all()


def test_a_shadow_behind_the_proxy_sees_what_live_answers(db: PerformanceDB) -> None:
    pool = bandit(Speaking("a"), db=db)
    router = ShadowRouter(pool, {"bold": bandit(Speaking("a"))}, db)
    with serve_in_thread(create_app(bandit(Speaking("z")), routers={"shadowed": router})) as served:
        decided = send(served.url, CHAT, BODY | {"model": "shadowed"})[1]["x-routelab-decision-id"]
        assert send(served.url, "/v1/feedback", {"decision_id": decided, "quality": 0.5})[0] == 200
    assert (len(db.shadows()), db.log()["decision_id"].tolist()) == (1, [decided])
