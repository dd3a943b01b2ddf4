from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pandas as pd
import pytest

from collecting import Charging, prompts, run
from routelab import LLMRequest, PerformanceTable, ProviderPool
from routelab.collecting import Patience
from routelab.evaluators import Grade
from routelab.providers import Completion, ProviderError
from routelab.providers.breaker import Circuit
from routelab.providers.limits import Limits


def test_every_pair_is_asked_once_and_the_table_is_in_the_order_of_the_prompts(tmp_path: Path) -> None:
    providers = [Charging("a"), Charging("b")]
    providers[0].latency_s = 0.004
    collected = run(tmp_path, prompts(20, tasks=True), providers)
    assert all(set(p.asked.values()) == {1} and len(p.asked) == 20 for p in providers)
    frame = collected.frame
    assert frame["prompt_id"].tolist() == [f"p{i}" for i in range(20) for _ in "ab"]
    assert frame["provider"].tolist() == ["a", "b"] * 20
    assert (collected.missing, collected.failed, collected.capped) == (0, {}, False)
    assert collected.spent_usd == pytest.approx(sum(p.charged for p in providers))
    table = PerformanceTable.from_frame(frame)
    assert (table.n, table.k) == (20, 2)
    assert table.tasks is not None
    assert table.has_latency


def test_a_second_run_asks_nothing_again_and_gives_the_same_frame(tmp_path: Path) -> None:
    first = run(tmp_path, prompts(10), [Charging("a"), Charging("b")])
    idle = [Charging("a"), Charging("b")]
    second = run(tmp_path, prompts(10), idle)
    assert [p.asked.total() for p in idle] == [0, 0]
    pd.testing.assert_frame_equal(first.frame, second.frame)
    assert second.spent_usd == pytest.approx(first.spent_usd)


def test_requests_in_flight_keep_to_the_concurrency_and_to_a_providers_own(tmp_path: Path) -> None:
    providers = [Charging("a"), Charging("b"), Charging("c")]
    providers[2].limits = Limits(concurrency=2)
    for provider in providers:
        provider.latency_s = 0.05  # longer than a sync of the journal
    run(tmp_path, prompts(30), providers, patience=Patience(concurrency=5))
    assert [p.peak for p in providers] == [5, 5, 2]


def test_a_failure_that_passes_is_asked_again(tmp_path: Path) -> None:
    flaky = Charging("a", lambda number: ProviderError("busy (503)") if number % 3 == 0 else None)
    collected = run(tmp_path, prompts(12), [flaky, Charging("b")], patience=Patience(4, 6, 0.001))
    assert collected.missing == 0
    assert flaky.asked.total() > 12


def test_what_keeps_failing_is_named_left_out_and_asked_by_the_next_run(tmp_path: Path) -> None:
    class Picky(Charging):
        async def complete(self, request: LLMRequest) -> Completion:
            if request.request_id == "p3":
                self.asked["p3"] += 1
                raise ProviderError("no answer within 60 s")
            return await super().complete(request)

    picky = Picky("a")
    collected = run(tmp_path, prompts(8), [picky, Charging("b")])
    assert collected.failed == {("p3", "a"): "no answer within 60 s"}
    assert picky.asked["p3"] == 3
    assert collected.missing == 1
    assert len(PerformanceTable.from_frame(collected.frame).quality) == 8
    healthy = [Charging("a"), Charging("b")]
    assert run(tmp_path, prompts(8), healthy).missing == 0
    assert (healthy[0].asked, healthy[1].asked.total()) == ({"p3": 1}, 0)


def test_a_refused_request_is_not_repeated(tmp_path: Path) -> None:
    strict = Charging("a", lambda number: ProviderError("too long", refused=True) if number == 0 else None)
    collected = run(tmp_path, prompts(5), [strict, Charging("b")])
    assert (strict.asked.total(), list(collected.failed.values())) == (5, ["too long"])


def test_a_provider_that_asks_to_wait_is_waited_for(tmp_path: Path) -> None:
    told = Charging("a", lambda number: ProviderError("busy", retry_after_s=0.2) if number == 0 else None)
    times = list[float]()

    class Timed(Charging):
        async def complete(self, request: LLMRequest) -> Completion:
            times.append(asyncio.get_running_loop().time())
            return await told.complete(request)

    run(tmp_path, prompts(1), [Timed("a"), Charging("b")])
    assert times[1] - times[0] > 0.19


def test_a_provider_that_fails_everything_is_given_up_and_the_others_go_on(tmp_path: Path) -> None:
    down, healthy = Charging("a", lambda number: ConnectionError("refused")), Charging("b")
    pool = ProviderPool([down, healthy], circuit=Circuit(cooldown_s=0.01))
    collected = run(tmp_path, prompts(100), pool, patience=Patience(2, 2, 0.001, give_up_s=0.2))
    assert collected.given_up == {"a": "ConnectionError: refused"}
    assert down.asked.total() <= 20
    assert collected.frame["provider"].unique().tolist() == ["b"]
    assert collected.missing == 100


def test_a_provider_that_asks_to_be_left_alone_for_longer_than_patience_lasts_is_given_up(tmp_path: Path) -> None:
    away = Charging("a", lambda number: ProviderError("busy (429)", retry_after_s=3600.0))
    started = time.monotonic()
    collected = run(tmp_path, prompts(50), [away, Charging("b")])
    assert time.monotonic() - started < 30.0
    assert collected.given_up == {"a": "busy (429)"}
    assert collected.missing == 50


def test_the_bar_says_who_is_waited_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    busy = Charging("a", lambda number: ProviderError("busy", retry_after_s=0.3) if number == 0 else None)
    assert run(tmp_path, prompts(1), [busy, Charging("b")], progress=True).missing == 0
    assert "waiting for a: asked to be left alone for 0.3 s" in capsys.readouterr().err


def test_the_requests_per_minute_of_a_provider_hold(tmp_path: Path) -> None:
    begun = list[float]()

    def clock() -> float:  # a minute a second
        return 60.0 * time.monotonic()

    class Timed(Charging):
        async def complete(self, request: LLMRequest) -> Completion:
            begun.append(clock())
            return await super().complete(request)

    pool = ProviderPool([Timed("a"), Charging("b")], limits={"a": Limits(requests_per_minute=3)}, clock=clock)
    assert run(tmp_path, prompts(6), pool).missing == 0
    assert all(later - first > 59.0 for first, later in zip(begun, begun[3:], strict=False))


class Judge:
    """Costs 0.002 USD a grade."""

    async def grade(self, request: LLMRequest, completion: Completion) -> Grade | None:
        return None if request.request_id == "p1" else Grade(float(request.reference in completion.text), 0.1, 0.002)


def test_grades_are_the_evaluators_and_their_cost_is_spent_but_not_the_providers(tmp_path: Path) -> None:
    collected = run(tmp_path, prompts(4), [Charging("a"), Charging("b")], evaluator=Judge())
    assert collected.frame["cost_usd"].tolist() == [0.001] * 8
    assert collected.spent_usd == pytest.approx(8 * 0.001 + 6 * 0.002)
    assert (collected.frame["quality"] == 1.0).sum() == 6
    table = PerformanceTable.from_frame(collected.frame)
    assert pd.isna(table.quality[1]).tolist() == [True, True]
