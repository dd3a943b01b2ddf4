"""A replayed bandit sees only what it chose; regrets and curves are what their definitions say."""

from __future__ import annotations

import numpy as np
import pytest

from routelab import EpsilonGreedyPolicy, Objective, ThompsonPolicy
from routelab.errors import PolicyError, RoutelabError
from routelab.evaluation.curves import complete_rows, curve_of, policy_curve
from routelab.evaluation.replay import replay
from routelab.policies import FixedPolicy, ForestClassifierPolicy, MeansPolicy, RandomPolicy

OBJECTIVE = Objective(cost_weight=2.0)


class Recorder(ThompsonPolicy):
    """A bandit that writes down what it is told."""

    def update(self, x, arm, reward, cost=None, *, age=0, se=None):
        self.told = [*getattr(self, "told", []), (float(x[0]), arm, reward, cost)]
        super().update(x, arm, reward, cost, age=age)


def arms_of(policy):
    for name in ("a", "b", "c"):
        policy.add_provider(name)
    return policy


def stream(n: int = 300, seed: int = 0):
    rng = np.random.default_rng(seed)
    X = np.arange(n, dtype=float)[:, None]
    return X, np.clip(rng.normal([0.3, 0.6, 0.5], 0.2, size=(n, 3)), 0.0, 1.0), rng.random((n, 3)) * [0.1, 0.3, 0.05]


@pytest.mark.parametrize("make", [Recorder, lambda: EpsilonGreedyPolicy(0.3, Recorder())])
def test_a_bandit_is_told_the_outcome_of_its_own_choice_in_the_order_of_the_stream(make):
    X, quality, cost = stream()
    policy = arms_of(make())
    run = replay(policy, X, quality, cost, OBJECTIVE, np.random.default_rng(1))
    told = policy.base.told if isinstance(policy, EpsilonGreedyPolicy) else policy.told
    rows = np.arange(300)
    assert told == [
        (float(row), arm, quality[row, arm], cost[row, arm]) for row, arm in enumerate(run.arms.tolist())
    ]  # fmt: skip
    assert set(run.arms) == {0, 1, 2}
    np.testing.assert_array_equal(run.reward, quality[rows, run.arms])
    np.testing.assert_array_equal(run.cost, cost[rows, run.arms])


@pytest.mark.parametrize("make", [ThompsonPolicy, lambda: EpsilonGreedyPolicy(0.3)])
def test_poisoning_what_was_not_chosen_changes_nothing(make):
    X, quality, cost = stream()
    clean, poisoned = arms_of(make()), arms_of(make())
    run = replay(clean, X, quality, cost, OBJECTIVE, np.random.default_rng(1))
    rows, (_, other_quality, other_cost) = np.arange(300), stream(seed=9)
    other_quality[rows, run.arms], other_cost[rows, run.arms] = run.reward, run.cost
    again = replay(poisoned, X, 1.0 - other_quality, other_cost * 5, OBJECTIVE, np.random.default_rng(1))
    assert again.arms.tolist() != run.arms.tolist()  # poison in the chosen cells does show
    poisoned = arms_of(make())
    again = replay(poisoned, X, other_quality, other_cost, OBJECTIVE, np.random.default_rng(1))
    np.testing.assert_array_equal(again.arms, run.arms)
    for name in ("quality", "cost"):
        np.testing.assert_array_equal(getattr(poisoned.predict(X[:1]), name), getattr(clean.predict(X[:1]), name))
    assert np.abs(again.regret - run.regret).max() > 1.0


def test_regret_adds_up_the_utility_lost_on_each_prompt():
    quality = np.array([[0.9, 0.5], [0.2, 0.8], [0.6, 0.6], [1.0, 0.0]])
    cost = np.array([[0.15, 0.05], [0.15, 0.05], [0.25, 0.05], [0.15, 0.0]])
    policy = ThompsonPolicy().add_provider("dear").add_provider("cheap")
    run = replay(policy, np.zeros((4, 1)), quality, cost, OBJECTIVE, np.random.default_rng(3))
    # utilities at 2 per USD: dear .6, −.1, .1, .7; cheap .4, .7, .5, 0: in quality dear is the better arm, here cheap
    lost = [[0.0, 0.2], [0.8, 0.0], [0.4, 0.0], [0.0, 0.7]]
    fixed = [[-0.2, 0.0], [0.8, 0.0], [0.4, 0.0], [-0.7, 0.0]]
    assert set(run.arms) == {0, 1}
    np.testing.assert_allclose(run.regret, np.cumsum([lost[i][arm] for i, arm in enumerate(run.arms)]), atol=1e-12)
    np.testing.assert_allclose(
        run.fixed_regret, np.cumsum([fixed[i][arm] for i, arm in enumerate(run.arms)]), atol=1e-12
    )


