"""The bootstrap of the frontier: probabilities that mean something, bands that cover the truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from routelab.errors import RoutelabError
from routelab.evaluation.crossfit import Curve
from routelab.evaluation.frontier import Candidates, curve_band, hull_of, resampled_means
from routelab.hull import mean_heights, upper_hull
from routelab.pareto import frontier_shares, pareto_mask, path_heights


def chances(quality: np.ndarray, cost: np.ndarray, resamples: int = 400, seed: int = 0) -> np.ndarray:
    means = resampled_means(Curve(quality, cost), resamples, np.random.default_rng(seed))
    return frontier_shares(means.cost, means.quality)


def test_the_share_is_that_of_the_rows_in_which_nobody_dominates() -> None:
    rng = np.random.default_rng(0)
    cost, quality = rng.integers(0, 6, size=(2, 50, 9)).astype(float)
    expected = np.zeros(9)
    for c, q in zip(cost, quality, strict=True):
        for j in range(9):
            expected[j] += not ((c <= c[j]) & (q >= q[j]) & ((c < c[j]) | (q > q[j]))).any()
    assert frontier_shares(cost, quality) == pytest.approx(expected / 50)


def test_of_two_equals_each_is_on_the_frontier_half_of_the_time() -> None:
    found = []
    for seed in range(80):
        rng = np.random.default_rng(seed)
        found.append(chances(rng.random((100, 2)), np.ones((100, 2)), seed=seed))
    assert np.mean(found, axis=0) == pytest.approx([0.5, 0.5], abs=0.1)
    assert np.sum(found, axis=1) == pytest.approx(np.ones(80))  # no ties among continuous grades
    assert np.std(found) == pytest.approx(np.sqrt(1 / 12), abs=0.07)  # uniform, as a p-value of equals is


def test_the_dominated_by_far_is_never_on_it_and_its_better_always() -> None:
    rng = np.random.default_rng(0)
    quality = np.clip(rng.normal([0.5, 0.9, 0.7], 0.1, size=(300, 3)), 0.0, 1.0)
    cost = rng.gamma(5.0, [0.1, 1.0, 2.0], size=(300, 3))
    assert chances(quality, cost).tolist() == [1.0, 1.0, 0.0]


def test_candidates_are_compared_on_the_same_prompts() -> None:
    """The second is better by a hair on every prompt: their intervals overlap, yet the first never leads."""
    hard = np.random.default_rng(0).random((200, 1)) * 0.9
    assert chances(np.hstack([hard, hard + 0.001]), np.ones((200, 2))).tolist() == [0.0, 1.0]


def test_settings_that_choose_alike_share_their_fate() -> None:
    rng = np.random.default_rng(3)
    quality, cost = rng.random((300, 5)), rng.random((300, 5)) * 1e-6
    which = rng.integers(0, 5, size=211)
    found = chances(quality[:, which], cost[:, which])
    for one in range(5):
        assert len(set(found[which == one])) == 1
    assert found[:5] == pytest.approx(chances(quality, cost)[which[:5]])


def test_providers_without_a_price_are_compared_by_quality_alone() -> None:
    rng = np.random.default_rng(0)
    quality = np.clip(rng.normal([0.4, 0.8], 0.1, size=(100, 2)), 0.0, 1.0)
    assert chances(quality, np.zeros((100, 2))).tolist() == [0.0, 1.0]


def test_heights_lie_on_the_path_and_are_flat_beyond_it() -> None:
    rng = np.random.default_rng(0)
    cost, quality = rng.random((2, 20, 7))
    grid = np.linspace(-0.2, 1.2, 4001)
    heights = path_heights(cost, quality, grid)
    exact = mean_heights(cost, quality, np.full(20, -0.2), np.full(20, 1.2))
    assert np.trapezoid(heights, grid, axis=1) / 1.4 == pytest.approx(exact, abs=1e-3)
    rows = np.arange(20)
    assert heights[:, 0] == pytest.approx(quality[rows, cost.argmin(axis=1)])
    assert heights[:, -1] == pytest.approx(quality[rows, cost.argmax(axis=1)])


def test_a_band_starts_and_ends_with_its_settings_and_passes_through_each() -> None:
    means = Curve(np.array([[0.5, 0.7, 0.6]] * 3), np.array([[3.0, 10.0, 1.0]] * 3))
    grid, low, high = curve_band(np.array([3.0, 10.0, 1.0]), means).T
    assert (grid[0], grid[-1]) == (1.0, 10.0)
    assert low == pytest.approx(high)
    for cost, quality in ((1.0, 0.6), (3.0, 0.5), (10.0, 0.7)):
        assert low[np.isclose(grid, cost)] == pytest.approx(quality)


TRUE_COST, TRUE_QUALITY = np.array([1.0, 4.0, 10.0, 6.0]), np.array([0.4, 0.7, 0.8, 0.5])


@pytest.mark.parametrize("kind", ["hull", "path"])
def test_the_band_covers_the_true_curve_in_95_of_100_samples(kind: str) -> None:
    prompts, samples = 120, 250
    hull = upper_hull(TRUE_COST, TRUE_QUALITY)
    at = np.array([1.5, 3.0, 5.0, 7.0, 9.0])
    points = hull if kind == "hull" else np.argsort(TRUE_COST)
    truth = np.interp(at, TRUE_COST[points], TRUE_QUALITY[points])
    covered = np.zeros((samples, len(at)), dtype=bool)
    for sample in range(samples):
        rng = np.random.default_rng(sample)
        graded = (rng.random((prompts, 4)) < TRUE_QUALITY).astype(float)
        means = resampled_means(Curve(graded, rng.gamma(20.0, TRUE_COST / 20.0, size=(prompts, 4))), 200, rng)
        grid, low, high = curve_band(TRUE_COST, hull_of(means) if kind == "hull" else means).T
        covered[sample] = (np.interp(at, grid, low) <= truth) & (truth <= np.interp(at, grid, high))
    assert covered.mean() == pytest.approx(0.95, abs=0.02)
    assert covered.mean(axis=0).min() > 0.90


def test_an_undisputed_setting_is_on_the_frontier_of_the_means() -> None:
    rng = np.random.default_rng(1)
    quality, cost = rng.random((400, 30)), rng.gamma(2.0, rng.random(30), size=(400, 30))
    found = chances(quality, cost)
    mask = pareto_mask(np.column_stack([cost.mean(axis=0), quality.mean(axis=0)]))
    assert mask[found > 0.95].all()
    assert not mask[found < 0.05].any()
    assert ((found >= 0.0) & (found <= 1.0)).all()


def candidates() -> Candidates:
    rng = np.random.default_rng(0)
    curves = {"forest": Curve(*rng.random((2, 6, 3))), "rule": Curve(*rng.random((2, 6, 1)))}
    made = Candidates.of({name: (np.arange(curve.cost.shape[1]) * 1.5, curve) for name, curve in curves.items()})
    return made.and_providers(["a", "b"], *rng.random((2, 6, 2)))


def test_candidates_come_back_from_their_file(tmp_path: Path) -> None:
    made = candidates()
    assert made.names.tolist() == ["a", "b", "forest", "forest", "forest", "rule"]
    assert made.cost_weights[2:].tolist() == [0.0, 1.5, 3.0, 0.0]
    assert np.isnan(made.cost_weights[:2]).all()
    made.write(tmp_path / "outcomes.npz")
    back = Candidates.read(tmp_path / "outcomes.npz")
    np.testing.assert_array_equal(back.points, made.points)
    np.testing.assert_array_equal(back.names, made.names)
    forest = back.only(back.names == "forest")
    np.testing.assert_array_equal(forest.outcomes.quality, made.outcomes.quality[:, 2:5])
    np.testing.assert_array_equal(forest.points[:, 0], made.outcomes.cost[:, 2:5].mean(axis=0))


def test_a_file_of_something_else_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "outcomes.npz", names=np.array(["a"]))
    with pytest.raises(RoutelabError, match=r"outcomes.npz is damaged \(it has no 'cost_weights'\); remove it"):
        Candidates.read(tmp_path / "outcomes.npz")
