"""What the trees of a forest hold: means of observed outcomes of their bags, grown on what tells providers apart."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from sklearn.ensemble import RandomForestRegressor

from routelab.policies.outcomes import Outcomes
from routelab.policies.trees import Settings, grow

SETTINGS = Settings(
    n_estimators=6,
    min_samples_leaf=5,
    max_features=0.9,
    max_samples=10_000,
    random_splits=0.5,
    leaf_prior=2.0,
    n_jobs=1,
    seed=0,
)


def outcomes(n: int, missing: float = 0.0) -> Outcomes:
    """Three providers over six features: the first falls with x0, the last rises."""
    rng = np.random.default_rng(0)
    X = rng.random((n, 6)).astype(np.float32)
    quality = np.column_stack([1.0 - X[:, 0], np.full(n, 0.6), X[:, 0]]) + rng.normal(scale=0.05, size=(n, 3))
    quality[rng.random((n, 3)) < missing] = np.nan
    return Outcomes.check(X, quality.clip(0.0, 1.0), rng.gamma(2.0, [1e-5, 1e-3, 2e-2], size=(n, 3)))


def test_half_of_the_trees_have_random_thresholds():
    data, best, random = outcomes(50), ["DecisionTreeRegressor"], ["ExtraTreeRegressor"]
    for share, kinds in ((0.0, best * 6), (0.5, best * 3 + random * 3), (1.0, random * 6)):
        grown = grow(data, replace(SETTINGS, random_splits=share))
        assert [type(tree).__name__ for tree in grown.forest.estimators_] == kinds


def test_max_samples_is_the_number_of_prompts_that_each_tree_sees_at_most():
    for most, seen in ((25, 25), (10_000, 90)):
        grown = grow(outcomes(90), replace(SETTINGS, max_samples=most))
        assert {len(bag) for bag in grown.bags} == {seen}
        assert [tree.tree_.weighted_n_node_samples[0] for tree in grown.forest.estimators_] == [seen] * 6


def test_a_leaf_holds_the_observed_mean_of_its_bag_drawn_to_the_providers_mean():
    data = outcomes(120, missing=0.5)
    X, quality, grown = data.X, data.quality, grow(data, SETTINGS)
    targets = np.hstack([quality, data.cost])
    deviations = (targets - np.nanmean(targets, axis=0)) / grown.scale
    np.testing.assert_allclose(grown.scale, [*[np.nanstd(quality)] * 3, *2.0 * data.cost.std(axis=0)])
    prompts = math.ceil(SETTINGS.min_samples_leaf / (~np.isnan(quality)).mean())
    imputed = np.nan_to_num(deviations)
    imputed[:, :3] -= (1.0 - 1.0 / math.sqrt(3.0)) * imputed[:, :3].mean(axis=1, keepdims=True)
    options = {"min_samples_leaf": prompts, "max_features": 0.9, "max_samples": 120, "random_state": 0}
    plain = RandomForestRegressor(3, **options).fit(X, imputed)
    np.testing.assert_array_equal(grown.forest.apply(X)[:, :3], plain.apply(X))
    np.testing.assert_array_equal(grown.bags[:3], plain.estimators_samples_)
    for tree, bag in zip(grown.forest.estimators_, grown.bags, strict=True):
        leaves = tree.apply(X)
        for leaf in np.unique(leaves):
            mates = deviations[[i for i in bag if leaves[i] == leaf]]
            expected = np.nansum(mates, axis=0) / ((~np.isnan(mates)).sum(axis=0) + SETTINGS.leaf_prior)
            np.testing.assert_allclose(tree.tree_.value[leaf, :, 0], expected, atol=1e-12)


def test_out_of_bag_asks_only_trees_that_did_not_see_the_prompt():
    data = outcomes(80)
    grown, rows = grow(data, SETTINGS), np.arange(0, 80, 3)
    found, free = grown.out_of_bag(data.X, rows), 0
    for row, deviations in zip(rows, found, strict=True):
        unseen = [tree for tree, bag in zip(grown.forest.estimators_, grown.bags, strict=True) if row not in bag]
        free += len(unseen)
        if unseen:
            expected = np.mean([tree.predict(data.X[row : row + 1])[0] for tree in unseen], axis=0) * grown.scale
            np.testing.assert_allclose(deviations, expected)
        else:
            assert np.isnan(deviations).all()
    assert np.isnan(found).all(axis=1).any()  # of six trees, some prompts were seen by all
    assert 0.3 < free / (6 * len(rows)) < 0.45  # about 1/e
