"""Deadlines, refusals, second tries and cancellation: what a request may cost when providers fail."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable

import pytest

from routelab import BanditRouter, BudgetPacer, Completion, LLMRequest, MLRouter, PerformanceDB
from routelab.errors import RoutelabError
from routelab.providers import Circuit, DeadlineError, FailingError, Limits, ProviderError, ProviderPool
from routing import EASY, Answering, patient


class Scripted(Answering):
    """Raises one error after the other, then answers."""

    def __init__(self, name: str, *errors: Exception) -> None:
        super().__init__(name, 0.9)
        self.errors, self.asked = list(errors), 0

    async def complete(self, request: LLMRequest) -> Completion:
        self.asked += 1
        if self.errors:
            raise self.errors.pop(0)
        return await super().complete(request)


def timed(router: MLRouter, **settings: float) -> tuple[Exception, float]:
    """What ``complete`` raises, and after how many seconds."""

    async def ask() -> tuple[Exception, float]:
        start = asyncio.get_running_loop().time()
        with pytest.raises(ProviderError) as raised:
            await router.complete(EASY, **settings)
        return raised.value, asyncio.get_running_loop().time() - start

    return asyncio.run(ask())


def test_one_that_hangs_leaves_half_of_the_time_to_the_others(db: PerformanceDB) -> None:
    router = MLRouter([Answering("a", fails="hangs"), Answering("b", 0.7)], db=db, deadline_s=0.2)
    decision, completion = asyncio.run(router.complete(EASY))
    assert (decision.provider.name, completion.quality) == ("b", 0.7)
    log = db.log()
    assert re.fullmatch(r"no answer within 0\.(1|09\d*) s", log["error"][0])
    assert log["quality"].tolist() == [0.0, 0.7]
    assert router.pool.health["a"].failures == 1  # not a cancellation: the provider's fault
    assert router.pool.load() == {"a": 0, "b": 0}


def test_a_deadline_is_kept_over_all_attempts_and_the_error_says_what_happened(db: PerformanceDB) -> None:
    router = MLRouter([Answering(name, fails="hangs") for name in "abc"], db=db)
    error, seconds = timed(router, deadline_s=0.2)
    assert isinstance(error, DeadlineError)
    told = r"no answer within 0\.2 s: every provider failed: (a|; b|; c): no answer within 0\.\d+ s"
    assert re.match(told, str(error))
    assert all(f"{name}: no answer within 0." in str(error) for name in "abc")
    assert 0.19 < seconds < 0.4
    assert db.count() == (3, 3)


def test_an_answer_in_time_has_all_the_time_when_nobody_else_is_left() -> None:
    class Late(Answering):
        async def complete(self, request: LLMRequest) -> Completion:
            await asyncio.sleep(0.3)
            return await super().complete(request)

    router = MLRouter([Late("a", 0.9)], deadline_s=0.5)
    assert asyncio.run(router.complete(EASY))[1].quality == 0.9


@pytest.mark.parametrize("deadline_s", [0.0, -1.0, float("nan"), float("inf")])
def test_a_deadline_that_is_no_time_is_refused(deadline_s: float) -> None:
    with pytest.raises(RoutelabError, match=r"deadline_s is .*; give seconds > 0, or None"):
        MLRouter([Answering("a")], deadline_s=deadline_s)
    with pytest.raises(RoutelabError, match=r"deadline_s is .*; give seconds > 0, or None"):
        asyncio.run(MLRouter([Answering("a")]).complete(EASY, deadline_s=deadline_s))


def test_a_request_that_is_refused_is_asked_nowhere_else_and_nobody_failed(db: PerformanceDB) -> None:
    providers = [Scripted(name, ProviderError("400: no such parameter", refused=True)) for name in "ab"]
    router = BanditRouter(providers, db=db)
    before = router.policy.predict(router.features(EASY)[None]).quality.tolist()
    with pytest.raises(ProviderError, match="400: no such parameter") as raised:
        asyncio.run(router.complete(EASY))
    assert raised.value.refused
    assert sum(provider.asked for provider in providers) == 1
    log = db.log()
    assert (len(log), log["error"][0], log["quality"].isna()[0]) == (1, "400: no such parameter", True)
    assert router.policy.predict(router.features(EASY)[None]).quality.tolist() == before
    assert sum(health.failures for health in router.pool.health.values()) == 0


def test_when_all_failed_one_is_asked_once_more(db: PerformanceDB) -> None:
    providers = [Scripted(name, ProviderError("reset")) for name in "ab"]
    _, completion = asyncio.run(MLRouter(providers, db=db).complete(EASY))
    assert completion.quality == 0.9
    assert [provider.asked for provider in providers] == [2, 1]
    assert db.log()["error"].tolist()[:2] == ["reset", "reset"]


def test_the_second_try_comes_when_the_provider_said(db: PerformanceDB) -> None:
    provider = Scripted("a", ProviderError("429", retry_after_s=0.3))

    async def ask() -> float:
        start = asyncio.get_running_loop().time()
        await MLRouter([provider], db=db).complete(EASY)
        return asyncio.get_running_loop().time() - start

    assert 0.3 <= asyncio.run(ask()) < 1.0


def test_who_gives_up_says_when_to_come_back() -> None:
    asked = {"a": 30.0, "b": 45.0}
    providers = [Scripted(name, *[ProviderError("429", retry_after_s=asked[name])] * 2) for name in asked]
    error, seconds = timed(MLRouter(providers), deadline_s=2.0)
    assert str(error) == "every provider failed: a: 429; b: 429"
    assert not isinstance(error, FailingError)
    assert error.retry_after_s == pytest.approx(30.0, abs=1.0)  # type: ignore[attr-defined]
    assert seconds < 1.0  # not worth waiting for


def test_when_all_kept_failing_the_next_request_fails_at_once_and_says_when_to_come_back() -> None:
    broken = [Answering(name, fails="raises") for name in "ab"]
    router = MLRouter(ProviderPool(broken, circuit=Circuit(failures=1, cooldown_s=20.0)), retry_share=0.0)
    timed(router, deadline_s=60.0)
    error, seconds = timed(router, deadline_s=60.0)
    assert isinstance(error, FailingError)
    assert str(error).startswith("no provider can be asked: a: left alone after 1 failures in a row, 1")
    assert 9.0 < error.retry_after_s <= 20.0  # type: ignore[operator]
    assert seconds < 1.0


def test_second_tries_never_become_a_storm() -> None:
    providers = [Answering(name, fails="raises") for name in "ab"]
    pool = patient(*providers)
    router = MLRouter(pool, retry_share=0.2)

    async def storm() -> None:
        await asyncio.gather(*(router.complete(EASY) for _ in range(200)), return_exceptions=True)

    asyncio.run(storm())
    asked = sum(health.failures for health in pool.health.values())
    assert 400 < asked <= 400 + 10 + 0.2 * 200


def test_the_first_try_at_a_healthy_provider_needs_no_budget() -> None:
    pool = patient(Answering("a", 0.9, fails="raises"), Answering("b", 0.9, fails="raises"), Answering("c", 0.1))
    router = MLRouter(pool, retry_share=0.0)

    async def crowd() -> list[str]:
        return [decision.provider.name for decision, _ in await asyncio.gather(*map(router.complete, [EASY] * 300))]

    assert asyncio.run(crowd()) == ["c"] * 300


def tasks_left() -> int:
    return len(asyncio.all_tasks()) - 1


@pytest.mark.parametrize("seconds", [0.0, 0.01, 0.05])
@pytest.mark.parametrize("limits", [Limits(), Limits(concurrency=1)])
def test_cancelled_requests_leave_no_load_no_task_and_no_place_in_a_row(
    db: PerformanceDB, limits: Limits, seconds: float
) -> None:
    pacer = BudgetPacer(0.01)
    pool = ProviderPool([Answering("a", fails="raises"), Answering("b", fails="hangs")], limits={"b": limits})
    router = MLRouter(pool, db=db, pacer=pacer)

    async def ask() -> None:
        asked = [asyncio.create_task(router.complete(EASY)) for _ in range(5)]
        await asyncio.sleep(seconds)
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
        assert all(task.cancelled() for task in asked)
        assert tasks_left() == 0

    asyncio.run(ask())
    assert pool.load() == {"a": 0, "b": 0}
    assert not pool._queue._waiting
    decided, told = db.count()
    assert decided == told == router.pending.count
    assert (pacer.in_flight, pacer.reserved) == (0, pytest.approx(0.0))
    assert set(db.log()["error"]) <= {"a is down", "cancelled by the caller"}


def test_a_provider_that_joins_while_a_request_is_under_way_is_asked_in_its_turn() -> None:
    class Joining(Answering):
        async def complete(self, request: LLMRequest) -> Completion:
            on_failure()
            raise ProviderError("gone")

    on_failure: Callable[[], None] = lambda: router.add_provider(Answering("b", 0.8))  # noqa: E731
    router = BanditRouter([Joining("a")])
    assert asyncio.run(router.complete(EASY))[0].provider.name == "b"
