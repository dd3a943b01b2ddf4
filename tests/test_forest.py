"""The forest predicts what scikit-learn's would, wastes no observed cell, and routes better than any fixed mixture."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.ensemble import RandomForestRegressor

from routelab import ForestPolicy, Objective, RequestFeaturizer
from routelab.errors import PolicyError, RoutelabError
from routelab.policies import load_policy
from routelab.policies.objective import cost_weight_sweep
from routelab.tables.synthetic import World

NAMES = ("small", "large", "expert")
COSTS = np.array([1e-5, 1e-3, 2e-2])
OPTIONS = {"n_estimators": 30, "min_samples_leaf": 10, "max_features": 0.9, "n_jobs": 1}
PLAIN = {"calibrate": False, "random_splits": 0.0}


def outcomes(n: int = 400, seed: int = 0, width: int = 6):
    """Features, quality, cost, latency: small is good below x0 = ½, expert above, large always fair."""
    rng = np.random.default_rng(seed)
    X = rng.random((n, width)).astype(np.float32)
    mean = np.column_stack([np.where(X[:, 0] < 0.5, 0.9, 0.1), np.full(n, 0.6), np.where(X[:, 0] > 0.5, 0.95, 0.3)])
    quality = np.clip(mean + rng.normal(scale=0.05, size=(n, 3)), 0.0, 1.0)
    cost = COSTS * np.exp(X[:, 1:2] + rng.normal(scale=0.3, size=(n, 3)))
    return X, quality, cost, rng.gamma(2.0, [0.5, 1.0, 3.0], size=(n, 3))


def fitted(n: int = 400, latency: bool = True, **arguments) -> ForestPolicy:
    X, quality, cost, seconds = outcomes(n)
    policy = ForestPolicy(**OPTIONS | arguments)
    return policy.fit(X, quality, cost, seconds if latency else None, providers=NAMES)


@pytest.fixture(scope="module")
def policy() -> ForestPolicy:
    return fitted()


def chosen(policy: ForestPolicy, X: np.ndarray, objective: Objective) -> list[str]:
    return [policy.providers_[arm] for arm in policy.action_probabilities(X, objective).argmax(axis=1)]


@pytest.mark.parametrize("arguments", [{}, {"min_samples_leaf": 1, "n_estimators": 100, "max_features": "sqrt"}])
def test_uncalibrated_it_is_a_scikit_learn_forest_that_splits_on_what_tells_providers_apart(arguments):
    X, quality, cost, latency = outcomes()
    policy = fitted(**PLAIN | arguments)
    observed = np.hstack([quality, cost, latency])
    scale = np.concatenate([np.full(3, quality.std()), 2.0 * cost.std(axis=0), 2.0 * latency.std(axis=0)])
    targets = (observed - observed.mean(axis=0)) / scale
    common = targets[:, :3].mean(axis=1, keepdims=True)
    contrasts = targets[:, :3] - (1.0 - 1.0 / math.sqrt(3.0)) * common
    forest = RandomForestRegressor(random_state=0, **OPTIONS | arguments).fit(X, np.hstack([contrasts, targets[:, 3:]]))
    unseen = np.random.default_rng(1).random((300, 6)).astype(np.float32)
    values = forest.predict(unseen)
    values[:, :3] += (math.sqrt(3.0) - 1.0) * values[:, :3].mean(axis=1, keepdims=True)  # back to deviations
    expected = np.hsplit(values * scale + observed.mean(axis=0), 3)
    found = policy.predict(unseen)
    np.testing.assert_allclose(found.quality, expected[0].clip(0.0, 1.0), atol=1e-6, rtol=0.0)
    np.testing.assert_allclose(found.cost, expected[1], rtol=1e-5)
    np.testing.assert_allclose(found.latency, expected[2], rtol=1e-5)
    np.testing.assert_allclose(policy.feature_importances_, forest.feature_importances_)


def test_the_graph_follows_the_trees_where_features_lie_next_to_a_split():
    one, next_one = np.float32(1000.0), np.nextafter(np.float32(1000.0), np.float32(2000.0))
    X = np.where(np.random.default_rng(0).random((300, 3)) < 0.5, one, next_one)
    quality = (X[:, :2] == next_one).astype(float)
    policy = ForestPolicy(**OPTIONS | {"min_samples_leaf": 1}).fit(X, quality, np.full((300, 2), 0.01))
    np.testing.assert_allclose(policy.predict(X).quality, quality, atol=1e-6)


def test_the_same_arguments_give_the_same_file_on_any_number_of_threads(tmp_path):
    for folder, jobs in (("one", 1), ("again", 1), ("two", 2)):
        fitted(n_jobs=jobs).save(tmp_path / folder)
    files = {name: [(tmp_path / folder / name).read_bytes() for folder in ("one", "again", "two")]
             for name in ("model.onnx", "arrays.npz")}  # fmt: skip
    for name, contents in files.items():
        assert contents[0] == contents[1] == contents[2], name
    fitted(seed=1).save(tmp_path / "other")
    assert (tmp_path / "other" / "model.onnx").read_bytes() != files["model.onnx"][0]


def test_a_missing_cell_costs_that_cell_only():
    X, quality, cost, latency = outcomes(600)
    quality[X[:, 0] > 0.5, 0] = np.nan  # small was never tried on the hard half, the others were
    cost[X[:, 0] > 0.5, 0] = np.nan
    latency[::2, 1] = np.nan
    easy, hard = np.full((1, 6), 0.5, np.float32), np.full((1, 6), 0.5, np.float32)
    easy[0, 0], hard[0, 0] = 0.2, 0.8
    policy = ForestPolicy(**OPTIONS).fit(X, quality, cost, latency, providers=NAMES)
    np.testing.assert_allclose(policy.predict(easy).quality, [[0.9, 0.6, 0.3]], atol=0.07)
    np.testing.assert_allclose(policy.predict(hard).quality[0, 1:], [0.6, 0.95], atol=0.07)
    np.testing.assert_allclose(policy.predict(hard).quality[0, 0], np.nanmean(quality[:, 0]), atol=0.07)
    assert policy.predict(hard).latency is not None


def test_a_latency_that_was_never_observed_is_none_and_not_to_be_asked_for():
    X, quality, cost, latency = outcomes()
    latency[:, 2] = np.nan
    policy = ForestPolicy(**OPTIONS).fit(X, quality, cost, latency)
    assert policy.predict(X[:1]).latency is None
    for objective in (Objective(latency_weight=0.1), Objective(max_latency=2.0)):
        with pytest.raises(RoutelabError, match="latency is known; train on latency_s"):
            policy.select(X[0], objective, np.random.default_rng(0))


@pytest.mark.parametrize("seed", [0, 1])
def test_it_beats_every_mixture_of_single_providers_on_the_true_world(seed):
    data = World().generate(1500, seed=seed)
    table, train = data.table, np.arange(1500) < 900
    X = RequestFeaturizer(n_components=25).fit(table.take(train)).transform(table)
    forest = ForestPolicy(40, min_samples_leaf=10, max_features=0.3).fit(
        X[train], table.quality[train], table.cost[train], table.latency[train]
    )
    gained, possible = [], []
    for weight in cost_weight_sweep(table.cost[train], 12):
        objective = Objective(cost_weight=float(weight))
        truth = objective.utility(data.expected_quality, data.expected_cost)[~train]
        earned = (forest.action_probabilities(X[~train], objective) * truth).sum(axis=1).mean()
        # a mixture's utility is at most that of its best member
        gained.append(earned - truth.mean(axis=0).max())
        possible.append(truth[np.arange(len(truth)), data.optimal_arm(objective)[~train]].mean() - truth.mean(0).max())
    assert min(gained) > -0.001
    assert sum(gained) > 0.6 * sum(possible)


def test_one_fit_serves_every_trade_off(policy):
    X = outcomes(2)[0]
    X[:, 0] = [0.2, 0.8]
    assert chosen(policy, X, Objective()) == ["small", "expert"]
    assert chosen(policy, X, Objective(cost_weight=20.0)) == ["small", "large"]
    assert chosen(policy, X, Objective(cost_weight=1e5)) == ["small", "small"]
    assert chosen(policy, X, Objective(latency_weight=0.3)) == ["small", "large"]


def test_constraints_are_honoured_request_by_request(policy):
    X = outcomes(2)[0]
    X[:, 0] = [0.2, 0.8]
    assert chosen(policy, X, Objective(cost_weight=1e5, min_quality=0.5)) == ["small", "large"]
    assert chosen(policy, X, Objective(max_cost=5e-3)) == ["small", "large"]
    assert chosen(policy, X, Objective(max_latency=3.0)) == ["small", "large"]
    choice = policy.select(X[1], Objective(max_cost=5e-3), np.random.default_rng(0))
    assert (choice.arm, choice.propensity) == (1, 1.0)
    np.testing.assert_array_equal(choice.estimates.quality, policy.predict(X[1:]).quality)


def test_providers_come_and_go_and_the_others_keep_their_estimates(tmp_path: Path):
    policy, X = fitted(), outcomes(5)[0]
    before = policy.predict(X)
    policy.remove_provider("small").add_provider("new", quality=0.99, cost=1e-4, latency=0.5)
    policy.save(tmp_path / "model")
    for one in (policy, load_policy(tmp_path / "model")):
        after = one.predict(X)
        assert one.providers_ == ("large", "expert", "new")
        np.testing.assert_array_equal(after.quality, np.column_stack([before.quality[:, 1:], np.full(5, 0.99)]))
        np.testing.assert_array_equal(after.cost, np.column_stack([before.cost[:, 1:], np.full(5, 1e-4)]))
        np.testing.assert_array_equal(after.latency, np.column_stack([before.latency[:, 1:], np.full(5, 0.5)]))
        assert chosen(one, X, Objective()) == ["new"] * 5
        one.remove_provider("new").add_provider("small", quality=0.5, latency=1.0)
        assert one.predict(X).quality[:, 2].tolist() == [0.5] * 5  # as believed: the forest no longer speaks for it


def test_providers_that_cannot_come_or_go_are_refused():
    policy = fitted()
    with pytest.raises(PolicyError, match="'small' is there already"):
        policy.add_provider("small", latency=1.0)
    with pytest.raises(PolicyError, match="give add_provider\\('new', latency=…\\) in seconds"):
        policy.add_provider("new")
    for belief in ({"quality": 1.5}, {"cost": -1.0}, {"cost": np.inf}, {"latency": np.nan}):
        with pytest.raises(PolicyError, match=f"{next(iter(belief))} of 'new' is believed to be"):
            policy.add_provider("new", **{"latency": 1.0} | belief)
    with pytest.raises(PolicyError, match="'nobody' is unknown; the policy has small, large, expert"):
        policy.remove_provider("nobody")
    policy.remove_provider("small").remove_provider("large")
    with pytest.raises(PolicyError, match="'expert' is the last provider"):
        policy.remove_provider("expert")
    assert policy.providers_ == ("expert",)


def test_a_saved_forest_predicts_the_same(policy, tmp_path):
    policy.save(tmp_path / "model")
    back, X = ForestPolicy.load(tmp_path / "model"), outcomes(50, seed=3)[0]
    for name in ("quality", "cost", "latency"):
        np.testing.assert_array_equal(getattr(back.predict(X), name), getattr(policy.predict(X), name))
    assert back.get_params() == policy.get_params()
    np.testing.assert_array_equal(back.feature_importances_, policy.feature_importances_)
    assert not [file.name for file in (tmp_path / "model").iterdir() if file.suffix in (".pkl", ".joblib")]


def test_a_clone_is_unfitted_and_fits_alike(policy):
    copy = clone(policy)
    assert copy.get_params() == policy.get_params()
    with pytest.raises(PolicyError, match="ForestPolicy is not fitted"):
        copy.predict(np.zeros((1, 6)))
    X, quality, cost, latency = outcomes()
    np.testing.assert_array_equal(copy.fit(X, quality, cost, latency).predict(X).quality, policy.predict(X).quality)


@pytest.mark.parametrize("linear", [True, False])
def test_features_that_are_not_as_fitted_are_refused(policy, linear):
    one, rng = policy, np.random.default_rng(0)
    if linear:
        X, _, cost, _ = outcomes()
        one = ForestPolicy(**OPTIONS).fit(X, np.column_stack([X[:, 0], 1.0 - X[:, 0], X[:, 1]]), cost)
    assert (one.linear_ is not None) == linear
    for X in (np.zeros((1, 5)), np.zeros((1, 7)), np.zeros(6)):
        with pytest.raises(PolicyError, match="fitted on 6 features, got an array of shape"):
            one.predict(X)
    for x in (np.zeros(5), np.zeros(7), np.zeros((1, 6))):
        with pytest.raises(PolicyError, match="fitted on 6 features, got an array of shape"):
            one.select(x, Objective(), rng)
    for bad in (np.nan, np.inf):
        x = np.array([0.0, 0.0, bad, 0.0, 0.0, 0.0])
        with pytest.raises(PolicyError, match="feature 2 is not finite"):
            one.predict(x[None])
        with pytest.raises(PolicyError, match="feature 2 is not finite"):
            one.select(x, Objective(), rng)


@pytest.mark.parametrize("file", ["model.onnx", "arrays.npz"])
def test_a_damaged_file_is_refused(policy, tmp_path, file):
    policy.save(tmp_path / "model")
    content = (tmp_path / "model" / file).read_bytes()
    for damaged in (content[:-9], content[:500] + b"\xff" + content[501:]):
        (tmp_path / "model" / file).write_bytes(damaged)
        with pytest.raises(PolicyError, match=f"{file} does not match its sha256"):
            ForestPolicy.load(tmp_path / "model")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda X, q, c, t: X.__setitem__((3, 2), np.nan), r"X\[3, 2\] is nan; features must be finite"),
        (lambda X, q, c, t: q.__setitem__((slice(None), 1), np.nan), "no quality was ever observed for large"),
        (lambda X, q, c, t: c.__setitem__((slice(None), 2), np.nan), "no cost was ever observed for expert"),
        (lambda X, q, c, t: q.__setitem__((4, 0), 1.2), r"quality\[4\] of small is 1.2; it must be finite and in"),
        (lambda X, q, c, t: c.__setitem__((4, 0), -0.1), r"cost\[4\] of small is -0.1"),
        (lambda X, q, c, t: t.__setitem__((4, 0), np.inf), r"latency\[4\] of small is inf"),
    ],
)
def test_outcomes_that_cannot_be_learned_from_are_named(change, message):
    arrays = outcomes(30)
    change(*arrays)
    with pytest.raises(PolicyError, match=message):
        ForestPolicy(2).fit(*arrays, providers=NAMES)


def test_arguments_that_do_not_fit_together_are_named():
    X, quality, cost, latency = outcomes(30)
    for arrays in ((X[:9], quality, cost), (X, quality[:, :2], cost), (X[0], quality, cost), (X, quality[0], cost[0])):
        with pytest.raises(PolicyError, match=r"fit needs X \(n, p\), quality \(n, k\) and cost \(n, k\); got"):
            ForestPolicy(2).fit(*arrays)
    with pytest.raises(PolicyError, match="latency has shape"):
        ForestPolicy(2).fit(X, quality, cost, latency[:, :2])
    for names in (("a", "b"), ("a", "b", "a")):
        with pytest.raises(PolicyError, match="do not name the 3 columns once each"):
            ForestPolicy(2).fit(X, quality, cost, providers=names)
    bad = {"leaf_prior": 0.0, "n_estimators": 0, "random_splits": np.nan, "max_samples": 0, "max_features": "all"}
    for name, value in (bad | {"min_samples_leaf": 0, "seed": -1, "n_jobs": 0}).items():
        with pytest.raises(PolicyError, match=f"^ForestPolicy.{name} is {value!r}; give "):
            ForestPolicy(**{"n_estimators": 2, name: value}).fit(X, quality, cost)
    for name in ("n_estimators", "min_samples_leaf", "max_samples", "seed"):
        with pytest.raises(PolicyError, match=f"^ForestPolicy.{name} is 2.5; give a whole number"):
            ForestPolicy(**{"n_estimators": 2, name: 2.5}).fit(X, quality, cost)
    with pytest.raises(PolicyError, match="min_samples_leaf is None; give a whole number"):
        ForestPolicy(2, None).fit(X, quality, cost)
    with pytest.raises(PolicyError, match="min_samples_leaf is empty"):
        ForestPolicy(2, []).fit(X, quality, cost)
    assert ForestPolicy(2, n_jobs=1).fit(X, quality, cost).providers_ == ("0", "1", "2")


@pytest.mark.parametrize("missing", [0.0, 0.6, "all but one"])
def test_of_several_leaf_sizes_the_one_that_predicts_differences_best_is_used(missing, tmp_path):
    rng = np.random.default_rng(0)
    X, cost = rng.random((400, 3)).astype(np.float32), np.full((400, 2), 0.01)
    steps = np.where(np.floor(8 * X[:, [0]]) % 2 == 0, [[0.9, 0.1]], [[0.1, 0.9]])  # small leaves see the steps
    noise = rng.random((400, 2))
    lost = rng.permuted([[True, False]] * 400, axis=1) if missing == "all but one" else rng.random((400, 2)) < missing
    hidden = np.where(lost, np.nan, 0.0)
    sizes = [5, 150]
    for quality, expected in ((steps + hidden, 5), (noise + hidden, 150)):
        policy = ForestPolicy(20, sizes[:: -1 if expected == 5 else 1], max_features=1.0, n_jobs=1)
        policy.fit(X, quality, cost + hidden)
        policy.save(tmp_path / str(expected))
        assert ForestPolicy.load(tmp_path / str(expected)).min_samples_leaf_ == policy.min_samples_leaf_ == expected
