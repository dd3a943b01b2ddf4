"""LoggedData: what a router did, with which probability, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from routelab.arrays import Floats, float_array
from routelab.errors import OffPolicyError
from routelab.policies.objective import Objective

if TYPE_CHECKING:
    import pandas as pd

    from routelab.performance_db import PerformanceDB

#: Probabilities of a row may miss 1, and the propensity its probability, by what quadrature and rounding cost.
TOLERANCE = 2e-3
METRICS = ("quality", "cost", "latency")


@dataclass(frozen=True, slots=True, eq=False)
class LoggedData:
    """n logged decisions among k providers, checked.

    An outcome that is NaN was not observed. Others of that provider stand for it, as if it were missing by chance among
    them; where what is asked for also tells whether it is missing, only the reward model of DM, DR or SNDR helps. A
    failed call has quality 0, as routers record it; what was asked instead is no decision of a policy and not here.

    Args:
        action: (n,) column of the provider that was chosen.
        quality: (n,) in [0, 1], NaN = not graded.
        propensity: (n,) logged probability of ``action``, in (0, 1].
        providers: names of the k columns.
        cost: (n,) USD ≥ 0, NaN = unknown; or None.
        latency: (n,) seconds ≥ 0, NaN = unknown; or None.
        X: (n, p) features that policies see; None where no policy is to be asked.
        probabilities: (n, k) all logged probabilities, 0 = could not be chosen; or None.
        units: (n,) rows of one unit (user, or else request) are resampled and folded together; None = all independent.
        rows: (n,) what errors call the rows; None numbers them.

    Raises:
        OffPolicyError: a column of another length, or a value out of its range: names column, row and remedy.

    >>> log = LoggedData([0, 1], [1.0, 0.5], [0.9, 0.1], ("a", "b"), probabilities=[[0.9, 0.1], [0.9, 0.1]])
    >>> log.n, log.k, log.latency
    (2, 2, array([nan, nan]))
    >>> LoggedData([0], [1.0], [0.0], ("a", "b"))
    Traceback (most recent call last):
    ...
    routelab.errors.OffPolicyError: propensity[0] is 0.0; give a number in (0, 1], as the router logged it
    """

    action: NDArray[np.intp]
    quality: Floats
    propensity: Floats
    providers: tuple[str, ...]
    cost: Floats
    latency: Floats
    X: NDArray[np.floating[Any]]
    probabilities: Floats | None
    units: NDArray[np.intp]

    def __init__(
        self,
        action: ArrayLike,
        quality: ArrayLike,
        propensity: ArrayLike,
        providers: tuple[str, ...],
        *,
        cost: ArrayLike | None = None,
        latency: ArrayLike | None = None,
        X: ArrayLike | None = None,
        probabilities: ArrayLike | None = None,
        units: ArrayLike | None = None,
        rows: ArrayLike | None = None,
    ) -> None:
        chosen, k = np.asarray(action), len(providers)
        n = chosen.size
        names = np.arange(n) if rows is None else np.asarray(rows)
        if chosen.ndim != 1 or not n or k < 1 or len(set(providers)) != k:
            raise OffPolicyError(
                f"action has shape {chosen.shape}, providers are {providers}; give one decision or more, and each "
                "provider once"
            )
        unknown = ~np.isin(_column("action", chosen, n), np.arange(k))
        _refuse("action", chosen, unknown, f"give a column in [0, {k})", names)
        p = _column("propensity", propensity, n)
        _refuse("propensity", p, ~((p > 0.0) & (p <= 1.0)), "give a number in (0, 1], as the router logged it", names)
        columns: dict[str, Any] = {
            "action": chosen.astype(np.intp),
            "quality": _outcome("quality", quality, 1.0, names),
            "propensity": p,
            "providers": tuple(map(str, providers)),
            "cost": _outcome("cost", cost, np.inf, names),
            "latency": _outcome("latency", latency, np.inf, names),
            "X": np.zeros((n, 0)) if X is None else float_array("X", X, ndim=2),
            "probabilities": None
            if probabilities is None
            else _logged_probabilities(probabilities, chosen, p, k, names),
            "units": np.arange(n) if units is None else np.unique(np.asarray(units), return_inverse=True)[1],
        }
        for name in ("X", "units"):
            if len(columns[name]) != n:
                raise OffPolicyError(f"{name} has {len(columns[name])} rows, action {n}; give one per decision")
        for name, value in columns.items():
            object.__setattr__(self, name, value)

    @property
    def n(self) -> int:
        """Number of decisions."""
        return len(self.action)

    @property
    def k(self) -> int:
        """Number of providers."""
        return len(self.providers)

    @property
    def counts(self) -> NDArray[np.intp]:
        """How often each provider (k,) was chosen."""
        return np.bincount(self.action, minlength=self.k)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Those of quality, cost and latency that were observed at least once."""
        return tuple(name for name in METRICS if not np.isnan(getattr(self, name)).all())

    def reward(self, metric: str, objective: Objective = Objective()) -> Floats:
        """Outcomes (n,) of "quality", "cost", "latency", or the "utility" under ``objective``; NaN = unknown.

        Raises:
            OffPolicyError: another name.
        """
        if metric not in (*METRICS, "utility"):
            raise OffPolicyError(f"metric {metric!r} is unknown; give one of {', '.join(METRICS)}, utility")
        if metric == "utility":
            return objective.utility(self.quality, self.cost, self.latency)
        values: Floats = getattr(self, metric)
        return values

    @classmethod
    def from_frame(cls, frame: pd.DataFrame, *, providers: tuple[str, ...] | None = None) -> Self:
        """Decisions from a frame with a row each; :func:`routelab.evaluation.ope.frames.columns_of` says its columns.

        Raises:
            OffPolicyError: a column is missing, or a value out of its range.
        """
        from routelab.evaluation.ope.frames import columns_of

        return cls(**columns_of(frame, providers))

    @classmethod
    def from_db(cls, db: PerformanceDB, **only: str | None) -> Self:
        """Decisions with an outcome from a router's log; ``only`` those with such values of its columns, None = all.

        ``from_db(db, feature_set="minilm", policy_version="3")`` keeps to one feature set and one policy.

        Raises:
            OffPolicyError: no such decision, or none has an outcome, or the log holds several feature sets.
        """
        from routelab.evaluation.ope.frames import kept

        return cls.from_frame(kept(db.log(), **only))

    @classmethod
    def from_open_bandit(cls, feedback: Mapping[str, Any], providers: tuple[str, ...] | None = None) -> Self:
        """Decisions from the dictionary of the Open Bandit Pipeline (Saito et al., 2021); the reward is the quality.

        Its keys: ``n_actions``, ``action``, ``reward``, ``pscore``, and where given ``context`` and ``pi_b``
        (n, k, 1). Providers are called "0", "1", … unless told.

        Raises:
            RoutelabError: it is no dictionary, a key is missing or of another type, or actions have several positions.
        """
        from routelab.evaluation.ope.open_bandit import columns_of

        return cls(**columns_of(feedback, providers))

    def to_open_bandit(self) -> dict[str, Any]:
        """The graded decisions as a dictionary of the Open Bandit Pipeline."""
        graded = ~np.isnan(self.quality)
        logged = {} if self.probabilities is None else {"pi_b": self.probabilities[graded, :, None]}
        return logged | {
            "n_rounds": int(graded.sum()),
            "n_actions": self.k,
            "context": self.X[graded],
            "action": self.action[graded],
            "position": None,
            "reward": self.quality[graded],
            "pscore": self.propensity[graded],
        }