def test_regret_against_each_prompt_never_falls_and_is_never_below_that_against_one_arm():
    X, quality, cost = stream()
    run = replay(arms_of(ThompsonPolicy()), X, quality, cost, OBJECTIVE, np.random.default_rng(0))
    assert (np.diff(run.regret, prepend=0.0) >= 0.0).all()
    assert (run.regret >= run.fixed_regret - 1e-12).all()


def test_a_replay_that_cannot_be_told_whole_is_refused():
    X, quality, cost = stream(10)
    rng = np.random.default_rng(0)
    hole = quality.copy()
    hole[3, 1] = np.nan
    for outcomes in ((hole, cost), (quality, hole)):
        with pytest.raises(RoutelabError, match="replay needs every outcome"):
            replay(arms_of(ThompsonPolicy()), X, *outcomes, OBJECTIVE, rng)
    with pytest.raises(RoutelabError, match="the policy has 3 arms, the outcomes 2 columns"):
        replay(arms_of(ThompsonPolicy()), X, quality[:, :2], cost[:, :2], OBJECTIVE, rng)
    for arrays in ((X[:5], quality, cost), (X, quality, cost[:5])):
        with pytest.raises(RoutelabError, match="give one row per prompt"):
            replay(arms_of(ThompsonPolicy()), *arrays, OBJECTIVE, rng)
    with pytest.raises(PolicyError, match="learns by `fit` only"):
        replay(FixedPolicy().fit(X, quality, cost), X, quality, cost, OBJECTIVE, rng)


def test_a_curve_is_the_expectation_over_the_policys_own_randomness():
    quality = np.array([[0.0, 1.0], [0.5, 0.5], [1.0, 0.2]])
    cost = np.array([[0.1, 0.3], [0.1, 0.5], [0.2, 0.6]])
    probabilities = [np.array([[0.25, 0.75]]), np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]])]
    curve = curve_of("mix", np.array([0.0, 1.0]), probabilities, quality, cost)
    np.testing.assert_allclose(curve.outcomes.quality, [[0.75, 0.0], [0.5, 0.5], [0.4, 0.6]])
    np.testing.assert_allclose(curve.outcomes.cost, [[0.25, 0.1], [0.4, 0.5], [0.5, 0.4]])
    np.testing.assert_allclose(curve.points, [[1.15 / 3, 0.55], [1.0 / 3, 1.1 / 3]])
    np.testing.assert_allclose(curve.shares, [[0.25, 0.75], [0.5, 0.5]])
    best = np.array([[1, 0, 0], [0, 0, 1]])
    np.testing.assert_allclose(curve.labels_agree(best), [(0.75 + 0.25 + 0.25) / 3, (1.0 + 0.0 + 0.5) / 3])
    assert curve.name == "mix"


def test_sweeping_a_fitted_policy_asks_it_for_each_trade_off():
    X, quality, cost = stream()
    weights = np.array([0.0, 1.0, 100.0])
    means = MeansPolicy().fit(X, quality, cost)
    single = np.column_stack([cost.mean(axis=0), quality.mean(axis=0)])
    curve = policy_curve("train-means", means, X, quality, cost, weights)
    expected = [(quality.mean(axis=0) - weight * cost.mean(axis=0)).argmax() for weight in weights]
    assert len(set(expected)) > 1
    np.testing.assert_allclose(curve.points, single[expected])
    np.testing.assert_allclose(curve.shares, np.eye(3)[expected])
    blind = policy_curve("random-mix", RandomPolicy().fit(X, quality, cost), X, quality, cost, weights)
    np.testing.assert_allclose(blind.points, np.tile(single.mean(axis=0), (3, 1)))


def test_a_policy_of_one_trade_off_is_made_anew_for_each():
    rng = np.random.default_rng(0)
    X, quality, cost = rng.random((100, 2)), np.tile([0.9, 0.5], (100, 1)), np.tile([0.1, 0.01], (100, 1))

    def classifier(objective):
        return ForestClassifierPolicy(objective, n_estimators=2, n_jobs=1).fit(X, quality, cost)

    curve = policy_curve("forest-classifier", classifier, X, quality, cost, np.array([0.0, 10.0]))
    np.testing.assert_allclose(curve.points, [[0.1, 0.9], [0.01, 0.5]])


def test_a_curve_over_missing_outcomes_is_refused_until_they_are_dropped():
    X, quality, cost = stream(5)
    quality[1, 0], cost[3, 2] = np.nan, np.nan
    policy = MeansPolicy().fit(X, quality, cost)
    with pytest.raises(RoutelabError, match="lacks an outcome of some provider; drop it with `complete_rows`"):
        policy_curve("train-means", policy, X, quality, cost, np.zeros(1))
    rows = complete_rows(quality, cost)
    assert rows.tolist() == [True, False, True, False, True]
    curve = policy_curve("train-means", policy, X[rows], quality[rows], cost[rows], np.zeros(1))
    assert curve.outcomes.quality.shape == (3, 1)
