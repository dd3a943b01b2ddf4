"""Recent means: averages that follow the last few hundred values of each arm."""

from __future__ import annotations

from routelab.policies.choice import Floats

RECENT = 300  # values that a mean is taken over


def average(means: Floats, arm: int, value: float) -> None:
    """Let ``value`` into the recent mean (first row) of one arm (column), and count it (second row).

    >>> import numpy as np
    >>> means = np.zeros((2, 1))
    >>> average(means, 0, 1.0), average(means, 0, 2.0)
    (None, None)
    >>> means.ravel().tolist()
    [1.5, 2.0]
    """
    mean, seen = means.item(0, arm), means.item(1, arm) + 1.0
    means[0, arm] = mean + (value - mean) / min(seen, RECENT)
    means[1, arm] = seen
