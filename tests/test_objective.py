"""The objective refuses what means nothing, keeps to its constraints, and its sweep spans every trade-off."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routelab import Objective
from routelab.errors import RoutelabError
from routelab.policies.objective import cost_weight_sweep

Q = np.array([0.9, 0.6, 0.3])
C = np.array([0.03, 0.02, 0.01])
L = np.array([3.0, 1.0, 2.0])


@pytest.mark.parametrize("value", [-1e-9, np.nan, np.inf, -np.inf, "a", 10**400])
@pytest.mark.parametrize("name", ["cost_weight", "latency_weight", "max_cost", "max_latency"])
def test_a_weight_or_bound_that_is_negative_or_not_finite_is_refused(name, value):
    with pytest.raises(RoutelabError, match=f"Objective.{name} is .*; give a finite number ≥ 0"):
        Objective(**{name: value})


@pytest.mark.parametrize("value", [-0.1, 1.1, np.nan, "a"])
def test_a_quality_bound_outside_0_to_1_is_refused(value):
    with pytest.raises(RoutelabError, match=r"Objective.min_quality is .*; give a number in \[0, 1\]"):
        Objective(min_quality=value)


def test_no_argument_means_quality_only():
    np.testing.assert_array_equal(Objective().scores(Q, C), Q)
    assert not Objective().constrained


def test_utility_prices_cost_and_latency():
    np.testing.assert_allclose(Objective(10.0, 0.1).utility(Q, C, L), [0.3, 0.3, 0.0], atol=1e-15)
    assert np.isnan(Objective(10.0).utility(np.array([np.nan]), C[:1]))


@pytest.mark.parametrize(
    ("objective", "feasible"),
    [
        (Objective(min_quality=0.6), [True, True, False]),
        (Objective(max_cost=0.02), [False, True, True]),
        (Objective(max_latency=2.0), [False, True, True]),
        (Objective(min_quality=0.5, max_cost=0.02), [False, True, False]),
        (Objective(min_quality=0.0, max_cost=0.0, max_latency=0.0), [False, True, False]),
        (Objective(min_quality=1.0), [True, False, False]),  # nobody reaches it: the nearest one
        (Objective(max_cost=0.001), [False, False, True]),
        # relative violations 2 + 0, 1 + 1/3, 0 + 2/3
        (Objective(max_cost=0.01, min_quality=0.9), [False, False, True]),
    ],
)
def test_constraints_keep_the_arms_that_meet_them_or_else_the_nearest(objective, feasible):
    assert objective.feasible(Q, C, L).tolist() == feasible
    np.testing.assert_array_equal(objective.scores(Q, C, L), np.where(feasible, Q, -np.inf))


def test_constraints_are_judged_row_by_row():
    quality = np.array([[0.9, 0.1], [0.1, 0.2], [0.3, 0.3]])
    assert Objective(min_quality=0.5).feasible(quality, np.zeros((3, 2))).tolist() == [
        [True, False],
        [False, True],
        [True, True],
    ]


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 10), st.floats(0, 60)), min_size=1, max_size=6),
    st.floats(0, 1),
    st.floats(0, 10),
    st.floats(0, 60),
)
@settings(deadline=None)
def test_some_arm_is_always_feasible_and_exactly_those_that_meet_all_bounds_where_any_does(arms, low, high, slow):
    quality, cost, latency = np.array(arms).T
    feasible = Objective(min_quality=low, max_cost=high, max_latency=slow).feasible(quality, cost, latency)
    meets = (quality >= low) & (cost <= high) & (latency <= slow)
    assert feasible.any()
    if meets.any():
        assert feasible.tolist() == meets.tolist()


@pytest.mark.parametrize("objective", [Objective(latency_weight=0.1), Objective(max_latency=1.0)])
@pytest.mark.parametrize("latency", [None, np.array([1.0, np.nan, 1.0])])
def test_a_choice_that_needs_a_latency_nobody_knows_is_refused(objective, latency):
    with pytest.raises(RoutelabError, match="is set, but not every latency is known; train on latency_s"):
        objective.scores(Q, C, latency)


def test_an_unknown_latency_does_not_matter_where_it_is_not_asked_for():
    objective = Objective(cost_weight=1.0, min_quality=0.5, max_cost=0.02)
    assert objective.scores(Q, C, np.full(3, np.nan)).argmax() == 1


MEANS = st.lists(st.integers(0, 1000), min_size=2, max_size=8).map(lambda c: np.array(c) * 1e-4)


@given(MEANS, st.integers(2, 32))
@settings(deadline=None)
def test_the_sweep_runs_from_quality_only_to_the_cheapest_alone(means, length):
    sweep = cost_weight_sweep(means[None, :], length)
    assert sweep[0] == 0.0
    if np.ptp(means) == 0.0:
        assert sweep.tolist() == [0.0]  # equal costs: nothing to trade
        return
    assert len(sweep) == length
    assert (np.diff(sweep) > 0.0).all()
    dear = means > means.min()
    worst_case = Objective(float(sweep[-1])).utility(dear.astype(float), means)  # the dear are perfect, the cheap bad
    assert worst_case[~dear].max() >= worst_case[dear].max() - 1e-9


def test_the_sweep_takes_means_over_what_was_observed():
    cost = np.array([[0.1, np.nan], [np.nan, 0.4], [0.3, 0.6]])
    np.testing.assert_allclose(cost_weight_sweep(cost), cost_weight_sweep(np.array([[0.2, 0.5]])))
    assert len(cost_weight_sweep(cost)) == 32


@pytest.mark.parametrize("length", [1, 33])
def test_a_sweep_of_another_length_is_refused(length):
    with pytest.raises(RoutelabError, match=f"between 2 and 32 settings, got {length}"):
        cost_weight_sweep(np.array([[0.1, 0.2]]), length)
