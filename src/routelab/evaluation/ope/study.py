"""What every question to a log needs first: policies as probabilities, support, predictions; then terms."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from routelab.arrays import Floats, float_array
from routelab.errors import OffPolicyError
from routelab.evaluation.ope.diagnostics import (
    LowSampleWarning,
    Overlap,
    check_support,
    missing_warning,
    overlap,
    propensity_warning,
)
from routelab.evaluation.ope.estimators import ESTIMATORS, MODEL_BASED, TUNED, Rows, Terms
from routelab.evaluation.ope.intervals import by_unit
from routelab.evaluation.ope.logged import LoggedData
from routelab.evaluation.ope.rewards import predicted_rewards
from routelab.evaluation.ope.targets import Target, targets_of
from routelab.evaluation.ope.tuning import candidate_levels, slope
from routelab.policies.objective import Objective

Predictions = Mapping[str, Floats]


@dataclass(frozen=True, slots=True)
class Study:
    """A log with the policies asked about.

    Args:
        log: n decisions among k providers.
        objective: of the policies, and of the utility.
        targets: probabilities (n, k) of each policy, by name.
        overlaps: how the log meets them, by policy and metric, on the decisions whose outcome is known.
        doubts: what to beware of in a metric, whatever the policy.
        predictions: (n, k) of each metric, empty where no estimator needs them.
    """

    log: LoggedData
    objective: Objective
    targets: dict[str, Floats]
    overlaps: dict[tuple[str, str], Overlap]
    doubts: dict[str, str]
    predictions: Predictions

    @classmethod
    def of(
        cls,
        log: LoggedData,
        policies: Mapping[str, Target],
        objective: Objective,
        estimators: Iterable[str],
        metrics: Sequence[str],
        *,
        predictions: Predictions | None = None,
        model: Any = None,
        folds: int = 5,
        max_unsupported: float = 0.01,
        seed: int = 0,
    ) -> Study:
        """Check the question, refuse what the log does not support, and learn the reward models where needed.

        Raises:
            OffPolicyError: an unknown estimator, a metric that was never observed, or no support.
        """
        if unknown := [name for name in estimators if name not in ESTIMATORS | TUNED]:
            raise OffPolicyError(f"estimator {unknown[0]!r} is unknown; give {', '.join(ESTIMATORS | TUNED)}")
        observed = {metric: ~np.isnan(log.reward(metric, objective)) for metric in metrics}
        for metric, known in observed.items():
            if not known.any():
                raise OffPolicyError(f"no decision of the log has a {metric}; leave that metric out")
        targets = targets_of(log, policies, objective)
        overlaps = {}
        for (name, probabilities), (metric, known) in product(targets.items(), observed.items()):
            overlaps[name, metric] = overlap(log, probabilities, known)
            check_support(name, metric, log, probabilities, known, overlaps[name, metric], max_unsupported)
        for told in dict.fromkeys(f"{name}: {met.warning()}" for (name, _), met in overlaps.items() if met.few):
            warnings.warn(told, LowSampleWarning, stacklevel=3)
        doubt = propensity_warning(log)
        doubts = {
            metric: "; ".join(filter(None, (missing_warning(log, metric, known), doubt)))
            for metric, known in observed.items()
        }
        if not MODEL_BASED.intersection(estimators):
            predictions = {}
        elif predictions is None:
            parts = dict.fromkeys(part for metric in metrics for part in parts_of(metric, objective))
            predictions = predicted_rewards(log, parts, model=model, folds=folds, seed=seed)
        return cls(log, objective, targets, overlaps, doubts, predictions)

    def warning(self, policy: str, metric: str) -> str:
        """What to beware of in an estimate, "" where there is nothing."""
        return "; ".join(filter(None, (self.overlaps[policy, metric].warning(), self.doubts[metric])))

    def terms(self, policy: str, estimator: str, metric: str) -> tuple[Terms, float | None]:
        """Terms (g, 4) of the g units, and a tuned estimator's level; ∞ where the chosen one changes nothing."""
        log = self.log
        predicted = self._predicted(metric) if estimator in MODEL_BASED else None
        reward = log.reward(metric, self.objective)
        rows = Rows.of(log.action, reward, log.propensity, self.targets[policy], predicted)
        if estimator in ESTIMATORS:
            return by_unit(ESTIMATORS[estimator](rows), log.units), None
        tuned = TUNED[estimator]
        level = slope(tuned, rows, candidate_levels(estimator, rows.weight))
        terms, free = tuned(rows, level), tuned(rows, np.inf)
        return by_unit(terms, log.units), np.inf if np.array_equal(terms, free) else level

    def _predicted(self, metric: str) -> Floats:
        """Predictions (n, k) of a metric; those of the utility follow from its parts."""
        held = {}
        for part in parts_of(metric, self.objective):
            if part not in self.predictions:
                raise OffPolicyError(f"no predictions of {part} are given; give them by name, or none at all")
            held[part] = float_array(f"predictions of {part}", self.predictions[part], ndim=2)
            if held[part].shape != (self.log.n, self.log.k):
                raise OffPolicyError(
                    f"predictions of {part} have shape {held[part].shape}; give one per row and provider"
                )
        if metric != "utility":
            return held[metric]
        return self.objective.utility(held["quality"], held.get("cost", np.zeros(())), held.get("latency"))


def parts_of(metric: str, objective: Objective) -> tuple[str, ...]:
    """The outcomes that a metric is made of.

    >>> parts_of("utility", Objective(cost_weight=2.0))
    ('quality', 'cost')
    """
    if metric != "utility":
        return (metric,)
    weighed = {"cost": objective.cost_weight, "latency": objective.latency_weight}
    return ("quality", *(name for name, weight in weighed.items() if weight))


def default_metrics(log: LoggedData, objective: Objective) -> tuple[str, ...]:
    """All metrics that were observed, and the utility where the objective weighs them."""
    return (*log.metrics, "utility") if len(parts_of("utility", objective)) > 1 else log.metrics
