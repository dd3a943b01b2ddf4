"""Recorded outcomes as policies learn from them: one set of checks for every ``fit``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routelab.arrays import take_rows
from routelab.errors import PolicyError

Floats = NDArray[np.float64]
_REPEATS = 10  # of a request on average, beyond which equal features do not mean equal requests


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Training arrays of one shape, checked: features (n, p) float32, outcomes (n, k) float64 with NaN = unobserved."""

    X: NDArray[np.float32]
    quality: Floats
    cost: Floats
    latency: Floats | None
    providers: tuple[str, ...]
    quality_se: Floats | None = None  # 0 = certain

    @classmethod
    def check(
        cls,
        X: Any,
        quality: Any,
        cost: Any,
        latency: Any = None,
        providers: Sequence[str] | None = None,
        quality_se: Any = None,
    ) -> Outcomes:
        """Convert and check the arguments of ``fit``; a latency that was never observed becomes None.

        Raises:
            PolicyError: shapes disagree, values are out of range, or an arm was never observed.
        """
        X = np.ascontiguousarray(X, dtype=np.float32)
        quality, cost = np.asarray(quality, dtype=np.float64), np.asarray(cost, dtype=np.float64)
        if quality.ndim != 2 or quality.shape != cost.shape or X.ndim != 2 or len(X) != len(quality):
            raise PolicyError(
                f"fit needs X (n, p), quality (n, k) and cost (n, k); got {X.shape}, {quality.shape}, {cost.shape}"
            )
        names = tuple(map(str, range(quality.shape[1]))) if providers is None else tuple(providers)
        if len(names) != quality.shape[1] or len(set(names)) != len(names):
            raise PolicyError(f"providers {names} do not name the {quality.shape[1]} columns once each")
        if not np.isfinite(X).all():
            row, column = np.argwhere(~np.isfinite(X))[0]
            raise PolicyError(f"X[{row}, {column}] is {X[row, column]}; features must be finite, impute them first")
        _check_range("quality", quality, 1.0, names)
        _check_range("cost", cost, np.inf, names)
        if latency is not None:
            latency = np.asarray(latency, dtype=np.float64)
            if latency.shape != quality.shape:
                raise PolicyError(f"latency has shape {latency.shape}, quality {quality.shape}; give one shape")
            _check_range("latency", latency, np.inf, names)
            if np.isnan(latency).all(axis=0).any():
                latency = None
        if quality_se is not None:
            quality_se = np.nan_to_num(np.asarray(quality_se, dtype=np.float64), posinf=np.inf)
            if quality_se.shape != quality.shape:
                raise PolicyError(f"quality_se has shape {quality_se.shape}, quality {quality.shape}; give one shape")
            _check_range("quality_se", quality_se, np.inf, names)
        if not len(X):
            raise PolicyError("there are no prompts to learn from; the table is too small: collect more")
        for what, values in (("quality", quality), ("cost", cost)):
            unseen = [name for name, column in zip(names, values.T, strict=True) if np.isnan(column).all()]
            if unseen:
                raise PolicyError(f"no {what} was ever observed for {', '.join(unseen)}; leave the provider out")
        return cls(X, quality, cost, latency, names, quality_se)

    def take(self, rows: NDArray[np.intp]) -> Outcomes:
        """The prompts at ``rows``."""
        return take_rows(self, rows)

    def distinct(self) -> Outcomes:
        """Each request once, with the means of what was observed of it; how sure that is, is not kept.

        Equal features mean the same request asked again, which would be on both sides of any split into seen and
        unseen; unless so few rows are distinct that the features cannot tell requests apart. Then it is all of them.
        """
        group = same_rows(self.X)
        count = int(group.max()) + 1
        if count == len(group) or count * _REPEATS < len(group):
            return self
        first = np.unique(group, return_index=True)[1]
        quality, cost, latency = (
            None if block is None else _group_means(block, group, count)
            for block in (self.quality, self.cost, self.latency)
        )
        assert quality is not None
        assert cost is not None
        return Outcomes(self.X[first], quality, cost, latency, self.providers)


def same_rows(X: NDArray[np.float32]) -> NDArray[np.intp]:
    """Number (n,) of each row among the distinct ones, in order of first appearance.

    >>> same_rows(np.array([[2.0], [1.0], [2.0]]))
    array([0, 1, 0])
    """
    import pandas as pd

    numbers: NDArray[np.intp] = pd.factorize(np.array([row.tobytes() for row in X], dtype=object))[0]
    return numbers


def _group_means(values: Floats, group: NDArray[np.intp], count: int) -> Floats:
    """Means (count, k) of what was observed in each group, NaN where nothing was."""
    observed = ~np.isnan(values)
    total, seen = np.zeros((count, values.shape[1])), np.zeros((count, values.shape[1]))
    np.add.at(total, group, np.where(observed, values, 0.0))
    np.add.at(seen, group, observed)
    means: Floats = np.divide(total, seen, out=np.full(total.shape, np.nan), where=seen > 0.0)
    return means


def checked(X: Any, width: int) -> NDArray[np.float32]:
    """Features (n, width) to predict from, as contiguous float32.

    Raises:
        PolicyError: another width than at fit, or a feature that is not finite.
    """
    rows: NDArray[np.float32] = np.ascontiguousarray(X, dtype=np.float32)
    if rows.ndim != 2 or rows.shape[1] != width:
        raise PolicyError(f"the policy was fitted on {width} features, got an array of shape {rows.shape}")
    if not np.isfinite(rows).all():
        raise PolicyError(f"feature {np.argwhere(~np.isfinite(rows))[0][1]} is not finite; impute it first")
    return rows


def check_belief(name: str, quality: float, cost: float, latency: float | None) -> None:
    """Refuse what cannot be believed of a provider that is added at run time.

    Raises:
        PolicyError: quality outside [0, 1], or a cost or latency that is negative or not finite.

    >>> check_belief("new", quality=0.5, cost=-1.0, latency=None)
    Traceback (most recent call last):
    routelab.errors.PolicyError: cost of 'new' is believed to be -1.0; it must be finite and in [0, inf]
    """
    for what, value, highest in (("quality", quality, 1.0), ("cost", cost, np.inf), ("latency", latency, np.inf)):
        if value is not None and not (np.isfinite(value) and 0.0 <= value <= highest):
            raise PolicyError(
                f"{what} of {name!r} is believed to be {value!r}; it must be finite and in [0, {highest:g}]"
            )


def check_factor(what: str, factor: float, highest: float = np.inf) -> None:
    """Refuse what cannot scale something so that another factor could undo it.

    Raises:
        PolicyError: the factor is not above 0, above ``highest``, or not finite.

    >>> check_factor("keep", 0.0, highest=1.0)
    Traceback (most recent call last):
    routelab.errors.PolicyError: keep is 0.0; give a number in (0, 1], a tiny one in place of 0
    """
    if not (0.0 < factor <= highest and factor < np.inf):
        bounds = "a finite number > 0" if highest == np.inf else f"a number in (0, {highest:g}]"
        raise PolicyError(f"{what} is {factor!r}; give {bounds}, a tiny one in place of 0")


def _check_range(what: str, values: Floats, highest: float, names: Sequence[str]) -> None:
    bad = np.argwhere((values < 0.0) | (values > highest) | np.isinf(values))
    if len(bad):
        row, column = bad[0]
        raise PolicyError(
            f"{what}[{row}] of {names[column]} is {values[row, column]}; it must be finite and in [0, {highest:g}]"
        )
