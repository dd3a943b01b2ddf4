"""metrics.py, the cross-fitted hull, the bootstrap: values worked out by hand, and simulations of what is claimed."""

from __future__ import annotations

import numpy as np
import pytest

from routelab import metrics
from routelab.errors import RoutelabError
from routelab.evaluation.bootstrap import Interval, bootstrap_mean, percentile_interval, resample_weights
from routelab.evaluation.crossfit import Curve, cross_fit, hull_gap_captured, oracle_curve
from routelab.hull import upper_hull

SWEEP = np.append(0.0, np.geomspace(0.1, 1e4, 31))


def world(n, rng, providers=4, signal=0.25):
    """Success probabilities that turn with a visible difficulty, outcomes drawn from them, costs apart from both."""
    difficulty = rng.random(n) - 0.5
    chance = np.linspace(0.55, 0.85, providers) + 2 * signal * np.outer(difficulty, np.linspace(-1, 1, providers))
    chance = chance.clip(0.02, 0.98)
    cost = np.geomspace(1e-4, 1e-2, providers) * rng.gamma(4.0, 0.25, (n, providers))
    return chance, (rng.random((n, providers)) < chance).astype(float), cost


def played(arms, quality, cost):
    return Curve(np.take_along_axis(quality, arms, axis=1), np.take_along_axis(cost, arms, axis=1))


def plug_in(score, quality, cost):
    """The curve of a router that maximises score − λ·mean cost."""
    arms = [np.argmax(score - weight * cost.mean(axis=0), axis=1) for weight in SWEEP]
    return played(np.stack(arms, axis=1), quality, cost)


def noise_table(seed, n=400):
    """Two providers, alike on every prompt, and a router whose 32 settings send random prompts to the better one."""
    rng = np.random.default_rng(seed)
    quality = (rng.random((n, 2)) < [0.6, 0.8]).astype(float)
    cost = np.array([1e-4, 1e-2]) * rng.gamma(4.0, 0.25, (n, 2))
    arms = (rng.random((n, 32)) < np.linspace(0.0, 1.0, 32)).astype(int)
    return rng, quality, cost, played(arms, quality, cost)


def hindsight_gap(curve, quality, cost):
    """Hull gap captured without cross-fitting, for comparison."""
    price = cost.mean(axis=0)
    cheap = price.argmin()

    def area(points):
        return metrics.aiq(
            np.append(price[cheap], points.cost.mean(axis=0)),
            np.append(quality[:, cheap].mean(), points.quality.mean(axis=0)),
            price.min(),
            price.max(),
        )

    single = area(Curve(quality, cost))
    return (area(curve) - single) / (area(oracle_curve(quality, cost)) - single)


def slow_aiq(curve, quality, cost, weights, partitions):
    """The definition in METRICS.md, a prompt half at a time, with np.interp and np.trapezoid."""
    price = cost.mean(axis=0)
    cheap, dear = price.argmin(), price.argmax()
    q = np.column_stack([quality[:, cheap], curve.quality])
    c = np.column_stack([cost[:, cheap], curve.cost])
    areas = []
    for half in partitions:
        for a in (half, ~half):
            b = ~a
            chosen = (np.round(np.average(m, 0, weights[a]), 12) for m in (c[a] / cost.mean(0).max(), q[a]))
            hull = upper_hull(*chosen)
            x, y = np.average(c[b], 0, weights[b])[hull], np.average(q[b], 0, weights[b])[hull]
            x, y = x[np.argsort(x)], y[np.argsort(x)]
            low, high = (np.average(cost[b, end], weights=weights[b]) for end in (cheap, dear))
            grid = np.concatenate([[low], x[(x > low) & (x < high)], [high]])
            areas.append(np.trapezoid(np.interp(grid, x, y), grid) / (high - low))
    return np.mean(areas)


