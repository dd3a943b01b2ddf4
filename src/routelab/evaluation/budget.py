"""Meeting a budget: which settings of a policy to mix, chosen on training prompts and scored on others."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

import numpy as np

from routelab.arrays import Floats
from routelab.errors import RoutelabError
from routelab.evaluation.crossfit import Curve
from routelab.evaluation.frontier import hull_of
from routelab.hull import upper_hull

TOLERANCE = 0.02  # of a budget, by which the realised mean cost may pass it
# Of a normal distribution 99 % lies below. Settings are chosen on the very prompts that tell their costs, which takes
# a part of the margin: in simulations (tests/test_budget.py) a budget is then kept in 95 % or more.
_Z = 2.326


def mixture_within(outcomes: Curve, budget: float, requests: int) -> Floats:
    """Shares (s,) of the settings in the best random mixture that keeps a budget; at most two are above 0.

    The budget is a promise about requests to come. A setting of cost c per prompt will cost m of them a mean that is
    about normal around mean(c), with variance var(c)·(1/n + 1/m). Its 99 % quantile, mean(c) plus 2.326 standard
    errors, is what counts here as the cost of the setting: the mixture is the point, at the budget plus the 2 % that
    are tolerated, of the upper hull over these quantiles. The quantile of a mixture is at most the mixture of
    quantiles. Where the margin leaves nothing above the cheapest setting, that one is all.

    Args:
        outcomes: quality and cost (n, s) of prompts that the settings did not learn from; with a provider of its own
            among the settings, the mixture may fall back on it.
        budget: USD per request, on average.
        requests: their number m.

    Raises:
        RoutelabError: the budget is below the mean cost of the cheapest setting.

    >>> outcomes = Curve(np.tile([0.5, 0.6, 1.0], (100, 1)), np.tile([1.0, 2.0, 3.0], (100, 1)))
    >>> mixture_within(outcomes, budget=2.0, requests=100).round(3)
    array([0.48, 0.  , 0.52])
    """
    mean = outcomes.cost.mean(axis=0)
    if not budget >= mean.min() * (1.0 - 1e-9):
        raise RoutelabError(
            f"a budget of {budget:.6g} USD per request is below the {mean.min():.6g} that the cheapest provider costs "
            "on average on the training prompts; give that or more"
        )
    quantile = mean + _Z * outcomes.cost.std(axis=0) * np.sqrt(1.0 / len(outcomes.cost) + 1.0 / requests)
    hull = upper_hull(quantile, outcomes.quality.mean(axis=0))
    place = np.interp((1.0 + TOLERANCE) * budget, quantile[hull], np.arange(hull.size))
    shares = np.zeros(mean.size)
    shares[hull] = np.maximum(0.0, 1.0 - np.abs(np.arange(hull.size) - place))
    return shares


def against_singles(outcomes: Curve, singles: Curve, weights: Iterable[Floats]) -> tuple[Floats, Floats, Floats]:
    """Mean quality and cost of b mixtures, and what the hull of single providers reaches at that cost: each (1 + r, b).

    The hull is taken in hindsight on these same prompts, and anew in each resample: it flatters the single
    providers. The first row is the estimate, the others the resamples.

    Args:
        outcomes: expected quality and cost (n, b) of the mixtures.
        singles: quality and cost (n, k) of the providers.
        weights: how often each resample draws each prompt, in blocks (b, n).

    >>> outcomes, singles = Curve(np.ones((2, 1)), np.full((2, 1), 2.0)), Curve(np.eye(2), np.tile([1.0, 3.0], (2, 1)))
    >>> [means[0].tolist() for means in against_singles(outcomes, singles, [])]
    [[1.0], [2.0], [0.5]]
    """
    both = np.hstack([*outcomes, *singles])
    drawn = chain([np.ones((1, len(both)))], weights)
    means = np.vstack([each @ both / each.sum(axis=1, keepdims=True) for each in drawn])
    b, k = outcomes.quality.shape[1], singles.quality.shape[1]
    quality, cost, single_quality, single_cost = np.split(means, [b, 2 * b, 2 * b + k], axis=1)
    hulls = hull_of(Curve(single_quality, single_cost))
    heights = [np.interp(at, x, y) for at, x, y in zip(cost, hulls.cost, hulls.quality, strict=True)]
    return quality, cost, np.stack(heights)
