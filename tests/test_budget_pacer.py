"""BudgetPacer: means that keep to their bounds."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routelab import BudgetPacer, Objective, RoutelabError

COST = np.array([0.0001, 0.001, 0.02])
LATENCY = np.array([0.5, 1.0, 3.0])


def world(n: int, seed: int, spread: float = 0.5) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Expected quality, and cost and latency that happen, each (n, 3): dear is better, by more or less."""
    rng = np.random.default_rng(seed)
    gain = rng.random((n, 1))
    quality = np.clip(0.4 + gain * np.array([0.0, 0.3, 0.5]) + 0.02 * rng.normal(size=(n, 3)), 0.0, 1.0)
    noise = np.exp(spread * rng.normal(size=(n, 3)) - spread**2 / 2.0)
    return quality, COST * noise, LATENCY * noise


def drive(pacer: BudgetPacer, n: int, seed: int = 0, dearer: float = 1.0) -> np.ndarray:
    """Cost, quality and latency (n, 3) of a policy that knows what to expect, under the pacer's objectives."""
    quality, cost, latency = world(n, seed)
    out = []
    for row in range(n):
        scores = pacer.objective().scores(quality[row], COST * dearer, LATENCY)
        arm = int(scores.argmax())
        came = dearer * cost[row, arm], quality[row, arm], latency[row, arm]
        pacer.update(came[0], quality=came[1], latency=came[2])
        out.append(came)
    return np.array(out)


@pytest.mark.parametrize("budget", [0.00015, 0.0005, 0.002, 0.01])
def test_mean_cost_keeps_to_the_budget_and_uses_it(budget):
    pacer = BudgetPacer(budget)
    drive(pacer, 1000)
    pacer.forgive()
    spent = np.mean([drive(pacer, 2000, seed)[:, 0].mean() for seed in (1, 2, 3)])
    assert 0.97 * budget < spent < 1.01 * budget


def test_no_horizon_is_needed_the_debt_of_a_cold_start_is_paid_back():
    costs = drive(BudgetPacer(0.002), 4000)[:, 0]
    for stop in (1000, 2000, 4000):
        assert costs[:stop].mean() == pytest.approx(0.002, rel=0.04)


def test_quality_rises_with_the_budget():
    quality = [drive(BudgetPacer(budget), 3000)[1000:, 1].mean() for budget in (0.00015, 0.001, 0.005, 0.02)]
    assert (np.diff(quality) > 0.01).all()


def test_a_budget_that_does_not_bind_leaves_quality_alone():
    costs = drive(BudgetPacer(1.0), 500)
    assert BudgetPacer(1.0).objective().cost_weight < 0.2
    assert costs[:, 0].mean() == pytest.approx(0.02, rel=0.1)


def test_the_budget_holds_when_prices_change():
    pacer = BudgetPacer(0.002)
    drive(pacer, 1500)
    dear = drive(pacer, 1500, seed=1, dearer=3.0)[:, 0]
    assert dear[300:].mean() == pytest.approx(0.002, rel=0.1)
    cheap = drive(pacer, 1500, seed=2, dearer=0.3)[:, 0]
    assert cheap[300:].mean() == pytest.approx(0.002, rel=0.1)


def test_below_the_cheapest_cost_the_cheapest_is_chosen():
    costs = drive(BudgetPacer(0.00001), 1500)[500:, 0]
    assert costs.max() < 0.0008
    assert costs.mean() == pytest.approx(0.0001, rel=0.1)


def test_hard_mode_never_runs_ahead_of_the_budget():
    pacer, spent = BudgetPacer(0.002, mode="hard"), 0.0
    pacer.reserve(0.05, 25)  # as much as they bring
    assert pacer.objective().max_cost == pytest.approx(0.002)
    pacer.reserve(-0.05, -25)
    quality, _, _ = world(1500, 0)
    for row in range(1500):
        objective = pacer.objective()
        arm = int(objective.scores(quality[row], COST).argmax())
        pacer.update(COST[arm])
        spent += COST[arm]
        assert spent <= (row + 1) * 0.002 * (1.0 + 1e-9)
    assert spent > 0.9 * 1500 * 0.002


def test_a_floor_of_quality_is_held_at_less_cost():
    reached = {floor: drive(BudgetPacer(min_quality=floor), 6000)[2000:].mean(axis=0) for floor in (0.5, 0.55)}
    for floor, (_, quality, _) in reached.items():
        assert quality == pytest.approx(floor, abs=0.01)
    assert reached[0.5][0] < reached[0.55][0]


def test_a_ceiling_of_latency_moves_requests_to_faster_providers():
    free = drive(BudgetPacer(0.01), 3000)[1000:]
    bound = drive(BudgetPacer(0.01, max_latency=1.2), 3000)[1000:]
    assert free[:, 2].mean() > 1.5
    assert bound[:, 2].mean() == pytest.approx(1.2, rel=0.05)


def test_the_base_objective_is_kept():
    base = Objective(cost_weight=50.0, min_quality=0.3, max_cost=0.1)
    objective = BudgetPacer(1.0, base).objective()
    assert (objective.cost_weight, objective.min_quality, objective.max_cost) == (50.0, 0.3, 0.1)


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=60), st.integers(0, 60))
@settings(max_examples=60, deadline=None)
def test_a_restored_pacer_goes_on_as_the_saved_one_would(costs, cut):
    pacer = BudgetPacer(0.01, Objective(min_quality=0.2), mode="hard", max_latency=2.0)
    for cost in costs[:cut]:
        pacer.update(cost, quality=0.5, latency=3.0 * cost)
        pacer.reserve(cost / 2.0)
    twin = BudgetPacer.restored(json.loads(json.dumps(pacer.state())))
    for cost in costs[cut:]:
        for each in (pacer, twin):
            each.update(cost, quality=0.5, latency=3.0 * cost)
    assert pacer.objective() == twin.objective()
    assert np.isfinite(pacer.objective().cost_weight)


def test_forgiving_keeps_the_price():
    pacer = BudgetPacer(0.002)
    drive(pacer, 500)
    before = pacer.objective()
    pacer.forgive()
    assert pacer.objective().cost_weight == pytest.approx(before.cost_weight)
    assert pacer.state()["dual"]["debt"] == 0.0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({}, "exactly one"),
        ({"budget": 0.1, "min_quality": 0.5}, "exactly one"),
        ({"budget": 0.0}, "budget is 0.0"),
        ({"budget": -1.0}, "budget is -1.0"),
        ({"budget": float("nan")}, "budget is nan"),
        ({"min_quality": 1.5}, "min_quality is 1.5"),
        ({"budget": 0.1, "max_latency": 0.0}, "max_latency is 0.0"),
        ({"budget": 0.1, "mode": "firm"}, "mode is 'firm'"),
        ({"min_quality": 0.5, "mode": "hard"}, "mode is 'hard'"),
    ],
)
def test_bounds_that_mean_nothing_are_refused(arguments, told):
    with pytest.raises(RoutelabError, match=told):
        BudgetPacer(**arguments)


@pytest.mark.parametrize("bad", [{"cost": -1.0}, {"cost": float("nan")}, {"cost": 0.1, "latency": float("inf")}])
def test_a_value_that_cannot_be_is_refused_and_changes_nothing(bad):
    pacer = BudgetPacer(0.002, max_latency=1.0)
    pacer.update(0.001, latency=2.0)
    before = pacer.state()
    with pytest.raises(RoutelabError, match="finite number"):
        pacer.update(**bad)
    assert pacer.state() == before
