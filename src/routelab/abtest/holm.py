"""Holm's correction: several claims, one error probability."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from routelab.arrays import Floats, float_array


def holm(p_values: ArrayLike) -> Floats:
    """Adjusted p-values (m,): refuting those ≤ α errs in any of them with probability ≤ α, however they depend.

    Holm, *A Simple Sequentially Rejective Multiple Test Procedure*, 1979. Of anytime-valid p-values the result is
    anytime-valid.

    >>> holm([0.01, 0.04, 0.03])
    array([0.03, 0.06, 0.06])
    """
    p = float_array("p_values", p_values, ndim=1)
    order = np.argsort(p, kind="stable")
    steps = p[order] * np.arange(len(p), 0, -1)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted
