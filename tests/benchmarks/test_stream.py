"""A million requests: decisions stay as fast as at first, memory does not grow, and the kept inverses stay inverses."""

from __future__ import annotations

import sys
from collections import deque
from time import perf_counter_ns

import numpy as np
import pytest

from routelab import LinUCBPolicy, Objective
from routelab.policies import linear_arms

ARMS, WIDTH, BLOCK = 3, 25, 100_000
OBJECTIVE = Objective(cost_weight=10.0)


def added(policy: LinUCBPolicy) -> LinUCBPolicy:
    for arm in range(ARMS):
        policy.add_provider(str(arm))
    return policy


def test_decision_time_and_memory_stay_flat_over_a_million_requests() -> None:
    """Feedback comes 50 decisions late; the median decision of the last tenth is held against that of the first."""
    rng = np.random.default_rng(0)
    policy, waiting = added(LinUCBPolicy()), deque[tuple[np.ndarray, int]]()
    medians, blocks = [], []
    for _ in range(10):
        X, taken = rng.normal(size=(BLOCK, WIDTH)), np.empty(BLOCK)
        rewards = 1.0 / (1.0 + np.exp(-X[:, :ARMS]))
        for row, x in enumerate(X):
            start = perf_counter_ns()
            arm = policy.select(x, OBJECTIVE, rng).arm
            taken[row] = perf_counter_ns() - start
            waiting.append((x, arm))
            if len(waiting) > 50:
                then, chosen = waiting.popleft()
                policy.update(then, chosen, float(rewards[row, chosen]), 0.001 * (chosen + 1), age=50)
        medians.append(float(np.median(taken)) / 1000.0)
        blocks.append(sys.getallocatedblocks())
    print("\nselect p50 per 100,000 requests, us:", np.round(medians, 2), "blocks of memory:", blocks)
    assert medians[-1] <= 1.2 * medians[0]
    assert blocks[-1] <= blocks[0] + 1000


def streamed(policy: LinUCBPolicy, updates: int) -> LinUCBPolicy:
    """The policy after a stream of outcomes, of skewed and correlated features, one arm after the other."""
    rng = np.random.default_rng(1)
    mixing = rng.normal(size=(WIDTH, WIDTH)) * np.geomspace(1.0, 0.03, WIDTH)
    for start in range(0, updates, BLOCK):
        X = rng.normal(size=(min(BLOCK, updates - start), WIDTH)) @ mixing.T
        rewards = 1.0 / (1.0 + np.exp(-X[:, :ARMS] - rng.normal(size=(len(X), ARMS))))
        for row, x in enumerate(X):
            arm = row % ARMS
            policy.update(x, arm, float(rewards[row, arm]), 0.001 * float(rewards[row, arm]))
    return policy


@pytest.mark.parametrize(
    "settings", [{"forgetting": 0.999}, {}, {"wander": 0.0}], ids=["forgetting", "wander", "plain"]
)
def test_estimates_after_a_million_updates_are_those_of_an_inverse_taken_anew_each_time(
    settings: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = streamed(added(LinUCBPolicy(ridge=25.0, **settings)), 10 * BLOCK)
    monkeypatch.setattr(linear_arms, "CHECKED_EVERY", 1)
    monkeypatch.setattr(linear_arms, "_TOLERANCE", 0.0)
    exact = streamed(added(LinUCBPolicy(ridge=25.0, **settings)), 10 * BLOCK)
    X = np.random.default_rng(2).normal(size=(1000, WIDTH))
    one, other = kept.predict(X), exact.predict(X)
    errors = {
        "inverse": np.abs(kept.arms_.covariance - exact.arms_.covariance).max() / np.abs(exact.arms_.covariance).max(),
        "quality": np.abs(one.quality - other.quality).max(),
        "standard error": np.abs(one.quality_se / other.quality_se - 1.0).max(),
    }
    print(f"\n{settings}:", {name: f"{error:.1e}" for name, error in errors.items()})
    assert max(errors.values()) < 1e-6
