"""A log that fails costs nobody an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest

from routelab import BanditRouter, BudgetPacer, Completion, LLMRequest, OnlineMLRouter, PerformanceDB
from routelab.db_records import Decision, Outcome
from routelab.errors import DatabaseError
from routing import Answering


class Failing(PerformanceDB):
    """A log in memory that takes no decisions, or no outcomes, while ``fails`` names them."""

    fails = ""

    def record_decisions(self, decisions: Iterable[Decision]) -> None:
        self._check("decisions")
        super().record_decisions(decisions)

    def record_outcomes(self, outcomes: Iterable[Outcome]) -> None:
        self._check("outcomes")
        super().record_outcomes(outcomes)

    def _check(self, kind: str) -> None:
        if self.fails == kind:
            raise DatabaseError("6400 rows wait already")


def learned(router: BanditRouter) -> int:
    return router.pending.count - router.pending.waiting


@pytest.mark.parametrize("fails", ["decisions", "outcomes"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_log_that_fails_costs_no_answer(fails: str, stream: bool, caplog: pytest.LogCaptureFixture) -> None:
    async def ask() -> str:
        if not stream:
            return (await router.complete(LLMRequest("Hi")))[1].provider
        streamed = await router.stream(LLMRequest("Hi"))
        assert "".join([chunk.text async for chunk in streamed.chunks]) == ""
        assert streamed.completion is not None
        return streamed.completion.provider

    with Failing("sqlite://") as db:
        pacer = BudgetPacer(1.0)
        router = BanditRouter([Answering("a")], db=db, pacer=pacer)
        assert asyncio.run(ask()) == "a"
        caplog.clear()
        db.fails = fails
        assert asyncio.run(ask()) == "a"
        assert "could not be recorded" in caplog.text
        db.fails = ""
        assert asyncio.run(ask()) == "a"
        assert router.pending.waiting == 0
        assert learned(router) == 3
        db.flush()  # nothing was refused: the outcome of a decision that the log does not know was kept from it
        assert db.count() == ((2, 2) if fails == "decisions" else (3, 2))
        assert router.last_decision is not None
        assert router.last_decision.logged


def test_a_failure_that_cannot_be_recorded_goes_to_the_next_provider() -> None:
    with Failing("sqlite://") as db:
        router = BanditRouter([Answering("a", fails="raises"), Answering("b")], db=db, epsilon=0.0)
        db.fails = "outcomes"
        for _ in range(4):
            assert asyncio.run(router.complete(LLMRequest("Hi")))[1].provider == "b"
        assert router.pending.waiting == 0


def test_who_tells_an_outcome_hears_that_it_was_not_recorded() -> None:
    with Failing("sqlite://") as db:
        router = BanditRouter([Answering("a")], db=db)
        decision = router.decide(LLMRequest("Hi"))
        db.fails = "outcomes"
        with pytest.raises(DatabaseError, match="rows wait"):
            router.record_outcome(decision.decision_id, quality=1.0, cost_usd=0.0)
        assert router.pending.waiting == 1
        db.fails = ""
        router.record_outcome(decision.decision_id, quality=1.0, cost_usd=0.0)
        assert db.count() == (1, 1)


def test_a_closed_log_costs_no_answer() -> None:
    db = PerformanceDB("sqlite://")
    router = OnlineMLRouter([Answering("a")], db=db, retrain_after=None)
    db.close()
    assert asyncio.run(router.route_and_learn(LLMRequest("Hi"))).completion.provider == "a"
    assert router.pending.waiting == 0


def test_an_answer_whose_decision_expired_meanwhile_is_not_lost_with_the_log() -> None:
    class Overtaken(Answering):
        async def complete(self, request: LLMRequest) -> Completion:
            router.decide(LLMRequest("Another"))
            return await super().complete(request)

    with Failing("sqlite://") as db:
        router = BanditRouter([Overtaken("a", None)], db=db, horizon=1)
        db.fails = "outcomes"
        assert asyncio.run(router.complete(LLMRequest("Hi")))[1].provider == "a"
        assert router.pending.expired == 1
