from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routelab import DriftMonitor, RoutelabError
from routelab.drift import Drift

Residuals = np.ndarray[tuple[int], np.dtype[np.float64]]


def noise(n: int, seed: int, mean: float = 0.85, sd: float = 0.11) -> Residuals:
    """Residuals of a quality that is Beta distributed with this mean and deviation, and expected rightly."""
    total = mean * (1.0 - mean) / sd**2 - 1.0
    return np.random.default_rng(seed).beta(mean * total, (1.0 - mean) * total, n) - mean


def drifts(monitor: DriftMonitor, residuals: Residuals, provider: str = "a") -> list[tuple[int, Drift]]:
    """Number of residuals after which a drift showed, and the drift."""
    found = ((n, monitor.update(provider, one)) for n, one in enumerate(residuals.tolist(), 1))
    return [(n, drift) for n, drift in found if drift is not None]


@pytest.mark.parametrize("kind", ["beta", "likely", "fair"])
def test_nothing_is_noticed_while_nothing_changes(kind: str) -> None:
    rng = np.random.default_rng(7)
    stream = {
        "beta": noise(100_000, 7),
        "likely": (rng.random(100_000) < 0.85) - 0.85,
        "fair": (rng.random(100_000) < 0.5) - 0.5,
    }[kind]
    assert drifts(DriftMonitor(), stream) == []


@pytest.mark.parametrize("change", [-0.17, 0.17])
def test_a_change_is_noticed_soon_and_placed_where_it_was(change: float) -> None:
    delays, placed, told = [], [], []
    for seed in range(30):
        stream = np.concatenate([noise(500, seed, 0.7), noise(200, 100 + seed, 0.7) + change])
        (noticed, drift), *_ = drifts(DriftMonitor(), stream)
        delays.append(noticed - 500)
        placed.append(noticed - 500 - drift.recent)
        told.append(drift.after)
        assert drift.before == pytest.approx(0.0, abs=0.03)
    assert np.mean(told) == pytest.approx(change, abs=0.04)
    assert np.median(delays) <= 30
    assert min(delays) > 0
    assert np.abs(placed).max() <= 10


@given(
    st.lists(st.floats(-0.05, 0.05), min_size=3, max_size=40),
    st.lists(st.floats(-0.05, 0.05), min_size=3, max_size=40),
    st.sampled_from([-0.8, -0.4, 0.4, 0.8]),
)
def test_a_clear_step_is_placed_exactly(before: list[float], after: list[float], step: float) -> None:
    drift = Drift.located("a", before + [step + value for value in after])
    assert drift.recent == len(after)
    assert drift.before == pytest.approx(np.mean(before), abs=1e-8)
    assert drift.after == pytest.approx(step + np.mean(after), abs=1e-8)


def test_what_is_expected_at_first_may_be_wrong() -> None:
    learning = noise(1_000, 0) + 0.4 * (np.arange(1_000) < 30)  # a bandit that starts from 0.45
    assert drifts(DriftMonitor(), learning) == []
    assert drifts(DriftMonitor(warm_up=0), learning) != []


def test_after_a_drift_the_next_one_is_noticed_too() -> None:
    monitor = DriftMonitor()
    dropped = [noise(500, 1), noise(100, 2) - 0.3, noise(500, 3), noise(300, 4) + 0.3]
    found = drifts(monitor, np.concatenate(dropped))
    assert [round(drift.after, 1) for _, drift in found] == [-0.3, 0.0, 0.3][: len(found)]
    assert 500 < found[0][0] <= 600
    assert 1_100 < found[-1][0] <= 1_200


def test_providers_are_watched_apart_and_start_anew_on_request() -> None:
    monitor = DriftMonitor()
    assert drifts(monitor, noise(500, 1), "a") == drifts(monitor, noise(500, 2), "b") == []
    assert drifts(monitor, noise(300, 3), "a") == []
    assert len(drifts(monitor, noise(100, 4) - 0.3, "b")) == 1
    monitor.restart("a")
    monitor.restart("nobody")
    assert drifts(monitor, noise(300, 5) - 0.3, "a") == []  # new level, nothing to compare it with


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"delta": 0.0}, r"DriftMonitor.delta is 0.0; give a probability in \(0, 1\)"),
        ({"delta": float("nan")}, "DriftMonitor.delta is nan"),
        ({"clock": 0}, "DriftMonitor.clock is 0; give an int ≥ 1"),
        ({"warm_up": -1}, "DriftMonitor.warm_up is -1; give an int ≥ 0"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(RoutelabError, match=message):
        DriftMonitor(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("residual", [float("nan"), float("inf"), None])
def test_a_residual_that_is_no_number_is_refused_and_not_learned(residual: float) -> None:
    monitor, undisturbed = DriftMonitor(), DriftMonitor()
    for one in (monitor, undisturbed):
        assert drifts(one, noise(400, 1)) == []
    with pytest.raises(RoutelabError, match=r"the residual of 'a' is .*; give a finite number"):
        monitor.update("a", residual)
    later = noise(200, 2) - 0.2
    assert drifts(monitor, later) == drifts(undisturbed, later) != []
