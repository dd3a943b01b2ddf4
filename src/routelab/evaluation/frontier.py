"""Who is on the cost-quality frontier, and how surely: single providers and policy settings, resampled over prompts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from routelab.arrays import Floats
from routelab.errors import RoutelabError
from routelab.evaluation.bootstrap import resample_weights
from routelab.evaluation.crossfit import Curve
from routelab.files import read_arrays, write_arrays
from routelab.html import Card, Shown, number
from routelab.hull import upper_hulls
from routelab.pareto import path_heights

_DIGITS = 12
_STEPS = 20  # of a band between two settings, since mixtures bend on a logarithmic axis


@dataclass(frozen=True, slots=True, repr=False)
class Candidates(Shown):
    """What can be had on n evaluation prompts: s single providers and policy settings.

    Args:
        names: (s,) of the provider or the policy.
        cost_weights: (s,) λ of the setting, NaN for a provider.
        outcomes: quality and cost (n, s), in expectation over a policy's own randomness.
    """

    names: NDArray[np.str_]
    cost_weights: Floats
    outcomes: Curve

    def _card(self) -> Card:
        n, s = self.outcomes.quality.shape
        names, first = np.unique(self.names, return_index=True)
        rows = []
        for name in names[np.argsort(first)][:13]:
            own = self.only(self.names == name).points.T
            usd, quality = ([number(ends) for ends in (one.min(), one.max())] for one in (1e3 * own[0], own[1]))
            rows.append((str(name), str(own.shape[1]), *(" to ".join(dict.fromkeys(ends)) for ends in (usd, quality))))
        title = f"{s} candidates of {len(names)} names on {n} prompts"
        return Card(title, rows, ("name", "settings", "USD per 1,000", "quality"))

    @classmethod
    def of(cls, policies: Mapping[str, tuple[Floats, Curve]]) -> Self:
        """The settings of all ``policies``: name → λ (s,) and outcomes (n, s)."""
        weights, curves = zip(*policies.values(), strict=True)
        return cls(
            np.repeat(list(policies), [len(one) for one in weights]),
            np.concatenate(weights),
            Curve(*(np.hstack(matrices) for matrices in zip(*curves, strict=True))),
        )

    @property
    def points(self) -> Floats:
        """Mean cost in USD and mean quality of each candidate, (s, 2)."""
        return np.column_stack([self.outcomes.cost.mean(axis=0), self.outcomes.quality.mean(axis=0)])

    def and_providers(self, providers: Iterable[str], quality: Floats, cost: Floats) -> Self:
        """The single ``providers`` with their outcomes (n, k) before the settings."""
        names = np.array(list(providers))
        return type(self)(
            np.concatenate([names, self.names]),
            np.concatenate([np.full(len(names), np.nan), self.cost_weights]),
            Curve(np.hstack([quality, self.outcomes.quality]), np.hstack([cost, self.outcomes.cost])),
        )

    def only(self, mask: NDArray[np.bool_]) -> Self:
        """The candidates of ``mask`` (s,)."""
        outcomes = Curve(self.outcomes.quality[:, mask], self.outcomes.cost[:, mask])
        return type(self)(self.names[mask], self.cost_weights[mask], outcomes)

    def write(self, path: Path) -> None:
        """Write as ``.npz``."""
        write_arrays(path, names=self.names, cost_weights=self.cost_weights, **self.outcomes._asdict())

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what ``write`` wrote.

        Raises:
            RoutelabError: the file is missing or damaged.
        """
        held = read_arrays(path)
        try:
            return cls(held["names"], held["cost_weights"], Curve(held["quality"], held["cost"]))
        except KeyError as missing:
            raise RoutelabError(f"{path} is damaged (it has no {missing}); remove it and run `dvc repro`") from None


def resampled_means(outcomes: Curve, n_resamples: int, rng: np.random.Generator) -> Curve:
    """Mean quality and cost (r, s) of every candidate in each of ``n_resamples`` draws of the prompts, paired.

    >>> outcomes = Curve(np.array([[0.0, 1.0], [1.0, 0.0]]), np.ones((2, 2)))
    >>> means = resampled_means(outcomes, 3, np.random.default_rng(0))
    >>> (means.quality.sum(axis=1) == 1.0).all(), means.cost.shape
    (np.True_, (3, 2))
    """
    n, size = outcomes.quality.shape
    unit = np.maximum(outcomes.cost.mean(axis=0).max(), np.finfo(float).tiny)
    both = np.hstack([outcomes.quality, outcomes.cost / unit])
    # Rounded, so that settings that choose alike stay equal whatever the order in which a machine adds them up.
    means = np.vstack([np.round(drawn @ both / n, _DIGITS) for drawn in resample_weights(n, n_resamples, rng)])
    return Curve(means[:, :size], means[:, size:] * unit)


def hull_of(means: Curve) -> Curve:
    """The vertices (r, h) of the upper hull of each resample: the best that mixing can do."""
    vertices = upper_hulls(means.cost, means.quality)
    return Curve(*(np.take_along_axis(matrix, vertices, axis=1) for matrix in means))


def curve_band(cost: Floats, means: Curve) -> Floats:
    """Pointwise 95 % band (g, 3) of the quality that a curve buys: cost in USD, low, high.

    Args:
        cost: (s,) mean cost of the settings between which the band is drawn.
        means: (r, s) of the resamples; a resample's curve joins its settings in order of cost and is flat beyond.

    >>> curve_band(np.array([1.0, 2.0]), Curve(np.array([[0.5, 0.7]] * 2), np.array([[1.0, 2.0]] * 2)))[10]
    array([1.5, 0.6, 0.6])
    """
    ends = np.unique(cost)
    grid = np.interp(np.arange((len(ends) - 1) * _STEPS + 1) / _STEPS, np.arange(len(ends)), ends)
    low, high = np.quantile(path_heights(means.cost, means.quality, grid), [0.025, 0.975], axis=0)
    return np.column_stack([grid, low, high])
