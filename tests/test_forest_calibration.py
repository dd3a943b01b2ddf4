"""How much a forest believes: nothing of noise, nearly all of a strong signal; and its standard errors hold."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from routelab import ForestPolicy, MeansPolicy, Objective
from routelab.policies.calibration import Belief, choose_belief, fit_linear
from routelab.policies.forest_model import learn
from routelab.policies.onnx_forest import OnnxForest, second_moments, to_onnx
from routelab.policies.outcomes import Outcomes
from routelab.policies.trees import Settings

COSTS = np.array([1e-4, 1e-3, 1e-2])
OPTIONS = {"n_estimators": 20, "n_jobs": 1}


def world(n: int, seed: int):
    """Features, quality, cost: the cheap provider falls with x0, the dear one rises, the middle one has a bump."""
    rng = np.random.default_rng(seed)
    X = rng.random((n, 4)).astype(np.float32)
    slopes = np.column_stack([-0.7 * (X[:, 0] - 0.5), 0.4 * (X[:, 1] * X[:, 2] - 0.25), 0.6 * (X[:, 0] - 0.5)])
    mean = np.array([0.55, 0.5, 0.6]) + slopes
    quality = np.clip(mean + rng.normal(scale=0.1, size=(n, 3)), 0.0, 1.0)
    return X, quality, COSTS * np.exp(rng.normal(scale=0.3, size=(n, 3)))


def fitted(n: int = 300, seed: int = 0, **arguments) -> ForestPolicy:
    return ForestPolicy(**OPTIONS | {"seed": seed} | arguments).fit(*world(n, seed))


def test_without_a_signal_it_routes_by_training_means():
    believed, same = [], []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        X, quality = rng.random((200, 5)).astype(np.float32), (rng.random((200, 3)) < [0.4, 0.55, 0.7]).astype(float)
        cost = COSTS * np.exp(rng.normal(scale=0.3, size=(200, 3)))
        forest = ForestPolicy(**OPTIONS, seed=seed).fit(X, quality, cost)
        believed.append(forest.belief_.contrast)
        means = MeansPolicy().fit(X, quality, cost)
        if forest.belief_.contrast == forest.belief_.cost == 0.0:
            moved = forest.predict(X).quality - means.means_[0]
            np.testing.assert_allclose(moved - moved[:, :1], 0.0, atol=1e-6)  # the same for all providers
            np.testing.assert_allclose(forest.predict(X).cost, means.predict(X).cost, rtol=1e-6)
        routes = [
            [policy.action_probabilities(X, Objective(cost_weight=weight)).argmax(axis=1) for policy in (forest, means)]
            for weight in (0.0, 3.0, 30.0, 300.0, 3000.0)
        ]
        same.append(np.mean([a == b for a, b in routes]))
    assert np.mean(np.array(believed) == 0.0) >= 0.9
    assert np.mean(np.array(same) == 1.0) >= 0.9


@pytest.mark.parametrize("seed", range(4))
def test_a_strong_signal_is_believed(seed):
    assert fitted(400, seed).belief_.contrast >= 0.75


def test_differences_are_shrunk_by_their_regression_slope():
    actual = np.where(np.random.default_rng(0).random((200, 1)) < 0.5, [[0.4, -0.4]], [[-0.4, 0.4]])
    actual -= actual.mean(axis=0)
    for factor in (0.5, 1.0):
        believed = choose_belief(actual / factor, actual / factor, 0.5 + actual, np.ones((200, 2)), np.zeros((200, 2)))
        assert believed == Belief(linear=0.0, common=believed.common, contrast=pytest.approx(factor), cost=0.0)


def test_the_linear_part_takes_over_where_it_sees_better():
    _, quality, cost = world(300, 0)
    actual, noise = quality - quality.mean(axis=0), np.random.default_rng(1).normal(scale=0.3, size=(300, 3))
    assert choose_belief(noise, actual, quality, cost, 0.0 * cost).linear > 0.99
    assert choose_belief(actual, noise, quality, cost, 0.0 * cost).linear < 0.01


def test_costs_that_can_be_foreseen_are_believed_and_noise_is_not():
    rng = np.random.default_rng(0)
    quality = np.tile([0.4, 0.6], (400, 1))  # only when the dear provider is cheap is it worth taking
    cost = np.column_stack([np.full(400, 0.1), rng.choice([0.2, 1.8], 400)])
    deviations = cost - cost.mean(axis=0)
    nothing = np.zeros((400, 2))
    assert choose_belief(nothing, nothing, quality, cost, deviations).cost == 1.0
    assert choose_belief(nothing, nothing, quality, cost, rng.permutation(deviations)).cost == 0.0


def test_a_policy_predicts_what_was_learned_folded_and_held_in_range(tmp_path):
    X, quality, cost = world(300, 0)
    policy = ForestPolicy(**OPTIONS).fit(X, quality, cost, 1e3 * cost)
    settings = Settings(20, 10, 0.33, 10_000, 0.5, 1.0, 1, 0)
    learned = learn(Outcomes.check(X, quality, cost, 1e3 * cost), settings, calibrate=True)
    assert learned.weights is not None
    policy.save(tmp_path / "model")
    unseen = np.random.default_rng(1).normal(0.5, 2.0, (300, 4)).astype(np.float32)  # far out: some leave the range
    values = policy.forest_.predict(unseen) * policy.scale_ + policy.offset_
    values[:, :3] += unseen @ policy.linear_
    np.testing.assert_allclose(values[:, :3], learned.quality(unseen), atol=1e-6)
    assert (values[:, :3] < 0.0).any()
    assert (values[:, :3] > 1.0).any()
    held = values[:, :3] - (values[:, :3].max(axis=1, keepdims=True) - 1.0).clip(0.0)  # the best at most 1
    for one in (policy, ForestPolicy.load(tmp_path / "model")):
        found = one.predict(unseen)
        np.testing.assert_allclose(found.quality, held.clip(0.0), atol=1e-6)
        np.testing.assert_allclose(found.cost, values[:, 3:6], rtol=1e-5)
        np.testing.assert_allclose(found.latency, values[:, 6:], rtol=1e-5)
        choice = one.select(unseen[7], Objective(), np.random.default_rng(0))
        np.testing.assert_allclose(choice.estimates.quality, found.quality[7:8], atol=1e-9)


def test_belief_scales_what_is_shared_and_what_tells_apart():
    deviations = np.array([[0.1, 0.2, 0.6], [-0.3, 0.0, 0.0]])
    np.testing.assert_allclose(Belief(common=0.5, contrast=0.0).apply(deviations), [[0.15] * 3, [-0.05] * 3])
    np.testing.assert_allclose(Belief(common=0.0, contrast=1.0).apply(deviations).mean(axis=1), 0.0, atol=1e-15)
    np.testing.assert_allclose(Belief().apply(deviations), deviations)


def test_the_regression_is_a_ridge_and_its_left_out_predictions_are_those_of_refits():
    rng = np.random.default_rng(0)
    X = (rng.normal(size=(40, 5)) * [1.0, 5.0, 0.1, 1.0, 0.0] + [0.0, 100.0, 0.0, 1.0, 3.0]).astype(np.float32)
    deviations = X[:, :1] * [0.3, -0.2, 0.0] + rng.normal(scale=0.2, size=(40, 3))
    deviations -= deviations.mean(axis=0)
    linear = fit_linear(X, deviations)
    assert (linear.coef[4] == 0.0).all()  # a constant column says nothing
    spread = X.std(axis=0, dtype=np.float64)
    Z = (X - X.mean(axis=0, dtype=np.float64)) / np.where(spread > 0.0, spread, 1.0)
    losses, refits = [], []
    for penalty in np.logspace(-4.0, 3.0, 15) * 40:
        rows = [np.arange(40) != row for row in range(40)]
        refit = [Ridge(penalty).fit(Z[r], deviations[r]).predict(Z[~r])[0] for r in rows]
        error = deviations - refit
        losses.append(np.square(error - error.mean(axis=1, keepdims=True)).mean())
        refits.append(np.array(refit))
    best = int(np.argmin(losses))
    np.testing.assert_allclose(linear.left_out, refits[best], atol=1e-7)
    ridge = Ridge(np.logspace(-4.0, 3.0, 15)[best] * 40).fit(Z, deviations)
    np.testing.assert_allclose(X @ linear.coef + linear.intercept, ridge.predict(Z), atol=1e-6)


def test_the_standard_error_is_how_estimates_vary_between_training_sets():
    X = np.random.default_rng(99).random((50, 4)).astype(np.float32)
    each = [fitted(300, seed).predict(X) for seed in range(30)]
    quality, error = (np.stack([getattr(one, name) for one in each]) for name in ("quality", "quality_se"))
    ratio = error.mean(axis=(0, 1)) / quality.std(axis=0, ddof=1).mean(axis=0)
    assert (ratio > 1.0 / 1.5).all(), ratio
    assert (ratio < 1.5).all(), ratio
    covered = (abs(quality - quality.mean(axis=0)) <= 1.96 * error).mean()
    assert 0.8 <= covered <= 0.99
    more = np.mean([fitted(3000, seed).predict(X).quality_se.mean() for seed in range(2)])
    assert more < 0.85 * error.mean()


def test_the_standard_error_is_of_the_means_and_between_the_trees(tmp_path):
    policy, X = fitted(), world(40, 9)[0]
    each = np.stack([tree.predict(X)[:, :3] for tree in policy.forest_.estimators_]) * policy.scale_[:3]
    expected = np.sqrt(policy.mean_error_**2 + policy.error_factor_**2 * each.var(axis=0))
    found = policy.predict(X).quality_se
    np.testing.assert_allclose(found, expected, rtol=1e-3)
    assert (found >= policy.mean_error_).all()
    policy.save(tmp_path / "model")
    back = ForestPolicy.load(tmp_path / "model")
    np.testing.assert_array_equal(back.predict(X).quality_se, found)
    assert (asdict(back.belief_), back.linear_.tolist()) == (asdict(policy.belief_), policy.linear_.tolist())
    back.remove_provider("1").add_provider("new", quality=0.9)
    np.testing.assert_array_equal(back.predict(X).quality_se, np.column_stack([found[:, [0, 2]], np.full(40, np.nan)]))
    assert back.select(X[0], Objective(), np.random.default_rng(0)).estimates.quality_se is None


def test_second_moments_are_means_over_trees_of_squares():
    forest, X = fitted().forest_, world(40, 9)[0]
    moments = OnnxForest(second_moments(to_onnx(forest, 4), 3))(X)
    each = np.stack([tree.predict(X)[:, :3] for tree in forest.estimators_])
    np.testing.assert_allclose(moments, (each**2).mean(axis=0), rtol=1e-5, atol=1e-7)


def test_the_same_file_again_and_on_two_threads_with_a_linear_part(tmp_path):
    for folder, jobs in (("one", 1), ("again", 1), ("two", 2)):
        policy = fitted(n_jobs=jobs)
        assert policy.linear_ is not None
        policy.save(tmp_path / folder)
    for name in ("model.onnx", "arrays.npz"):
        one, again, two = ((tmp_path / folder / name).read_bytes() for folder in ("one", "again", "two"))
        assert one == again == two


def sparse(values: np.ndarray, share: float | None) -> np.ndarray:
    """Keep a ``share`` of the cells, or one of each prompt."""
    rng = np.random.default_rng(5)
    alone = np.arange(3) == rng.integers(0, 3, (len(values), 1))
    return np.where(alone if share is None else rng.random(values.shape) < share, values, np.nan)


@pytest.mark.parametrize("share", [None, 0.3, 0.95])
def test_a_sparse_log_is_learned_from(share):
    X, quality, cost = world(600, 0)
    policy = ForestPolicy(**OPTIONS).fit(X, sparse(quality, share), sparse(cost, share), sparse(cost, share))
    assert policy.belief_.contrast >= 0.5
    low, high = np.full((2, 1, 4), 0.5, np.float32)
    low[0, 0], high[0, 0] = 0.05, 0.95
    assert policy.predict(low).quality.argmax() == 0
    assert policy.predict(high).quality.argmax() == 2
    assert np.isfinite(policy.predict(X).quality_se).all()


@pytest.mark.parametrize("share", [0.97, 0.3])
def test_without_a_signal_missing_outcomes_do_not_open_the_way_to_harm(share):
    contrasts = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        X, quality = rng.random((300, 4)).astype(np.float32), (rng.random((300, 12)) < 0.6).astype(float)
        cost = np.geomspace(1e-4, 1e-2, 12) * np.exp(rng.normal(scale=0.3, size=(300, 12)))
        policy = ForestPolicy(**OPTIONS, seed=seed).fit(X, sparse(quality, share), sparse(cost, share))
        contrasts.append(policy.belief_.contrast)
    assert np.mean(np.array(contrasts) == 0.0) >= 0.75


def test_a_request_asked_again_and_again_is_not_seen_by_those_who_judge_it():
    for seed in range(4):
        rng = np.random.default_rng(seed)
        X, (cheap, dear) = np.repeat(rng.random((150, 4)).astype(np.float32), 8, axis=0), rng.random((2, 150))
        quality, cost = np.repeat(np.column_stack([cheap, dear]), 8, axis=0), np.tile([0.001, 0.01], (1200, 1))
        shuffled = rng.permutation(1200)
        belief = ForestPolicy(**OPTIONS).fit(X[shuffled], quality[shuffled], cost).belief_
        assert belief.contrast < 0.3
    few = rng.integers(0, 2, (600, 1)).astype(np.float32)  # two kinds of request, not two requests
    quality = np.hstack([few, 1.0 - few]) * 0.8 + 0.2 * rng.random((600, 2))
    assert ForestPolicy(**OPTIONS).fit(few, quality, np.tile([0.001, 0.01], (600, 1))).belief_.contrast > 0.9


def test_prompts_with_all_outcomes_do_not_speak_for_many_others():
    X, quality, cost = world(600, 0)
    quality[X[:, 0] > 0.4, 0] = np.nan  # among complete prompts the first is always the best
    assert ForestPolicy(**OPTIONS).fit(X, quality, cost).belief_.contrast > 0.75


ODD = {
    "one price": lambda X, q, c: (X, q, np.full_like(c, 0.01)),
    "free": lambda X, q, c: (X, q, 0.0 * c),
    "constant quality": lambda X, q, c: (X, np.full_like(q, 0.7), c),
    "no quality": lambda X, q, c: (X, 0.0 * q, c),
    "one provider": lambda X, q, c: (X, q[:, :1], c[:, :1]),
    "ties": lambda X, q, c: (X, q[:, [0, 0]], c[:, :2]),
    "constant features": lambda X, q, c: (np.ones_like(X[:, :1]), q, c),
    "more features than prompts": lambda X, q, c: (np.random.default_rng(0).random((len(X), 90)), q, c),
    "cost seen once": lambda X, q, c: (X, q, np.where(np.arange(len(c))[:, None] == 0, c, np.nan)),
    "latency seen once": lambda X, q, c: (X, q, c, np.where(np.arange(len(c))[:, None] == 0, c, np.nan)),
}


@pytest.mark.parametrize("n", [1, 3, 60])
@pytest.mark.parametrize("odd", ODD)
def test_odd_data_are_learned_from(odd, n):
    X, quality, cost, *latency = ODD[odd](*world(n, 0))
    policy = ForestPolicy(n_estimators=8, min_samples_leaf=3, n_jobs=1).fit(X, quality, cost, *latency)
    found, means = policy.predict(X), np.nanmean(quality, axis=0)
    for values in (found.quality, found.cost, found.quality_se):
        assert np.isfinite(values).all()
    if odd in ("constant features", "constant quality", "no quality") or n == 1:
        np.testing.assert_allclose(found.quality, np.broadcast_to(means, found.quality.shape), atol=0.05)
    if odd == "ties":
        np.testing.assert_allclose(found.quality[:, 0], found.quality[:, 1], atol=1e-6)
    assert 0 <= policy.select(X[0], Objective(cost_weight=1.0), np.random.default_rng(0)).arm < quality.shape[1]
