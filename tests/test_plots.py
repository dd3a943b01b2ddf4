from __future__ import annotations

import io
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_rgb
from matplotlib.text import Text
from scipy import stats

from drawing import recommendation
from routelab import plots

CURVES = {
    "forest": np.array([[0.004, 0.9], [0.001, 0.6], [0.002, 0.8]]),
    "best-single": np.array([[0.003, 0.7], [0.003, 0.7], [0.003, 0.7]]),
}
PROVIDERS = {"open/small": (0.001, 0.5), "open/large": (0.01, 0.85), "waste": (0.005, 0.4)}


def labels(ax: Axes) -> list[str]:
    legend = ax.get_legend()
    assert legend is not None
    return [text.get_text() for text in legend.get_texts()]


def line(ax: Axes, label: str) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    return next(np.asarray(one.get_xydata()) for one in ax.get_lines() if one.get_label() == label)


def regret(seeds: int = 4) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        [
            {"policy": policy, "seed": seed, "step": step, "regret": step * slope + rng.normal()}
            for policy, slope in (("thompson", 0.1), ("random", 0.5))
            for seed in range(seeds)
            for step in (1, 50, 100)
        ]
    )


def frontier(ax: Axes | None = None) -> Axes:
    cost, quality = CURVES["forest"][[1, 2, 0]].T
    singles = np.array([[0.001, 0.45, 0.55], [0.01, 0.8, 0.9]])
    bands = {"forest": np.column_stack([cost, quality - 0.05, quality + 0.02]), plots.HULL: singles}
    captured, chances = {"forest": (0.25, -0.01, 0.4)}, {"forest": np.array([1.0, 0.0, 0.5]), "waste": np.zeros(1)}
    title = "mmlu: forest wins"
    return plots.plot_frontier(CURVES, PROVIDERS, captured=captured, bands=bands, chances=chances, title=title, ax=ax)


def all_figures() -> dict[str, Axes]:
    return {
        "frontier": frontier(),
        "regret": plots.plot_regret(regret()),
        "shares": plots.plot_shares([0.0, 1.0, 10.0], np.array([[0.2, 0.8], [0.5, 0.5], [1.0, 0.0]]), ["a", "b"]),
        "importance": plots.plot_importance(["length", "embedding_000"], np.array([0.4, 0.6])),
    }


def test_the_frontier_names_policies_providers_units_and_finding() -> None:
    ax = frontier()
    assert labels(ax) == [
        "best mixture of fixed providers",
        "forest\n+0.25 of the gap [-0.01, +0.40]",
        "best-single",
        "size of a mark, % of a provider:\nprobability of being on the frontier",
    ]
    assert {text.get_text() for text in ax.texts} == {"small", "large", "waste, 0%"}
    assert ax.get_title(loc="left") == "mmlu: forest wins"
    assert ax.get_xscale() == "log"
    assert "USD" in ax.get_xlabel()
    assert "1,000 requests" in ax.get_xlabel()
    assert ax.get_ylabel() == "mean quality"


def test_the_frontier_draws_costs_per_thousand_requests_in_order() -> None:
    ax = frontier()
    path = line(ax, "forest\n+0.25 of the gap [-0.01, +0.40]")
    assert (np.diff(path[:, 0]) >= 0).all()
    assert path[[0, -1]] == pytest.approx(np.array([[1.0, 0.6], [4.0, 0.9]]))
    assert line(ax, "best-single") == pytest.approx(np.array([[3.0, 0.7]]))  # one setting is a mark, not a line
    marks = [tuple(xy) for dots in ax.collections for xy in np.asarray(dots.get_offsets()) if len(dots.get_offsets())]
    for cost, quality in PROVIDERS.values():
        assert any(mark == pytest.approx((cost * 1e3, quality)) for mark in marks)


