"""Grades that come later: learned once, whatever else comes; and what Prometheus is told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from proxying import ASKED, Speaking, bandit, client, error_of, send
from routelab import BanditRouter, PerformanceDB, simulated_providers
from routelab.proxy import create_app, serve_in_thread
from routelab.routers import Router

FEEDBACK = "/v1/feedback"


@pytest.fixture
def router(db: PerformanceDB) -> Router:
    return bandit(Speaking("a"), Speaking("b"), db=db)


@pytest.fixture
def url(router: Router) -> Iterator[str]:
    other = BanditRouter(simulated_providers(), db=router.db)
    with serve_in_thread(create_app(router, routers={"other": other})) as served:
        yield served.url


def ask(url: str, model: str = "routelab", *, stream: bool = False) -> str:
    """The id of the decision that answered."""
    _, headers, _ = send(url, "/v1/chat/completions", {"model": model, "messages": ASKED, "stream": stream})
    return headers["x-routelab-decision-id"]


def grade(url: str, decision_id: object, quality: object) -> tuple[int, dict[str, str], bytes]:
    return send(url, FEEDBACK, {"decision_id": decision_id, "quality": quality})


@pytest.mark.parametrize("stream", [False, True])
def test_a_grade_is_recorded_and_learned(url: str, router: Router, db: PerformanceDB, stream: bool) -> None:
    decided = ask(url, stream=stream)
    ask(url)  # others come between
    assert grade(url, decided, 0.75)[0] == 200
    assert db.log().set_index("decision_id").loc[decided, ["quality", "cost_usd"]].tolist() == [0.75, 2e-5]
    assert router.policy.base_.counts_[0].sum() == 0.75  # type: ignore[attr-defined]


def test_the_same_grade_again_changes_nothing_and_another_is_refused(url: str, router: Router) -> None:
    decided = ask(url)
    assert [grade(url, decided, 0.5)[0] for _ in range(3)] == [200, 200, 200]
    status, code, message = error_of(grade(url, decided, 0.6))
    assert (status, code) == (409, "conflict")
    assert "has another outcome already; the first one stays" in message
    assert router.policy.base_.counts_[0].sum() == 0.5  # type: ignore[attr-defined]


def test_a_grade_of_what_nobody_decided_is_not_found(url: str, db: PerformanceDB) -> None:
    status, code, message = error_of(grade(url, "x" * 32, 0.5))
    assert (status, code) == (404, "decision_not_found")
    assert message.endswith("nothing is recorded")
    assert db.count() == (0, 0)


def test_a_grade_that_comes_after_a_restart_is_recorded(tmp_path: Path) -> None:
    log = f"sqlite:///{tmp_path}/log.db"
    with PerformanceDB(log) as db, serve_in_thread(create_app(bandit(Speaking(), db=db))) as served:
        decided, other = ask(served.url), ask(served.url)
    with PerformanceDB(log) as db, serve_in_thread(create_app(bandit(Speaking(), db=db))) as served:
        assert [grade(served.url, decided, 0.75)[0] for _ in range(2)] == [200, 200]
        assert error_of(grade(served.url, decided, 0.5))[:2] == (409, "conflict")
        assert error_of(grade(served.url, "nobody", 0.5))[:2] == (404, "decision_not_found")
        log_of = db.log().set_index("decision_id")
    assert log_of["cost_usd"].tolist() == [2e-5, 2e-5]
    assert log_of["quality"].dropna().to_dict() == {decided: 0.75}
    assert other in log_of.index


def test_what_is_no_grade_is_refused(url: str) -> None:
    decided = ask(url)
    for quality in (1.01, -0.1, "0.5", None, True, [0.5]):
        assert error_of(grade(url, decided, quality))[:2] == (400, "invalid_body")
    for body in ({"decision_id": decided}, {"decision_id": decided, "quality": 0.5, "grade": 1}, [], None):
        assert error_of(send(url, FEEDBACK, body))[:2] == (400, "invalid_body")
    assert grade(url, decided, 0)[0] == 200


def test_an_answer_that_its_provider_graded_keeps_that_grade(url: str) -> None:
    assert error_of(grade(url, ask(url, "other"), 0.123))[0] == 409


def test_prometheus_is_told_of_requests_answers_grades_and_providers(url: str) -> None:
    decided = ask(url)
    ask(url, stream=True)
    grade(url, decided, 0.5)
    grade(url, "x", 0.5)
    send(url, "/v1/chat/completions", b"{")
    send(url, "/elsewhere/42", method="GET")
    told = send(url, "/metrics", method="GET")[2].decode()
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(told)
        for sample in family.samples
    }
    assert samples["routelab_requests_total", "/v1/chat/completions", "200"] == 2
    assert samples["routelab_requests_total", "/v1/chat/completions", "400"] == 1
    assert samples["routelab_requests_total", "other", "404"] == 1
    assert samples["routelab_request_seconds_count", "/v1/chat/completions"] == 3
    assert samples["routelab_feedback_total", "200"] == samples["routelab_feedback_total", "404"] == 1
    by = {key[2]: value for key, value in samples.items() if key[:2] == ("routelab_answers_total", "routelab")}
    assert sum(by.values()) == 2
    for name, answers in by.items():
        assert samples["routelab_cost_usd_total", name] == pytest.approx(answers * 2e-5)
        assert samples["routelab_tokens_total", "output", name] == answers * 5
        assert samples["routelab_provider_calls_total", "success", name] == answers
        assert samples["routelab_provider_in_flight", name] == 0


def test_openais_client_tells_of_its_errors_in_feedback_too(url: str) -> None:
    with client(url) as asking:
        raw = asking.chat.completions.with_raw_response.create(model="routelab", messages=ASKED)
        decided = raw.headers["x-routelab-decision-id"]
        told = asking.post("/feedback", body={"decision_id": decided, "quality": 1.0}, cast_to=object)
    assert told == {"status": "recorded", "decision_id": decided}
