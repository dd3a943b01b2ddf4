"""ThompsonPolicy: Beta posteriors over each provider's quality, sampled to choose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import numpy as np

from routelab.bundle import Bundle
from routelab.errors import PolicyError
from routelab.policies.bandit import Bandit
from routelab.policies.base import Choice, Estimates, Features, Floats
from routelab.policies.objective import Objective
from routelab.policies.outcomes import Outcomes, check_belief, check_factor, checked
from routelab.policies.propensity import beta_argmax_probabilities


class ThompsonPolicy(Bandit):
    """Thompson sampling without context (Thompson, 1933; Chapelle & Li, 2011) on utility = θ − λ·mean cost.

    θ_k ~ Beta(prior + Σr, prior + Σ(1 − r)). Rewards may be any number in [0, 1]: a fractional reward adds r to the
    first count and 1 − r to the second, which has the right mean and, since a reward in [0, 1] varies at most as much
    as a coin of the same mean, a posterior that is never too narrow. The errors of a grader are part of what varies: a
    reward's standard error changes nothing (to count such rewards in part makes regret larger). Constraints of the
    objective are judged on posterior means. Propensities are exact to 1e-4 (``beta_argmax_probabilities``), computed
    when they are read.
    The features of a request play no part; after ``fit`` they must still be as many as there, and finite.

    Args:
        prior: pseudo-count of each side of the Beta prior, ≥ 1 (1 = uniform).
        forgetting: factor per decision by which counts fade, in (0, 1]: an arm that was not tried for long becomes
            uncertain, and is tried again.
        flip_share: share of rewards that are believed to come flipped, in [0, 0.5).

    Attributes:
        counts_: (5, k): Σr, Σ(1 − r), observations of cost, mean cost in USD, mean latency in seconds (NaN = none).
        width_: features at fit, 0 before.
        stamps_: (k,) decisions at which the counts of an arm were last brought up to date.

    >>> policy = ThompsonPolicy().add_provider("a").add_provider("b")
    >>> for _ in range(50):
    ...     policy.update(np.zeros(1), 0, 0.9)
    ...     policy.update(np.zeros(1), 1, 0.1)
    >>> bool(policy.action_probabilities(np.zeros((1, 1)), Objective())[0, 0] > 0.999)
    True
    """

    width_: int = 0

    def __init__(self, prior: float = 1.0, forgetting: float = 1.0, flip_share: float = 0.0) -> None:
        self.prior = prior
        self.forgetting = forgetting
        self.flip_share = flip_share

    def _fit(self, data: Outcomes) -> None:
        """Warm start from every observed cell."""
        self._check_prior()
        reward = np.nansum(data.quality, axis=0)
        lost = (~np.isnan(data.quality)).sum(axis=0) - reward
        seen = (~np.isnan(data.cost)).sum(axis=0).astype(float)
        seconds = np.full(len(reward), np.nan) if data.latency is None else np.nanmean(data.latency, axis=0)
        self.counts_ = np.stack([reward, lost, seen, np.nanmean(data.cost, axis=0), seconds])
        self.stamps_ = np.full(len(reward), self.clock_)
        self.width_ = data.X.shape[1]

    def _check_context(self, X: Features) -> None:
        """Refuse features (…, p) where ``fit`` saw another width, or one is not finite."""
        # one product tells; it is three times as fast as ``checked``, and unlike ``dot`` silent where it overflows
        if self.width_ and not (X.shape[-1] == self.width_ and np.vdot(X, X) < np.inf):
            checked(np.atleast_2d(X), self.width_)

    def _check_prior(self) -> None:
        if not 1.0 <= self.prior < np.inf:
            raise PolicyError(f"ThompsonPolicy.prior is {self.prior!r}; give a finite number ≥ 1")
        self._check_settings()

    def add_provider(self, name: str, *, quality: float = 0.5, cost: float = 0.0, latency: float | None = None) -> Self:
        """Add an arm with no observation but one believed cost, which the first observed cost replaces.

        Raises:
            PolicyError: the name is taken, or a belief is out of its range.
        """
        self._check_prior()
        names = self.providers_
        if name in names:
            raise PolicyError(f"provider {name!r} is there already; remove it first")
        check_belief(name, quality, cost, latency)
        column = np.array([[0.0], [0.0], [0.0], [cost], [np.nan if latency is None else latency]])
        self.counts_ = np.hstack([self.counts_, column]) if names else column
        self.stamps_ = np.append(self.stamps_ if names else [], self.clock_).astype(int)
        self._names = (*names, name)
        return self

    def remove_provider(self, name: str) -> Self:
        """Remove an arm and what it learned.

        Raises:
            PolicyError: the name is unknown, or it is the last arm.
        """
        arm = self._drop_name(name)
        self.counts_, self.stamps_ = np.delete(self.counts_, arm, axis=1), np.delete(self.stamps_, arm)
        return self

    def reprice_provider(self, name: str, factor: float) -> Self:
        """From now on expect ``factor`` (> 0) times the cost of one arm; PolicyError for an unknown name or factor."""
        check_factor(f"the factor of the price of {name!r}", factor)
        self.counts_[3, self._position(name)] *= factor
        return self

    def forget_provider(self, name: str, keep: float = 0.1, shift: float = 0.0) -> Self:
        """Keep the share ``keep`` of the counts of one arm, its mean reward moved by ``shift`` within [0, 1]."""
        check_factor("keep", keep, highest=1.0)
        arm = self._position(name)
        self.counts_[:3, arm] *= keep
        seen = self.counts_[:2, arm].sum()
        moved = min(max(self.counts_[0, arm] + shift * seen, 0.0), seen)
        self.counts_[:2, arm] = moved, seen - moved
        return self

    def update(
        self,
        x: Features,
        arm: int,
        reward: float,
        cost: float | None = None,
        *,
        age: int | None = None,
        se: float | None = None,
    ) -> None:
        """Learn one outcome of ``arm``: a reward in [0, 1] and, where known, a cost in USD; ``se`` is not needed.

        Raises:
            PolicyError: the arm is unknown, a value out of range, or the features (p,) are of another width than at fit
                or not finite; nothing is learned then.
        """
        self._check(arm, reward, cost, age, se)
        self._check_context(x)
        self._arrived(age)
        if self.forgetting < 1.0:
            self.counts_[:3, arm] *= self.forgetting ** (self.clock_ - self.stamps_[arm])
            self.stamps_[arm] = self.clock_
        weight = self.forgetting ** (age or 0)
        # a guessed reward varies 1/(1 − 2ρ)² times as much, and tells that much less
        trust = weight * (1.0 - 2.0 * self.flip_share) ** 2
        reward = self._unflipped(reward)
        self.counts_[0, arm] += trust * reward
        self.counts_[1, arm] += trust * (1.0 - reward)
        if cost is not None and weight:
            self.counts_[2, arm] += weight
            self.counts_[3, arm] += weight * (cost - self.counts_[3, arm]) / self.counts_[2, arm]

    def predict(self, X: Features) -> Estimates:
        """Posterior means and their deviations, the same for each of the n requests, each (n, k)."""
        self.check_fitted()
        self._check_context(X)
        return _estimates(*self._posterior(), self.counts_, len(X))

    def _posterior(self) -> tuple[Floats, Floats]:
        kept = self.counts_[:2]
        if self.forgetting < 1.0:
            kept = kept * self.forgetting ** (self.clock_ - self.stamps_)
        if self.flip_share:  # a guessed reward may lie outside [0, 1]
            kept = np.maximum(kept, 0.0)
        return self.prior + kept[0], self.prior + kept[1]

    def select(self, x: Features, objective: Objective, rng: np.random.Generator) -> Choice:
        """Sample θ and choose the arm of the largest utility.

        Raises:
            PolicyError: there are no arms, or the features (p,) are of another width than at fit or not finite.
        """
        self.check_fitted()
        self._check_context(x)
        alpha, beta = self._posterior()
        counts = self.counts_.copy()
        if objective.constrained or objective.latency_weight:
            utility = rng.beta(alpha, beta) + _offset(alpha, beta, counts, objective)
        else:  # the decision path
            cost = objective.net(counts[3])
            utility = rng.beta(alpha, beta) - objective.cost_weight * (cost - cost.min())
        self._decided()
        return Choice(
            int(utility.argmax()),
            lambda: _win_probabilities(alpha, beta, _offset(alpha, beta, counts, objective)),
            lambda: _estimates(alpha, beta, counts, 1),
        )

    def propensities(self, x: Features, objective: Objective) -> Callable[[], Floats]:
        """A function that gives the (k,) win probabilities of the present posterior, even after later updates."""
        self.check_fitted()
        self._check_context(x)
        alpha, beta = self._posterior()
        offset = _offset(alpha, beta, self.counts_, objective)
        return lambda: _win_probabilities(alpha, beta, offset)

    def action_probabilities(self, X: Features, objective: Objective) -> Floats:
        """Win probabilities (n, k), the same for each request."""
        return np.tile(self.propensities(X, objective)(), (len(X), 1))

    def _state(self) -> Bundle:
        meta = {"clock": self.clock_, "open": self.open_, "width": self.width_}
        return Bundle("", meta, {"counts": self.counts_, "stamps": self.stamps_})

    def _restore(self, bundle: Bundle) -> None:
        self.clock_, self.open_, self.width_ = (bundle.meta[name] for name in ("clock", "open", "width"))
        self.counts_, self.stamps_ = bundle.arrays["counts"], bundle.arrays["stamps"]


def _latency(counts: Floats) -> Floats | None:
    return None if np.isnan(counts[4]).any() else counts[4]


def _offset(alpha: Floats, beta: Floats, counts: Floats, objective: Objective) -> Floats:
    """What is added to θ (k,): minus the prices of cost and latency; −inf for arms that break a constraint.

    The best arm's is 0: only differences matter, and beside a huge price θ would be lost to rounding.
    """
    cost, latency = counts[3], _latency(counts)
    offset = objective.utility(np.zeros(len(cost)), cost, latency)
    if objective.constrained:
        offset = np.where(objective.feasible(alpha / (alpha + beta), cost, latency), offset, -np.inf)
    centred: Floats = offset - offset.max()
    return centred


def _estimates(alpha: Floats, beta: Floats, counts: Floats, n: int) -> Estimates:
    """Posterior means and deviations, repeated for ``n`` requests."""
    mean = alpha / (alpha + beta)
    deviation = np.sqrt(mean * (1.0 - mean) / (alpha + beta + 1.0))
    latency = _latency(counts)
    quality, cost, error = (row[None].repeat(n, axis=0) for row in (mean, counts[3], deviation))
    return Estimates(quality, cost, None if latency is None else latency[None].repeat(n, axis=0), error)


def _win_probabilities(alpha: Floats, beta: Floats, offset: Floats) -> Floats:
    """Propensities (k,); an arm whose offset is −inf breaks a constraint and never wins."""
    feasible = np.isfinite(offset)
    out = np.zeros(len(offset))
    out[feasible] = beta_argmax_probabilities(alpha[feasible], beta[feasible], offset[feasible])
    return out