def test_a_dot_grows_with_the_probability_of_its_setting() -> None:
    dots = next(c for c in frontier().collections if len(np.asarray(c.get_offsets())) == 3)
    assert np.asarray(dots.get_offsets()) == pytest.approx(CURVES["forest"] * [1e3, 1.0])
    sure, never, perhaps = dots.get_sizes()
    assert 0.0 < never < perhaps == sure / 2.0


def test_a_mixture_of_providers_is_straight_in_dollars_and_leaves_out_the_wasteful() -> None:
    hull = line(frontier(), "best mixture of fixed providers")
    straight = 0.5 + (hull[:, 0] - 1.0) * (0.85 - 0.5) / (10.0 - 1.0)
    assert len(hull) > 10
    assert hull[:, 1] == pytest.approx(straight)


def test_the_band_lies_around_the_curve_it_belongs_to() -> None:
    bands = [c for c in frontier().collections if isinstance(c, PolyCollection)]
    forest, singles = ({tuple(np.round(xy, 6)) for xy in band.get_paths()[0].vertices} for band in bands)
    assert {(1.0, 0.55), (1.0, 0.62), (2.0, 0.75), (2.0, 0.82), (4.0, 0.85), (4.0, 0.92)} <= forest
    assert {(1.0, 0.45), (1.0, 0.55), (10.0, 0.8), (10.0, 0.9)} <= singles
    assert bands[0].get_facecolor()[0, :3] == pytest.approx(sns.color_palette("colorblind")[0])


def test_regret_shows_the_mean_and_students_interval_over_seeds() -> None:
    data = regret()
    ax = plots.plot_regret(data, title="bandits learn")
    assert set(labels(ax)) == {"thompson", "random"}
    assert (ax.get_xlabel(), ax.get_title(loc="left")) == ("requests routed", "bandits learn")
    assert "utility" in ax.get_ylabel()
    last = data[(data["policy"] == "thompson") & (data["step"] == 100)]["regret"]
    half = stats.t.ppf(0.975, 3) * last.std() / 2.0
    lines = [np.asarray(one.get_xydata()) for one in ax.get_lines() if len(one.get_xydata()) == 3]
    assert any(one[-1] == pytest.approx((100, last.mean())) for one in lines)
    corners = np.vstack([c.get_paths()[0].vertices for c in ax.collections])
    for end in (last.mean() - half, last.mean() + half):
        assert np.isclose(corners, [100.0, end]).all(axis=1).any()


def test_regret_of_one_seed_is_drawn_without_an_interval() -> None:
    ax = plots.plot_regret(regret(seeds=1))
    assert set(labels(ax)) == {"thompson", "random"}


def test_shares_fill_the_axis_and_name_every_provider() -> None:
    ax = all_figures()["shares"]
    assert labels(ax) == ["b", "a"]  # as the areas lie on each other
    assert [text.get_text() for text in ax.get_xticklabels()] == ["0", "1", "10"]
    assert ax.get_ylim() == (0.0, 100.0)
    assert max(xy[1] for xy in ax.collections[-1].get_paths()[0].vertices) == pytest.approx(100.0)
    assert "quality per USD" in ax.get_xlabel()
    assert ax.get_ylabel() == "share of requests (%)"


def test_importance_counts_the_embedding_as_one_and_states_the_leader() -> None:
    names = ["length", *(f"embedding_{i:03d}" for i in range(4)), "hour_sin"]
    ax = plots.plot_importance(names, np.array([0.3, 0.1, 0.2, 0.1, 0.1, 0.2]), top=2)
    assert [text.get_text() for text in ax.get_yticklabels()] == ["text embedding (4 columns)", "length"]
    assert [text.get_text() for text in ax.texts] == ["50.0%", "30.0%"]
    assert ax.get_title(loc="left") == "text embedding (4 columns): 50% of the trees' decrease of impurity"