def _column(name: str, values: ArrayLike, n: int) -> Floats:
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise OffPolicyError(f"{name} is not all numbers ({error}); give one per decision") from None
    if array.shape != (n,):
        raise OffPolicyError(f"{name} has shape {array.shape}, action ({n},); give one number per decision")
    return array


def _outcome(name: str, values: ArrayLike | None, highest: float, names: NDArray[Any]) -> Floats:
    n = len(names)
    array = np.full(n, np.nan) if values is None else _column(name, values, n)
    bad = (array < 0.0) | (array > highest) | np.isinf(array)
    _refuse(name, array, bad, f"give a finite number in [0, {highest:g}], or NaN where unknown", names)
    return array


def _refuse(name: str, values: NDArray[Any], bad: NDArray[np.bool_], remedy: str, names: NDArray[Any]) -> None:
    if bad.any():
        row = int(bad.argmax())
        raise OffPolicyError(f"{name}[{names[row]}] is {values[row]}; {remedy}")


def _logged_probabilities(
    values: ArrayLike, action: NDArray[Any], propensity: Floats, k: int, names: NDArray[Any]
) -> Floats:
    logged = float_array("probabilities", values, ndim=2)
    if logged.shape != (len(action), k):
        raise OffPolicyError(f"probabilities have shape {logged.shape}; give one row per decision, {(len(action), k)}")
    sums, chosen = logged.sum(axis=1), logged[np.arange(len(action)), action]
    wrong = (logged < 0.0).any(axis=1) | (abs(sums - 1.0) > TOLERANCE)
    _refuse("probabilities", logged, wrong, "give numbers ≥ 0 that sum to 1", names)
    _refuse(
        "propensity", propensity, abs(chosen - propensity) > TOLERANCE, "it is not the probability of the action", names
    )
    return logged
