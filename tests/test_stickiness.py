"""A conversation stays where its prompt is cached as long as that is worth more than another provider's advantage."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from routelab import (
    BanditRouter,
    EpsilonGreedyPolicy,
    ForestPolicy,
    LinTSPolicy,
    LinUCBPolicy,
    LLMRequest,
    MLRouter,
    Objective,
    PerformanceDB,
    RequestFeaturizer,
    ThompsonPolicy,
)
from routelab.errors import RoutelabError
from routelab.policies import Policy
from routelab.providers import Completion, Price, ProviderPool
from routelab.routers import Stickiness
from routing import Answering

TALK = LLMRequest("word " * 8000, unit_id="user 7")  # 10,000 tokens
PLAIN = RequestFeaturizer(embedder=None).fit([TALK])


class Caching(Answering):
    """Holds prompts at a tenth of the price: 10,000 tokens of them save 0.009 USD."""

    price = Price(1.0, 2.0, cached_input=0.1)

    async def complete(self, request: LLMRequest) -> Completion:
        return Completion("", self.name, 10_000, 20, 0.01, 0.2, self.quality)


def known(quality: tuple[float, float]) -> Policy:
    X = np.repeat(PLAIN.transform_one(TALK, {})[None], 30, axis=0)
    cost = np.full((30, 2), 0.01)
    return ForestPolicy(n_estimators=5).fit(X, np.tile(quality, (30, 1)), cost, providers=("a", "b"))


@pytest.mark.parametrize(("advantage", "then"), [(0.05, "a"), (0.15, "b")])
def test_a_conversation_stays_while_the_saving_is_worth_more_than_the_others_advantage(
    db: PerformanceDB, advantage: float, then: str
) -> None:
    """λ = 10 makes the 0.009 USD worth 0.09."""
    now = [1000.0]
    router = MLRouter(
        [Caching("a"), Caching("b")],
        known((0.6, 0.5)),
        featurizer=PLAIN,
        db=db,
        objective=Objective(cost_weight=10.0),
        stickiness=Stickiness(),
        clock=lambda: now[0],
    )
    assert asyncio.run(router.complete(TALK))[0].provider.name == "a"
    router.policy = known((0.5, 0.5 + advantage))
    now[0] += 1.0
    decision, _ = asyncio.run(router.complete(TALK))
    assert decision.provider.name == then
    assert decision.objective.credit == (pytest.approx(0.009), 0.0)
    assert db.log()["objective"].map(lambda objective: objective["credit"]).tolist()[0] is None
    stranger = LLMRequest(TALK.prompt, unit_id="user 8")
    assert asyncio.run(router.complete(stranger))[0].provider.name == "b"
    now[0] += 301.0
    assert asyncio.run(router.complete(TALK))[0].provider.name == "b"


def credit(
    request: LLMRequest = TALK, *, now: float = 10.0, price: Price = Caching.price, tokens: int = 10_000
) -> object:
    pool, sticky = ProviderPool([Caching("a"), Caching("b")]), Stickiness()
    pool["a"].price = price  # type: ignore[misc]
    sticky.note(TALK, Completion("", "a", tokens, 1, 0.01, 0.1), now=0.0)
    return sticky.credit(request, pool, ("b", "a"), now)


def test_the_credit_is_what_the_cached_tokens_cost_less() -> None:
    assert credit() == (0.0, pytest.approx(0.009))
    assert credit(tokens=2000) == (0.0, pytest.approx(0.0018))
    assert credit(LLMRequest("word " * 1600, unit_id="user 7")) == (0.0, pytest.approx(0.0018, rel=0.02))


@pytest.mark.parametrize(
    "nothing",
    [
        {"now": 300.1},
        {"price": Price(1.0, 2.0)},
        {"tokens": 1023},
        {"request": LLMRequest("word " * 8000)},
        {"request": LLMRequest("Another question?", unit_id="user 7")},
    ],
)
def test_there_is_no_credit_where_nothing_is_saved(nothing: dict) -> None:
    assert credit(**nothing) is None


def test_without_a_price_on_cost_nothing_sticks() -> None:
    router = BanditRouter([Caching("a"), Caching("b")], stickiness=Stickiness())
    for _ in range(3):
        assert asyncio.run(router.complete(TALK))[0].objective.credit is None


def test_only_the_latest_conversations_are_remembered() -> None:
    sticky, pool = Stickiness(units=3), ProviderPool([Caching("a")])
    units = [LLMRequest(TALK.prompt, unit_id=str(number)) for number in range(5)]
    for number in (0, 1, 2, 0, 3, 4):
        sticky.note(units[number], Completion("", "a", 10_000, 1, 0.01, 0.1), now=0.0)
    remembered = [number for number in range(5) if sticky.credit(units[number], pool, ("a",), 1.0)]
    assert remembered == [0, 3, 4]


def learned(policy: Policy) -> Policy:
    rng = np.random.default_rng(0)
    for name in "abc":
        policy.add_provider(name, cost=0.01)
    for x in rng.normal(size=(30, 2)):
        for arm in range(3):
            policy.update(x, arm, float(rng.random() < 0.5), 0.01)
    return policy


@pytest.mark.parametrize("kind", [ThompsonPolicy, LinUCBPolicy, LinTSPolicy, EpsilonGreedyPolicy])
@pytest.mark.parametrize("bounds", [{}, {"max_cost": 1.0}])
def test_a_credit_is_to_every_policy_what_a_lower_cost_is(kind: type[Policy], bounds: dict) -> None:
    """In its choice and in its closed-form probabilities."""
    dear, x = learned(kind()), np.array([0.3, -0.2])
    with_credit = Objective(cost_weight=20.0, credit=(0.0, 0.008, 0.0), **bounds)
    given = dear.propensities(x, with_credit)()
    assert dear.action_probabilities(x[None], with_credit)[0] == pytest.approx(given)
    chosen = [dear.select(x, with_credit, np.random.default_rng(seed)) for seed in range(400)]
    shares = np.bincount([choice.arm for choice in chosen], minlength=3) / 400
    assert np.abs(shares - given).max() < 4.0 * np.sqrt(0.25 / 400)
    assert chosen[0].propensity == pytest.approx(given[chosen[0].arm], abs=1e-4)
    cheap = learned(kind()).reprice_provider("b", 0.2)  # 0.01 → 0.002
    assert cheap.propensities(x, Objective(cost_weight=20.0, **bounds))() == pytest.approx(given, abs=2e-3)


@pytest.mark.parametrize("wrong", [(-0.1, 0.0), (float("nan"), 0.0), ("a", 0.0)])
def test_a_credit_that_is_no_money_is_refused(wrong: tuple) -> None:
    with pytest.raises(RoutelabError, match=r"Objective\.credit is .*; give finite USD ≥ 0, one for each arm"):
        Objective(credit=wrong)


def test_a_credit_for_other_arms_is_refused() -> None:
    with pytest.raises(RoutelabError, match=r"Objective\.credit has 2 arms, the costs are \(1, 3\)"):
        Objective(cost_weight=1.0, credit=(0.1, 0.1)).utility(np.ones((1, 3)), np.ones((1, 3)))


@pytest.mark.parametrize("wrong", [{"ttl_s": 0}, {"min_prompt": -1}, {"units": 0}])
def test_a_stickiness_that_makes_no_sense_is_refused(wrong: dict) -> None:
    with pytest.raises(RoutelabError, match=rf"Stickiness\.{next(iter(wrong))} is "):
        Stickiness(**wrong)
