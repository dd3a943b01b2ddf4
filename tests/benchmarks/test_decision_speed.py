"""How long one decision takes: `make speed` measures, nothing is asserted."""

from __future__ import annotations

import asyncio
from timeit import timeit

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from routelab import (
    BanditRouter,
    ForestPolicy,
    LLMRequest,
    MLRouter,
    Objective,
    RequestFeaturizer,
    ThompsonPolicy,
    load_source,
    simulated_providers,
)

REQUEST = LLMRequest("Prove that the square root of two is irrational, and explain each step to a student.")


@pytest.fixture(scope="module")
def trained() -> tuple[RequestFeaturizer, ForestPolicy, np.ndarray]:
    table = load_source("synthetic", n_requests=2000, seed=0)
    featurizer = RequestFeaturizer().fit(table)
    X = featurizer.transform(table)
    return featurizer, ForestPolicy().fit(X, table.quality, table.cost, providers=table.providers), X


def test_features_of_one_request(benchmark: BenchmarkFixture, trained: tuple) -> None:
    benchmark(trained[0].transform_one, REQUEST)


def test_forest_select(benchmark: BenchmarkFixture, trained: tuple) -> None:
    _, policy, X = trained
    benchmark(policy.select, X[0], Objective(cost_weight=10.0), np.random.default_rng(0))


def test_the_same_forest_in_scikit_learn(benchmark: BenchmarkFixture, trained: tuple) -> None:
    _, policy, X = trained
    benchmark(policy.forest_.predict, X[:1])


@pytest.mark.parametrize("width", [64, 280])
def test_forest_of_eleven_providers_select(benchmark: BenchmarkFixture, width: int) -> None:
    """``extra_info`` holds the time of scikit-learn's prediction over that of the decision, medians of one run."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, width)).astype(np.float32)
    quality = (rng.random((2000, 11)) < 1.0 / (1.0 + np.exp(-X[:, :11]))).astype(float)
    policy = ForestPolicy().fit(X, quality, rng.gamma(2.0, np.geomspace(1e-5, 1e-2, 11), size=(2000, 11)))
    plain = [timeit(lambda: policy.forest_.predict(X[:1]), number=1) for _ in range(50)]
    benchmark(policy.select, X[0], Objective(cost_weight=10.0), rng)
    if benchmark.stats is not None:  # None under --benchmark-disable
        benchmark.extra_info["scikit-learn / select"] = round(float(np.median(plain)) / benchmark.stats.stats.median, 1)


def test_thompson_select(benchmark: BenchmarkFixture) -> None:
    policy = ThompsonPolicy()
    for name in "abcdefghij":
        policy.add_provider(name)
    benchmark(policy.select, np.zeros(1), Objective(cost_weight=10.0), np.random.default_rng(0))


def test_route_from_prompt_to_provider(benchmark: BenchmarkFixture, trained: tuple) -> None:
    featurizer, policy, _ = trained
    router = MLRouter(simulated_providers(), policy, featurizer=featurizer)
    loop = asyncio.new_event_loop()
    benchmark(lambda: loop.run_until_complete(router.route(REQUEST)))
    loop.close()


def test_explain(benchmark: BenchmarkFixture, trained: tuple) -> None:
    featurizer, policy, _ = trained
    benchmark(MLRouter(simulated_providers(), policy, featurizer=featurizer).explain, REQUEST)


def test_bandit_router_select_provider(benchmark: BenchmarkFixture) -> None:
    router = BanditRouter(simulated_providers())
    benchmark(router.select_provider, REQUEST)
