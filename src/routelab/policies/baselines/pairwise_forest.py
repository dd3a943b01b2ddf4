"""PairwiseForestPolicy: for each pair of providers, a forest says which one wins."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from routelab.bundle import Bundle
from routelab.errors import PolicyError
from routelab.policies.base import Estimates, Features, Floats, Policy
from routelab.policies.means import column_means, repeat_means
from routelab.policies.outcomes import Outcomes, checked

_DEPTH = 20
_LEAVES = 1000
_BLOCK = 512
# Observed prompts of a pair that a leaf holds at least, on average.
_OBSERVED = 5
# Weight of the mean label in a leaf: it decides only where nothing was observed.
_PRIOR = 1e-9
_ARRAYS = ("means", "roots", "splits", "thresholds", "children", "values")


class PairwiseForestPolicy(Policy):
    """RoRF for k providers: P(first wins, both fail, both succeed, second wins) of every pair, by random forest.

    Labels, depth 20 and √p features are RoRF's. All pairs share the splits of one forest, whose variance criterion
    on the one-hot labels is the Gini criterion summed over pairs: by cross-validation on training prompts it routed
    no worse than a forest per pair (ParetoBandit 0.12 instead of 0.07, leaves of one), and faster. RoRF routes
    between two by a threshold; for k, each label stands for the mean qualities (a, b) that it had in training, and
    the quality of i is the mean over pairs of (a + b)/2, plus 1/k · Σ over i's pairs of (a − b). The cost, which RoRF
    does not model, is the training mean. Leaves hold at least five observed prompts of a pair on average,
    and n/1000 on large tables (by cross-validation on training prompts better than RoRF's one: RouterBench 0.13
    instead of 0.06); missing outcomes count in no share. References: Not Diamond, *RoRF: Routing on Random
    Forests*, 2024, https://github.com/Not-Diamond/RoRF; Breiman, *Random Forests*, 2001.

    Args:
        n_estimators: trees.
        n_jobs: threads of the fit; the result does not depend on it.
        seed: of bootstrap and splits.

    >>> X = np.array([[0.0], [1.0]] * 50)
    >>> policy = PairwiseForestPolicy(10).fit(X, np.hstack([X, 1.0 - X]), np.ones((100, 2)))
    >>> policy.predict(np.array([[0.0], [1.0]])).quality.round(3)
    array([[0., 1.],
           [1., 0.]])
    """

    # Cost of a fit grows with the square of the number of providers.
    quadratic = True

    def __init__(self, n_estimators: int = 50, n_jobs: int = 2, seed: int = 0) -> None:
        self.n_estimators = n_estimators
        self.n_jobs = n_jobs
        self.seed = seed

    def _fit(self, data: Outcomes) -> None:
        """Label the pairs, grow the forest, and turn its label shares into qualities, leaf by leaf.

        Raises:
            PolicyError: additionally, with a single provider.
        """
        from sklearn.ensemble import RandomForestRegressor

        if len(data.providers) < 2:
            raise PolicyError(f"{data.providers[0]!r} is the only provider; a pairwise forest needs two")
        self.means_ = column_means(data)
        shares, qualities, seen = _pairs(data.quality)
        forest = RandomForestRegressor(
            self.n_estimators,
            max_depth=_DEPTH,
            max_features="sqrt",
            min_samples_leaf=math.ceil(max(_OBSERVED, len(shares) / _LEAVES) / max(seen.mean(), 0.05)),
            n_jobs=self.n_jobs,
            random_state=self.seed,
        ).fit(data.X, shares)
        trees = [tree.tree_ for tree in forest.estimators_]
        self.width_ = data.X.shape[1]
        self.roots_ = np.cumsum([0, *(tree.node_count for tree in trees[:-1])])
        self.splits_ = np.concatenate([np.maximum(tree.feature, 0) for tree in trees])
        self.thresholds_ = np.concatenate([tree.threshold for tree in trees])
        # A leaf leads to itself, so all trees can be walked in step.
        children = [
            np.where(tree.children_left < 0, np.arange(tree.node_count), (tree.children_left, tree.children_right))
            for tree in trees
        ]
        self.children_ = np.hstack([pair + root for pair, root in zip(children, self.roots_, strict=True)])
        self.values_ = np.vstack(
            [
                _leaf_shares(leaves, np.bincount(drawn, minlength=len(leaves)), tree.node_count, shares, seen)
                @ qualities
                for leaves, drawn, tree in zip(forest.apply(data.X).T, forest.estimators_samples_, trees, strict=True)
            ]
        )

    def predict(self, X: Features) -> Estimates:
        """Qualities from the pairs and mean costs, each (n, k)."""
        self.check_fitted()
        X = checked(X, self.width_)
        blocks = [self._walk(X[start : start + _BLOCK]) for start in range(0, len(X), _BLOCK)]
        means = repeat_means(self.means_, len(X))
        quality: Floats = np.vstack([np.zeros((0, len(self.providers_))), *blocks]).clip(0.0, 1.0)
        return Estimates(quality, means.cost, means.latency)

    def _walk(self, X: Features) -> Floats:
        """Mean value of the leaves that the rows fall into, (n, k)."""
        rows = np.arange(len(X))[:, None]
        nodes = np.tile(self.roots_, (len(X), 1))
        for _ in range(_DEPTH):
            right = X[rows, self.splits_[nodes]] > self.thresholds_[nodes]
            nodes = self.children_[right.astype(np.intp), nodes]
        mean: Floats = np.mean([self.values_[column] for column in nodes.T], axis=0)
        return mean

    def _state(self) -> Bundle:
        arrays = {name: getattr(self, f"{name}_") for name in _ARRAYS}
        return Bundle("", {"width": self.width_}, arrays)

    def _restore(self, bundle: Bundle) -> None:
        self.width_ = int(bundle.meta["width"])
        for name in _ARRAYS:
            setattr(self, f"{name}_", bundle.arrays[name])


def _leaf_shares(
    leaves: NDArray[np.intp], drawn: NDArray[np.intp], nodes: int, shares: Floats, seen: NDArray[np.bool_]
) -> Floats:
    """Shares of the labels (nodes, 4·pairs) among the observed prompts of each leaf; the mean where there are none."""
    from scipy.sparse import csr_array

    members = csr_array((drawn, (leaves, np.arange(len(leaves)))), shape=(nodes, len(leaves)), dtype=np.float64)
    seen = seen.repeat(4, axis=1)
    total: Floats = members @ np.where(seen, shares, 0.0) + _PRIOR * shares.mean(axis=0)
    total /= members @ seen.astype(np.float64) + _PRIOR
    return total


def _pairs(quality: Floats) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """What the pairs teach: labels as one-hot columns, what each is worth to each provider, and which are known.

    Returns:
        (n, 4·pairs) with the mean where unknown; (4·pairs, k) mean qualities; (n, pairs).

    >>> shares, qualities, _ = _pairs(np.array([[1.0, 0.0], [0.0, 1.0]]))
    >>> shares @ qualities
    array([[1., 0.],
           [0., 1.]])
    """
    k = quality.shape[1]
    means, n_pairs = np.nanmean(quality, axis=0), k * (k - 1) // 2
    shares, qualities, known = [], [], []
    for i, j in combinations(range(k), 2):
        a, b = quality[:, i], quality[:, j]
        seen = ~np.isnan(a) & ~np.isnan(b)
        label = np.select([a > b, a < b, a == 0.0], [0, 3, 1], 2)[seen]
        hot = np.eye(4)[label]
        count = hot.sum(axis=0)
        # A pair never observed together has one label, worth the providers' means.
        share = np.tile(count / count.sum() if len(label) else np.eye(4)[0], (len(quality), 1))
        share[seen] = hot
        sums = np.stack([hot.T @ a[seen], hot.T @ b[seen]], axis=1)
        worth = np.where(count[:, None] > 0.0, sums / np.maximum(count, 1.0)[:, None], means[[i, j]])
        lead = (worth[:, 0] - worth[:, 1])[:, None] / k
        sign = np.eye(k)[i] - np.eye(k)[j]
        known.append(seen)
        shares.append(share)
        qualities.append(worth.mean(axis=1)[:, None] / n_pairs + lead * sign)
    return np.hstack(shares), np.vstack(qualities), np.stack(known, axis=1)
