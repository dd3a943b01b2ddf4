"""Every figure looks as its reference, holds at the edges of its input, and reads in grey.

After a change that is meant, ``python tests/test_figures.py`` renews the references: look at them, then commit them.
"""

from __future__ import annotations

import inspect
import json
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection

import drawing
import picturing
from routelab import plots
from routelab.errors import FigureError
from routelab.plots.lines import proportion_interval
from routelab.plots.theme import styles

TOLD = picturing.FOLDER / "told.json"
LONG = "a provider whose name is so long that no figure has room for it, number "


def drawn(name: str, ax: Axes | None = None) -> Axes:
    return drawing.FIGURES[name](plots.new_axes() if ax is None else ax)


def renew() -> None:
    """Write the references of all figures."""
    picturing.FOLDER.mkdir(exist_ok=True)
    told = {name: picturing.told(drawn(name)) for name in drawing.FIGURES}
    TOLD.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for name in drawing.FIGURES:
        print(picturing.write(name, picturing.picture(drawn(name))))


def test_every_figure_of_the_package_has_an_example_and_takes_a_title_and_axes() -> None:
    functions = {name.removeprefix("plot_"): getattr(plots, name) for name in plots.__all__ if name.startswith("plot_")}
    assert functions.keys() == drawing.FIGURES.keys()
    for function in functions.values():
        keywords = inspect.signature(function).parameters
        assert [keywords[name].kind for name in ("title", "ax")] == [inspect.Parameter.KEYWORD_ONLY] * 2


@pytest.mark.parametrize("name", drawing.FIGURES)
def test_a_figure_looks_as_its_reference(name: str) -> None:
    ax = drawn(name)
    assert picturing.told(ax) == json.loads(TOLD.read_text(encoding="utf-8"))[name]
    assert picturing.difference(picturing.picture(ax), picturing.read(name)) < picturing.TOLERANCE
    assert (picturing.FOLDER / f"{name}.png").stat().st_size < 15_000


@pytest.mark.parametrize("name", ["frontier", "regret", "runs", "sequence"])
def test_another_rasteriser_is_within_the_tolerance(name: str) -> None:
    reference = picturing.read(name)
    for other in (picturing.picture(drawn(name), scale=5), picturing.picture(drawn(name), antialiased=False)):
        assert picturing.difference(other, reference) < picturing.TOLERANCE


@pytest.mark.parametrize("name", ["budgets", "frontier", "live", "load", "regret", "sequence"])
def test_a_missing_band_is_beyond_the_tolerance_and_a_missing_line_is_told(name: str) -> None:
    ax = drawn(name)
    next(one for one in ax.collections if isinstance(one, PolyCollection)).remove()
    assert picturing.difference(picturing.picture(ax), picturing.read(name)) > picturing.TOLERANCE
    ax = drawn(name)
    next(one for one in ax.get_lines() if len(np.asarray(one.get_xdata())) > 2).remove()
    assert picturing.told(ax) != json.loads(TOLD.read_text(encoding="utf-8"))[name]


def test_other_dashes_another_marker_and_a_missing_label_are_told() -> None:
    reference = json.loads(TOLD.read_text(encoding="utf-8"))["regret"]
    changes: list[Callable[[Axes], object]] = [
        lambda ax: ax.get_lines()[0].set_linestyle(":"),
        lambda ax: ax.get_lines()[0].set_marker("x"),
        lambda ax: ax.set_ylabel(""),
        lambda ax: ax.legend(["a"]),
    ]
    for change in changes:
        ax = drawn("regret")
        change(ax)
        assert picturing.told(ax) != reference


@pytest.mark.parametrize("name", drawing.FIGURES)
def test_a_figure_is_drawn_on_the_axes_given_beside_others_and_leaves_the_defaults_alone(name: str) -> None:
    before = dict(mpl.rcParams)
    left, right = plots.side_by_side(2)
    assert drawn(name, right) is right
    assert right.get_title(loc="left")
    assert not left.has_data()
    assert dict(mpl.rcParams) == before
    assert len(picturing.figure_of(right).axes) == 2


@pytest.mark.parametrize("name", drawing.FIGURES)
def test_no_two_series_share_marker_and_dashes(name: str) -> None:
    legend = drawn(name).get_legend()
    handles = [one for one in legend.get_lines() if one.get_marker() not in ("None", "", None)] if legend else []
    looks = Counter((one.get_linestyle(), one.get_marker(), str(one.get_markerfacecolor())) for one in handles)
    assert not [look for look, times in looks.items() if times > 1]


def test_44_styles_differ_in_grey() -> None:
    found = styles(map(str, range(44))).values()
    assert len({(style.marker, style.linestyle) for style in found}) == 44


def without(frame: pd.DataFrame, column: str, rows: int) -> pd.DataFrame:
    """A table whose first rows lack a value."""
    return frame.assign(**{column: frame[column].where(frame.index >= rows)})


