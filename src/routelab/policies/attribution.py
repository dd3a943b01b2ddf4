"""Which features moved a value away from what it usually is: Shapley values of one request.

Reference: Štrumbelj and Kononenko, Explaining prediction models and individual predictions with feature contributions
(2014); each sampled order is walked in both directions, which makes effects of single features and of pairs exact.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from routelab.policies.base import Features, Floats

# Rows of one evaluation, so that many features cost precision and not time; 19 groups and 64 requests take 2,369.
_MOST_ROWS = 4096
_TOGETHER = {"load_": "load of the providers", "embedding_": "meaning of the prompt", "hour_": "time_of_day"}


def feature_groups(names: Sequence[str]) -> dict[str, list[int]]:
    """Columns of a ``RequestFeaturizer`` by what they mean to a reader: loads, embedding and hour count as one each.

    >>> feature_groups(["hour_sin", "hour_cos", "user_tier", "load_a", "x_age", "embedding_000", "embedding_001"])
    {'time_of_day': [0, 1], 'user_tier': [2], 'load of the providers': [3], 'x_age': [4], \
'meaning of the prompt': [5, 6]}
    """
    groups: dict[str, list[int]] = {}
    for column, name in enumerate(names):
        label = next((label for prefix, label in _TOGETHER.items() if name.startswith(prefix)), name)
        groups.setdefault(label, []).append(column)
    return groups


def shapley(
    value: Callable[[Features], Floats],
    x: Features,
    background: Features,
    groups: Sequence[Sequence[int]],
    seed: int = 0,
) -> tuple[Floats, Floats]:
    """Shapley values of groups of columns, and the mean value of the background that they start from.

    From each background row a walk leads to ``x``: group after group takes its columns from ``x``, in a random order,
    and once more in the reverse order. A group's Shapley value is the mean change at its step, so that whatever was
    drawn Σ_g values[g] = value(x) − baseline, up to rounding. With many groups fewer background rows are used.

    Args:
        value: (n, p) features to (n, k) values; called once.
        x: (p,) features of the request.
        background: (m, p) features of other requests.
        groups: columns of each of g groups, each column in one of them.
        seed: of the orders.

    Returns:
        values (g, k) and baseline (k,).

    >>> def value(X): return (X[:, :1] * X[:, 1:2] + X[:, 2:]).astype(float)
    >>> shapley(value, np.ones(3), np.zeros((1, 3)), [[0], [1], [2]])
    (array([[0.5],
           [0.5],
           [1. ]]), array([0.]))
    """
    size, used = len(groups), background[: max(1, _MOST_ROWS // (2 * len(groups)))]
    m, p = used.shape
    owner = np.empty(p, dtype=np.intp)
    for group, columns in enumerate(groups):
        owner[list(columns)] = group
    rank = np.random.default_rng(seed).permuted(np.tile(np.arange(size), (m, 1)), axis=1)
    rank = np.concatenate([rank, size - 1 - rank])  # (2m, g): the step at which each group changes
    taken = rank[:, None, :] < np.arange(1, size)[:, None]
    between = np.where(taken[:, :, owner], x, np.concatenate([used, used])[:, None, :])
    values = value(np.concatenate([x[None], used, between.reshape(-1, p)]))
    k = values.shape[1]
    first = np.tile(values[1 : m + 1], (2, 1))[:, None]
    last = np.broadcast_to(values[0], first.shape)
    steps = np.diff(np.concatenate([first, values[m + 1 :].reshape(2 * m, size - 1, k), last], axis=1), axis=1)
    return np.take_along_axis(steps, rank[:, :, None], axis=1).mean(axis=0), values[1 : m + 1].mean(axis=0)
