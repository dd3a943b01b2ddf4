"""Shapley values against their definition, and the groups of columns that they are taken over."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import numpy as np
import pytest

from routelab.policies.attribution import feature_groups, shapley


def exact_shapley(value: Callable[[np.ndarray], np.ndarray], x: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Štrumbelj & Kononenko's definition with every order of the columns, against every background row."""
    total, orders = 0.0, list(permutations(range(len(x))))
    for order in orders:
        for start in background:
            row = start.copy()
            moved = np.zeros((len(x), value(row[None]).shape[1]))
            for column in order:
                before = value(row[None])[0]
                row[column] = x[column]
                moved[column] = value(row[None])[0] - before
            total = total + moved
    return total / (len(orders) * len(background))


@pytest.mark.parametrize("seed", range(5))
def test_single_effects_and_pairs_are_attributed_exactly_whatever_orders_are_drawn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    alone, pairs = rng.normal(size=(4, 2)), rng.normal(size=(2, 4, 4))

    def value(X: np.ndarray) -> np.ndarray:
        return np.sin(X) @ alone + np.einsum("ni,kij,nj->nk", X, pairs, X)

    x, background = rng.normal(size=4), rng.normal(size=(3, 4))
    found, _ = shapley(value, x, background, [[0], [1], [2], [3]], seed=seed)
    assert found == pytest.approx(exact_shapley(value, x, background))


def test_higher_interactions_are_estimated_without_bias() -> None:
    x, background = np.ones(3), np.zeros((1, 3))
    drawn = [shapley(lambda X: X.prod(axis=1)[:, None], x, background, [[0], [1], [2]], seed)[0] for seed in range(400)]
    assert np.mean(drawn, axis=0) == pytest.approx(np.full((3, 1), 1 / 3), abs=0.05)


@pytest.mark.parametrize("columns", [6, 900])
def test_contributions_add_up_to_the_value_less_that_of_the_background(columns: int) -> None:
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(columns, 3))
    seen = []

    def value(X: np.ndarray) -> np.ndarray:
        seen.append(len(X))
        return np.tanh(X @ weights) * X[:, :1]

    x, background = rng.normal(size=columns), rng.normal(size=(64, columns))
    found, usual = shapley(value, x, background, [[c] for c in range(columns)])
    assert len(seen) == 1
    assert seen[0] < 5000
    assert found.sum(axis=0) == pytest.approx(value(x[None])[0] - usual, abs=1e-12)
    assert columns > 6 or usual == pytest.approx(value(background).mean(axis=0))


def test_columns_that_belong_together_are_one_feature() -> None:
    names = ["prompt_length", "hour_sin", "hour_cos", "load_a", "load_b", "words", "x_hour_load", "embedding_000"]
    assert feature_groups(names) == {
        "prompt_length": [0],
        "time_of_day": [1, 2],
        "load of the providers": [3, 4],
        "words": [5],
        "x_hour_load": [6],
        "meaning of the prompt": [7],
    }
