"""Speed of the 2-D frontier: ``pytest tests/benchmarks`` (group ``bench``); a million points in under half a second."""

from __future__ import annotations

import numpy as np
import pytest

from routelab.pareto import pareto_mask

N = 1_000_000


def cloud(kind: str) -> np.ndarray:
    rng = np.random.default_rng(0)
    cost, noise = rng.random(N), rng.random(N)
    quality = {
        "uniform": noise,
        "quality rises with cost": cost + 0.01 * noise,
        "quality falls with cost": 0.01 * noise - cost,
        "all on the frontier": cost,
        "ties": np.floor(noise * 1000),
    }[kind]
    return np.column_stack([np.floor(cost * 1000) if kind == "ties" else cost, quality])


@pytest.mark.parametrize(
    "kind", ["uniform", "quality rises with cost", "quality falls with cost", "all on the frontier", "ties"]
)
def test_a_million_points_take_under_half_a_second(benchmark, kind):
    values = cloud(kind)
    benchmark.pedantic(pareto_mask, args=(values,), rounds=5, warmup_rounds=1)
    assert benchmark.stats.stats.median < 0.5
