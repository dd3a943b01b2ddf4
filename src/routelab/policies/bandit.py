"""Bandit: a policy that learns from single outcomes, and whose memory fades by the decisions it makes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from routelab.errors import PolicyError
from routelab.policies.base import Features, Floats, Policy
from routelab.policies.outcomes import check_factor
from routelab.request import is_finite


class Bandit(Policy):
    """What all bandits share: checks of an outcome, and a clock that counts decisions.

    Forgetting counts decisions, not outcomes: outcomes that come late, or all at once, age by the decisions made since
    theirs (``age``), and nothing fades while nobody decides. An outcome without an age that no decision waits for (a
    log that is read without choosing) counts as one.

    Attributes:
        clock_: decisions so far.
        open_: decisions whose outcome has not come.
    """

    forgetting: float
    flip_share: float
    clock_: int = 0
    open_: int = 0

    def _check_settings(self) -> None:
        """Refuse settings of memory and trust that mean nothing."""
        check_factor(f"{type(self).__name__}.forgetting", self.forgetting, highest=1.0)
        if not 0.0 <= self.flip_share < 0.5:
            raise PolicyError(f"{type(self).__name__}.flip_share is {self.flip_share!r}; give a share in [0, 0.5)")

    def _decided(self) -> None:
        """Count a decision."""
        self.clock_ += 1
        self.open_ += 1

    def _check(self, arm: int, reward: float, cost: float | None, age: int | None, se: float | None) -> None:
        """Refuse an outcome that cannot be.

        Raises:
            PolicyError: the arm is unknown, the reward outside [0, 1], the cost or standard error negative, or the age
                no number ≥ 0.
        """
        if not (isinstance(arm, int | np.integer) and 0 <= arm < len(self.providers_)):
            self.check_fitted()
            raise PolicyError(f"arm {arm!r} is unknown; the policy has arms 0 to {len(self.providers_) - 1}")
        if not (is_finite(reward) and 0.0 <= reward <= 1.0):
            raise PolicyError(f"reward {reward!r} is outside [0, 1]; scale it first")
        if cost is not None and not (is_finite(cost) and cost >= 0.0):
            raise PolicyError(f"cost {cost!r} is no number ≥ 0 in USD")
        if age is not None and not age >= 0:
            raise PolicyError(f"age {age!r} is no number of decisions ≥ 0")
        if se is not None and not (is_finite(se) and se >= 0.0):
            raise PolicyError(f"se {se!r} is no standard error ≥ 0 of a reward")

    def _arrived(self, age: int | None) -> None:
        """Count an outcome; one that nobody counted the decision of is a decision, too."""
        if self.open_:
            self.open_ -= 1
        elif age is None:
            self.clock_ += 1

    def _unflipped(self, reward: float) -> float:
        """An unbiased guess of the reward where a share ρ comes as 1 − reward: (shown − ρ)/(1 − 2ρ).

        Natarajan et al., *Learning with Noisy Labels*, 2013, lemma 1; it may lie outside [0, 1].
        """
        return (reward - self.flip_share) / (1.0 - 2.0 * self.flip_share) if self.flip_share else reward

    def update_many(
        self,
        X: Features,
        arms: Sequence[int],
        rewards: Sequence[float] | Floats,
        costs: Sequence[float] | Floats | None = None,
        ages: Sequence[int] | None = None,
        ses: Sequence[float] | Floats | None = None,
    ) -> None:
        """Learn m outcomes in their order.

        Args:
            X: (m, p) features.
            arms: (m,) chosen columns.
            rewards: (m,) in [0, 1].
            costs: (m,) USD, NaN = unknown, or None.
            ages: (m,) decisions made since each, or None for none.
            ses: (m,) standard errors of the rewards, NaN = certain, or None.

        Raises:
            PolicyError: an outcome is refused; those before it are learned.
        """
        for row, (x, arm, reward) in enumerate(zip(X, arms, rewards, strict=True)):
            cost = None if costs is None or math.isnan(costs[row]) else float(costs[row])
            se = None if ses is None or math.isnan(ses[row]) else float(ses[row])
            self.update(x, int(arm), float(reward), cost, age=None if ages is None else int(ages[row]), se=se)
