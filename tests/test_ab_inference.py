"""The claims about A/B statistics, by simulation: each fails if the claim is false."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import stats

from experiments import LOOKS, WORLDS, bernoulli, effects, log_normal, misses
from routelab.abtest.confidence_sequence import ConfidenceSequence
from routelab.abtest.effect import Effect, effect_of
from routelab.abtest.holm import holm
from routelab.abtest.moments import Moments
from routelab.abtest.msprt import MSPRT
from routelab.abtest.normal_mixture import log_normal_mixture
from routelab.abtest.welch import Welch
from routelab.arrays import Floats

SEQUENCE = ConfidenceSequence(planned=(2_000, 2_000))
POWER = dict(zip(WORLDS, (0.70, 0.61, 0.30), strict=True))
ROWS = arrays.arrays(float, st.tuples(st.integers(0, 12), st.just(3)), elements=st.floats(-1e3, 1e3, width=32))


@pytest.mark.parametrize("world", WORLDS)
def test_looking_forty_times_misleads_a_z_test_but_not_the_sequence(world: str) -> None:
    control, _ = WORLDS[world]
    null = effects(control, control, runs=2_000, looks=LOOKS, seed=1)
    assert misses(SEQUENCE, null) <= 0.05
    assert 0.27 <= misses(Welch(), null) <= 0.34


@pytest.mark.parametrize("world", WORLDS)
def test_one_default_setting_finds_the_effects_of_the_issue(world: str) -> None:
    found = effects(*WORLDS[world], runs=2_000, looks=LOOKS, seed=2)
    assert misses(SEQUENCE, found) >= POWER[world] + 0.03


@pytest.mark.parametrize("share", [0.5, 0.3])
@pytest.mark.parametrize("world", WORLDS)
def test_every_look_from_fifty_units_an_arm_on_covers_at_once(world: str, share: float) -> None:
    control, _ = WORLDS[world]
    looks = np.arange(int(np.ceil(25 / share)), 2_001)
    null = effects(control, control, runs=400, looks=looks, seed=3, share=share)
    assert misses(ConfidenceSequence((4_000 * (1 - share), 4_000 * share)), null) <= 0.05


def test_an_arm_that_saw_no_failure_yet_is_not_taken_for_one_that_cannot_fail() -> None:
    looks, planned = np.arange(251, 2_001, 5), ConfidenceSequence((3_600, 400))
    null = effects(bernoulli(0.1), bernoulli(0.1), runs=800, looks=looks, seed=4, share=0.1)
    plain = np.abs(null.difference) > planned._bound(planned._fraction(null)) * np.sqrt(null.variance)
    assert misses(planned, null) <= 0.055 < plain.any(axis=1).mean()


def test_the_bound_is_a_martingales_and_its_p_value_is_its_inverse() -> None:
    """E[M] = 1 at every time under the null, by quadrature: the whole proof of Ville's bound."""
    z, weights = np.polynomial.hermite_e.hermegauss(180)
    for f in (0.025, 0.3, 1.0):
        ratio = np.exp(SEQUENCE._log_ratio(z, np.asarray(f)))
        assert weights @ ratio / np.sqrt(2 * np.pi) == pytest.approx(1.0, abs=1e-4)
    n = np.array([50.0, 500.0, 2_000.0, 20_000.0])
    edge = Effect(SEQUENCE.radius(Effect(0.0, 1 / n, 1 / n, n, n)), 1 / n, 1 / n, n, n)
    assert SEQUENCE.p_value(edge) == pytest.approx(0.05)


