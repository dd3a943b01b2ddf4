"""Bandits learn what they are told and nothing else, find the best arm, and come back from disk in mid-stream."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone

from routelab import EpsilonGreedyPolicy, ForestPolicy, LinUCBPolicy, Objective, ThompsonPolicy
from routelab.errors import PolicyError, RoutelabError
from routelab.policies import Policy, load_policy

X = np.zeros(1)
QUALITY = Objective()
MEANS = np.array([0.5, 0.8, 0.3, 0.7])
MAKERS = {"thompson": ThompsonPolicy, "epsilon-greedy": lambda: EpsilonGreedyPolicy(0.1)}


@pytest.fixture(params=MAKERS)
def bandit(request) -> Policy:
    policy = MAKERS[request.param]()
    for name in ("a", "b", "c"):
        policy.add_provider(name, cost=0.01)
    return policy


def play(policy: Policy, steps: int, rng: np.random.Generator, world: np.random.Generator, objective=QUALITY):
    """Arms chosen on Bernoulli rewards of ``MEANS``, every arm's coin tossed at each step; learns as it goes."""
    arms = np.empty(steps, dtype=int)
    for step in range(steps):
        rewards = world.random(4) < MEANS
        arms[step] = policy.select(X, objective, rng).arm
        policy.update(X, arms[step], float(rewards[arms[step]]), 0.01 * (arms[step] + 1))
    return arms


def cold(maker) -> Policy:
    policy = maker()
    for name in "abcd":
        policy.add_provider(name)
    return policy


def state(policy: Policy) -> tuple[np.ndarray, ...]:
    estimates = policy.predict(X[None, :])
    return policy.action_probabilities(X[None, :], Objective(3.0)), estimates.quality, estimates.cost


@pytest.mark.parametrize(
    ("maker", "arms"),
    [
        ("thompson", [3, 0, 1, 1, 1, 1, 1, 2, 2, 1, 1, 1, 1, 1, 1, 1]),
        ("epsilon-greedy", [3, 2, 2, 2, 0, 0, 0, 1, 0, 0, 1, 1, 1, 1, 0, 1]),
    ],
)
def test_the_same_seed_gives_the_same_arms_as_ever(maker, arms):
    played = [play(cold(MAKERS[maker]), 16, np.random.default_rng(7), np.random.default_rng(8)) for _ in range(2)]
    assert played[0].tolist() == played[1].tolist() == arms


def test_fractional_rewards_and_costs_make_the_posterior_they_should(bandit):
    for reward, cost in ((0.3, 0.02), (1.0, None), (0.0, 0.04), (0.25, None)):
        bandit.update(X, 1, reward, cost)
    estimates = bandit.predict(np.zeros((2, 1)))
    a, b = 1.0 + 1.55, 1.0 + 2.45
    assert estimates.quality.tolist() == [[0.5, pytest.approx(a / (a + b)), 0.5]] * 2
    assert estimates.quality_se[0, 1] == pytest.approx(np.sqrt(a * b / ((a + b) ** 2 * (a + b + 1.0))))
    assert estimates.cost[0].tolist() == [0.01, pytest.approx(0.03), 0.01]  # the believed cost gave way to the observed
    assert estimates.latency is None


def test_a_warm_start_counts_every_observed_cell_once():
    quality = np.array([[0.5, 1.0], [np.nan, 0.0], [0.25, 1.0]])
    cost = np.array([[0.1, 0.2], [np.nan, 0.2], [0.3, 0.2]])
    warm = ThompsonPolicy(prior=2.0).fit(np.zeros((3, 1)), quality, cost, quality * 4.0, providers=("a", "b"))
    estimates = warm.predict(X[None, :])
    np.testing.assert_allclose(estimates.quality, [[2.75 / 6.0, 4.0 / 7.0]])
    np.testing.assert_allclose(estimates.cost, [[0.2, 0.2]])
    np.testing.assert_allclose(estimates.latency, [[1.5, 8.0 / 3.0]])
    told = ThompsonPolicy(prior=2.0).add_provider("a").add_provider("b")
    for row, arm in np.argwhere(~np.isnan(quality)):
        told.update(X, int(arm), quality[row, arm], cost[row, arm])
    np.testing.assert_allclose(told.predict(X[None, :]).quality, estimates.quality)
    np.testing.assert_allclose(told.predict(X[None, :]).cost, estimates.cost)