def test_cross_fit_equals_the_definition_step_by_step():
    rng = np.random.default_rng(0)
    chance, quality, cost = world(150, rng)
    curve = plug_in(chance, quality, cost)
    fitted = cross_fit({"router": curve}, quality, cost, np.random.default_rng(7), n_resamples=3, n_partitions=2)
    again = np.random.default_rng(7)
    partitions = [again.permutation(150) < 75 for _ in range(2)]
    draws = np.concatenate([np.ones((1, 150)), next(resample_weights(150, 3, again))])
    for name, reached, points in (
        ("router", fitted.aiq["router"], curve),
        ("single", fitted.single, Curve(quality, cost)),
        ("oracle", fitted.oracle, oracle_curve(quality, cost)),
    ):
        expected = [slow_aiq(points, quality, cost, weights, partitions) for weights in draws]
        np.testing.assert_allclose(reached, expected, rtol=1e-10, err_msg=name)


def test_cross_fitted_aiq_of_identical_prompts_is_the_area_by_hand():
    quality, cost = np.tile([0.4, 0.8, 0.7], (40, 1)), np.tile([1.0, 3.0, 5.0], (40, 1))
    curve = np.tile([0.9], (40, 1)), np.tile([2.0], (40, 1))
    fitted = cross_fit({"router": curve}, quality, cost, np.random.default_rng(0), n_resamples=5)
    # Single hull: .4 rises to .8 over [1, 3], then flat to 5. Router: .4 rises to .9 over [1, 2], then flat to 5.
    assert fitted.single[0] == pytest.approx((2 * 0.6 + 2 * 0.8) / 4)
    assert fitted.aiq_interval("router").estimate == pytest.approx((1 * 0.65 + 3 * 0.9) / 4)
    with pytest.raises(RoutelabError, match="no gap"):
        fitted.hull_gap_captured("router")


def test_the_oracle_captures_one_and_the_single_providers_nothing():
    rng = np.random.default_rng(0)
    _, quality, cost = world(300, rng)
    curves = {"oracle": oracle_curve(quality, cost), "singles": Curve(quality, cost)}
    fitted = cross_fit(curves, quality, cost, rng, n_resamples=50)
    assert fitted.hull_gap_captured("oracle") == Interval(1.0, 1.0, 1.0)
    assert fitted.hull_gap_captured("singles") == Interval(0.0, 0.0, 0.0)


def test_the_oracle_takes_the_cheapest_among_equals():
    curve = oracle_curve([[1.0, 1.0], [0.0, 1.0]], [[0.2, 0.1], [0.2, 0.3]], cost_weights=[0.0])
    assert curve.cost.ravel().tolist() == [0.1, 0.3]


def test_a_router_that_ignores_prompts_captures_nothing_and_hindsight_says_otherwise():
    crossed, hindsight = [], []
    for seed in range(30):
        rng, quality, cost, curve = noise_table(seed)
        crossed.append(cross_fit({"noise": curve}, quality, cost, rng, n_resamples=2).captured("noise")[0])
        hindsight.append(hindsight_gap(curve, quality, cost))
    error = np.std(crossed, ddof=1) / np.sqrt(30)
    assert abs(np.mean(crossed)) <= 0.005 + 2 * error
    assert error < 0.01
    assert np.mean(hindsight) > 0.04


def test_the_interval_of_a_useless_router_rarely_excludes_zero():
    excluded = 0
    for seed in range(20):
        rng, quality, cost, curve = noise_table(100 + seed)
        interval = hull_gap_captured(*curve, quality, cost, rng, n_resamples=100)
        excluded += not interval.low <= 0.0 <= interval.high
    assert excluded <= 3


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(99)
    chance, quality, cost = world(60_000, rng)
    huge = cross_fit({"router": plug_in(chance, quality, cost)}, quality, cost, rng, n_resamples=2, n_partitions=1)
    truth = huge.captured("router")[0]
    hits = 0
    for seed in range(40):
        rng = np.random.default_rng(1000 + seed)
        chance, quality, cost = world(300, rng)
        interval = hull_gap_captured(*plug_in(chance, quality, cost), quality, cost, rng, n_resamples=100)
        hits += interval.low <= truth <= interval.high
    assert truth > 0.1
    assert 0.85 <= hits / 40 <= 1.0


