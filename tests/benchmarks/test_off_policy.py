"""What off-policy evaluation promises, at full size: ``pytest -s`` prints the figures.

Logs are drawn from the paretobandit table and from the synthetic world (6,000 requests), half of whose prompts train:
prompts of the other half with replacement, the truth being their mean. A ridge regression that looks at quality alone
logs, with an exploration share; the forest that also looks at cost is asked about (5 and 20 of quality per USD).
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from off_policy import OBJECTIVES, QUALITY, Replayed, coverage, rank_agreement, replayed
from routelab.evaluation.ope import LoggedData, evaluate
from routelab.evaluation.ope.evaluating import ALL

LOGS = 1000
REACHED = {1.0: (0.93, 0.97), 0.3: (0.92, 1.0), 0.1: (0.90, 1.0)}


@pytest.fixture(scope="module", params=list(OBJECTIVES))
def world(request: pytest.FixtureRequest) -> tuple[str, Replayed]:
    return request.param, replayed(request.param)


@pytest.mark.parametrize("epsilon", REACHED)
def test_intervals_hold_the_truth(world: tuple[str, Replayed], epsilon: float) -> None:
    held = coverage(world[1], epsilon, LOGS)
    by = held.groupby(["interval", "estimator"]).agg({"covered": "mean", "width": "mean", "few": "mean"})
    print(f"\n{world[0]}, epsilon {epsilon:g}, {LOGS} logs of 2,000 decisions:\n{by.round(4)}")
    low, high = REACHED[epsilon]
    assert by.loc["bootstrap", "covered"].between(low, high).all()
    assert by.loc["bernstein", "covered"].min() >= 0.95
    assert epsilon > 0.1 or held["few"].all()


@pytest.mark.parametrize("source", list(OBJECTIVES))
@pytest.mark.parametrize("metric", ["utility", "quality"])
def test_ten_policies_are_ranked(source: str, metric: str) -> None:
    """Policies for a trade-off by their utility, and policies for quality alone by their quality."""
    objective = OBJECTIVES[source] if metric == "utility" else QUALITY
    agreement = rank_agreement(replayed(source, objective), objective, 100)
    good = int((agreement >= 0.8).sum())
    print(f"\n{source}, {metric}: tau >= .8 in {good} of 100 logs, mean {agreement.mean():.3f}")
    assert good >= 90


def test_a_million_decisions_take_under_thirty_seconds() -> None:
    from time import perf_counter

    rng, n, k = np.random.default_rng(0), 1_000_000, 10
    logged, target = rng.dirichlet(np.full(k, 2.0), n), rng.dirichlet(np.full(k, 2.0), n)
    logged = 0.05 / k + 0.95 * logged
    action = (rng.random(n)[:, None] > logged.cumsum(axis=1)).sum(axis=1).clip(0, k - 1)
    predictions = {"quality": rng.random((n, k))}
    log = LoggedData(
        action, rng.random(n), logged[np.arange(n), action], tuple(map(str, range(k))), probabilities=logged
    )
    start = perf_counter()
    frame = evaluate(log, {"target": target}, estimators=ALL, n_resamples=200, predictions=predictions)
    taken = perf_counter() - start
    print(f"\n{n} decisions, {k} providers, {len(frame)} estimators, 200 resamples: {taken:.1f} s")
    assert taken < 30.0
