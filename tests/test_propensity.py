"""A logged propensity is the probability of the choice: against closed forms, a dense reference, and many draws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import betainc, betaincinv, betaln, xlog1py, xlogy

from routelab import EpsilonGreedyPolicy, ForestPolicy, Objective, ThompsonPolicy
from routelab.policies import Policy
from routelab.policies.propensity import beta_argmax_probabilities

NODES, WEIGHTS = np.polynomial.legendre.leggauss(24)
TAIL = 10.0 ** -np.arange(14.0, 1.0, -1.0)
LEVELS = np.concatenate([[0.0], TAIL, np.linspace(0.02, 0.98, 49), 1.0 - TAIL[::-1], [1.0]])
X = np.zeros(1)


def reference(alpha: np.ndarray, beta: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """P(arm wins) by 24-point Gauss-Legendre between 77 quantiles of every arm; checks itself: the sum must be 1."""
    quantiles = betaincinv(alpha[:, None], beta[:, None], LEVELS) + offset[:, None]
    knots = np.unique(np.concatenate([quantiles.ravel(), offset, offset + 1.0]))
    knots = knots[knots >= offset.max()]
    half = np.diff(knots)[:, None] / 2.0
    theta = (knots[:-1, None] + half + half * NODES).ravel() - offset[:, None]
    inside, theta = (theta > 0.0) & (theta < 1.0), np.clip(theta, 0.0, 1.0)
    a, b = alpha[:, None], beta[:, None]
    density = np.where(inside, np.exp(xlogy(a - 1.0, theta) + xlog1py(b - 1.0, -theta) - betaln(a, b)), 0.0)
    below = betainc(a, b, theta)
    others = np.stack([np.delete(below, arm, axis=0).prod(axis=0) for arm in range(len(alpha))])
    found = (density * others) @ (half * WEIGHTS).ravel()
    assert abs(found.sum() - 1.0) < 1e-6
    return found


def assert_close(alpha, beta, offset=None) -> None:
    alpha, beta = np.asarray(alpha, float), np.asarray(beta, float)
    offset = np.zeros(len(alpha)) if offset is None else np.asarray(offset, float)
    found = beta_argmax_probabilities(alpha, beta, offset)
    assert np.abs(found - reference(alpha, beta, offset)).max() <= 1e-5
    assert found.sum() == pytest.approx(1.0)
    assert (found >= 0.0).all()


@pytest.mark.parametrize(
    ("alpha", "beta", "offset", "expected"),
    [
        ([1.0], [1.0], [0.0], [1.0]),
        ([2, 1], [1, 1], [0, 0], [2 / 3, 1 / 3]),  # P(U < V) = E[V] for uniform U
        ([1, 1], [1, 1], [0, -0.5], [7 / 8, 1 / 8]),  # a triangle of the unit square
        ([1, 1, 1], [1, 1, 1], [0, 0, 0], [1 / 3] * 3),
        ([5, 1, 2], [5, 9, 2], [0, -1, -40], [1, 0, 0]),  # supports that do not meet
        ([1, 3], [1, 7], [-1e9, -1e9 - 0.5], None),  # only differences matter
        ([1e7, 1e7], [1e7, 1.001e7], [0, 0], None),
    ],
)
def test_probabilities_equal_closed_forms(alpha, beta, offset, expected):
    alpha, beta, offset = (np.asarray(values, float) for values in (alpha, beta, offset))
    found = beta_argmax_probabilities(alpha, beta, offset)
    expected = reference(alpha, beta, offset - offset.max()) if expected is None else expected
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_the_reference_agrees_with_adaptive_quadrature():
    alpha, beta, offset = np.array([1.5, 30.0, 4000.0]), np.array([1.0, 20.0, 3000.0]), np.array([-0.3, 0.0, 0.02])
    for arm, found in enumerate(reference(alpha, beta, offset)):
        others = [i for i in range(3) if i != arm]

        # by the quantile transform: the integrand is a probability, smooth and monotone
        def above(level: float, arm: int = arm, others: list[int] = others) -> float:
            value = betaincinv(alpha[arm], beta[arm], level) + offset[arm]
            return float(np.prod(betainc(alpha[others], beta[others], np.clip(value - offset[others], 0.0, 1.0))))

        assert quad(above, 0.0, 1.0, limit=500, epsabs=1e-9, points=[0.01, 0.5, 0.99])[0] == pytest.approx(
            found, abs=1e-6
        )


COUNT = st.one_of(st.sampled_from([0.0, 1.0, 1e5]), st.floats(0, 2), st.floats(0, 5).map(lambda e: 10.0**e))
ARM = st.tuples(COUNT, COUNT, st.one_of(st.just(0.0), st.floats(-1, 0), st.floats(-5, 0).map(lambda e: -(10.0**e))))


@given(st.lists(ARM, min_size=2, max_size=12))
@settings(deadline=None, max_examples=120, derandomize=True)
def test_quadrature_is_exact_for_any_posterior(arms):
    gained, lost, offset = np.array(arms).T
    assert_close(1.0 + gained, 1.0 + lost, offset)


@given(st.lists(st.tuples(COUNT, COUNT, st.floats(-12, 12)), min_size=2, max_size=6))
@settings(deadline=None, max_examples=120, derandomize=True)
def test_quadrature_is_exact_where_prices_bring_the_arms_together(arms):
    gained, lost, shift = np.array(arms).T
    alpha, beta = 1.0 + gained, 1.0 + lost
    mean = alpha / (alpha + beta)
    deviation = np.sqrt(mean * (1.0 - mean) / (alpha + beta + 1.0))
    assert_close(alpha, beta, -mean + shift * deviation)


@pytest.mark.parametrize("count", [50, 1e3, 1e4, 1e5])
def test_quadrature_sees_the_exponential_tails_of_arms_that_always_failed(count):
    # eleven arms near 0 with tails beyond ten deviations, and a sharp arm that a price brings among them
    for mean in (1.5, 2.4, 4.0, 8.0):
        offset = np.r_[mean / count - 1.0 + 1e-5, np.zeros(11)]
        assert_close(np.r_[1e5, np.ones(11)], np.r_[1.0, np.full(11, 1.0 + count)], offset)


@pytest.mark.parametrize(
    ("gained", "lost", "offset"),
    [
        ([0.9437, 1002.4], [0.211, 0.9251], [-0.8606608, -1.00583981]),
        ([0.5949, 79.0909, 8942.1448], [0.1875, 0.8313, 1290.6592], [-0.05243695, -0.22469301, -0.40184256]),
        ([0.1, 0.2, 0.3], [0.05, 1e5, 0.01], [0.0, 0.0, -0.2]),
    ],
)
def test_quadrature_is_exact_where_fractional_rewards_make_an_end_steep(gained, lost, offset):
    assert_close(1.0 + np.array(gained), 1.0 + np.array(lost), offset)


def warm(counts: list[tuple[float, float]], cost: list[float], seconds: list[float] | None = None) -> ThompsonPolicy:
    """A bandit whose arm j has gained and lost ``counts[j]``, by a fit on that many recorded cells."""
    rows = int(max(np.ceil(gained + lost) for gained, lost in counts)) or 1
    quality = np.full((rows, len(counts)), np.nan)
    for arm, (gained, lost) in enumerate(counts):
        quality[: int(gained + lost), arm] = gained / (gained + lost)
    shape = (rows, len(counts))
    latency = None if seconds is None else np.broadcast_to(seconds, shape)
    return ThompsonPolicy().fit(np.zeros((rows, 1)), quality, np.broadcast_to(cost, shape), latency)


FEW = warm([(3.0, 2.0), (1.0, 1.0), (6.0, 6.0)], [1e-4, 1e-3, 1e-2], [1.0, 2.0, 3.0])
SHARP = warm([(0.0, 1.0), (520.0, 480.0), (10.0, 9.0), (3.0, 4997.0)], [0.0, 0.01, 0.02, 0.03])
CASES = {
    "few observations": (FEW, Objective()),
    "a price on cost": (FEW, Objective(cost_weight=30.0)),
    "a price on cost and latency": (FEW, Objective(cost_weight=10.0, latency_weight=0.1)),
    "a price so high that supports do not meet": (FEW, Objective(cost_weight=2e3)),
    "a price beside which rewards would vanish": (FEW, Objective(cost_weight=1e30)),
    "one arm out of bounds": (FEW, Objective(max_cost=5e-3)),
    "only one arm within bounds": (FEW, Objective(max_cost=5e-3, min_quality=0.55)),
    "no arm within bounds": (FEW, Objective(min_quality=1.0, cost_weight=1.0)),
    "sharp beside broad": (SHARP, Objective()),
    "sharp beside broad, priced": (SHARP, Objective(cost_weight=12.0)),
    "one arm": (ThompsonPolicy().add_provider("only"), Objective(cost_weight=3.0)),
}


def assert_frequencies(policy: Policy, objective: Objective, x: np.ndarray = X, draws: int = 8000) -> None:
    """Arms drawn by ``select`` come as often as each choice says, to five standard errors."""
    rng = np.random.default_rng(12)
    choices = [policy.select(x, objective, rng) for _ in range(draws)]
    arms = np.array([choice.arm for choice in choices])
    expected = policy.action_probabilities(x[None, :], objective)[0]
    found = np.bincount(arms, minlength=len(expected)) / draws
    np.testing.assert_array_less(np.abs(found - expected), 5.0 * np.sqrt(expected * (1 - expected) / draws) + 1e-3)
    np.testing.assert_allclose(policy.propensities(x, objective)(), expected)
    for arm in np.unique(arms):
        assert choices[int((arms == arm).argmax())].propensity == pytest.approx(expected[arm])


@pytest.mark.parametrize("case", CASES)
def test_thompson_chooses_as_often_as_its_propensities_say(case):
    assert_frequencies(*CASES[case])


@pytest.mark.parametrize("epsilon", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("case", ["a price on cost", "one arm out of bounds", "sharp beside broad, priced"])
def test_epsilon_greedy_chooses_as_often_as_its_propensities_say(epsilon, case):
    policy, objective = CASES[case]
    assert_frequencies(EpsilonGreedyPolicy(epsilon, policy), objective, draws=3000)


def test_a_forest_under_epsilon_greedy_explores_by_the_stated_share():
    rng = np.random.default_rng(0)
    inputs = rng.random((200, 2)).astype(np.float32)
    quality = np.column_stack([inputs[:, 0], np.full(200, 0.5), np.full(200, 0.1)])
    cost = np.tile([0.01, 0.02, 0.03], (200, 1))
    forest = ForestPolicy(10, n_jobs=1).fit(inputs, quality, cost)
    policy = EpsilonGreedyPolicy(0.24, forest)
    for x, best in ((np.array([0.95, 0.5], np.float32), 0), (np.array([0.05, 0.5], np.float32), 1)):
        expected = np.full(3, 0.08)
        expected[best] += 0.76
        np.testing.assert_allclose(policy.action_probabilities(x[None, :], Objective())[0], expected)
        assert_frequencies(policy, Objective(), x, draws=2000)
    bounded = policy.action_probabilities(x[None, :], Objective(max_cost=0.025))
    np.testing.assert_allclose(bounded, [[0.12, 0.88, 0.0]])
    assert_frequencies(policy, Objective(max_cost=0.025), x, draws=2000)


@pytest.mark.parametrize("wrap", [lambda base: base, lambda base: EpsilonGreedyPolicy(0.2, base)])
def test_a_propensity_read_late_is_that_of_the_decision(wrap):
    policy, objective = wrap(warm([(3.0, 2.0), (1.0, 1.0)], [0.01, 0.02])), Objective(cost_weight=5.0, max_cost=0.5)
    before, estimated = policy.action_probabilities(X[None, :], objective)[0], policy.predict(X[None, :])
    choice, later = policy.select(X, objective, np.random.default_rng(0)), policy.propensities(X, objective)
    for _ in range(20):
        policy.update(X, 0, 0.0, 0.9)
        policy.update(X, 1, 1.0, 0.0)
    policy.add_provider("new", cost=0.1)
    if isinstance(policy, EpsilonGreedyPolicy):
        policy.epsilon = 0.9
    assert choice.propensity == pytest.approx(before[choice.arm])
    np.testing.assert_allclose(later(), before)
    np.testing.assert_allclose(choice.estimates.quality, estimated.quality)
    np.testing.assert_allclose(choice.estimates.cost, estimated.cost)
    assert np.abs(policy.action_probabilities(X[None, :], objective)[0, :2] - before).max() > 0.1
