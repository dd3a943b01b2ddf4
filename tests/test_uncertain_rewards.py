"""Rewards with a standard error: they count for less, and regret falls by it; certain ones count as ever."""

from __future__ import annotations

import numpy as np
import pytest

from routelab import (
    EpsilonGreedyPolicy,
    ForestBanditPolicy,
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