def test_the_paired_difference_of_a_curve_with_itself_is_zero_and_of_like_curves_tighter_than_apart():
    rng = np.random.default_rng(3)
    chance, quality, cost = world(400, rng)
    curves = {
        "better": plug_in(chance, quality, cost),
        "worse": plug_in(chance + 0.02 * rng.normal(size=chance.shape), quality, cost),
    }
    fitted = cross_fit(curves, quality, cost, rng, n_resamples=300)
    assert fitted.paired_difference("better", "better") == Interval(0.0, 0.0, 0.0)
    pair, alone = fitted.paired_difference("better", "worse"), fitted.hull_gap_captured("better")
    assert pair.estimate == pytest.approx(alone.estimate - fitted.hull_gap_captured("worse").estimate)
    assert pair.high - pair.low < alone.high - alone.low


def test_the_same_seed_gives_the_same_interval():
    _, quality, cost, curve = noise_table(0)
    first, second = (hull_gap_captured(*curve, quality, cost, np.random.default_rng(5), 50) for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"quality": [[0.5, np.nan]] * 10}, "quality is nan at row 0, column 1"),
        ({"cost": [[0.1, 0.2]] * 9}, r"quality \(10, 2\), cost \(9, 2\)"),
        ({"cost": [[0.1, 0.1]] * 10}, "every provider costs 0.1 USD on average"),
        ({"cost": [[0.0, 0.0]] * 10}, "every provider costs 0 USD on average"),
        ({"curves": {"mine": (np.zeros((10, 33)), np.zeros((10, 33)))}}, "curve 'mine' .* 1 to 32 settings"),
        ({"curves": {"mine": (np.zeros((9, 3)), np.zeros((9, 3)))}}, "curve 'mine' .*10 prompts"),
        (
            {"curves": {"mine": (np.full((10, 1), np.nan), np.zeros((10, 1)))}},
            "quality of curve 'mine' is nan",
        ),
        ({"n_partitions": 0}, "0 partitions"),
        ({"cost_weights": np.zeros(33)}, "curve 'oracle' .* 1 to 32 settings"),
        ({"n_resamples": 1}, "1 resamples"),
        ({"quality": [[0.5, 0.6]], "cost": [[0.1, 0.2]], "curves": {}}, "≥ 2 prompts"),
    ],
)
def test_cross_fit_refuses_what_it_cannot_score(change, message):
    given = {"curves": {}, "quality": [[0.5, 0.6]] * 10, "cost": [[0.1, 0.2]] * 10, **change}
    with pytest.raises(RoutelabError, match=message):
        cross_fit(**given, rng=np.random.default_rng(0))


def test_every_resample_draws_n_prompts_in_blocks_of_bounded_size():
    blocks = list(resample_weights(1_500_000, 3, np.random.default_rng(0)))
    assert [block.shape[0] for block in blocks] == [2, 1]
    assert all((block.sum(axis=1) == 1_500_000).all() for block in blocks)
    weights = np.concatenate(list(resample_weights(20, 4000, np.random.default_rng(0))))
    assert weights.mean(axis=0) == pytest.approx(1.0, abs=0.08)
    assert weights.var() == pytest.approx(1 - 1 / 20, abs=0.02)


def test_bootstrap_mean_has_the_width_of_the_standard_error():
    values = np.random.default_rng(0).normal(size=500)
    interval = bootstrap_mean(values, 4000, np.random.default_rng(1))
    assert interval.estimate == values.mean()
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * values.std() / np.sqrt(500), rel=0.05)
    with pytest.raises(RoutelabError, match="bootstrap of 0 prompts"):
        bootstrap_mean([], 10, np.random.default_rng(0))