def test_the_sequence_is_narrower_at_its_planned_size_than_the_best_normal_mixture() -> None:
    n = np.array([400.0, 1_000.0, 2_000.0, 4_000.0])
    effect = Effect(0.0, 1 / n, 1 / n, n, n)
    best = MSPRT(tau=float(np.sqrt(8.2 / 1_000)))  # 8.2 squared standard errors at 2,000 an arm
    assert (SEQUENCE.radius(effect) < best.radius(effect)).all()
    assert SEQUENCE.radius(effect)[2] / np.sqrt(2 / 2_000) == pytest.approx(2.86, abs=0.005)
    assert SEQUENCE.radius(effect)[[1, 3]] * np.sqrt(n[[1, 3]] / 2) == pytest.approx([2.97, 2.97], abs=0.01)


def test_nothing_is_claimed_before_the_first_look_that_counts_or_without_a_spread() -> None:
    for effect in (Effect(9.0, 0.1, 0.1, 49, 500), Effect(9.0, 0.1, 0.1, 0, 500), Effect(9.0, 0.0, 0.0, 500, 500)):
        for method in (SEQUENCE, MSPRT(tau=1.0), Welch(start=50)):
            assert np.isinf(method.radius(effect))
            assert method.p_value(effect) == 1.0


def test_the_msprt_is_the_likelihood_ratio_of_its_mixture() -> None:
    tau, v, d = 0.3, 0.02, 0.4
    written = np.sqrt(v / (v + tau**2)) * np.exp(tau**2 * d**2 / (2 * v * (v + tau**2)))
    assert MSPRT(tau).p_value(Effect(d, v / 2, v / 2, 100, 100)) == pytest.approx(1 / written)
    assert np.exp(log_normal_mixture(d / np.sqrt(v), tau**2 / v)) == pytest.approx(written)


def test_the_msprt_holds_under_forty_looks() -> None:
    null = effects(log_normal(1.0), log_normal(1.0), runs=2_000, looks=LOOKS, seed=5)
    assert misses(MSPRT(tau=0.15), null) <= 0.05


@given(ROWS, ROWS, ROWS)
def test_moments_add_up_in_any_order(a: Floats, b: Floats, c: Floats) -> None:
    whole = Moments.of(np.vstack([a, b, c]))
    for merged in ((Moments.of(a) + Moments.of(b)) + Moments.of(c), Moments.of(c) + (Moments.of(b) + Moments.of(a))):
        assert merged.count == whole.count
        np.testing.assert_allclose(merged.mean, whole.mean, atol=1e-9)
        np.testing.assert_allclose(merged.scatter, whole.scatter, atol=1e-4)


def test_moments_keep_a_small_spread_on_a_large_mean() -> None:
    rows = 1e9 + np.random.default_rng(0).normal(size=(10_000, 1))
    merged = sum((Moments.of(part) for part in np.split(rows, 100)), Moments.of(rows[:0]))
    assert merged.covariance[0, 0] == pytest.approx(rows.var(ddof=1), rel=1e-6)


def test_a_covariate_takes_out_the_variance_that_it_explains_and_no_difference() -> None:
    ratios, differences = [], []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        before = rng.normal(size=20_000)
        after = 0.8 * before + 0.6 * rng.normal(size=20_000) + 0.05 * (np.arange(20_000) % 2)
        rows = np.column_stack([after, np.ones(20_000), before])
        arms = Moments.of(rows[::2]), Moments.of(rows[1::2])
        plain, adjusted = effect_of(*arms, (0, 1)), effect_of(*arms, (0, 1, 2))
        ratios.append(adjusted.variance / plain.variance)
        differences.append(adjusted.difference)
    assert all(abs(ratio - 0.36) <= 0.02 for ratio in ratios)
    assert np.std(differences) < 1.6 * 0.6 * np.sqrt(2 / 10_000)
    assert np.mean(differences) == pytest.approx(0.05, abs=3 * 0.6 * np.sqrt(2 / 10_000 / 10))


