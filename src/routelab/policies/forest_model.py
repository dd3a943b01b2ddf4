"""What a routing forest learns: trees, a linear part, how much of both to believe, and how sure to be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from routelab.errors import PolicyError
from routelab.policies.calibration import Belief, Linear, choose_belief, fit_linear, unbiased
from routelab.policies.outcomes import Floats, Outcomes
from routelab.policies.trees import Rows, Settings, Trees, grow

_MOST_ROWS = 20_000  # that a choice is made on
_PROBES = 500
_FEWEST = 60  # prompts, below which sampling errors are not measured


@dataclass(frozen=True, slots=True)
class ForestModel:
    """Fitted parts of a routing forest over k providers.

    Args:
        trees: whose leaves hold deviations from the training means.
        belief: what of them to believe.
        linear: the regression behind ``belief.linear``, or None.
    """

    trees: Trees
    belief: Belief
    linear: Linear | None

    @property
    def weights(self) -> tuple[Floats, Floats] | None:
        """Believed weights (p, k) of the features and intercepts (k,), or None."""
        if self.linear is None or self.belief.linear == 0.0:
            return None
        share = self.belief.linear
        return self.belief.apply(share * self.linear.coef), self.belief.apply(share * self.linear.intercept)

    def believed(self, deviations: Floats) -> Floats:
        """Believed part of the trees' deviations of quality (…, k)."""
        return (1.0 - self.belief.linear) * self.belief.apply(deviations)

    def quality(self, X: NDArray[np.float32]) -> Floats:
        """Estimated quality (n, k), not yet held within [0, 1]."""
        k = self.trees.providers
        quality: Floats = self.trees.mean[:k] + self.believed(self.trees.predict(X)[:, :k])
        return quality if self.weights is None else quality + X @ self.weights[0] + self.weights[1]


def learn(data: Outcomes, settings: Settings, calibrate: bool) -> ForestModel:
    """Grow the trees and, if asked, choose what to believe on at most 20,000 prompts that the tree did not see."""
    trees = grow(data, settings)
    if not calibrate:
        return ForestModel(trees, Belief(), None)
    k = len(data.providers)
    rows = _sample(len(data.X), _MOST_ROWS, settings.seed)
    quality = unbiased(data.quality[rows], trees.mean[:k])
    cost = unbiased(data.cost[rows], trees.mean[k : 2 * k])
    unseen = trees.out_of_bag(data.X, rows)
    linear = fit_linear(data.X[rows], quality - trees.mean[:k])
    belief = choose_belief(unseen[:, :k], linear.left_out, quality, cost, unseen[:, k : 2 * k])
    return ForestModel(trees, belief, linear)


def select_leaf(data: Outcomes, candidates: Sequence[Settings]) -> Settings:
    """The settings whose trees, out-of-bag, have the smallest squared error of differences between providers.

    Differences are those to the mean of what was observed of the prompt: they decide on routes. Where no prompt has
    two outcomes, it is the error of quality itself.

    Raises:
        PolicyError: there is nothing to choose from.
    """
    if not candidates:
        raise PolicyError("ForestPolicy.min_samples_leaf is empty; give a leaf size, or several to choose from")
    errors, k = [], len(data.providers)
    for settings in candidates if len(candidates) > 1 else ():
        rows = _sample(len(data.X), _MOST_ROWS, settings.seed)
        trees = grow(data, settings)
        error = data.quality[rows] - trees.mean[:k] - trees.out_of_bag(data.X, rows)[:, :k]
        several = error[(~np.isnan(error)).sum(axis=1) > 1]  # none in a log of single answers
        seen = several - np.nanmean(several, axis=1, keepdims=True) if len(several) else error
        errors.append(np.nanmean(np.square(seen)))
    return candidates[int(np.argmin(errors))] if errors else candidates[0]


def sampling_errors(data: Outcomes, settings: Settings, calibrate: bool, model: ForestModel) -> tuple[Floats, Floats]:
    """How an estimate would vary if other prompts had trained it: (k,) factors and (k,) standard errors of the means.

    Two small forests learn, and choose what to believe, from disjoint halves of the prompts; how far they disagree on
    a tenth that neither saw measures the sampling variance of each provider's estimate, less the trees' own noise,
    scaled to all prompts. The factor relates it to the variance between the trees: se(x)² = se(mean)² +
    factor²·variance between trees at x.

    Reference for random forests and half-samples: Athey, Tibshirani & Wager, *Generalized Random Forests*, 2019, §4.
    """
    n, k = data.quality.shape
    of_mean: Floats = np.nanstd(data.quality, axis=0) / np.sqrt((~np.isnan(data.quality)).sum(axis=0))
    order = np.random.default_rng(settings.seed).permutation(n)
    probes = min(n // 10, _PROBES)
    parts = [order[probes::2], order[probes + 1 :: 2]]
    sides = [side for side in (data.quality, data.cost, data.latency) if side is not None]
    if n < _FEWEST or any(np.isnan(side[part]).all(axis=0).any() for side in sides for part in parts):
        return np.ones(k), of_mean
    X, size = data.X[order[:probes]], max(10, settings.n_estimators // 4)
    small = replace(settings, n_estimators=size)
    halves = [learn(data.take(part), small, calibrate) for part in parts]
    within = np.mean([half.trees.spread(X, half.believed) for half in halves], axis=(0, 1))
    apart = np.square(halves[0].quality(X) - halves[1].quality(X)).mean(axis=0) / 2.0
    between = model.trees.spread(X, model.believed).mean(axis=0)
    fewer = np.sqrt(len(parts[0]) / n)  # as n^(-1/2): what adapts to its sample gets sharp before it gets sure
    sampling = (apart - within / size).clip(0.0) * fewer + between / settings.n_estimators
    extra = (sampling - of_mean**2).clip(0.0)
    return np.sqrt(np.divide(extra, between, out=np.zeros(k), where=between > 0.0)), of_mean


def _sample(n: int, most: int, seed: int) -> Rows:
    """At most ``most`` of n rows, in order."""
    if n <= most:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, most, replace=False))