def test_undefined_replicates_do_not_move_the_interval():
    assert percentile_interval(1.0, np.array([0.0, np.nan, 2.0])) == percentile_interval(1.0, np.array([0.0, 2.0]))


def test_aiq_integrates_the_hull_cut_to_the_shared_interval():
    # From .2 at 1 to .8 at 3 (.5 at 2 lies on it), flat to 4: (2·.5 + 1·.8) / 3.
    assert metrics.aiq([1.0, 2.0, 3.0, 6.0], [0.2, 0.4, 0.8, 0.8], 1.0, 4.0) == pytest.approx(0.6)
    assert metrics.aiq([0.0, 4.0], [0.0, 0.8], 1.0, 3.0) == pytest.approx(0.4)
    with pytest.raises(RoutelabError, match="starts at cost 2, after c_min 1"):
        metrics.aiq([2.0], [0.5], 1.0, 3.0)
    with pytest.raises(RoutelabError, match="not below c_max"):
        metrics.aiq([1.0], [0.5], 1.0, 1.0)


def test_regret_adds_up_against_both_opponents():
    utility = np.array([[0.2, 1.0], [0.6, 0.0], [0.3, 0.9]])
    chosen = utility[np.arange(3), [0, 0, 1]]
    assert metrics.regret(utility, chosen) == pytest.approx([0.8, 0.8, 0.8])
    assert metrics.regret_to_best_fixed(utility, chosen) == pytest.approx([0.8, 0.2, 0.2])


def test_calibration_bins_are_tenths_and_the_last_is_closed():
    # Bin .0-.1: |.05 − 0|; bin .9-1, its upper end included: |.95 − 1 + 1 − .7|.
    error = metrics.expected_calibration_error([0.05, 0.95, 1.0], [0.0, 1.0, 0.7])
    assert error == pytest.approx((0.05 + 0.25) / 3)
    assert metrics.expected_calibration_error([1.2, -0.2], [1.0, 0.0]) == pytest.approx(0.2)
    assert metrics.brier_score([0.1, 0.8], [0.0, 1.0]) == pytest.approx(0.025)


def test_a_perfect_model_shows_the_calibration_error_of_its_sample_size():
    rng = np.random.default_rng(0)
    shown = []
    for _ in range(200):
        chance = rng.uniform(0.4, 1.0, 440)
        shown.append(metrics.expected_calibration_error(chance, rng.random(440) < chance))
    assert 0.02 < np.mean(shown) < 0.045


def test_the_strong_share_curve_sends_equal_scores_together():
    share, quality = metrics.strong_share_curve([0.5, 0.9, 0.5, 0.1], [0, 0, 1, 1], [1, 1, 1, 0])
    assert share.tolist() == [0.0, 0.25, 0.75, 1.0]
    assert quality.tolist() == [0.5, 0.75, 1.0, 0.75]


def test_apgr_spans_all_shares_and_cpt_stops_at_the_first_crossing():
    # PGR 0, .8, .4, 1 at α 0, .25, .5, 1.
    curve = {"share": [0.25, 0.5], "quality": [0.4, 0.2], "weak": 0.0, "strong": 0.5}
    assert metrics.apgr(**curve) == pytest.approx(0.25 * 0.4 + 0.25 * 0.6 + 0.5 * 0.7)
    assert metrics.apgr([], [], 0.0, 0.5) == 0.5
    assert metrics.cpt(**curve, level=0.4) == pytest.approx(0.125)
    assert metrics.cpt(**curve, level=0.6) == pytest.approx(0.25 * 0.6 / 0.8)
    assert metrics.cpt(**curve, level=0.8) == pytest.approx(0.25)
    assert metrics.cpt(**curve, level=0.85) == pytest.approx(0.5 + 0.5 * 0.45 / 0.6)
    assert metrics.cpt(**curve, level=1.0) == 1.0


def test_a_random_score_has_apgr_one_half():
    rng = np.random.default_rng(0)
    weak, strong = rng.random(20_000) < 0.4, rng.random(20_000) < 0.8
    curve = metrics.strong_share_curve(rng.random(20_000), weak, strong)
    assert metrics.apgr(*curve, weak.mean(), strong.mean()) == pytest.approx(0.5, abs=0.01)


