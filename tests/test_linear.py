"""LinUCB, LinTS and the regressions behind them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from routelab import ForestBanditPolicy, ForestPolicy, LinTSPolicy, LinUCBPolicy, Objective, RoutelabError
from routelab.policies.linear_bandit import LinearBandit
from routelab.policies.propensity import normal_argmax_probabilities
from routelab.policies.symmetric import inverse_error

LEVEL = 0.01  # prior precision of the intercept
KINDS = [LinUCBPolicy, LinTSPolicy]


def armed(policy: LinearBandit, arms: int = 3) -> LinearBandit:
    for arm in range(arms):
        policy.add_provider(f"p{arm}", quality=0.5, cost=0.01 * arm)
    return policy


def stream(n: int = 200, p: int = 4, arms: int = 3, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Features, arms, rewards and costs of a log that somebody else wrote."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p))
    arm = rng.integers(arms, size=n)
    reward = np.clip(0.5 + 0.1 * X[:, 0] * (arm - 1) + 0.1 * rng.normal(size=n), 0.0, 1.0)
    return X, arm, reward, 0.01 * (1 + arm) * np.exp(0.2 * X[:, 1])


def learned(policy: LinearBandit, log: tuple[np.ndarray, ...], order: np.ndarray | None = None) -> LinearBandit:
    for i in range(len(log[0])) if order is None else order:
        policy.update(log[0][i], int(log[1][i]), float(log[2][i]), float(log[3][i]))
    return policy


def ridge_by_hand(X: np.ndarray, y: np.ndarray, weight: np.ndarray, ridge: float, level: float) -> np.ndarray:
    Z = np.column_stack([np.ones(len(X)), X])
    prior = np.diag([LEVEL, *[ridge] * X.shape[1]])
    towards = Z.T @ (weight * y)
    towards[0] += LEVEL * level
    return np.linalg.solve(prior + Z.T @ (weight[:, None] * Z), towards)


def test_without_drift_an_arm_is_the_ridge_regression_of_its_own_outcomes():
    X, arm, reward, cost = log = stream()
    policy = learned(armed(LinUCBPolicy(ridge=3.0, wander=0.0)), log)
    for j in range(3):
        mine = arm == j
        even = np.ones(mine.sum())
        np.testing.assert_allclose(policy.arms_.coef[0, j], ridge_by_hand(X[mine], reward[mine], even, 3.0, 0.5))
        np.testing.assert_allclose(policy.arms_.coef[1, j], ridge_by_hand(X[mine], cost[mine], even, 3.0, 0.01 * j))


def test_a_ridge_that_is_left_open_follows_the_scale_of_the_features():
    X, arm, reward, cost = stream(300)
    plain = learned(armed(LinUCBPolicy(wander=0.0)), (X, arm, reward, cost))
    large = learned(armed(LinUCBPolicy(wander=0.0)), (50.0 * X, arm, reward, cost))
    norm = (X[:256] ** 2).sum(axis=1).mean()
    assert plain.arms_.scale[0] == pytest.approx(norm)
    np.testing.assert_allclose(plain.predict(X).quality, large.predict(50.0 * X).quality, rtol=1e-6)
    mine = arm == 1
    by_hand = ridge_by_hand(X[mine], reward[mine], np.ones(mine.sum()), norm, 0.5)
    np.testing.assert_allclose(plain.arms_.coef[0, 1], by_hand, rtol=1e-7)


def kalman(log: tuple[np.ndarray, ...], wander: float, ridge: float, arm: int) -> tuple[np.ndarray, np.ndarray]:
    """State and covariance of one arm after the log, by the textbook filter that steps through every decision."""
    X, arms, reward, _ = log
    state, P = np.zeros(X.shape[1] + 1), np.diag([1.0 / LEVEL, *[1.0 / ridge] * X.shape[1]])
    state[0] = 0.5
    for x, chosen, r in zip(X, arms, reward, strict=True):
        P = P + np.diag([wander, *[0.0] * X.shape[1]])
        if chosen == arm:
            z = np.append(1.0, x)
            gain = P @ z / (1.0 + z @ P @ z)
            state, P = state + gain * (r - z @ state), P - np.outer(gain, z @ P)
    return state, P


def test_a_wandering_level_is_a_kalman_filter_that_steps_at_every_decision():
    log = stream()
    policy = learned(armed(LinUCBPolicy(ridge=3.0, wander=0.02)), log)
    Z = np.column_stack([np.ones(5), log[0][:5]])
    for j in range(3):
        state, P = kalman(log, 0.02, 3.0, j)
        # before its first outcome the level is as uncertain as a priori, and no more
        np.testing.assert_allclose(policy.arms_.coef[0, j], state, rtol=2e-3)
        spread = policy.arms_.spreads(Z, policy.clock_)[:, j]
        np.testing.assert_allclose(spread, np.einsum("nd,de,ne->n", Z, P, Z), rtol=2e-3)
        _, _, one = policy.arms_.believed(Z[0], policy.clock_)
        np.testing.assert_allclose(spread[0], one[j])


def test_forgetting_weighs_outcomes_by_the_decisions_since_theirs():
    X, arm, reward, _ = log = stream(60)
    policy = learned(armed(LinUCBPolicy(ridge=3.0, wander=0.0, forgetting=0.995)), log)
    for j in range(3):
        mine = np.flatnonzero(arm == j)
        faded = 0.995 ** (mine[-1] - np.arange(60))[mine]
        # nothing was topped up yet, so that the prior has faded as well: all weights may be scaled
        Z = np.column_stack([np.ones(len(mine)), X[mine]])
        kept = 0.995 ** (mine[-1] + 1)
        A = kept * np.diag([LEVEL, 3.0, 3.0, 3.0, 3.0]) + Z.T @ (faded[:, None] * Z)
        b = Z.T @ (faded * reward[mine])
        b[0] += kept * LEVEL * 0.5
        np.testing.assert_allclose(policy.arms_.coef[0, j], np.linalg.solve(A, b), rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.integers(0, 10**6))
@settings(max_examples=15, deadline=None)
def test_late_outcomes_may_come_in_any_order(kind, seed):
    log = stream(80, seed=seed)
    rng = np.random.default_rng(seed)
    inputs = np.column_stack([np.ones(80), log[0]])
    policies = []
    for order in (np.arange(80), rng.permutation(80)):
        policy = armed(kind(ridge=3.0, wander=0.0, forgetting=0.99))
        for x in log[0]:
            policy.select(x, Objective(), rng)
        for i in order:
            policy.update(log[0][i], int(log[1][i]), float(log[2][i]), float(log[3][i]), age=79 - int(i))
        assert policy.clock_ == 80
        policies.append(policy)
    one, other = policies
    np.testing.assert_allclose(one.arms_.coef, other.arms_.coef, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(one.arms_.spreads(inputs, 80), other.arms_.spreads(inputs, 80), rtol=1e-6)


def test_a_batch_that_comes_late_fades_nothing_by_coming():
    X, arm, reward, cost = stream(100)
    prompt, late = (armed(LinUCBPolicy(forgetting=0.9)) for _ in range(2))
    rng = np.random.default_rng(0)
    for policy in (prompt, late):
        for i in range(50):
            policy.select(X[i], Objective(), rng)
            policy.update(X[i], int(arm[i]), float(reward[i]), float(cost[i]))
    before = late.arms_.mass.copy()
    for _ in range(3):
        late.select(X[50], Objective(), rng)
    for i in range(50, 53):
        late.update(X[i], int(arm[i]), float(reward[i]), float(cost[i]), age=52 - i)
    assert late.clock_ == 53
    assert (late.arms_.stamps <= 53).all()
    assert before.shape == late.arms_.mass.shape


def test_an_arm_that_was_not_tried_for_long_is_tried_again():
    rng = np.random.default_rng(0)
    policy = armed(LinUCBPolicy(wander=1e-3), arms=2)
    x, chosen = np.zeros(2), []
    for _ in range(3000):
        arm = policy.select(x, Objective(), rng).arm
        policy.update(x, arm, 0.6 if arm else 0.5)
        chosen.append(arm)
    tries = np.flatnonzero(np.array(chosen[500:]) == 0)
    assert 3 < len(tries) < 400
    assert np.diff(tries).max() < 2000


def test_a_silent_drop_of_an_arm_is_noticed():
    rng = np.random.default_rng(0)
    policy, chosen = armed(LinUCBPolicy(), arms=2), []
    for step in range(1500):
        x = rng.normal(size=3)
        arm = policy.select(x, Objective(), rng).arm
        good = 0.9 if step < 1000 else 0.5
        policy.update(x, arm, float(np.clip((0.7, good)[arm] + 0.05 * rng.normal(), 0.0, 1.0)))
        chosen.append(arm)
    assert np.mean(chosen[500:1000]) > 0.95
    assert np.mean(chosen[1100:]) < 0.05


@pytest.mark.parametrize("alpha", [1.0, 2.0])
def test_standard_errors_cover_the_truth_as_often_as_they_say(alpha):
    rng, hits = np.random.default_rng(0), []
    for _ in range(300):
        truth = np.append(
            0.5, rng.normal(0.0, 0.1 / np.sqrt(4.0), size=4)
        )  # features explain as much as there is noise
        policy = armed(LinUCBPolicy(wander=0.0), arms=1)
        for x in rng.normal(size=(120, 4)):
            policy.update(x, 0, float(np.clip(truth @ np.append(1.0, x) + 0.1 * rng.normal(), 0.0, 1.0)))
        x = rng.normal(size=4)
        expected = policy.predict(x[None, :])
        hits.append(abs(expected.quality[0, 0] - truth @ np.append(1.0, x)) <= alpha * expected.quality_se[0, 0])
    assert np.mean(hits) == pytest.approx(stats.norm.cdf(alpha) - stats.norm.cdf(-alpha), abs=0.07)


def by_quadrature(mean: np.ndarray, deviation: np.ndarray, arm: int) -> float:
    def density(u: float) -> float:
        others = np.delete(np.arange(len(mean)), arm)
        wins = stats.norm.cdf((u - mean[others]) / deviation[others]).prod()
        return float(stats.norm.pdf(u, mean[arm], deviation[arm]) * wins)

    low, high = mean[arm] - 9.0 * deviation[arm], mean[arm] + 9.0 * deviation[arm]
    points = np.unique(
        np.clip(np.concatenate([mean, mean - 3 * deviation, mean + 3 * deviation, [low, high]]), low, high)
    )
    return float(sum(integrate.quad(density, a, b, limit=200)[0] for a, b in pairwise(points)))


@given(
    st.lists(st.tuples(st.floats(-2.0, 2.0), st.floats(-6.0, 1.0)), min_size=2, max_size=6),
)
@settings(max_examples=40, deadline=None)
def test_propensities_of_normal_draws_are_exact_to_a_ten_thousandth(arms):
    mean, deviation = np.array([m for m, _ in arms]), np.array([10.0**log for _, log in arms])
    found = normal_argmax_probabilities(mean[None], deviation[None])[0]
    assert found.sum() == pytest.approx(1.0)
    best = int(found.argmax())
    if deviation.min() > 1e-3:
        assert found[best] == pytest.approx(by_quadrature(mean, deviation, best), abs=1e-4)
    rng = np.random.default_rng(0)
    draws = (mean + deviation * rng.standard_normal((20_000, len(mean)))).argmax(axis=1)
    np.testing.assert_allclose(np.bincount(draws, minlength=len(mean)) / 20_000, found, atol=0.02)


def test_lints_chooses_as_often_as_it_says():
    policy = learned(armed(LinTSPolicy()), stream(40))
    x, rng = np.array([0.3, -0.2, 0.1, 0.5]), np.random.default_rng(0)
    said = policy.propensities(x, Objective(cost_weight=1.0))()
    np.testing.assert_allclose(policy.action_probabilities(x[None], Objective(cost_weight=1.0))[0], said)
    frozen = policy.to_bundle()
    chosen = np.zeros(3)
    for _ in range(4000):
        choice = LinTSPolicy.from_bundle(frozen).select(x, Objective(cost_weight=1.0), rng)
        chosen[choice.arm] += 1
    assert choice.propensity == pytest.approx(said[choice.arm])
    assert said.min() > 0.02
    np.testing.assert_allclose(chosen / 4000, said, atol=0.025)


def test_the_propensity_of_a_choice_is_of_its_own_moment():
    policy, rng = learned(armed(LinTSPolicy()), stream(40)), np.random.default_rng(0)
    x = np.zeros(4)
    said = policy.propensities(x, Objective())()
    choice = policy.select(x, Objective(), rng)
    learned(policy, stream(200, seed=1))
    assert choice.propensity == pytest.approx(said[choice.arm])
    assert choice.propensity != pytest.approx(policy.propensities(x, Objective())()[choice.arm], abs=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_prices_and_constraints_of_the_objective_decide(kind):
    policy, rng = learned(armed(kind(alpha=0.0)), stream(400)), np.random.default_rng(0)
    x = np.array([2.0, 0.0, 0.0, 0.0])  # the last arm is best, and dearest
    assert policy.select(x, Objective(), rng).arm == 2
    assert policy.select(x, Objective(cost_weight=1000.0), rng).arm == 0
    assert policy.select(x, Objective(max_cost=0.025), rng).arm == 1
    assert policy.select(x, Objective(cost_weight=1000.0, min_quality=0.6), rng).arm == 2
    with pytest.raises(RoutelabError, match="latency"):
        policy.select(x, Objective(latency_weight=1.0), rng)


@pytest.mark.parametrize("kind", KINDS)
def test_a_loaded_policy_goes_on_as_the_saved_one_would(kind, tmp_path):
    policy = learned(armed(kind(forgetting=0.999)), stream(70))
    policy.save(tmp_path / "policy")
    twin = kind.load(tmp_path / "policy")
    rngs = [np.random.default_rng(5), np.random.default_rng(5)]
    for x, _, reward, cost in zip(*stream(100, seed=2), strict=True):
        arms = []
        for each, rng in zip((policy, twin), rngs, strict=True):
            choice = each.select(x, Objective(cost_weight=3.0), rng)
            each.update(x, choice.arm, float(reward), float(cost))
            arms.append((choice.arm, choice.propensity))
        assert arms[0] == arms[1]
    np.testing.assert_array_equal(policy.arms_.covariance, twin.arms_.covariance)


@pytest.mark.parametrize("kind", KINDS)
def test_arms_come_go_and_change_their_price_at_run_time(kind):
    log = stream(200)
    policy = learned(armed(kind()), log)
    before = policy.predict(log[0][:5])
    policy.add_provider("new", quality=0.9, cost=0.2)
    after = policy.predict(log[0][:5])
    np.testing.assert_array_equal(after.quality[:, :3], before.quality)
    np.testing.assert_allclose(after.quality[:, 3], 0.9)
    np.testing.assert_allclose(after.cost[:, 3], 0.2)
    assert (after.quality_se[:, 3] > 5.0 * after.quality_se[:, :3].max()).all()
    policy.remove_provider("p0")
    assert policy.providers_ == ("p1", "p2", "new")
    np.testing.assert_allclose(policy.predict(log[0][:5]).quality, after.quality[:, 1:])
    policy.reprice_provider("p1", 0.5)
    np.testing.assert_allclose(policy.predict(log[0][:5]).cost[:, 0], 0.5 * after.cost[:, 1])
    policy.update(log[0][0], 2, 0.1, 0.3)
    assert policy.predict(log[0][:1]).quality[0, 2] < 0.2  # one outcome outweighs what was believed


@pytest.mark.parametrize("kind", KINDS)
def test_forgetting_an_arm_makes_it_uncertain_and_leaves_the_others(kind):
    X = stream(300)[0]
    policy = learned(armed(kind(wander=0.0)), stream(300))
    before = policy.predict(X[:5])
    policy.forget_provider("p1", keep=0.1)
    after = policy.predict(X[:5])
    np.testing.assert_array_equal(np.delete(after.quality_se, 1, axis=1), np.delete(before.quality_se, 1, axis=1))
    ratio = after.quality_se[:, 1] / before.quality_se[:, 1]
    assert ((ratio > 2.0) & (ratio < np.sqrt(10.0) + 1e-9)).all()
    np.testing.assert_allclose(after.quality[:, 1], before.quality[:, 1], atol=0.06)
    policy.forget_provider("p1", keep=1.0, shift=-0.2)
    np.testing.assert_allclose(policy.predict(X[:5]).quality[:, 1], after.quality[:, 1] - 0.2, atol=1e-3)


def test_a_warm_start_is_the_regression_on_the_whole_table():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(150, 3)).astype(np.float32)
    quality = np.clip(0.5 + 0.2 * X[:, :2] + 0.05 * rng.normal(size=(150, 2)), 0.0, 1.0)
    quality[::3, 1] = np.nan
    cost = np.tile([0.01, 0.02], (150, 1)) * np.exp(0.1 * X[:, :1])
    policy = LinUCBPolicy(ridge=2.0, wander=0.0).fit(X, quality, cost, providers=("a", "b"))
    seen = ~np.isnan(quality[:, 1])
    by_hand = ridge_by_hand(X[seen], quality[seen, 1], np.ones(seen.sum()), 2.0, 0.0)
    np.testing.assert_allclose(policy.arms_.coef[0, 1], by_hand, rtol=1e-6)
    assert policy.arms_.sigma == pytest.approx([0.05, 0.05], abs=0.03)
    one_by_one = LinUCBPolicy(ridge=2.0, wander=0.0)
    for name in "ab":
        one_by_one.add_provider(name, quality=0.0)
    for i in range(150):
        for arm in range(2):
            if not np.isnan(quality[i, arm]):
                one_by_one.update(X[i], arm, float(quality[i, arm]), float(cost[i, arm]))
    np.testing.assert_allclose(policy.predict(X).quality, one_by_one.predict(X).quality, atol=1e-9)


def test_flipped_rewards_are_seen_through_by_who_expects_them():
    rng = np.random.default_rng(0)
    trusting, wary = (armed(LinUCBPolicy(wander=0.0, flip_share=share), arms=1) for share in (0.0, 0.2))
    for x in rng.normal(size=(4000, 2)):
        reward = 0.9 if rng.random() > 0.2 else 0.1
        for policy in (trusting, wary):
            policy.update(x, 0, reward)
    assert trusting.predict(np.zeros((1, 2))).quality[0, 0] == pytest.approx(0.74, abs=0.02)
    assert wary.predict(np.zeros((1, 2))).quality[0, 0] == pytest.approx(0.9, abs=0.03)


def test_an_inverse_that_has_drifted_is_mended():
    policy = learned(armed(LinUCBPolicy(ridge=1.0), arms=1), stream(100, arms=1))
    arms, z = policy.arms_, np.ones(5)
    arms.covariance[0] *= 1.0 + 1e-5  # as rounding would, had it gone on for long
    assert inverse_error(arms.precision[0], arms.covariance[0], z) > 1e-6
    learned(policy, stream(156, arms=1, seed=1))
    assert inverse_error(arms.precision[0], arms.covariance[0], z) < 1e-9


@pytest.mark.parametrize("forgetting", [1.0, 0.99])
def test_regressions_stay_exact_through_a_long_stream(forgetting):
    rng = np.random.default_rng(0)
    policy = armed(LinUCBPolicy(wander=1e-4, forgetting=forgetting), arms=2)
    X = rng.normal(size=(1000, 8))
    for step in range(20_000):
        policy.update(X[step % 1000], step % 2, 0.5, 0.01)
    for arm in range(2):
        assert inverse_error(policy.arms_.precision[arm], policy.arms_.covariance[arm], np.ones(9)) < 1e-7
        assert np.linalg.eigvalsh(policy.arms_.covariance[arm]).min() > 0.0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("x", "arm", "reward", "cost", "told"),
    [
        ([0.0, np.nan, 0.0, 0.0], 0, 0.5, 0.1, "feature 1 is nan"),
        ([0.0, 0.0, np.inf, 0.0], 0, 0.5, 0.1, "feature 2 is inf"),
        ([0.0, 0.0], 0, 0.5, 0.1, "has learned on 4 features, got 2"),
        ([0.0] * 4, 3, 0.5, 0.1, "arm 3 is unknown"),
        ([0.0] * 4, -1, 0.5, 0.1, "arm -1 is unknown"),
        ([0.0] * 4, 0, 1.5, 0.1, "outside"),
        ([0.0] * 4, 0, float("nan"), 0.1, "outside"),
        ([0.0] * 4, 0, 0.5, -0.1, "cost -0.1"),
    ],
)
def test_a_bad_outcome_is_refused_and_changes_nothing(kind, x, arm, reward, cost, told):
    policy = learned(armed(kind()), stream(30))
    before = policy.to_bundle()
    with pytest.raises(RoutelabError, match=told):
        policy.update(np.array(x), arm, reward, cost)
    after = policy.to_bundle()
    assert before.meta == after.meta
    for name, array in before.arrays.items():
        np.testing.assert_array_equal(array, after.arrays[name])


@pytest.mark.parametrize("kind", KINDS)
def test_a_context_that_cannot_be_is_refused_by_the_choice(kind):
    rng = np.random.default_rng(0)
    for policy in (armed(kind()), learned(armed(kind()), stream(30))):
        for bad in (np.nan, np.inf):
            with pytest.raises(RoutelabError, match=r"feature 3 is (nan|inf), not finite"):
                policy.select(np.array([0.0, 0.0, 0.0, bad]), Objective(), rng)
        clock = policy.clock_
        policy.select(np.zeros(4), Objective(), rng)
        assert policy.clock_ == clock + 1
        with pytest.raises(RoutelabError, match="got 3"):
            policy.select(np.zeros(3), Objective(), rng)


@pytest.mark.parametrize("kind", KINDS)
def test_arms_and_settings_that_cannot_be_are_refused(kind):
    policy = armed(kind(), arms=1)
    with pytest.raises(RoutelabError, match="last provider"):
        policy.remove_provider("p0")
    with pytest.raises(RoutelabError, match="there already"):
        policy.add_provider("p0")
    for factor in (-1.0, 0.0, np.nan, np.inf):
        with pytest.raises(RoutelabError, match=f"price of 'p0' is {factor}; give a finite number > 0"):
            policy.reprice_provider("p0", factor)
    with pytest.raises(RoutelabError, match="keep"):
        policy.forget_provider("p0", keep=0.0)
    for settings_ in ({"alpha": -1.0}, {"ridge": 0.0}, {"wander": -1.0}, {"forgetting": 0.0}, {"flip_share": 0.5}):
        with pytest.raises(RoutelabError, match=next(iter(settings_))):
            kind(**settings_).add_provider("a")
    with pytest.raises(RoutelabError, match="not fitted"):
        kind().select(np.zeros(2), Objective(), np.random.default_rng(0))


def test_a_refused_outcome_does_not_fix_the_width():
    policy = armed(LinUCBPolicy())
    with pytest.raises(RoutelabError, match="arm 99"):
        policy.update(np.ones(7), 99, 0.5)
    policy.update(np.ones(2), 0, 0.5)
    with pytest.raises(RoutelabError, match="feature 1 is 1e\\+30, not finite or huge"):
        policy.update(np.array([1.0, 1e30]), 0, 0.5)


@pytest.mark.parametrize("kind", KINDS)
def test_what_has_jumped_is_believed_to_jump_again_sooner_than_what_has_not(kind):
    policy, x, rng = learned(armed(kind()), stream(300)), np.zeros(4), np.random.default_rng(0)
    errors = []
    for _ in range(2):
        errors.append(policy.predict(x[None]).quality_se[0])
        policy.forget_provider("p0", keep=0.5, shift=-0.3).forget_provider("p1", keep=0.5)
        errors.append(policy.predict(x[None]).quality_se[0])
        for _ in range(200):
            policy.select(x, Objective(), rng)
        errors.append(policy.predict(x[None]).quality_se[0])
        for step in range(600):  # until both are settled
            policy.update(x, step % 3, 0.5, 0.1)
    for calm, _, later in (errors[:3], errors[3:]):
        assert later[0] > 2.0 * later[1]
        assert calm[0] < 1.5 * calm[1]


def test_a_cost_is_never_believed_below_a_fifth_of_the_mean():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 3))
    cost = 0.01 * np.exp(X[:, 0])  # a line through it is negative at the low end
    low = np.array([[-6.0, 0.0, 0.0]])
    fitted = ForestBanditPolicy(ForestPolicy(n_estimators=5, n_jobs=1))
    fitted.fit(X, rng.random((400, 1)), cost[:, None], providers=("fitted",)).add_provider("p0", cost=0.01)
    for policy in (armed(LinUCBPolicy(), arms=1), armed(ForestBanditPolicy(), arms=1), fitted):
        arm = policy.providers_.index("p0")
        for x, paid in zip(X, cost, strict=True):
            policy.update(x, arm, 0.5, float(paid))
        believed = policy.predict(low).cost[0, arm]
        assert believed == pytest.approx(0.2 * cost[-300:].mean(), rel=0.1)
        policy.reprice_provider("p0", 0.5)
        assert policy.predict(low).cost[0, arm] == pytest.approx(0.5 * believed)
    assert fitted.predict(low).cost[0, 0] > 0.0


@pytest.mark.parametrize("forest", [None, ForestPolicy(n_estimators=3, min_samples_leaf=2, n_jobs=1)])
@pytest.mark.parametrize("fitted", [False, True])
def test_a_forest_bandit_comes_back_with_the_settings_of_its_forest(forest, fitted, tmp_path):
    rng = np.random.default_rng(0)
    X, quality, cost = rng.normal(size=(60, 3)), rng.random((60, 3)), np.full((60, 3), 0.1)
    policy = ForestBanditPolicy(forest, alpha=0.7)
    policy = policy.fit(X, quality, cost, providers=("p0", "p1", "p2")) if fitted else armed(policy)
    policy.save(tmp_path / "policy")
    back = ForestBanditPolicy.load(tmp_path / "policy")
    assert str(back.get_params()) == str(policy.get_params())
    for one in (policy, back):
        one.fit(X, quality, cost)
    np.testing.assert_array_equal(back.predict(X).quality, policy.predict(X).quality)


def test_a_forest_bandit_without_arms_of_its_forest_keeps_its_components(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 30))
    policy = ForestBanditPolicy(ForestPolicy(n_estimators=5, n_jobs=1))
    policy.fit(X, rng.random((120, 2)), np.full((120, 2), 0.1), providers=("a", "b"))
    policy.add_provider("c").add_provider("d").remove_provider("a").remove_provider("b")
    for x in X[:20]:
        policy.update(x, 0, 0.9, 0.2)
    policy.save(tmp_path / "policy")
    back = ForestBanditPolicy.load(tmp_path / "policy")
    np.testing.assert_array_equal(back.predict(X).quality, policy.predict(X).quality)
