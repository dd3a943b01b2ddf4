"""The record of a decision is made by the thread that writes it, and is that of the decision's own moment."""

from __future__ import annotations

import asyncio
from typing import Never

import numpy as np
import pytest

from routelab import BanditRouter, LinTSPolicy, LLMRequest, Objective, PerformanceDB, ThompsonPolicy
from routelab.db_records import Decision
from routelab.errors import DatabaseError
from routelab.policies import Choice, EpsilonGreedyPolicy, Policy
from routelab.policies.base import Features
from routing import Answering


def unmade() -> Never:
    raise ValueError("no probabilities")


def made() -> Decision:
    return Decision(
        decision_id="d1",
        request_id="r1",
        decided_at=0.0,
        provider="a",
        providers=("a",),
        probabilities=(1.0,),
        propensity=1.0,
        features=np.zeros(1),
        feature_set="set",
        policy="rule",
    )


def test_a_decision_that_cannot_be_made_is_refused_and_all_others_are_written() -> None:
    with PerformanceDB("sqlite://") as db:
        db.record_decisions([unmade, made])
        with pytest.raises(DatabaseError, match=r"decisions could not be made \(ValueError: no probabilities\)"):
            db.flush()
        assert db.count() == (1, 0)
        assert db.log()["request_id"].tolist() == ["r1"]


class Telling(ThompsonPolicy):
    """Tells the propensity of its choice alone."""

    def select(self, x: Features, objective: Objective, rng: np.random.Generator) -> Choice:
        choice = super().select(x, objective, rng)
        return Choice(choice.arm, choice.propensity, choice.estimates)


@pytest.mark.parametrize("policy", [ThompsonPolicy(), LinTSPolicy(), EpsilonGreedyPolicy(0.3), Telling()])
def test_the_log_holds_the_probabilities_of_the_moment_of_the_decision(policy: Policy) -> None:
    with PerformanceDB("sqlite://") as db:
        router = BanditRouter([Answering("a"), Answering("b")], policy=policy, db=db, seed=1)
        x = router.features(LLMRequest("Why?")).astype(np.float64)
        for _ in range(3):
            policy.update(x, 0, 0.7, 0.001)
            policy.update(x, 1, 0.6, 0.001)
        said = router.policy.propensities(x, router.objective)()
        decision = router.decide(LLMRequest("Why?"))
        for _ in range(50):
            policy.update(x, 0, 0.0, 0.001)
        (held,) = db.log()["probabilities"]
        np.testing.assert_allclose(held, said, atol=1e-3)
        assert decision.propensity == held[decision.providers.index(decision.provider.name)]
        assert np.abs(router.policy.propensities(x, router.objective)() - said).max() > 0.05


@pytest.mark.parametrize("field", ["request_id", "unit_id", "experiment"])
def test_a_name_that_no_log_holds_is_refused_before_anybody_is_asked(field: str) -> None:
    with PerformanceDB("sqlite://") as db:
        router = BanditRouter([Answering("a")], db=db)
        with pytest.raises(DatabaseError, match=rf"LLMRequest\.{field} is 'nul\\x00'; give a str"):
            router.decide(LLMRequest("Hi", **{field: "nul\0"}))  # type: ignore[arg-type]
        assert (router.pending.count, db.count()) == (0, (0, 0))


def test_an_answer_whose_decision_expired_meanwhile_needs_no_log() -> None:
    class Overtaken(Answering):
        async def complete(self, request: LLMRequest) -> object:  # type: ignore[override]
            router.decide(LLMRequest("Another"))
            return await super().complete(request)

    router = BanditRouter([Overtaken("a")], horizon=1)  # type: ignore[list-item]
    assert asyncio.run(router.complete(LLMRequest("Hi")))[1].provider == "a"
    assert router.pending.expired == 1
