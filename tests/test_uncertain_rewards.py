"""Rewards with a standard error: they count for less, and regret falls by it; certain ones count as ever."""

from __future__ import annotations

import numpy as np
import pytest

from routelab import (
    EpsilonGreedyPolicy,
    ForestBanditPolicy,
    ForestPolicy,
    LinTSPolicy,
    LinUCBPolicy,
    Objective,
    ThompsonPolicy,
)
from routelab.errors import PolicyError
from routelab.policies import Policy
from routelab.policies.bandit import Bandit
from uncertain import linear, saved

BANDITS = [ThompsonPolicy, LinUCBPolicy, LinTSPolicy, ForestBanditPolicy, EpsilonGreedyPolicy]


def played(policy: Policy, se: float | None) -> Policy:
    rng = np.random.default_rng(0)
    policy.add_provider("a").add_provider("b")
    for x in rng.normal(size=(100, 3)):
        arm = policy.select(x, Objective(), rng).arm
        policy.update(x, arm, float(rng.random()), 0.01, age=int(rng.integers(3)), se=se)
    return policy


@pytest.mark.parametrize("kind", BANDITS)
def test_a_standard_error_of_zero_is_none(kind: type[Policy]) -> None:
    without, zero = (played(kind(), se).to_bundle() for se in (None, 0.0))
    assert without.meta == zero.meta
    for name, array in without.arrays.items():
        assert array.tobytes() == zero.arrays[name].tobytes()


@pytest.mark.parametrize("kind", BANDITS)
@pytest.mark.parametrize("se", [-0.1, float("nan"), float("inf"), "0.1"])
def test_what_is_no_standard_error_is_refused(kind: type[Policy], se: float) -> None:
    with pytest.raises(PolicyError, match="is no standard error ≥ 0 of a reward"):
        kind().add_provider("a").update(np.zeros(3), 0, 0.5, se=se)


def test_an_uncertain_reward_weighs_by_its_share_of_the_variance() -> None:
    policy, x, se = LinUCBPolicy(ridge=1.0, wander=0.0).add_provider("a"), np.array([1.0, 2.0]), 0.4
    policy.update(x, 0, 0.5)
    before, sigma = policy.arms_.precision[0].copy(), float(policy.arms_.sigma[0])
    policy.update(x, 0, 0.5, se=se)
    z = np.array([1.0, 1.0, 2.0])
    weight = sigma**2 / (sigma**2 + se**2)
    np.testing.assert_allclose(policy.arms_.precision[0] - before, weight * np.outer(z, z))
    np.testing.assert_allclose(policy.arms_.covariance[0] @ policy.arms_.precision[0], np.eye(3), atol=1e-12)


def test_thompson_counts_an_uncertain_reward_in_part() -> None:
    policy = ThompsonPolicy().add_provider("a")
    policy.update(np.zeros(1), 0, 0.75, se=0.5)
    np.testing.assert_allclose(policy.counts_[:2, 0], [0.375, 0.125])


@pytest.mark.parametrize("policy", [LinTSPolicy(flip_share=0.25), ThompsonPolicy(flip_share=0.25)])
def test_a_reward_that_may_be_flipped_is_as_much_more_uncertain(policy: Bandit) -> None:
    """It is guessed to be (r − ¼)/½, whose standard error is twice that of r."""
    plain = type(policy)().add_provider("a")
    policy.add_provider("a")
    policy.update(np.ones(2), 0, 0.5, se=0.1)
    if isinstance(policy, ThompsonPolicy):
        assert policy.counts_[:2, 0].sum() == pytest.approx(0.25 * 0.25 / (0.25 + 0.01))
        return
    assert isinstance(plain, LinTSPolicy)
    assert isinstance(policy, LinTSPolicy)
    plain.update(np.ones(2), 0, 0.5, se=0.2)
    np.testing.assert_allclose(policy.arms_.precision, plain.arms_.precision)