@pytest.mark.parametrize(
    ("arm", "reward", "cost", "message"),
    [
        (3, 0.5, 0.1, "arm 3 is unknown; the policy has arms 0 to 2"),
        (-1, 0.5, 0.1, "arm -1 is unknown"),
        (0, 1.1, 0.1, r"reward 1.1 is outside \[0, 1\]"),
        (0, -0.1, None, "reward -0.1 is outside"),
        (0, np.nan, 0.1, "reward nan is outside"),
        (0, 0.5, np.nan, "cost nan is no number ≥ 0"),
        (0, 0.5, -0.1, "cost -0.1 is no number ≥ 0"),
        (0, 0.5, np.inf, "cost inf is no number ≥ 0"),
    ],
)
def test_a_bad_update_is_refused_and_leaves_no_trace(bandit, arm, reward, cost, message):
    bandit.update(X, 0, 0.4, 0.02)
    before = state(bandit)
    with pytest.raises(PolicyError, match=message):
        bandit.update(X, arm, reward, cost)
    for old, new in zip(before, state(bandit), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("maker", MAKERS)
def test_regret_grows_ever_slower_and_stays_far_below_random(maker):
    lost = np.zeros(2000)
    for seed in range(6):
        arms = play(cold(MAKERS[maker]), 2000, np.random.default_rng(seed), np.random.default_rng(100 + seed))
        lost += (MEANS.max() - MEANS)[arms] / 6
    regret, random = np.cumsum(lost), (MEANS.max() - MEANS).mean() * 2000
    assert regret[-1] < 0.25 * random
    # ε-greedy keeps paying its exploration, linear but small; Thompson sampling does not
    explored = 0.1 * (MEANS.max() - MEANS).mean() * 1000 if maker == "epsilon-greedy" else 0.0
    assert regret[-1] - regret[999] - explored < 0.5 * regret[999]


@pytest.mark.parametrize(("weight", "best"), [(0.0, 1), (60.0, 0)])
def test_the_price_of_cost_decides_what_is_learnt_to_be_best(weight, best):
    # costs are 0.01 to 0.04: at 60 per USD arm 0 earns −0.1, arm 1 −0.4
    objective = Objective(cost_weight=weight)
    arms = play(cold(ThompsonPolicy), 1500, np.random.default_rng(0), np.random.default_rng(1), objective)
    assert (arms[-300:] == best).mean() > 0.8


@pytest.mark.parametrize("maker", MAKERS)
def test_a_bandit_saved_in_mid_stream_goes_on_as_if_nothing_had_happened(maker, tmp_path):
    policy = cold(MAKERS[maker])
    play(policy, 100, np.random.default_rng(1), np.random.default_rng(2))
    policy.save(tmp_path / "model")
    back = load_policy(tmp_path / "model")
    futures = [play(one, 100, np.random.default_rng(3), np.random.default_rng(4)).tolist() for one in (policy, back)]
    assert futures[0] == futures[1]
    assert str(back.get_params()) == str(policy.get_params())
    for old, new in zip(state(policy), state(back), strict=True):
        np.testing.assert_array_equal(old, new)


def test_providers_come_and_go_and_the_others_keep_what_they_learned(bandit):
    for arm, reward in ((0, 0.9), (1, 0.1), (2, 0.7)):
        bandit.update(X, arm, reward, 0.1 * (arm + 1))
    before = bandit.predict(X[None, :])
    bandit.add_provider("d", cost=0.5).remove_provider("b")
    after = bandit.predict(X[None, :])
    assert bandit.providers_ == ("a", "c", "d")
    assert after.quality[0].tolist() == [*before.quality[0, [0, 2]], 0.5]
    assert after.cost[0].tolist() == [*before.cost[0, [0, 2]], 0.5]
    with pytest.raises(PolicyError, match="'a' is there already"):
        bandit.add_provider("a")
    with pytest.raises(PolicyError, match="'b' is unknown; the policy has a, c, d"):
        bandit.remove_provider("b")
    for belief in ({"cost": -1.0}, {"cost": np.inf}, {"latency": -1.0}, {"quality": np.nan}):
        with pytest.raises(PolicyError, match=f"{next(iter(belief))} of 'e' is believed to be"):
            bandit.add_provider("e", **belief)
    bandit.remove_provider("a").remove_provider("c")
    with pytest.raises(PolicyError, match="'d' is the last provider"):
        bandit.remove_provider("d")
    assert bandit.providers_ == ("d",)


def test_a_latency_that_is_not_known_of_every_arm_is_not_to_be_asked_for(bandit):
    bandit.add_provider("d", latency=2.0)
    for objective in (Objective(latency_weight=0.1), Objective(max_latency=3.0)):
        for ask in (bandit.action_probabilities, lambda x, o: bandit.select(x[0], o, np.random.default_rng(0))):
            with pytest.raises(RoutelabError, match=r"Objective.(latency_weight|max_latency) is set, but"):
                ask(X[None, :], objective)
    for name in "abc":
        bandit.remove_provider(name)
    assert bandit.predict(X[None, :]).latency.tolist() == [[2.0]]
    assert bandit.select(X, Objective(latency_weight=0.1, max_latency=1.0), np.random.default_rng(0)).arm == 0


def test_constraints_judged_on_posterior_means_bind_every_draw(bandit):
    for _ in range(10):
        bandit.update(X, 0, 0.9, 0.05)
        bandit.update(X, 1, 0.6, 0.01)
    rng = np.random.default_rng(0)
    objective = Objective(max_cost=0.02, min_quality=0.55)
    assert {bandit.select(X, objective, rng).arm for _ in range(300)} == {1}
    assert {bandit.select(X, Objective(max_cost=0.02), rng).arm for _ in range(300)} == {1, 2}


@pytest.mark.parametrize("epsilon", [-0.1, 1.1, np.nan])
def test_an_exploration_share_outside_0_to_1_is_refused(epsilon):
    with pytest.raises(PolicyError, match=r"epsilon is .*; give a share in \[0, 1\]"):
        EpsilonGreedyPolicy(epsilon).add_provider("a")


@pytest.mark.parametrize("prior", [0.5, 0.0, -1.0, np.nan, np.inf])
def test_a_prior_below_one_is_refused(prior):
    with pytest.raises(PolicyError, match=r"prior is .*; give a finite number ≥ 1"):
        ThompsonPolicy(prior).add_provider("a")


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize(
    ("x", "told"),
    [
        ([0.0, np.nan], "feature 1 is not finite"),
        ([-np.inf, 0.0], "feature 0 is not finite"),
        ([0.0] * 3, "was fitted on 2 features"),
        ([0.0], "was fitted on 2 features"),
    ],
)
def test_after_a_fit_a_context_of_another_width_or_not_finite_is_refused(maker, x, told, tmp_path):
    policy = MAKERS[maker]().fit(np.zeros((3, 2)), np.full((3, 2), 0.5), np.full((3, 2), 0.1))
    policy.save(tmp_path / "model")
    x, rng = np.array(x), np.random.default_rng(0)
    for one in (policy, load_policy(tmp_path / "model")):
        before = one.to_bundle()
        for refuse in (
            lambda one=one: one.update(x, 0, 0.5),
            lambda one=one: one.select(x, QUALITY, rng),
            lambda one=one: one.propensities(x, QUALITY),
            lambda one=one: one.predict(x[None, :]),
            lambda one=one: one.action_probabilities(x[None, :], QUALITY),
        ):
            with pytest.raises(PolicyError, match=told):
                refuse()
        assert one.to_bundle().meta == before.meta
        np.testing.assert_array_equal(one.to_bundle().arrays["counts"], before.arrays["counts"])
        one.update(np.full(2, 1e30, dtype=np.float32), 0, 0.5)  # huge is finite


def test_epsilon_greedy_around_a_forest_saves_explores_and_leaves_the_learning_to_fit(tmp_path):
    rng = np.random.default_rng(0)
    inputs, cost = rng.random((100, 2)), np.full((100, 2), 0.01)
    quality = np.column_stack([inputs[:, 0], np.full(100, 0.5)])
    policy = EpsilonGreedyPolicy(0.2, ForestPolicy(10, n_jobs=1)).fit(inputs, quality, cost, providers=("a", "b"))
    policy.save(tmp_path / "model")
    back = load_policy(tmp_path / "model")
    expected = policy.action_probabilities(inputs, Objective())
    np.testing.assert_array_equal(back.action_probabilities(inputs, Objective()), expected)
    assert set(expected.round(9).ravel()) == {0.1, 0.9}
    with pytest.raises(PolicyError, match="ForestPolicy learns by `fit` only"):
        policy.update(inputs[0], 0, 1.0)
    assert clone(policy).base.providers_ == ()
    assert policy.get_params()["base__n_estimators"] == 10


def test_epsilon_greedy_over_a_forgetting_bandit_only_chooses_what_it_said_it_might():
    policy, rng = EpsilonGreedyPolicy(0.3, ThompsonPolicy(forgetting=0.8)), np.random.default_rng(0)
    for name in "abc":
        policy.add_provider(name)
    for _ in range(1000):
        choice = policy.select(np.zeros(1), Objective(min_quality=0.45), rng)
        assert choice.propensity > 0.0
        policy.update(np.zeros(1), choice.arm, float(rng.random() < (0.3, 0.5, 0.6)[choice.arm]))


def test_outcomes_with_an_age_do_not_move_the_clock_those_without_do():
    counted, alone = (ThompsonPolicy(forgetting=0.9).add_provider("a") for _ in range(2))
    for _ in range(50):
        counted.update(np.zeros(1), 0, 1.0, age=0)  # by a router, after it has put this policy in its place
        alone.update(np.zeros(1), 0, 1.0)
    assert (counted.clock_, alone.clock_) == (0, 50)
    assert counted.counts_[0, 0] == pytest.approx(50.0)
    assert alone.counts_[0, 0] == pytest.approx((1.0 - 0.9**50) / 0.1)


def test_an_outcome_that_is_long_forgotten_changes_nothing():
    for policy in (ThompsonPolicy(forgetting=0.99), LinUCBPolicy(forgetting=0.99, wander=0.0)):
        policy.add_provider("a")
        policy.update(np.ones(2), 0, 0.9, 0.1)
        before = policy.predict(np.ones((1, 2))).quality
        policy.update(np.ones(2), 0, 0.0, 0.5, age=80_000)
        np.testing.assert_allclose(policy.predict(np.ones((1, 2))).quality, before)


def test_guessed_rewards_leave_an_honest_uncertainty():
    rng, z = np.random.default_rng(0), []
    for _ in range(200):
        policy = ThompsonPolicy(flip_share=0.3).add_provider("a")
        true = rng.random(200) < 0.6
        for reward in np.where(rng.random(200) < 0.3, ~true, true):
            policy.update(np.zeros(1), 0, float(reward))
        expected = policy.predict(np.zeros((1, 1)))
        assert expected.quality_se is not None
        z.append((expected.quality[0, 0] - 0.6) / expected.quality_se[0, 0])
    assert np.std(z) < 1.2
