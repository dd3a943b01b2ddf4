"""Speed of the widgets: a move of the slider, and a request that the live view counts."""

from __future__ import annotations

import asyncio
from time import process_time

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from routelab import EpsilonGreedyPolicy, OnlineMLRouter, simulated_providers
from routelab.evaluation.curves import curve_of
from routelab.routers.online import RoutingResult
from routelab.tables.synthetic import World
from routelab.widgets import FrontierExplorer, LiveView

pytestmark = pytest.mark.benchmark(timer=process_time)

N = 2000


def test_a_move_of_the_slider_takes_under_50_ms(benchmark: BenchmarkFixture) -> None:
    data, weights = World().generate(N, seed=0), np.geomspace(1.0, 1000.0, 32)
    quality, cost, names = data.expected_quality, data.expected_cost, data.table.providers
    matrices = [np.eye(len(names))[(quality - weight * cost).argmax(axis=1)] for weight in weights]
    curve = curve_of("oracle", weights, matrices, quality, cost)
    explorer = FrontierExplorer(curve, names, quality, cost, prompts=data.table.prompts)

    def slide() -> None:
        for place in (*range(32), 0):
            explorer.slider.value = place

    benchmark.pedantic(slide, rounds=5, warmup_rounds=1)
    assert benchmark.stats.stats.median < 33 * 0.05


def test_a_request_costs_the_live_view_under_50_microseconds(benchmark: BenchmarkFixture) -> None:
    router = OnlineMLRouter(simulated_providers(0), EpsilonGreedyPolicy(0.5), seed=0)

    async def run() -> list[RoutingResult]:
        return [await router.route_and_learn(one) for one in World().generate(N, seed=1).table.requests()]

    results, view = asyncio.run(run()), LiveView(router.pool.names)

    def count() -> None:
        for _ in range(50):
            for one in results:
                view.add(one)

    benchmark.pedantic(count, rounds=5, warmup_rounds=1)
    assert benchmark.stats.stats.median < 50 * N * 50e-6
