"""The opponents do what their papers say, on every kind of table that the harness may hand them."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsRegressor

from routelab import (
    ClusterPolicy,
    KNNPolicy,
    MeansPolicy,
    Objective,
    PairwiseForestPolicy,
    PlugInPolicy,
    RandomPolicy,
    RidgePolicy,
)
from routelab.errors import PolicyError
from routelab.policies import POLICIES, load_policy

NAN = np.nan
OPPONENTS = ("knn", "ridge", "pairwise-forest", "cluster", "plug-in")
ARGUMENTS = {"pairwise-forest": {"n_estimators": 20, "n_jobs": 1}}


def make(name: str):
    return POLICIES[name](**ARGUMENTS.get(name, {}))


def table(n: int = 400, seed: int = 0, noise: float = 0.1):
    """Four groups of prompts around four directions, each with a best provider; the dear provider is never worst."""
    rng = np.random.default_rng(seed)
    group = rng.integers(0, 4, n)
    X = (6.0 * np.eye(4, 6)[group] + rng.normal(size=(n, 6))).astype(np.float32)
    quality = np.array([[0.9, 0.1, 0.6], [0.1, 0.9, 0.6], [0.8, 0.2, 0.6], [0.2, 0.3, 0.9]])[group]
    cost = np.array([0.001, 0.002, 0.01]) * (1.0 + group[:, None])
    return X, (quality + noise * rng.normal(size=(n, 3))).clip(0.0, 1.0), cost


def with_holes(quality, cost, share=0.3):
    hole = np.random.default_rng(5).random(quality.shape) < share
    return np.where(hole, NAN, quality), np.where(hole, NAN, cost)


@pytest.mark.parametrize("name", OPPONENTS)
@pytest.mark.parametrize("holes", [0.0, 0.3])
def test_an_opponent_finds_the_better_provider_of_unseen_prompts(name, holes):
    X, quality, cost = table()
    policy = make(name).fit(X, *with_holes(quality, cost, holes))
    unseen, truth, _ = table(200, seed=9, noise=0.0)
    chosen = policy.action_probabilities(unseen, Objective()).argmax(axis=1)
    assert (chosen == truth.argmax(axis=1)).mean() > 0.85
    estimates = policy.predict(unseen)
    assert 0.0 <= estimates.quality.min() <= estimates.quality.max() <= 1.0
    assert (estimates.cost >= 0.0).all()
    assert estimates.latency is None


@pytest.mark.parametrize("name", [name for name in OPPONENTS if name != "pairwise-forest"])
def test_cost_and_latency_are_learned_from_the_prompt(name):
    X, quality, cost = table()
    unseen, _, truth = table(200, seed=9)
    estimates = make(name).fit(X, quality, cost, latency=cost * 50.0).predict(unseen)
    assert np.corrcoef(estimates.cost[:, 2], truth[:, 2])[0, 1] > 0.85
    assert np.corrcoef(estimates.latency[:, 0], truth[:, 0])[0, 1] > 0.85


@pytest.mark.parametrize("name", OPPONENTS)
def test_an_outcome_that_is_missing_changes_no_other_provider(name):
    X, quality, cost = table(150)
    if name in ("cluster", "plug-in"):
        policy = {"cluster": ClusterPolicy(n_clusters=5), "plug-in": KNNPolicy(8)}[name]
    else:
        policy = make(name)
    whole = policy.fit(X, quality, cost).predict(X)
    poisoned_quality, poisoned_cost = quality.copy(), cost.copy()
    poisoned_quality[::3, 1] = poisoned_cost[::3, 1] = NAN
    partly = policy.fit(X, poisoned_quality, poisoned_cost).predict(X)
    assert np.isfinite(partly.quality).all()
    if name != "pairwise-forest":  # its trees split on all pairs at once; regressions of a group share the penalty
        shared = 0.05 if name == "ridge" else 1e-5
        np.testing.assert_allclose(partly.quality[:, [0, 2]], whole.quality[:, [0, 2]], atol=shared)
    assert abs(partly.quality[:, 1] - whole.quality[:, 1]).max() > 1e-3


@pytest.mark.parametrize("name", OPPONENTS)
@pytest.mark.parametrize("case", ["constant", "free", "tiny", "two", "same prompt", "zeros", "disjoint"])
def test_degenerate_tables_are_learned_without_a_warning(name, case):
    X, quality, cost = table(3 if case == "tiny" else 2 if case == "two" else 60)
    if case == "constant":
        quality = np.full_like(quality, 0.4)
    elif case == "free":
        cost = np.zeros_like(cost)
    elif case == "same prompt":
        X = np.repeat(X[:1], len(X), axis=0)
    elif case == "zeros":
        X = np.zeros_like(X)
    elif case == "disjoint":  # each prompt answered by one provider, the last one answered one prompt
        mine = np.minimum(np.arange(60) % 2, 2)
        mine[7] = 2
        quality[np.arange(3) != mine[:, None]] = NAN
        cost[np.isnan(quality)] = NAN
    estimates = make(name).fit(X, quality, cost).predict(X)
    assert estimates.quality.shape == estimates.cost.shape == quality.shape
    if case in ("constant", "same prompt", "zeros"):
        near = np.nanmean(quality, axis=0)
        np.testing.assert_allclose(estimates.quality, np.broadcast_to(near, quality.shape), atol=0.06)
    if case == "free":
        np.testing.assert_allclose(estimates.cost, 0.0, atol=1e-12)


@pytest.mark.parametrize("name", OPPONENTS)
def test_an_opponent_comes_back_from_disk_with_the_same_predictions(name, tmp_path):
    X, quality, cost = table()
    holes = with_holes(quality, cost)
    first, again = (make(name).fit(X, *holes, latency=cost) for _ in range(2))
    first.save(tmp_path / "model")
    back = load_policy(tmp_path / "model")
    for part in ("quality", "cost", "latency"):
        expected = getattr(first.predict(X), part)
        np.testing.assert_array_equal(getattr(back.predict(X), part), expected)
        np.testing.assert_array_equal(getattr(again.predict(X), part), expected)
    assert len(back.predict(X[:0]).quality) == 0
    with pytest.raises(PolicyError, match="fitted on 6 features"):
        back.predict(X[:, :5])
    with pytest.raises(PolicyError, match="feature 3 is not finite"):
        back.predict(np.where(np.arange(6) == 3, NAN, X))


def test_knn_is_the_mean_of_the_nearest_by_cosine():
    X, quality, cost = table()
    rms = np.sqrt((X.astype(float) ** 2).mean(axis=0))
    reference = KNeighborsRegressor(40, metric="cosine").fit(X / rms, quality)
    unseen = table(300, seed=3)[0]
    found = KNNPolicy().fit(X, quality, cost).predict(unseen).quality
    np.testing.assert_allclose(found, reference.predict(unseen / rms), atol=1e-6)
    longer = KNNPolicy().fit(X, quality, cost).predict(unseen * 7.0).quality  # cosine: the length does not count
    np.testing.assert_allclose(longer, found, atol=1e-6)
    with pytest.raises(PolicyError, match=r"KNNPolicy\.n_neighbors is 0"):
        KNNPolicy(0).fit(X, quality, cost)


def test_ridge_is_scikit_learns_at_the_penalty_with_the_smallest_error_left_one_out():
    X, quality, cost = table(120)
    Z = (X - X.mean(axis=0)) / X.std(axis=0)
    penalties = np.logspace(-4.0, 4.0, 17) * len(X)
    scaled = quality / quality.std(axis=0)

    def left_out(penalty: float) -> float:
        errors = []
        for i in range(len(X)):
            rest = np.arange(len(X)) != i
            errors.append(scaled[i] - Ridge(penalty).fit(Z[rest], scaled[rest]).predict(Z[[i]])[0])
        return float(np.square(errors).mean())

    best = min(penalties, key=left_out)
    reference = Ridge(best).fit(Z, quality).predict(Z).clip(0.0, 1.0)
    np.testing.assert_allclose(RidgePolicy().fit(X, quality, cost).predict(X).quality, reference, atol=2e-3)


def test_plug_in_averages_over_many_where_prompts_say_nothing_and_over_few_where_they_do():
    X, quality, cost = table(600)
    silent = np.random.default_rng(1).permutation(quality)
    policy = PlugInPolicy().fit(X, silent, cost)
    assert policy.neighbors_[0] >= 128 >= 64 >= policy.neighbors_[3]
    assert len(set(policy.neighbors_[:3])) == len(set(policy.neighbors_[3:])) == 1
    twice = np.repeat(np.arange(300), 2)  # a copy of a prompt must not vouch for its own outcome
    assert PlugInPolicy().fit(X[twice], silent[twice], cost[twice]).neighbors_[0] >= 64


def test_cluster_counts_its_clusters_by_what_they_predict():
    X, quality, cost = table(800)
    assert 4 <= len(ClusterPolicy().fit(X, quality, cost).centers_) <= 60
    silent = np.random.default_rng(1).permutation(quality)
    assert len(ClusterPolicy().fit(X, silent, cost).centers_) == 1
    one = ClusterPolicy(n_clusters=1).fit(X, quality, cost)
    means = MeansPolicy().fit(X, quality, cost)
    np.testing.assert_allclose(one.predict(X).quality, means.predict(X).quality)
    np.testing.assert_allclose(one.predict(X).cost, means.predict(X).cost)


def test_the_pairwise_forest_sees_only_who_wins_and_what_a_win_is_worth():
    rng = np.random.default_rng(2)
    X = rng.random((500, 3)).astype(np.float32)
    solved = np.stack([X[:, 0] > 0.5, X[:, 0] < 0.5, np.ones(500, dtype=bool)], axis=1).astype(float)
    policy = PairwiseForestPolicy(30, n_jobs=1).fit(X, solved, np.full((500, 3), 0.01))
    unseen = rng.random((200, 3)).astype(np.float32)
    truth = np.stack([unseen[:, 0] > 0.5, unseen[:, 0] < 0.5, np.ones(200)], axis=1)
    assert abs(policy.predict(unseen).quality - truth).mean() < 0.05
    assert policy.quadratic
    assert not hasattr(KNNPolicy(), "quadratic")
    np.testing.assert_allclose(policy.predict(unseen).cost, 0.01)
    threaded = PairwiseForestPolicy(30, n_jobs=2).fit(X, solved, np.full((500, 3), 0.01))
    np.testing.assert_array_equal(threaded.predict(X).quality, policy.predict(X).quality)
    with pytest.raises(PolicyError, match="'0' is the only provider; a pairwise forest needs two"):
        PairwiseForestPolicy().fit(X, solved[:, :1], solved[:, :1])


@pytest.mark.parametrize(
    ("budget", "mixture"),
    [(0.0, [1, 0, 0, 0]), (1.0, [1, 0, 0, 0]), (2.0, [0.5, 0, 0.5, 0]), (4.0, [0, 0, 0.5, 0.5]), (9.0, [0, 0, 0, 1])],
)
def test_the_cost_matched_mixture_spends_the_bound_on_the_two_neighbouring_vertices(budget, mixture):
    quality, cost = np.array([[0.3, 0.35, 0.7, 0.8]]), np.array([[1.0, 2.0, 3.0, 5.0]])
    policy = RandomPolicy().fit(np.zeros((1, 1)), quality, cost)
    objective = Objective(cost_weight=3.0, max_cost=budget)
    np.testing.assert_allclose(policy.action_probabilities(np.zeros((2, 1)), objective), [mixture] * 2, atol=1e-12)
    if 1.0 <= budget <= 5.0:
        assert mixture @ cost[0] == pytest.approx(budget)
    rng = np.random.default_rng(0)
    choices = [policy.select(np.zeros(1), objective, rng) for _ in range(2000)]
    assert all(choice.propensity == mixture[choice.arm] for choice in choices)
    np.testing.assert_allclose(np.bincount([choice.arm for choice in choices], minlength=4) / 2000, mixture, atol=0.05)