def test_every_figure_has_a_title_both_units_and_colours_for_the_colour_blind() -> None:
    palette = {tuple(np.round(colour, 4)) for colour in sns.color_palette("colorblind", 10)}
    for name, ax in all_figures().items():
        assert ax.get_title(loc="left"), name
        assert ax.get_xlabel(), name
        drawn = [one.get_color() for one in ax.get_lines() if one.get_color() != "0.45"]
        drawn += [patch.get_facecolor()[:3] for patch in ax.patches]
        colours = {tuple(np.round(to_rgb(colour), 4)) for colour in drawn}
        assert colours <= palette or name == "importance", name  # seaborn desaturates bars a little


def test_figures_are_drawn_on_the_axes_given_and_leave_the_defaults_alone() -> None:
    before = dict(mpl.rcParams)
    given = plots.new_axes()
    assert frontier(given) is given
    all_figures()
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize("name", ["frontier", "regret", "shares", "importance"])
def test_the_same_figure_is_the_same_png(tmp_path: Path, name: str) -> None:
    paths = [
        plots.save_figure(all_figures()[name], tmp_path / folder / f"{name}.png") for folder in ("one", "two/deeper")
    ]
    first, second = (path.read_bytes() for path in paths)
    assert first.startswith(b"\x89PNG")
    assert first == second
    for stamp in (b"tEXt", b"tIME", b"matplotlib"):
        assert stamp not in first


def test_other_numbers_are_another_png(tmp_path: Path) -> None:
    one = plots.save_figure(plots.plot_importance(["a", "b"], np.array([0.6, 0.4])), tmp_path / "one.png")
    other = plots.save_figure(plots.plot_importance(["a", "b"], np.array([0.5, 0.5])), tmp_path / "other.png")
    assert one.read_bytes() != other.read_bytes()


def test_a_dollar_in_a_name_starts_no_formula() -> None:
    name = r"$x_1$ $\frac"
    singles = {name: (0.001, 0.5), "other": (0.01, 0.85)}
    figure = plots.plot_frontier({name: CURVES["forest"]}, singles, title=f"always {name}").get_figure(root=True)
    assert figure is not None
    figure.savefig(io.BytesIO(), format="png")
    told = [text for text in figure.findobj(Text) if isinstance(text, Text) and "$" in text.get_text()]
    assert told
    assert not any(text.get_parse_math() for text in told)


def test_a_cheaper_provider_below_the_edge_of_a_recommendation_is_told() -> None:
    assert not [text for text in recommendation().texts if text.get_text().startswith("not shown")]
    ax = recommendation(worst=-0.4)
    (told,) = [text.get_text() for text in ax.texts if text.get_text().startswith("not shown")]
    assert told == "not shown: 1 cheaper provider (small), may lose 0.06 or more"


def test_a_decision_tells_providers_of_the_same_last_name_apart() -> None:
    ax = plots.plot_decision(["openai/gpt-4", "azure/gpt-4"], np.array([0.5, 0.9]), np.array([0.4, 0.6]), 1)
    assert [text.get_text() for text in ax.get_yticklabels()] == ["openai/gpt-4", "▶ azure/gpt-4"]
    assert ax.get_title(loc="left").startswith("azure/gpt-4 is chosen")


def test_no_control_or_direction_sign_of_a_name_reaches_a_figure() -> None:
    name = "gpt\u202e-4\x07\x1b[31m"
    ax = plots.plot_frontier({name: CURVES["forest"]}, {name: (0.001, 0.5), "b": (0.01, 0.85)})
    figure = ax.get_figure(root=True)
    assert figure is not None
    told = [text.get_text() for text in figure.findobj(Text) if isinstance(text, Text)]
    assert sum("gpt -4 [31m" in text for text in told) == 3  # the title, the legend, the provider
    assert all(line.isprintable() for text in told for line in text.split("\n"))


def test_a_recommendation_is_drawn_as_low_as_its_data_and_not_below_minus_one() -> None:
    assert -0.5 < recommendation(worst=-0.3, tolerance=0.2).get_ylim()[0] < -0.3
    assert recommendation(worst=-0.995, tolerance=0.2).get_ylim()[0] >= -1.0
