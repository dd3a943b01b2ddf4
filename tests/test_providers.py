"""Providers answer by the world's model, and the pool counts what goes through it."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from routelab.errors import RoutelabError
from routelab.pareto import find_pareto_optimal
from routelab.providers import (
    Completion,
    Estimating,
    Price,
    ProviderError,
    ProviderPool,
    SimulatedProvider,
    simulated_providers,
)
from routelab.request import LLMRequest
from routelab.tables.synthetic import World
from routelab.tables.synthetic_world import DEFAULT_PROVIDERS, TIMEOUT_S

REQUEST = LLMRequest("Work out compound interest. Reason step by step. State the units.", request_id="a")
RELIABLE = replace(DEFAULT_PROVIDERS[1], latency=replace(DEFAULT_PROVIDERS[1].latency, failure=0.0))


def ask(provider: SimulatedProvider, request: LLMRequest = REQUEST) -> Completion:
    return asyncio.run(provider.complete(request))


def ask_many(provider: SimulatedProvider, n: int) -> list[Completion]:
    async def all_of_them() -> list[Completion]:
        return [await provider.complete(replace(REQUEST, request_id=str(i))) for i in range(n)]

    return asyncio.run(all_of_them())


def test_an_answer_depends_on_seed_provider_and_request_alone() -> None:
    first = ask(SimulatedProvider(RELIABLE, seed=3))
    used = SimulatedProvider(RELIABLE, seed=3)
    ask_many(used, 5)
    assert ask(used) == first
    assert ask(SimulatedProvider(RELIABLE, seed=4)) != first
    assert ask(used, replace(REQUEST, request_id="b")) != first


def test_estimate_is_what_completions_average_to() -> None:
    provider = SimulatedProvider(RELIABLE)
    quality, cost = provider.estimate(REQUEST)
    answers = ask_many(provider, 600)
    for values, truth in (([a.quality for a in answers], quality), ([a.cost_usd for a in answers], cost)):
        assert np.mean(values) == pytest.approx(truth, abs=4.5 * np.std(values) / np.sqrt(len(values)))


def test_live_providers_and_the_table_share_one_truth() -> None:
    data = World().generate(200, seed=0)
    for i, request in enumerate(data.table.requests()):
        for j, provider in enumerate(simulated_providers()):
            quality, cost = provider.estimate(request)
            assert quality == pytest.approx(data.expected_quality[i, j], rel=1e-12)
            assert cost == pytest.approx(data.expected_cost[i, j], rel=1e-12)


def test_a_completion_costs_its_tokens_at_the_current_price() -> None:
    provider = SimulatedProvider(RELIABLE)
    before = ask(provider)
    assert before.cost_usd == pytest.approx(provider.price.cost_usd(before.input_tokens, before.output_tokens))
    provider.set_price(Price(10.0, 40.0))
    after = ask(provider)
    assert after.cost_usd == pytest.approx(Price(10.0, 40.0).cost_usd(after.input_tokens, after.output_tokens))
    assert replace(after, cost_usd=before.cost_usd) == before


def test_an_outage_fails_every_request_and_ends_when_switched_off() -> None:
    provider = SimulatedProvider(RELIABLE)
    before = ask(provider)
    provider.outage = True
    assert provider.estimate(REQUEST) == (0.0, 0.0)
    with pytest.raises(ProviderError, match="'mini' gave no answer within 60 s") as caught:
        ask(provider)
    outcome = caught.value.completion
    assert outcome is not None
    assert (outcome.quality, outcome.cost_usd, outcome.latency_s, outcome.text) == (0.0, 0.0, TIMEOUT_S, "")
    assert outcome.error == str(caught.value)
    provider.outage = False
    assert ask(provider) == before


def test_a_quality_shift_moves_quality_alone() -> None:
    provider = SimulatedProvider(RELIABLE)
    before, truth = ask(provider), provider.estimate(REQUEST)
    provider.quality_shift = -0.2
    after = ask(provider)
    assert provider.estimate(REQUEST) == (pytest.approx(truth[0] - 0.2), truth[1])
    assert before.quality is not None
    assert after.quality is not None
    assert after.quality < before.quality
    assert replace(after, quality=before.quality, text=before.text) == before


def test_requests_in_flight_slow_a_provider_down_and_are_counted_by_the_pool() -> None:
    async def crowd() -> tuple[list[Completion], dict[str, int], int]:
        provider = SimulatedProvider(RELIABLE, latency_scale=0.02)
        pool = ProviderPool([provider, *simulated_providers()[2:]])
        waiting = [asyncio.create_task(pool.complete("mini", REQUEST)) for _ in range(15)]
        await asyncio.sleep(0)
        during = pool.load()
        answers = await asyncio.gather(*waiting)
        return answers, during, pool.load()["mini"]

    answers, during, after = asyncio.run(crowd())
    assert during == {"mini": 15, "coder": 0, "large": 0, "frontier": 0}
    assert after == 0
    latencies = [a.latency_s for a in answers]
    assert latencies == sorted(latencies)
    assert latencies[-1] == pytest.approx(latencies[0] * (1.0 + 14 / RELIABLE.capacity))


def test_a_cancelled_request_leaves_no_load_behind() -> None:
    async def cancel() -> tuple[dict[str, int], Completion]:
        provider = SimulatedProvider(RELIABLE, latency_scale=1.0)
        pool = ProviderPool([provider])
        task = asyncio.create_task(pool.complete("mini", REQUEST))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        provider.latency_scale = 0.0
        return pool.load(), await provider.complete(REQUEST)

    load, answer = asyncio.run(cancel())
    assert load == {"mini": 0}
    assert answer == ask(SimulatedProvider(RELIABLE))


def test_the_pool_counts_successes_and_failures() -> None:
    provider = SimulatedProvider(RELIABLE)
    pool = ProviderPool([provider])
    asyncio.run(pool.complete("mini", REQUEST))
    provider.outage = True
    for _ in range(2):
        with pytest.raises(ProviderError):
            asyncio.run(pool.complete("mini", REQUEST))
    assert (pool.health["mini"].successes, pool.health["mini"].failures) == (1, 2)


def test_providers_join_and_leave_in_order() -> None:
    providers = simulated_providers()
    pool = ProviderPool(providers[:2])
    pool.add(providers[4])
    pool.remove("nano")
    assert pool.names == ("mini", "frontier")
    assert list(pool) == [providers[1], providers[4]]
    assert ("mini" in pool, "nano" in pool, len(pool)) == (True, False, 2)
    assert pool["frontier"] is providers[4]
    assert pool.prices == {"mini": Price(0.25, 1.0), "frontier": Price(3.0, 15.0)}


def test_a_provider_removed_in_flight_still_answers() -> None:
    async def leave() -> Completion:
        pool = ProviderPool([SimulatedProvider(RELIABLE, latency_scale=0.001), simulated_providers()[0]])
        task = asyncio.create_task(pool.complete("mini", REQUEST))
        await asyncio.sleep(0)
        pool.remove("mini")
        return await task

    assert asyncio.run(leave()).provider == "mini"


def test_the_pool_refuses_what_would_break_it() -> None:
    providers = simulated_providers()
    with pytest.raises(RoutelabError, match="no provider; give at least one"):
        ProviderPool([])
    with pytest.raises(RoutelabError, match="already has a provider 'nano'"):
        ProviderPool([providers[0], providers[0]])
    pool = ProviderPool(providers[:1])
    with pytest.raises(RoutelabError, match="'nano' is the last provider"):
        pool.remove("nano")
    for act in (lambda: pool.remove("gpt"), lambda: pool["gpt"], lambda: asyncio.run(pool.complete("gpt", REQUEST))):
        with pytest.raises(RoutelabError, match="no provider 'gpt'; it has nano"):
            act()


def test_find_pareto_optimal_reads_the_pools_own_estimates() -> None:
    pool = ProviderPool(simulated_providers())
    assert all(isinstance(provider, Estimating) for provider in pool)
    frontier = [p.name for p in find_pareto_optimal(pool, LLMRequest("Write a Python function for an LRU cache."))]
    assert "coder" in frontier
    assert "large" not in frontier


def test_prices_and_scales_below_zero_are_refused() -> None:
    with pytest.raises(RoutelabError, match=r"Price\.output is -1"):
        Price(1.0, -1.0)
    with pytest.raises(RoutelabError, match="latency_scale"):
        SimulatedProvider(RELIABLE, latency_scale=-1.0)
    with pytest.raises(RoutelabError, match="skills; give one for each"):
        replace(RELIABLE, skill=(1.0,))