MANY = tuple(f"{LONG}{place}" for place in range(20))
LONG_CURVES = {name: np.array([[1e-3 * (place + 1), 0.5 + 0.02 * place]]) for place, name in enumerate(MANY)}
EDGES: Mapping[str, Callable[[], Axes]] = {
    "20 providers with long names": lambda: plots.plot_live(drawing.served(2000, MANY)),
    "20 shares": lambda: plots.plot_shares([0.0, 1.0], np.full((2, 20), 0.05), MANY, n=10),
    "20 points of providers": lambda: plots.plot_frontier(
        {}, {name: (usd, quality) for name, ((usd, quality),) in LONG_CURVES.items()}
    ),
    "20 policies": lambda: plots.plot_regret(drawing.over_steps("regret", MANY, seeds=2)),
    "20 runs": lambda: plots.plot_runs(drawing.runs(20).assign(run=MANY), ["aiq", "quality"]),
    "20 runs in the plane": lambda: plots.plot_run_frontier(drawing.runs(20).assign(run=MANY)),
    "one provider": lambda: plots.plot_frontier({"rule": np.array([[1e-3, 0.5]])}, {"only": (1e-3, 0.5)}),
    "a free provider": lambda: plots.plot_frontier({}, {"free": (0.0, 0.5), "dear": (1e-3, 0.9)}),
    "one share": lambda: plots.plot_shares([0.0], np.ones((1, 1)), ["only"]),
    "one request": lambda: plots.plot_live(drawing.served(1)),
    "one seed and one step": lambda: plots.plot_regret(drawing.over_steps("regret", seeds=1).head(1)),
    "one run": lambda: plots.plot_runs(drawing.runs(1), ["aiq", "cost_usd"]),
    "one run in the plane": lambda: plots.plot_run_frontier(drawing.runs(1)),
    "one metric": lambda: plots.plot_difference(drawing.difference().head(1)),
    "no difference": lambda: plots.plot_difference(drawing.difference().assign(difference=0.0, low=0.0, high=0.0)),
    "one row of a task": lambda: plots.plot_tasks(drawing.tidy().head(1)),
    "one pair": lambda: plots.plot_calibration(drawing.pairs().head(1)),
    "grades missing": lambda: plots.plot_calibration(drawing.pairs().pipe(without, "observed", 50)),
    "a quality missing": lambda: plots.plot_tasks(drawing.tidy().pipe(without, "quality", 70)),
    "a metric missing": lambda: plots.plot_runs(drawing.runs().assign(aiq=np.nan), ["aiq", "quality"]),
    "costs missing": lambda: plots.plot_run_frontier(drawing.runs().pipe(without, "cost_usd", 3)),
    "no intervals": lambda: plots.plot_estimators(drawing.estimates().assign(low=np.nan, high=np.nan)),
    "a truth of some": lambda: plots.plot_ranking(drawing.ranking(), truth={"rule": 0.5}),
}  # fmt: skip


@pytest.mark.parametrize("case", EDGES)
def test_the_edges_of_the_input_are_drawn_within_the_figure(case: str, tmp_path: Path) -> None:
    ax = EDGES[case]()
    plots.save_figure(ax, tmp_path / "edge.png")
    figure = picturing.figure_of(ax)
    assert ax.get_title(loc="left")
    assert ax.get_window_extent().width > 0.35 * figure.bbox.width, "the data has room"
    assert figure.get_tightbbox().width <= 1.02 * figure.get_figwidth(), "nothing is cut off"
    assert figure.get_tightbbox().height <= 1.02 * figure.get_figheight()


@pytest.mark.parametrize(
    ("draw", "said"),
    [
        (
            lambda: plots.plot_regret(pd.DataFrame({"policy": ["a"]})),
            "no column 'seed', 'step', 'regret'.*has 'policy'",
        ),
        (lambda: plots.plot_tasks(drawing.tidy().head(0)), "no rows"),
        (lambda: plots.plot_runs(drawing.runs(), []), "no metrics"),
        (lambda: plots.plot_runs(drawing.runs(), ["aiq"], highlight="linucb"), "'linucb'; there are forest, thompson"),
        (lambda: plots.plot_run_frontier(drawing.runs().assign(quality=np.nan)), "no rows"),
        (lambda: plots.plot_estimators(drawing.estimates(), metric="cost"), "no rows"),
    ],
)
def test_a_table_that_cannot_be_drawn_is_refused_in_one_sentence(draw: Callable[[], Axes], said: str) -> None:
    with pytest.raises(FigureError, match=said):
        draw()


def test_titles_tell_ties_and_the_best_run() -> None:
    frame = drawing.estimates()
    same = frame.assign(value=frame.groupby("estimator")["value"].transform("first"))
    tied = plots.plot_estimators(same).get_title(loc="left")
    assert tied == "forest, thompson and rule tie for the first place in quality by all 4 estimators"
    runs = drawing.runs()
    cheapest = runs.loc[runs["cost_usd"].idxmin(), "run"]
    assert (
        plots.plot_runs(runs, ["cost_usd"]).get_title(loc="left").startswith(f"{cheapest} has the lowest cost_usd of 8")
    )
    twice = plots.plot_runs(runs.assign(aiq=0.5), ["aiq"]).get_title(loc="left")
    assert twice == "run-0 has the highest aiq, and so have 7 others: 0.5"


def test_better_is_higher_on_parallel_axes() -> None:
    runs = drawing.runs().assign(policy="forest")
    ax = plots.plot_runs(runs, ["quality", "cost_usd"])
    heights = np.array([one.get_ydata() for one in ax.get_lines() if len(np.asarray(one.get_ydata())) == 2][:8])
    assert heights[:, 1].argmax() == runs["cost_usd"].argmin()
    assert heights[:, 0].argmax() == runs["quality"].argmax()


def test_wilsons_interval_of_a_share_holds_the_truth_in_95_of_100_samples() -> None:
    share = np.random.default_rng(0).binomial(50, 0.1, size=20_000) / 50
    low, high = proportion_interval(share, 50)
    assert ((low <= 0.1) & (high >= 0.1)).mean() == pytest.approx(0.95, abs=0.03)
    assert share.min() == 0.0
    assert (high - low).min() > 0.0, "a share of 0 has an interval too"


if __name__ == "__main__":
    renew()
