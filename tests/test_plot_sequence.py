"""The figure of an A/B test over its looks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PolyCollection

from routelab.abtest.analysis import analyse_over_time
from routelab.abtest.plan import Metric, Plan
from routelab.plots import new_axes, plot_sequence, save_figure


@pytest.fixture(scope="module")
def sequence() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    variant = np.tile(["rules", "forest", "bandit"], 2_000)
    chance = np.select([variant == "forest", variant == "bandit"], [0.4, 0.33], 0.3)
    frame = pd.DataFrame({"unit": range(6_000), "variant": variant, "solved": rng.random(6_000) < chance})
    frame["cost"] = rng.lognormal(size=6_000)
    plan = Plan(
        dict.fromkeys(("rules", "forest", "bandit"), 1.0),
        (Metric("solved"), Metric("cost", lower_is_better=True, margin=0.4)),
        units=6_000,
    )
    return analyse_over_time(frame, plan, looks=[60, *range(300, 6_001, 300)])


def test_the_figure_shows_intervals_zero_and_the_moment_of_the_verdict(sequence: pd.DataFrame) -> None:
    ax = plot_sequence(sequence)
    solved = sequence[sequence["metric"] == "solved"]
    first = solved[solved["verdict"] != "continue"].iloc[0]
    legend = ax.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["forest", "bandit"]
    assert {text.get_text() for text in ax.texts} == {f"ship at {first['units']:,} units"}
    at = solved[(solved["units"] == first["units"]) & (solved["variant"] == "forest")].iloc[0]
    assert ax.get_title(loc="left").startswith(
        f"ship after {first['units']:,} units: solved of forest {at['low']:+.2g} to {at['high']:+.2g}, bandit "
    )
    straight = {tuple(one.get_ydata()) for one in ax.get_lines()}
    assert (0.0, 0.0) in straight
    band = next(c for c in ax.collections if isinstance(c, PolyCollection)).get_paths()[0].vertices
    assert np.isclose(band, [at["units"], at["high"]]).all(axis=1).any()
    assert band[:, 0].min() == 300  # at 60 units nothing is known
    assert "difference of solved" in ax.get_ylabel()
    assert "units" in ax.get_xlabel()


def test_a_guardrail_shows_its_margin_and_an_undecided_test_says_so(sequence: pd.DataFrame) -> None:
    cost = sequence[(sequence["metric"] == "cost") & (sequence["units"] <= 300)]
    ax = plot_sequence(cost)
    assert ax.get_title(loc="left").startswith("no verdict after 300 units: cost of forest ")
    assert (0.4, 0.4) in {tuple(one.get_ydata()) for one in ax.get_lines()}
    low, high = ax.get_ylim()
    assert low < cost["low"].replace(-np.inf, 0.0).min() < 0.4 < high


def test_a_figure_before_anything_is_known_is_drawn_all_the_same(sequence: pd.DataFrame) -> None:
    assert plot_sequence(sequence[sequence["units"] == 60]).get_title(loc="left").startswith("no verdict after 60")


def test_it_is_drawn_on_the_axes_given_and_is_the_same_png_each_time(tmp_path: Path, sequence: pd.DataFrame) -> None:
    given = new_axes()
    assert plot_sequence(sequence, ax=given, title="forest wins") is given
    assert given.get_title(loc="left") == "forest wins"
    first, second = (save_figure(plot_sequence(sequence), tmp_path / name).read_bytes() for name in ("a.png", "b.png"))
    assert first == second
