"""The policies that are asked about, as probabilities of the log's providers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from routelab.arrays import Floats, float_array
from routelab.errors import OffPolicyError
from routelab.evaluation.ope.logged import TOLERANCE, LoggedData
from routelab.policies.base import Policy
from routelab.policies.objective import Objective

Target = Policy | ArrayLike


def target_probabilities(log: LoggedData, name: str, target: Target, objective: Objective = Objective()) -> Floats:
    """Probabilities (n, k) with which a policy would have chosen each provider of ``log``.

    Args:
        log: n decisions among k providers.
        name: what errors call the policy.
        target: a fitted policy, whose providers are among the log's; or (n, k) probabilities.
        objective: the trade-off that the policy serves.

    Raises:
        OffPolicyError: unknown providers, no features to decide on, or no probabilities.

    >>> log = LoggedData([0, 1], [1.0, 0.5], [0.5, 0.5], ("a", "b"))
    >>> target_probabilities(log, "mine", [[1.0, 0.0], [0.5, 0.5]])
    array([[1. , 0. ], [0.5, 0.5]])
    """
    if not isinstance(target, Policy):
        return _checked(log, name, float_array(f"probabilities of {name!r}", target, ndim=2))
    target.check_fitted()
    if strangers := [provider for provider in target.providers_ if provider not in log.providers]:
        raise OffPolicyError(
            f"policy {name!r} chooses among {', '.join(target.providers_)}, but the log never heard of "
            f"{', '.join(strangers)}; it holds {', '.join(log.providers)}"
        )
    probabilities = np.zeros((log.n, log.k))
    columns = [log.providers.index(provider) for provider in target.providers_]
    probabilities[:, columns] = target.action_probabilities(log.X, objective)
    return _checked(log, name, probabilities)


def targets_of(log: LoggedData, targets: Mapping[str, Target], objective: Objective = Objective()) -> dict[str, Floats]:
    """``target_probabilities`` of each of ``targets`` by name.

    Raises:
        OffPolicyError: there is none, or as above.
    """
    if not targets:
        raise OffPolicyError("no policy is given; name one or more")
    return {name: target_probabilities(log, name, target, objective) for name, target in targets.items()}


def fixed(log: LoggedData, provider: str) -> Floats:
    """Probabilities (n, k) of always choosing ``provider``; OffPolicyError where the log does not know it.

    >>> fixed(LoggedData([0, 1], [1.0, 0.5], [0.5, 0.5], ("a", "b")), "b")
    array([[0., 1.], [0., 1.]])
    """
    if provider not in log.providers:
        raise OffPolicyError(f"provider {provider!r} is not in the log; it holds {', '.join(log.providers)}")
    probabilities = np.zeros((log.n, log.k))
    probabilities[:, log.providers.index(provider)] = 1.0
    return probabilities


def _checked(log: LoggedData, name: str, probabilities: Floats) -> Floats:
    if probabilities.shape != (log.n, log.k):
        raise OffPolicyError(f"probabilities of {name!r} have shape {probabilities.shape}, not {(log.n, log.k)}")
    wrong = (probabilities < 0.0).any(axis=1) | (abs(probabilities.sum(axis=1) - 1.0) > TOLERANCE)
    if wrong.any():
        row = int(wrong.argmax())
        raise OffPolicyError(f"row {row} of {name!r} is {probabilities[row]}; give numbers ≥ 0 that sum to 1")
    return probabilities