def test_the_learned_noise_is_what_is_left_beside_the_standard_errors() -> None:
    policy, rng = LinTSPolicy(wander=0.0).add_provider("a"), np.random.default_rng(0)
    for x in rng.normal(size=(4_000, 2)):
        se = float(rng.choice([0.0, 0.3]))
        reward = 0.5 + 0.05 * x[0] + 0.1 * rng.standard_normal() + se * rng.uniform(-1.0, 1.0) * np.sqrt(3.0) / 2.0
        policy.update(x, 0, float(np.clip(reward, 0.0, 1.0)), se=se / 2.0)
    assert float(policy.arms_.sigma[0]) == pytest.approx(0.1, rel=0.1)


def test_many_outcomes_are_learned_with_their_standard_errors() -> None:
    one, many = (ThompsonPolicy().add_provider("a").add_provider("b") for _ in range(2))
    rewards, ses = [0.2, 0.9, 0.4], [0.3, float("nan"), 0.0]
    many.update_many(np.zeros((3, 1)), [0, 1, 0], rewards, ses=ses)
    for arm, reward, se in zip([0, 1, 0], rewards, [0.3, None, None], strict=True):
        one.update(np.zeros(1), arm, reward, se=se)
    np.testing.assert_array_equal(one.counts_, many.counts_)


@pytest.mark.parametrize("policy", [LinUCBPolicy(), LinTSPolicy()], ids=lambda policy: type(policy).__name__)
def test_regret_falls_where_half_the_grades_are_a_judges_verdicts(policy: Policy) -> None:
    ignored, told, error = saved(policy, linear, seeds=6, rounds=700)
    assert ignored - told > 3.0 * error
    assert told < 0.75 * ignored


@pytest.mark.parametrize("policy", [LinTSPolicy(wander=0.0), ThompsonPolicy(), EpsilonGreedyPolicy(0.1)])
def test_a_fit_weighs_as_updates_do(policy: Policy) -> None:
    rng = np.random.default_rng(0)
    X, quality = rng.normal(size=(400, 2)).astype(np.float32), rng.uniform(0.2, 0.8, (400, 2))
    se = np.where(rng.random(quality.shape) < 0.5, 0.4, np.nan)
    quality = np.where(np.isnan(se), quality, (rng.random(quality.shape) < quality).astype(float))
    online = type(policy)(**policy.get_params(deep=False)).add_provider("0").add_provider("1")
    for x, rewards, errors in zip(X, quality, se, strict=True):
        for arm in range(2):
            uncertain = None if np.isnan(errors[arm]) else float(errors[arm])
            online.update(x.astype(float), arm, float(rewards[arm]), 0.01, age=0, se=uncertain)
    fitted = policy.fit(X, quality, np.full(quality.shape, 0.01), quality_se=se)
    believed, known = online.predict(X[:20]), fitted.predict(X[:20])
    np.testing.assert_allclose(known.quality, believed.quality, atol=0.01)
    assert known.quality_se is not None
    assert believed.quality_se is not None
    np.testing.assert_allclose(known.quality_se, believed.quality_se, rtol=0.1)


@pytest.mark.parametrize("policy", [LinTSPolicy(), ThompsonPolicy(), ForestBanditPolicy(ForestPolicy(n_estimators=5))])
def test_a_fit_on_certain_qualities_is_the_fit_without_standard_errors(policy: Policy) -> None:
    rng = np.random.default_rng(0)
    X, quality, cost = rng.normal(size=(60, 3)), rng.random((60, 2)), np.full((60, 2), 0.01)
    without = policy.fit(X, quality, cost).predict(X)
    certain = policy.fit(X, quality, cost, quality_se=np.zeros_like(quality)).predict(X)
    np.testing.assert_allclose(certain.quality, without.quality, rtol=1e-12)


def test_standard_errors_of_another_shape_or_sign_are_refused() -> None:
    arguments = np.zeros((4, 1)), np.full((4, 2), 0.5), np.full((4, 2), 0.01)
    with pytest.raises(PolicyError, match=r"quality_se has shape \(4,\), quality \(4, 2\)"):
        ThompsonPolicy().fit(*arguments, quality_se=np.zeros(4))
    with pytest.raises(PolicyError, match=r"quality_se\[0\] of 0 is -1\.0; it must be finite and in"):
        ThompsonPolicy().fit(*arguments, quality_se=np.full((4, 2), -1.0))
