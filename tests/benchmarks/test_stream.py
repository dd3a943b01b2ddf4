"""A million requests: decisions stay as fast as at first, memory does not grow, and the kept inverses stay inverses."""

from __future__ import annotations

import sys
from collections import deque
from copy import deepcopy
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
    """Feedback comes 50 decisions late. The policy after a tenth and after all is timed in turns, at the end."""
    rng = np.random.default_rng(0)
    policy, waiting, blocks = added(LinUCBPolicy()), deque[tuple[np.ndarray, int]](), []
    for block in range(10):
        X = rng.normal(size=(BLOCK, WIDTH))
        rewards = 1.0 / (1.0 + np.exp(-X[:, :ARMS]))
        for row, x in enumerate(X):
            waiting.append((x, policy.select(x, OBJECTIVE, rng).arm))
            if len(waiting) > 50:
                then, arm = waiting.popleft()
                policy.update(then, arm, float(rewards[row, arm]), 0.001 * (arm + 1), age=50)
        if block == 0:
            early = deepcopy(policy)
        blocks.append(sys.getallocatedblocks())
    taken = np.empty((5000, 2))
    for row, x in enumerate(X[: len(taken)]):
        for column, timed in enumerate((early, policy)):
            start = perf_counter_ns()
            timed.select(x, OBJECTIVE, rng)
            taken[row, column] = perf_counter_ns() - start
    first, last = np.median(taken, axis=0) / 1000.0
    print(f"\nselect p50 after 100,000 requests {first:.2f} us, after a million {last:.2f} us")
    print("blocks of memory per 100,000 requests:", np.diff(blocks))
    assert last <= 1.2 * first
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


@pytest.mark.parametrize("settings", [{}, {"forgetting": 0.999}], ids=["as it is", "forgetting"])
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
