"""Whether a log can tell anything of a policy: support, weights, and whether the propensities are true."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from routelab.arrays import Floats
from routelab.errors import OffPolicyError
from routelab.evaluation.ope.estimators import stands_for
from routelab.evaluation.ope.logged import LoggedData

# An estimate is carried by few decisions where they come to fewer than this, or one has more than 1/this of the weight.
_FEW = 100
_MAX_Z = 4.0
# Choices expected in a cell of the calibration, below which a z tells nothing.
_EXPECTED = 5.0
# Chance, over all providers, that outcomes missing by chance are told to differ: about that of |z| > 4.
_MISSING_P = 1e-4
Known = NDArray[np.bool_]


class LowSampleWarning(UserWarning):
    """Few decisions carry an estimate: its interval may be too narrow."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """How a log meets a policy.

    Args:
        ess: effective sample size (Σw)²/Σw² (Kish, *Survey Sampling*, 1965).
        max_weight: largest weight of a logged decision.
        max_share: its share of all weight.
        largest_weight: that could have been drawn where all probabilities are logged, else ``max_weight``.
        mean_weight: 1 in expectation where the log supports the policy and its propensities are true.
        mean_weight_z: standard errors that it is away from 1.
        unsupported: share of the policy's choices that the log never makes.
    """

    ess: float
    max_weight: float
    max_share: float
    largest_weight: float
    mean_weight: float
    mean_weight_z: float
    unsupported: float

    @property
    def few(self) -> bool:
        """Whether so few decisions carry the estimates that their intervals may be too narrow."""
        return self.ess < _FEW or self.max_share > 1.0 / _FEW

    def warning(self) -> str:
        """What to beware of, "" where there is nothing."""
        told = []
        if self.few:
            told.append(
                f"few decisions carry it: effective sample {self.ess:.0f}, largest weight {self.max_weight:.3g}"
            )
        if abs(self.mean_weight_z) > _MAX_Z:
            told.append(f"the mean weight is {self.mean_weight:.3g}, not 1: propensities or support are wrong")
        if self.unsupported > 0.0:
            told.append(f"{self.unsupported:.2%} of its choices are never logged")
        return "; ".join(told)


def overlap(log: LoggedData, probabilities: Floats, known: Known | None = None) -> Overlap:
    """How ``log`` meets a policy of ``probabilities`` (n, k), by the decisions whose outcome is ``known`` (n,).

    None takes all. Otherwise weights are those of the estimators: each known outcome stands for the unknown ones of its
    provider, too.

    >>> log = LoggedData([0, 1, 0, 0], np.ones(4), [0.75, 0.25, 0.75, 0.75], ("a", "b"))
    >>> met = overlap(log, np.tile([0.0, 1.0], (4, 1)))
    >>> met.ess, met.max_weight, met.mean_weight
    (1.0, 4.0, 1.0)
    """
    known = np.ones(log.n, dtype=bool) if known is None else known
    stands = stands_for(log.action, known)
    weight = stands * (probabilities[np.arange(log.n), log.action] / log.propensity)
    total, square = float(weight.sum()), float((weight**2).sum())
    possible = weight
    if log.probabilities is not None:
        possible = np.divide(
            probabilities, log.probabilities, out=np.zeros(probabilities.shape), where=log.probabilities > 0
        ) * np.array([stands.max(initial=0.0, where=log.action == arm) for arm in range(log.k)])
    mean = total / stands.sum()
    error = (weight - mean * stands).std() / stands.mean() / np.sqrt(log.n)
    return Overlap(
        ess=total**2 / square if square else 0.0,
        max_weight=float(weight.max()),
        max_share=float(weight.max()) / total if total else 1.0,
        largest_weight=float(possible.max()),
        mean_weight=float(mean),
        mean_weight_z=float((mean - 1.0) / error) if error > 0.0 else 0.0,
        unsupported=float(_unsupported(log, probabilities, known).sum()) / log.n,
    )


def _unsupported(log: LoggedData, probabilities: Floats, known: Known) -> Floats:
    """Probability (k,), added up over the rows, of choices that could not be made, or never with a known outcome."""
    if log.probabilities is not None:
        impossible = log.probabilities <= 0.0
    else:
        impossible = np.repeat(log.propensity[:, None] >= 1.0, log.k, axis=1)
        impossible[np.arange(log.n), log.action] = False
    seen = np.bincount(log.action, known, minlength=log.k)
    return np.asarray((probabilities * (impossible | (seen == 0))).sum(axis=0))


def check_support(
    name: str, metric: str, log: LoggedData, probabilities: Floats, known: Known, met: Overlap, most: float
) -> None:
    """Refuse to say anything of a policy that makes choices which the log never makes.

    Where propensities alone are logged, it does not show what could be chosen; a mean weight below 1 by more than four
    standard errors then tells of choices that could not, as does one that comes of wrong propensities.

    Args:
        name: of the policy.
        metric: that is asked for.
        log: n decisions.
        probabilities: (n, k) of the policy.
        known: (n,) decisions whose outcome is known.
        met: the overlap by them.
        most: share of unsupported choices that is still answered; a quality is biased by at most that.

    Raises:
        OffPolicyError: more than that is unsupported, or weights fall short of 1 by more than that, or no logged
            decision is one that the policy could make.
    """
    if met.unsupported > most:
        share = _unsupported(log, probabilities, known) / log.n
        told = ", ".join(f"{log.providers[arm]} {share[arm]:.1%}" for arm in np.argsort(-share) if share[arm] > 0.0)
        why = "every logged propensity is 1, so the log tells of no other policy; " * bool(
            (log.propensity == 1.0).all()
        )
        raise OffPolicyError(
            f"the log cannot answer for {name!r}: {met.unsupported:.1%} of its choices are never logged "
            f"with a {metric} ({told}); {why}log with an exploration share, as EpsilonGreedyPolicy does"
        )
    if log.probabilities is None and met.mean_weight_z < -_MAX_Z and 1.0 - met.mean_weight > most:
        raise OffPolicyError(
            f"the log cannot answer for {name!r}: its mean weight is {met.mean_weight:.3g}, not 1, so that "
            f"{1.0 - met.mean_weight:.1%} of its choices could not be logged, or the propensities are wrong; "
            "log the probabilities of all providers, and keep the decisions that knew all of them"
        )
    if met.ess == 0.0:
        raise OffPolicyError(f"the log cannot answer for {name!r}: no logged decision is one that it could make")


def propensity_calibration(log: LoggedData, bins: int = 10) -> pd.DataFrame:
    """Logged probabilities beside the frequencies of the choices.

    With all probabilities logged, a row per provider and bin of its probability: their mean, the share of decisions
    that chose it, and z of the difference (NaN where fewer than 5 choices are expected). With propensities alone, a row
    per provider: the mean of 1(chosen)/propensity, which is 1 in expectation where it could always be chosen.

    Returns:
        Columns provider, low, high (of the bin), n, predicted, realised, z.

    >>> log = LoggedData([0, 1], [1.0, 0.5], [0.5, 0.5], ("a", "b"), probabilities=np.full((2, 2), 0.5))
    >>> propensity_calibration(log)[["provider", "n", "predicted", "realised"]].values.tolist()
    [['a', 2, 0.5, 0.5], ['b', 2, 0.5, 0.5]]
    """
    rows = []
    for arm, provider in enumerate(log.providers):
        chosen = (log.action == arm).astype(np.float64)
        if log.probabilities is None:
            drawn = chosen / log.propensity
            error = float(drawn.std()) / np.sqrt(log.n)
            enough = error > 0.0 and chosen.sum() >= _EXPECTED
            rows.append(
                (provider, 0.0, 1.0, log.n, 1.0, drawn.mean(), (drawn.mean() - 1.0) / error if enough else np.nan)
            )
            continue
        logged = log.probabilities[:, arm]
        place = np.minimum((logged * bins).astype(np.intp), bins - 1)
        for b in np.unique(place):
            held = place == b
            mean, realised = float(logged[held].mean()), float(chosen[held].mean())
            variance = float((logged[held] * (1.0 - logged[held])).sum())
            z = (realised - mean) * held.sum() / np.sqrt(variance) if variance >= _EXPECTED else np.nan
            rows.append((provider, b / bins, (b + 1) / bins, int(held.sum()), mean, realised, z))
    return pd.DataFrame(rows, columns=["provider", "low", "high", "n", "predicted", "realised", "z"])


def propensity_warning(log: LoggedData) -> str:
    """What is wrong with the propensities, "" where nothing shows."""
    z = propensity_calibration(log)["z"].abs().max()
    which = "propensities or the support" if log.probabilities is None else "propensities"
    return f"the logged {which} do not fit the choices (|z| = {z:.1f})" if z > _MAX_Z else ""


def missing_warning(log: LoggedData, metric: str, known: Known) -> str:
    """Where the share of ``known`` (n,) outcomes differs between providers by more than chance, "" if nowhere.

    Fisher's exact test of each provider against the others, with p < 1e-4 over all of them; rows count as independent.

    >>> log = LoggedData(np.arange(200) % 2, np.ones(200), np.full(200, 0.5), ("a", "b"))
    >>> missing_warning(log, "quality", (log.action == 0) | (np.arange(200) < 100))
    "quality is known in 100% of a's choices and in 50% of the others: right only if missing by chance in each"
    """
    from scipy.stats import hypergeom

    total, seen = int(known.sum()), np.bincount(log.action, known, minlength=log.k)
    drawn = hypergeom(log.n, total, log.counts)
    p = 2.0 * np.minimum(drawn.cdf(seen), drawn.sf(seen - 1))
    arm = int(p.argmin())
    if p[arm] * log.k >= _MISSING_P:
        return ""
    own, others = seen[arm] / log.counts[arm], (total - seen[arm]) / (log.n - log.counts[arm])
    return (
        f"{metric} is known in {own:.0%} of {log.providers[arm]}'s choices and in {others:.0%} of the others: "
        "right only if missing by chance in each"
    )