def test_gain_and_saving_against_best_single():
    assert metrics.perf_gain([0.5, 0.9], best_single=0.6) == pytest.approx(0.5)
    assert metrics.cost_save([1.0, 2.0, 3.0], [0.5, 0.6, 0.7], best_cost=8.0, best_quality=0.6) == 0.75
    assert np.isnan(metrics.cost_save([1.0], [0.5], best_cost=8.0, best_quality=0.6))
    assert metrics.cost_save([3.0], [0.6], best_cost=2.0, best_quality=0.6) == -0.5


def test_pareto_distance_scales_both_axes_over_all_points():
    # Axes span 4 and .8; the frontier is (0, .1) and (4, .9). (4, .5) lies half a span below the latter.
    points, rivals = [[4.0, 0.5], [0.0, 0.1]], [[4.0, 0.9], [2.0, 0.1]]
    assert metrics.pareto_distance(points, rivals) == pytest.approx((0.5 + 0.0) / 2)
    assert metrics.pareto_distance([[1.0, 0.5]], [[1.0, 0.5]]) == 0.0


def test_arena_score_of_worked_cases():
    # K = ½ where c is the geometric mean of both ends: S = 1.1·.8·.5 / (.08 + .5).
    assert metrics.arena_score(0.8, np.sqrt(200 * 0.0044) / 1000) == pytest.approx(0.44 / 0.58)
    assert metrics.arena_score(0.8, 1e-9) == pytest.approx(1.1 * 0.8 / 1.08)
    assert metrics.arena_score(0.8, 1.0) == 0.0
    assert metrics.arena_score(0.0, 1.0) == 0.0


def test_gains_are_published_both_ways():
    quality, baseline, task = [1.0, 1.0, 0.2, 0.2], [0.5, 0.5, 0.2, 0.4], ["a", "a", "b", "b"]
    assert metrics.gain(quality, baseline) == pytest.approx(2.4 / 1.6 - 1)
    assert metrics.task_gain(quality, baseline, task) == pytest.approx((1.0 + (0.4 / 0.6 - 1)) / 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.gain([0.5], [0.0]), "mean of baseline"),
        (lambda: metrics.perf_gain([0.5], 0.0), "best_single is 0.0"),
        (lambda: metrics.brier_score([0.5], [0.5, 0.5]), "predicted has 1 entries, observed 2"),
        (lambda: metrics.brier_score([np.nan], [0.5]), "predicted is nan at row 0"),
        (lambda: metrics.expected_calibration_error([], []), "at least one"),
        (lambda: metrics.apgr([1.5], [0.5], 0.0, 1.0), r"shares in \[0, 1\]"),
        (lambda: metrics.apgr([0.5], [0.5], 0.7, 0.7), "not above weak"),
        (lambda: metrics.cpt([0.5], [0.5], 0.0, 1.0, level=0.0), r"level is 0.0"),
        (lambda: metrics.strong_share_curve([0.5], [0.5], []), "have 1, 1, 0 entries"),
        (lambda: metrics.oracle_curve([[0.5, 0.6]], [[0.1]]), r"quality has shape \(1, 2\), cost \(1, 1\)"),
        (lambda: metrics.arena_score(0.5, 0.0), "a cost above 0"),
        (lambda: metrics.regret([[0.5, np.nan]], [0.5]), "utility is nan at row 0, column 1"),
        (lambda: metrics.regret([[0.5, 0.1], [0.5, 0.1]], [0.5]), "utility has 2 rows, chosen 1"),
        (lambda: metrics.pareto_distance([[0.5]], [[0.5, 0.5]]), "points has 1 columns"),
        (lambda: metrics.task_gain([0.5], [0.5], ["a", "b"]), "task has 2 labels"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(RoutelabError, match=message):
        call()
