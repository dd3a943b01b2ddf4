"""Small splits and streams with outcomes that can be told by heart, and a bandit that writes down what it is told."""

from __future__ import annotations

import numpy as np

from routelab import LinTSPolicy
from routelab.evaluation.split import Split
from routelab.evaluation.stream import Stream

NAMES = ("a", "b", "c")
MEANS, PRICES = np.array([0.5, 0.9, 0.95]), np.array([0.001, 0.004, 0.1])  # b is the knee, c the dearest


def part(n: int, first: int = 0, seed: int = 0) -> Split:
    """n prompts; the only feature is the prompt's number, counted from ``first``."""
    rng = np.random.default_rng([seed, first])
    quality = np.clip(rng.normal(MEANS, 0.05, size=(n, 3)), 0.0, 1.0)
    X = np.arange(first, first + n, dtype=np.float32)[:, None]
    tasks = np.where(np.arange(n) % 2, "odd", "even")
    return Split(X, quality, PRICES * rng.uniform(0.5, 1.5, size=(n, 3)), None, tasks, NAMES)


def stream_of(n: int = 300, seed: int = 0, **changes) -> Stream:
    """The first prompts of ``part`` in their order, nothing of them for learning only."""
    split = part(n, seed=seed)
    fields = {"X": split.X.astype(float), "quality": split.quality, "cost": split.cost, "providers": NAMES}
    return Stream(**(fields | changes))


class Recorder(LinTSPolicy):
    """Linear Thompson sampling that writes down what it is told."""

    def update(self, x, arm, reward, cost=None, *, age=0, se=None):
        self.told = [*getattr(self, "told", []), (float(x[0]), self.providers_[arm], reward, cost, age)]
        super().update(x, arm, reward, cost, age=age)


def with_arms(policy, names=NAMES):
    for name in names:
        policy.add_provider(name)
    return policy
