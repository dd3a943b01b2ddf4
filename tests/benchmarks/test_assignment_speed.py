"""Speed of assignment: a million units in under two seconds of one process, whatever else the machine does."""

from __future__ import annotations

from time import process_time

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from routelab import ABLayer, ABTest

pytestmark = pytest.mark.benchmark(timer=process_time)

N = 1_000_000
UNITS = [f"user-{i}" for i in range(N)]
TESTS = {
    "alone": ABTest("t", ("a", "b"), (0.4, 0.4), "s", holdout=0.2),
    "in a layer": ABTest("t", ("a", "b"), (0.4, 0.4), "s", ABLayer("l", "s", {"t": (0.0, 0.5)}), holdout=0.2),
}


@pytest.mark.parametrize("test", TESTS.values(), ids=TESTS)
def test_a_million_units_at_once_take_under_two_seconds(benchmark: BenchmarkFixture, test: ABTest) -> None:
    benchmark.pedantic(test.assign_many, args=(UNITS,), rounds=5, warmup_rounds=1)
    assert benchmark.stats.stats.median < N / 500_000


def test_a_million_units_one_by_one_take_under_two_seconds(benchmark: BenchmarkFixture) -> None:
    assign = TESTS["alone"].assign
    benchmark.pedantic(lambda: [assign(unit) for unit in UNITS], rounds=5, warmup_rounds=1)
    assert benchmark.stats.stats.median < N / 500_000
