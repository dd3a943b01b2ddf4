"""The frontier explorer: slide along the trade-off between cost and quality, and see who is asked and what it buys."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import ipywidgets
import numpy as np
from numpy.typing import NDArray

from routelab import plots
from routelab.arrays import Floats
from routelab.errors import RoutelabError
from routelab.evaluation.bootstrap import Interval, percentile_interval
from routelab.evaluation.curves import PolicyCurve
from routelab.evaluation.frontier import curve_band, resampled_means
from routelab.hull import upper_hull
from routelab.plots.inputs import short_names
from routelab.plots.shares import digits
from routelab.widgets.panel import Panel, bar, spoken, table, text

_WIDTH, _HEIGHT = 7.2, 4.5  # of the picture, inches
_NAMED = 10  # providers asked most that have their names in the picture, beside those on the frontier


class FrontierExplorer(Panel):
    """A slider over the settings of one policy's curve.

    It shows the setting on the cost–quality plane, what it costs and earns with 95 % intervals (bootstrap over the
    prompts, computed once), the providers that answer, and prompts that would go elsewhere at a lower or a higher λ.

    Args:
        curve: of the policy, on n prompts under s settings of λ in ascending order.
        providers: names (k,).
        quality: (n, k) of those prompts in [0, 1], complete.
        cost: (n, k) USD, complete.
        prompts: their texts (n,); None leaves the examples out.
        start: the λ to begin with (the nearest setting is taken); None is the middle one.
        resamples: of the bootstrap.
        seed: of its draws.

    Raises:
        RoutelabError: the number of prompts or providers differs between the arguments.

    >>> from routelab.evaluation.curves import curve_of
    >>> quality, cost = np.array([[0.5, 0.9]] * 4), np.array([[0.001, 0.01]] * 4)
    >>> curve = curve_of("toy", np.array([0.0, 100.0]), np.array([[[0.0, 1.0]], [[1.0, 0.0]]]), quality, cost)
    >>> explorer = FrontierExplorer(curve, ["small", "large"], quality, cost, start=100.0)
    >>> print(explorer.summary())
    toy at λ = 100: 1 USD per 1,000 requests is worth 0.1 of quality.
    Quality 0.500 (95 % interval 0.500 to 0.500) for 1.00 USD per 1,000 requests (1.00 to 1.00).
    Asked: small 100.0%, large 0.0%.
    """

    def __init__(
        self,
        curve: PolicyCurve,
        providers: Sequence[str],
        quality: Floats,
        cost: Floats,
        *,
        prompts: Sequence[str] | NDArray[np.object_] | None = None,
        start: float | None = None,
        resamples: int = 500,
        seed: int = 0,
    ) -> None:
        shape = curve.probabilities.shape[1:]
        given = {"quality": np.shape(quality), "cost": np.shape(cost), "providers": (shape[0], len(providers))}
        given["prompts"] = (shape[0] if prompts is None else len(prompts), shape[1])
        for name, size in given.items():
            if size != shape:
                raise RoutelabError(
                    f"FrontierExplorer: the curve has {shape[0]} prompts × {shape[1]} providers, {name} {size[0]} × "
                    f"{size[-1]}; give those that the curve was made on"
                )
        self._prompts: list[str] = [] if prompts is None else list(prompts)
        self._curve, self._names = curve, short_names(providers)
        self._arms = curve.probabilities.argmax(axis=2)
        self._means = resampled_means(curve.outcomes, resamples, np.random.default_rng(seed))
        self._singles = np.column_stack([cost.mean(axis=0), quality.mean(axis=0)])
        self.settings = [self._setting(place) for place in range(len(curve.cost_weights))]
        self._draw()
        weights = curve.cost_weights
        first = len(weights) // 2 if start is None else int(np.abs(weights - start).argmin())
        self.slider = ipywidgets.SelectionSlider(
            options=[(f"λ = {digits(weight)}", place) for place, weight in enumerate(weights)],
            value=first,
            description="What 1 USD is worth (λ)",
            tooltip="The weight of cost, in quality per USD: arrow keys move it by one setting",
            style={"description_width": "initial"},
            layout={"width": "min(720px, 98%)"},
        )
        self.told, self.mix, self.examples, self.mark = (ipywidgets.HTML() for _ in range(4))
        self.mark.layout.grid_area = "1 / 1"
        picture = ipywidgets.HTML(self._picture, layout={"grid_area": "1 / 1"})
        plane = ipywidgets.GridBox([picture, self.mark], layout={"grid_template_columns": "100%", "width": "560px"})
        beside = ipywidgets.VBox([self.told, self.mix], layout={"width": "380px", "margin": "0 0 0 10px"})
        below = ipywidgets.HBox([plane, beside], layout={"flex_flow": "row wrap", "align_items": "center"})
        self.slider.observe(self._show, names="value")
        self._show()
        super().__init__(self.slider, below, self.examples)

    def _setting(self, place: int) -> tuple[Interval, Interval]:
        """Cost in USD per 1,000 requests and quality of one setting, with their intervals."""
        cost, quality = self._curve.points[place]
        return (
            percentile_interval(1e3 * cost, 1e3 * self._means.cost[:, place]),
            percentile_interval(quality, self._means.quality[:, place]),
        )

    def _plane(self, title: str) -> Any:
        """The cost–quality plane, without a setting."""
        curve, names = self._curve, list(self._names)
        singles = dict(zip(names, map(tuple, self._singles), strict=True))
        most = curve.shares.max(axis=0)
        told = [arm for arm in most.argsort()[-_NAMED:] if most[arm] > 0.0 or len(names) <= _NAMED]
        named = {names[arm] for arm in (*told, *upper_hull(self._singles[:, 0], self._singles[:, 1]))}
        bands = {curve.name: curve_band(curve.points[:, 0], self._means)} if len(curve.points) > 1 else {}
        with plots.theme():
            ax = plots.new_axes(_WIDTH, _HEIGHT)
        plots.plot_frontier({curve.name: curve.points}, singles, bands=bands, named=named, title=title, ax=ax)
        _legend_below(ax)
        return ax

    def _draw(self) -> None:
        """Draw the plane once, and note where on it every setting and its intervals stand."""
        ax = self._plane(f"What {self._curve.name} can buy, with its 95 % band")
        encoded = base64.b64encode(plots.svg(ax)).decode("ascii")
        style = "display:block;width:100%;height:auto"
        self._picture = f"<img alt='' style='{style}' src='data:image/svg+xml;base64,{encoded}'>"
        ends = [
            [
                (c.estimate, q.estimate),
                (c.low, q.estimate),
                (c.high, q.estimate),
                (c.estimate, q.low),
                (c.estimate, q.high),
            ]
            for c, q in self.settings
        ]
        size = 100.0 * np.array([_WIDTH, _HEIGHT])
        self._places = plots.places(ax, np.reshape(ends, (-1, 2))).reshape(len(ends), 5, 2) * size

    def _show(self, _: object = None) -> None:
        """Bring everything to the setting that the slider is at."""
        place = self.slider.value
        lead, numbers, _asked = self._lines(place)
        self.mark.value = self._cross(place, numbers)
        self.told.value = spoken(f"<b>{text(lead)}</b><br>{text(numbers)}<br>{text(self._beside_mixture(place))}")
        shares = self._curve.shares[place]
        rows = [[text(name, 40), bar(share)] for name, share in zip(self._names.values(), shares, strict=True)]
        self.mix.value = table(["provider", "share of the requests"], rows)
        self.examples.value = self._changes(place)

    def _lines(self, place: int) -> tuple[str, str, str]:
        """What the setting means, what it costs and earns, and whom it asks."""
        weight, (cost, quality) = self._curve.cost_weights[place], self.settings[place]
        worth = (
            f"1 USD per 1,000 requests is worth {digits(weight / 1e3)} of quality" if weight else "only quality counts"
        )
        shares = zip(self._names.values(), self._curve.shares[place], strict=True)
        return (
            f"{self._curve.name} at λ = {digits(weight)}: {worth}.",
            f"Quality {quality.estimate:.3f} (95 % interval {quality.low:.3f} to {quality.high:.3f}) for "
            f"{_usd(cost.estimate)} USD per 1,000 requests ({_usd(cost.low)} to {_usd(cost.high)}).",
            f"Asked: {', '.join(f'{name} {share:.1%}' for name, share in shares)}.",
        )

    def _beside_mixture(self, place: int) -> str:
        """The setting beside the best mixture of fixed providers of the same cost."""
        cost, quality = self._curve.points[place]
        hull = self._singles[upper_hull(self._singles[:, 0], self._singles[:, 1])]
        if cost < hull[0, 0]:
            return "No mixture of fixed providers is as cheap."
        mixture = float(np.interp(cost, hull[:, 0], hull[:, 1]))
        lead = round(quality - mixture, 3) + 0.0  # no -0
        return f"The best mixture of fixed providers for that: {mixture:.3f} ({lead:+.3f} here)."

    def _cross(self, place: int, label: str) -> str:
        """The mark of the setting, laid over the picture: a diamond, and its two intervals."""
        (x, y), left, right, low, high = self._places[place]
        line = "<line x1='{:.1f}' y1='{:.1f}' x2='{:.1f}' y2='{:.1f}' stroke='black' stroke-width='2'/>".format
        diamond = f"<path d='M{x:.1f} {y - 9:.1f}l9 9l-9 9l-9 -9z' fill='#d55e00' stroke='black' stroke-width='1.5'/>"
        box, style = f"0 0 {100 * _WIDTH:g} {100 * _HEIGHT:g}", "display:block;width:100%;height:auto"
        marks = line(*left, *right) + line(*low, *high) + diamond
        return f"<svg viewBox='{box}' style='{style}' role='img' aria-label='{text(label, 300)}'>{marks}</svg>"

    def _changes(self, place: int) -> str:
        """Prompts that go elsewhere at the nearest settings to the left and to the right where any does."""
        if not self._prompts:
            return ""
        sides = ((range(place - 1, -1, -1), "less"), (range(place + 1, len(self.settings)), "more"))
        return "".join(self._change(place, others, worth) for others, worth in sides)

    def _change(self, place: int, others: range, worth: str) -> str:
        """The first of the ``others`` at which prompts change provider, their number, and three of them."""
        arms = self._arms
        other = next((other for other in others if (arms[other] != arms[place]).any()), None)
        if other is None:
            return f"<div><b>Were 1 USD worth {worth}, no prompt would change provider</b></div>"
        moved = np.flatnonzero(arms[place] != arms[other])
        count = f"{len(moved):,} of {arms.shape[1]:,} prompts"
        at = f"λ = {digits(self._curve.cost_weights[other])}"
        rows = (
            [text(self._prompts[row], 90), f"{self._name(place, row)} → {self._name(other, row)}"] for row in moved[:3]
        )
        lead = f"Were 1 USD worth {worth} ({at}), {count} would change provider"
        return f"<div style='line-height:1.5'><b>{lead}</b>{table(['such as', 'provider'], rows)}</div>"

    def _name(self, place: int, row: int) -> str:
        return text(list(self._names.values())[self._arms[place, row]], 40)

    def summary(self) -> str:
        """The setting that the slider is at, in three lines."""
        return "\n".join(self._lines(self.slider.value))

    def figure(self) -> bytes:
        """The plane with the setting that the slider is at, as PNG."""
        cost, quality = self.settings[self.slider.value]
        reached = f"quality {quality.estimate:.3f} for {_usd(cost.estimate)} USD per 1,000 requests"
        weight = self._curve.cost_weights[self.slider.value]
        ax = self._plane(f"At λ = {digits(weight)} {self._curve.name} reaches {reached}")
        one, other = ((each.estimate, each.low, each.high) for each in (cost, quality))
        plots.mark_setting(ax, one, other, f"λ = {digits(weight)}, 95 % intervals")
        _legend_below(ax)
        return plots.png(ax)


def _legend_below(ax: Any) -> None:
    """The one legend of the figure, outside of the axes, where it hides no point."""
    for legend in (ax.get_legend(), *ax.figure.legends):
        if legend is not None:
            legend.remove()
    ax.figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False, fontsize=9)


def _usd(value: float) -> str:
    """USD in cents, below ten cents with two digits that count.

    >>> _usd(1.0), _usd(0.00043), _usd(0.0)
    ('1.00', '0.00043', '0')
    """
    return f"{value:.2f}" if value >= 0.1 else np.format_float_positional(value, 2, fractional=False, trim="-")
