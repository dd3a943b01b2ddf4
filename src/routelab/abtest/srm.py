"""The sequential test for a sample-ratio mismatch: did the assignment do what it was told?"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import gammaln

from routelab.arrays import Floats, float_array
from routelab.errors import ExperimentError


def srm_p_value(counts: ArrayLike, shares: ArrayLike, concentration: float = 10_000.0) -> Floats:
    """Anytime-valid p-value of units being assigned in proportion to ``shares``.

    The Bayes factor of Dirichlet(concentration · shares) against the shares themselves is a martingale under them;
    with n units, counts n_j and shares θ_j it is Γ(c)/Γ(c+n) · Π Γ(cθ_j+n_j)/Γ(cθ_j) · θ_j^−n_j, and the p-value its
    inverse, at most 1 (Lindon & Malek, *Anytime-Valid Inference for Multinomial Count Data*, 2022). A concentration c
    expects deviations of about 1/√c: at 10,000 a split of 50.5/49.5 is found within 200,000 units, and one of 51/49
    within 50,000, at a power above .9.

    Args:
        counts: (…, k) units that each variant got, over looks.
        shares: (k,) > 0; they are scaled to sum to one and must not have changed since the start.
        concentration: c > 0, in units.

    Returns:
        (…) p-values; the smallest over the looks is valid, too.

    Raises:
        ExperimentError: counts that are negative, or not of the same variants as the shares.

    >>> srm_p_value([[500, 500], [50_000, 49_000]], [0.5, 0.5]).round(4)
    array([1.    , 0.0336])
    """
    n, theta = np.asarray(counts, dtype=np.float64), float_array("shares", shares, ndim=1)
    if n.ndim < 1 or n.shape[-1] != len(theta) or not (n >= 0.0).all() or not (theta > 0.0).all():
        raise ExperimentError(
            f"counts of shape {n.shape} for {len(theta)} shares; give a count ≥ 0 and a share > 0 of each variant"
        )
    theta = theta / theta.sum()
    prior = concentration * theta
    own = gammaln(prior + n) - gammaln(prior) - n * np.log(theta)
    total = n.sum(axis=-1)
    log_factor = own.sum(axis=-1) + gammaln(concentration) - gammaln(concentration + total)
    return np.asarray(np.exp(-np.maximum(log_factor, 0.0)))
