"""A log from the dictionary of the Open Bandit Pipeline."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from routelab.arrays import float_array
from routelab.errors import OffPolicyError


def columns_of(feedback: object, providers: Sequence[str] | None) -> dict[str, Any]:
    """The arguments of ``LoggedData``; :meth:`LoggedData.from_open_bandit` says what of.

    Raises:
        RoutelabError: it is no dictionary, a key is missing or of another type, or actions have several positions.

    >>> feedback = {"n_actions": 2, "action": [0, 1], "reward": [1.0, 0.5], "pscore": [0.5, 0.5]}
    >>> columns_of(feedback, None)["providers"]
    ('0', '1')
    """
    if not isinstance(feedback, Mapping):
        raise OffPolicyError(f"the bandit feedback is of type {type(feedback).__name__}; give a dict")
    missing = [key for key in ("n_actions", "action", "reward", "pscore") if feedback.get(key) is None]
    if missing:
        raise OffPolicyError(f"the bandit feedback has no {', '.join(map(repr, missing))}; give all keys")
    if feedback.get("position") is not None and np.any(float_array("position", feedback["position"], ndim=1)):
        raise OffPolicyError("the bandit feedback has several positions; a router fills one, set position to None")
    try:
        names = tuple(map(str, range(operator.index(feedback["n_actions"]))))
    except TypeError:
        raise OffPolicyError(f"n_actions is {feedback['n_actions']!r}; give an int ≥ 1") from None
    if not isinstance(providers, Sequence | None):
        raise OffPolicyError(f"providers are {providers!r}; give a name for each action")
    return {
        "action": feedback["action"],
        "quality": feedback["reward"],
        "propensity": feedback["pscore"],
        "providers": tuple(providers or names),
        "X": feedback.get("context"),
        "probabilities": _of_one_position(feedback.get("pi_b")),
    }


def _of_one_position(logged: Any) -> Any:
    """``pi_b`` (n, k, 1) as (n, k)."""
    if logged is None:
        return None
    array = float_array("pi_b", logged, ndim=3)
    if array.shape[2] != 1:
        raise OffPolicyError(f"pi_b has shape {array.shape}; give (n, k, 1), as a router fills one position")
    return array[:, :, 0]
