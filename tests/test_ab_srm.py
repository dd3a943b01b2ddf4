"""The sequential test for a sample-ratio mismatch."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.special import betaln

from experiments import splits
from routelab.abtest.plan import Metric, Plan
from routelab.abtest.srm import srm_p_value
from routelab.errors import RoutelabError


def test_a_sound_split_read_forty_times_is_seldom_accused_but_often_by_chi_square() -> None:
    counts = splits(0.5, np.arange(100, 4_001, 100), runs=2_000, seed=0)
    assert (srm_p_value(counts, [1, 1]).min(axis=1) <= 0.05).mean() <= 0.05
    small = (srm_p_value(counts, [1, 1], concentration=100.0).min(axis=1) <= 0.05).mean()
    assert 0.01 <= small <= 0.05  # a prior as narrow as the test is long: the bound is not empty
    chi_square = stats.chi2.sf(((counts - counts.sum(-1, keepdims=True) / 2) ** 2).sum(-1) * 2 / counts.sum(-1), 1)
    assert 0.27 <= (chi_square.min(axis=1) <= 0.05).mean() <= 0.35


@pytest.mark.parametrize(("share", "units"), [(0.505, 200_000), (0.51, 50_000)])
def test_a_crooked_split_is_found_in_time(share: float, units: int) -> None:
    counts = splits(share, np.linspace(0, units, 41).astype(int)[1:], runs=2_000, seed=1)
    assert (srm_p_value(counts, [1, 1]).min(axis=1) <= 0.05).mean() >= 0.9


def test_the_p_value_is_the_inverse_of_the_bayes_factor() -> None:
    a, b, c = 700.0, 500.0, 400.0
    log_factor = betaln(c / 2 + a, c / 2 + b) - betaln(c / 2, c / 2) - (a + b) * np.log(0.5)
    assert srm_p_value([a, b], [0.5, 0.5], concentration=c) == pytest.approx(np.exp(-log_factor))


def test_three_variants_of_unequal_shares() -> None:
    assert srm_p_value([6_000, 3_000, 1_000], [0.3, 0.15, 0.05]) == 1.0
    assert srm_p_value([6_000, 2_000, 2_000], [0.3, 0.15, 0.05]) < 1e-9


@pytest.mark.parametrize(("counts", "shares"), [([1, 2, 3], [1, 1]), ([-1, 2], [1, 1]), ([1, 2], [0, 1]), (3, [1, 1])])
def test_counts_that_do_not_fit_the_shares_are_refused(counts: object, shares: list[float]) -> None:
    with pytest.raises(RoutelabError, match="count ≥ 0"):
        srm_p_value(counts, shares)  # type: ignore[arg-type]


def test_a_plan_for_few_units_sees_the_loss_of_a_quarter_of_an_arm() -> None:
    """The prior of the default fits the size of the test: that for 100,000 units would see nothing here."""
    rng, looks = np.random.default_rng(0), np.arange(25, 1_001, 25)
    found = {}
    for units in (1_000, 100_000):
        concentration = Plan({"a": 0.5, "b": 0.5}, (Metric("q"),), units=units).concentration
        first = np.cumsum(rng.binomial(25, 1.0 / 1.75, size=(300, len(looks))), axis=1)  # b loses a quarter
        p = srm_p_value(np.stack([first, looks - first], axis=-1), [0.5, 0.5], concentration)
        found[units] = (p.min(axis=1) <= 0.05).mean()
    assert found[1_000] > 0.9
    assert found[100_000] < 0.1
