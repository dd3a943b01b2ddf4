"""pareto.py and hull.py against brute force."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from routelab.errors import RoutelabError
from routelab.hull import mean_heights, upper_hulls
from routelab.pareto import find_pareto_optimal, hypervolume, pareto_mask, upper_hull
from routelab.request import LLMRequest

REQUEST = LLMRequest("Why is the sky blue?")
GRID = st.sampled_from([-np.inf, -1.0, -0.0, 0.0, 1.0, 2.0, 3.0, np.inf])
SMALL = st.integers(0, 6).map(float)


@st.composite
def points_and_sense(draw, most=4):
    width = draw(st.integers(1, most))
    sense = tuple(draw(st.lists(st.sampled_from(["min", "max"]), min_size=width, max_size=width)))
    return draw(arrays(np.float64, (draw(st.integers(0, 40)), width), elements=GRID)), sense


def brute_mask(values, sense):
    signed = values * np.where(np.array(sense) == "max", -1.0, 1.0)
    return np.array(
        [not any((other <= row).all() and (other < row).any() for other in signed) for row in signed],
        dtype=bool,
    )


@given(points_and_sense())
@settings(max_examples=300, deadline=None)
def test_mask_equals_brute_force_with_ties_duplicates_and_infinities(case):
    values, sense = case
    mask = pareto_mask(values, sense)
    assert mask.dtype == bool
    assert mask.shape == (len(values),)
    np.testing.assert_array_equal(mask, brute_mask(values, sense))


@pytest.mark.parametrize("width", [2, 3, 4])
@pytest.mark.parametrize("levels", [5, 40, 10**9])
def test_mask_equals_brute_force_on_larger_clouds_spanning_several_blocks(width, levels):
    values = np.random.default_rng(width).integers(0, levels, size=(700, width)).astype(float)
    np.testing.assert_array_equal(pareto_mask(values, ("min",) * width), brute_mask(values, ("min",) * width))


def test_a_sphere_is_its_own_frontier_across_blocks():
    values = np.abs(np.random.default_rng(0).normal(size=(1500, 3)))
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    assert pareto_mask(values, ("max",) * 3).all()


@pytest.mark.parametrize("width", [1, 2, 3])
def test_mask_of_no_rows_is_empty(width):
    assert pareto_mask(np.empty((0, width)), ("min",) * width).shape == (0,)
    assert pareto_mask([], ("min",) * width).shape == (0,)


def test_mask_orders_infinite_costs_and_qualities():
    values = [[np.inf, 0.9], [np.inf, 0.8], [1.0, 0.5], [1.0, -np.inf], [-np.inf, -np.inf]]
    assert pareto_mask(values).tolist() == [True, False, True, False, True]


@pytest.mark.parametrize(
    ("values", "sense", "message"),
    [
        ([[1.0, 2.0], [1.0, np.nan]], ("min", "max"), "nan at row 1, column 1"),
        ([[1.0, 2.0, 3.0]], ("min", "max"), "3 columns, but sense names 2"),
        ([1.0, 2.0], ("min", "max"), r"shape \(2,\); give an array with 2 axes"),
        ([[1.0, 2.0]], ("min", "maximise"), "one 'min' or 'max' per objective"),
        ([[1.0, 2.0, 3.0]], "min", "one 'min' or 'max' per objective"),
        ([["cheap", "good"]], ("min", "max"), "not an array of numbers"),
        (np.empty((3, 0)), (), "one 'min' or 'max' per objective"),
    ],
)
def test_mask_refuses_what_has_no_order(values, sense, message):
    with pytest.raises(RoutelabError, match=message):
        pareto_mask(values, sense)


@given(st.lists(st.tuples(SMALL, SMALL), min_size=1, max_size=30))
@settings(deadline=None)
def test_hull_is_concave_rising_and_above_every_point(points):
    cost, quality = np.array(points).T
    hull = upper_hull(cost, quality)
    c, q = cost[hull], quality[hull]
    assert c[0] == cost.min()
    assert q[-1] == quality.max()
    assert (np.diff(c) > 0).all()
    assert (np.diff(q) > 0).all()
    assert (np.diff(np.diff(q) / np.diff(c)) < 0).all()
    assert (np.interp(cost, c, q) >= quality - 1e-9).all()
    assert pareto_mask(np.column_stack([cost, quality]))[hull].all()


def test_hulls_of_many_rows_equal_the_hull_of_each():
    rng = np.random.default_rng(0)
    cost, quality = rng.random((50, 12)), rng.random((50, 12))
    for row, vertices in enumerate(upper_hulls(cost, quality)):
        assert list(dict.fromkeys(vertices.tolist())) == upper_hull(cost[row], quality[row]).tolist()


def test_hull_of_no_points_is_empty_and_of_uneven_arrays_refused():
    assert upper_hull([], []).size == 0
    with pytest.raises(RoutelabError, match="cost has 1 points, quality 2"):
        upper_hull([1.0], [1.0, 2.0])
    with pytest.raises(RoutelabError, match="quality is inf at row 0"):
        upper_hull([1.0], [np.inf])


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), min_size=1, max_size=8), st.integers(0, 30))
@settings(deadline=None)
def test_mean_height_equals_a_fine_riemann_sum(points, low):
    # Distinct costs: where two are equal a path jumps, and np.interp settles the jump its own way.
    cost, quality = np.array(sorted(dict(points).items()), dtype=float).T
    middles = low + (np.arange(64_000) + 0.5) * 25.0 / 64_000
    mean = mean_heights(cost[None, ::-1], quality[None, ::-1], np.array([float(low)]), np.array([low + 25.0]))
    assert mean[0] == pytest.approx(np.interp(middles, cost, quality).mean(), abs=1e-2)


def brute_volume(values, reference, sense):
    """Number of unit cells below the reference that some point dominates, for values on the integers."""
    sign = np.where(np.array(sense) == "max", -1, 1)
    values, reference = (values * sign).astype(int), (reference * sign).astype(int)
    lowest = min(values.min(), reference.min())
    cells = np.stack(np.meshgrid(*[np.arange(lowest, r) for r in reference], indexing="ij"), axis=-1)
    return np.any([(cells >= row).all(axis=-1) for row in values], axis=0).sum()


@given(st.data())
@settings(deadline=None)
def test_hypervolume_equals_counting_cells(data):
    width = data.draw(st.integers(1, 4))
    values = data.draw(arrays(np.float64, (data.draw(st.integers(1, 8)), width), elements=SMALL))
    reference = data.draw(arrays(np.float64, width, elements=SMALL))
    sense = tuple(data.draw(st.lists(st.sampled_from(["min", "max"]), min_size=width, max_size=width)))
    assert hypervolume(values, reference, sense) == pytest.approx(brute_volume(values, reference, sense))


def test_hypervolume_at_its_edges():
    assert hypervolume(np.empty((0, 2)), [1.0, 0.0]) == 0.0
    assert hypervolume([[2.0, 0.5]], [1.0, 0.0]) == 0.0
    assert hypervolume([[-np.inf, 0.5], [np.inf, 0.9]], [1.0, 0.0]) == np.inf
    with pytest.raises(RoutelabError, match="reference is inf at row 0"):
        hypervolume([[1.0, 0.5]], [np.inf, 0.0])


@dataclass(frozen=True)
class Priced:
    name: str
    quality: float
    cost: float

    def estimate(self, request):
        return self.quality, self.cost


@dataclass(frozen=True)
class Router:
    known: dict

    def estimates(self, request):
        return self.known


def test_providers_come_cheapest_first_with_all_equals():
    pool = [
        Priced("b", 0.9, 0.02),
        Priced("a", 0.7, 0.001),
        Priced("bad", 0.6, 0.02),
        Priced("b2", 0.9, 0.02),
    ]
    assert [p.name for p in find_pareto_optimal(iter(pool), REQUEST)] == ["a", "b", "b2"]
    assert find_pareto_optimal([], REQUEST) == []


def test_a_router_s_estimates_replace_those_of_the_providers():
    pool = [Priced("a", 0.9, 0.02), Priced("b", 0.7, 0.001)]
    router = Router({"a": (0.5, 0.02), "b": (0.7, 0.001), "elsewhere": (1.0, 0.0)})
    assert [p.name for p in find_pareto_optimal(pool, REQUEST, estimator=router)] == ["b"]


def test_a_provider_nobody_can_estimate_is_named():
    @dataclass
    class Silent:
        name: str = "silent"

    with pytest.raises(RoutelabError, match=r"provider 'silent' has no estimate\(request\).*estimator=router"):
        find_pareto_optimal([Silent()], REQUEST)
    with pytest.raises(RoutelabError, match="knows \\['a'\\], not 'silent'"):
        find_pareto_optimal([Silent()], REQUEST, estimator=Router({"a": (0.5, 0.1)}))
    with pytest.raises(RoutelabError, match="'x' is estimated at quality nan"):
        find_pareto_optimal([Priced("x", np.nan, 0.1)], REQUEST)