def test_a_ratio_of_several_requests_per_unit_has_the_spread_that_it_shows_over_experiments() -> None:
    rng = np.random.default_rng(0)
    seen, told, naive = [], [], []
    for _ in range(400):
        requests = rng.poisson(4, size=(2, 300)) + 1
        level = rng.lognormal(sigma=0.7, size=(2, 300))  # of a unit: its requests are alike
        cost = requests * level
        arms = [Moments.of(np.column_stack(rows)) for rows in zip(cost, requests, strict=True)]
        effect = effect_of(*arms, (0, 1))
        seen.append(effect.difference)
        told.append(effect.variance)
        naive.append(sum(np.repeat(x, n).var() / n.sum() for x, n in zip(level, requests, strict=True)))
    assert np.mean(told) == pytest.approx(np.var(seen), rel=0.2)
    assert np.mean(naive) < 0.4 * np.var(seen)


def test_with_one_request_per_unit_a_ratio_is_welchs_mean() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=40), rng.normal(0.5, 2.0, size=60)
    effect = effect_of(*(Moments.of(np.column_stack([v, np.ones_like(v)])) for v in (a, b)), (0, 1))
    theirs = stats.ttest_ind(b, a, equal_var=False)
    assert Welch().p_value(effect) == pytest.approx(theirs.pvalue)
    low, high = effect.difference + Welch().radius(effect) * [-1, 1]
    assert (low, high) == pytest.approx(tuple(theirs.confidence_interval()))


def test_a_small_arm_borrows_variance_and_none_shrinks() -> None:
    small = Effect(0.0, 0.01, 0.0, 1_000, 100)
    assert 0.0 < small.steadied().treatment_variance < 0.25 * 10.0 / 100
    assert small.steadied().control_variance == 0.01
    assert Effect(0.0, 0.0, 0.1, 1_000, 100).steadied().treatment_variance == pytest.approx(0.1)


def test_a_small_arm_of_rare_failures_is_not_found_different_before_it_can_be_known() -> None:
    looks, planned = np.arange(125, 5_001, 125), ConfidenceSequence((9_000, 1_000))
    for rate in (0.01, 0.99):
        null = effects(bernoulli(rate), bernoulli(rate), runs=400, looks=looks, seed=6, share=0.1)
        early = replace(null, events=np.inf)
        assert misses(planned, null) <= 0.05 < 0.1 < misses(planned, early)


def test_events_are_the_expected_units_of_the_smaller_arm_where_a_metric_is_a_share() -> None:
    def arm(units: int, events: int, value: float = 1.0, requests: float = 1.0) -> Moments:
        return Moments.of(np.column_stack([value * (np.arange(units) < events), np.full(units, requests)]))

    assert effect_of(arm(900, 9), arm(100, 11), (0, 1)).events == pytest.approx(2.0)
    assert effect_of(arm(900, 891), arm(100, 89), (0, 1)).events == pytest.approx(2.0)
    assert effect_of(arm(100, 11, value=3.0, requests=2.0), arm(900, 9, value=3.0), (0, 1)).events == pytest.approx(2.0)
    assert effect_of(arm(900, 9, value=-1.0, requests=-2.0), arm(100, 11), (0, 1)).events == np.inf
    for events, known in ((9.9, False), (10.0, True)):
        effect = Effect(1.0, 1e-6, 1e-6, 500, 500, events)
        for method in (SEQUENCE, MSPRT(tau=1.0), Welch()):
            assert np.isfinite(method.radius(effect)) == known
            assert (method.p_value(effect) < 1.0) == known


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_refutes_what_its_steps_refute(p: list[float]) -> None:
    adjusted = holm(p)
    refuted, alpha = set(), 0.05
    for rank, place in enumerate(np.argsort(p, kind="stable")):
        if p[place] * (len(p) - rank) > alpha:
            break
        refuted.add(int(place))
    assert set(np.flatnonzero(adjusted <= alpha).tolist()) == refuted
    ordered = adjusted[np.argsort(p, kind="stable")]
    assert all(a <= b for a, b in pairwise(ordered))
    assert (adjusted >= np.asarray(p)).all()
