"""The contract of a policy: estimates in, one arm and its propensity out."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator

from routelab.bundle import Bundle, read_bundle, write_bundle
from routelab.errors import PolicyError
from routelab.policies.choice import Choice, Estimates, Features, Floats
from routelab.policies.objective import Objective
from routelab.policies.outcomes import Outcomes

__all__ = ["Choice", "Estimates", "Features", "Floats", "Policy", "params_from_json", "params_to_json"]


class Policy(BaseEstimator):
    """Base of all policies: a scikit-learn style estimator that scores arms and chooses one.

    A subclass says what it learns (``_fit`` and perhaps ``update``), what it expects (``predict``) and what it stores
    (``_state``, ``_restore``). Without more it is greedy: the arm of the highest utility, with propensity 1.

    Attributes:
        providers_: names of the arms (k,), in the order of the columns; "0", "1", … when ``fit`` was not told.
    """

    @property
    def providers_(self) -> tuple[str, ...]:
        """Names of the arms (k,), empty before the fit."""
        return getattr(self, "_names", ())

    @property
    def online(self) -> bool:
        """Whether ``update`` learns."""
        return type(self).update is not Policy.update

    def fit(
        self,
        X: Features,
        quality: Floats,
        cost: Floats,
        latency: Floats | None = None,
        *,
        providers: Sequence[str] | None = None,
        quality_se: Floats | None = None,
    ) -> Self:
        """Learn from recorded outcomes.

        Args:
            X: (n, p) features.
            quality: (n, k) in [0, 1], NaN = not observed.
            cost: (n, k) USD, NaN = not observed.
            latency: (n, k) seconds, NaN = not observed, or None.
            providers: names of the k arms.
            quality_se: (n, k) standard errors of the qualities, NaN = certain, or None. Bandits let a quality count
                for that much less, as ``update`` does; other policies take each for what it says.

        Raises:
            PolicyError: shapes disagree, values are out of range, or an arm was never observed.
        """
        data = Outcomes.check(X, quality, cost, latency, providers, quality_se)
        self._fit(data)
        self._names = data.providers
        return self

    @abstractmethod
    def _fit(self, data: Outcomes) -> None:
        """Learn from checked outcomes; the fitted policy has the arms ``data.providers``."""

    @abstractmethod
    def predict(self, X: Features) -> Estimates:
        """Estimates of every arm for (n, p) features."""

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
        """Learn from one outcome of the chosen arm, whose decision is ``age`` decisions ago; only bandits can.

        Whoever counts decisions gives the age; None is for the latest one, or for one that nobody counted. ``se`` is
        the standard error of a reward that is not certain, such as a judge's grade: it counts for that much less.
        """
        raise PolicyError(f"{type(self).__name__} learns by `fit` only; use a bandit policy for `update`")

    def action_probabilities(self, X: Features, objective: Objective) -> Floats:
        """Probability (n, k) of each arm for each row of (n, p) features."""
        return self.predict(X).greedy(objective)

    def propensities(self, x: Features, objective: Objective) -> Callable[[], Floats]:
        """A function that gives the (k,) probabilities of the present state, even after later updates."""
        probabilities = self.action_probabilities(x[None, :], objective)[0]
        return lambda: probabilities

    def select(self, x: Features, objective: Objective, rng: np.random.Generator) -> Choice:
        """Choose an arm for the features (p,) of one request."""
        estimates = self.predict(x[None, :])
        return Choice(int(estimates.scores(objective)[0].argmax()), 1.0, estimates)

    def add_provider(self, name: str, *, quality: float = 0.5, cost: float = 0.0, latency: float | None = None) -> Self:
        """Add an arm at run time with what is believed of it until it is observed."""
        raise PolicyError(f"{type(self).__name__} cannot add a provider; fit it again with {name!r} in the data")

    def remove_provider(self, name: str) -> Self:
        """Remove an arm at run time; the others keep what they learned."""
        raise PolicyError(f"{type(self).__name__} cannot remove {name!r}; fit it again without that provider")

    def reprice_provider(self, name: str, factor: float) -> Self:
        """From now on expect ``factor`` (> 0) times the cost of one arm: its price changed."""
        raise PolicyError(f"{type(self).__name__} cannot reprice {name!r}; fit it again on the new costs")

    def forget_provider(self, name: str, keep: float = 0.1, shift: float = 0.0) -> Self:
        """Believe only the share ``keep`` of what was seen of one arm, its quality moved by ``shift``: it drifted."""
        raise PolicyError(f"{type(self).__name__} cannot forget {name!r}; fit it again on recent outcomes")

    @abstractmethod
    def _state(self) -> Bundle:
        """What ``save`` writes beside the parameters and the names of the arms."""

    @abstractmethod
    def _restore(self, bundle: Bundle) -> None:
        """Take back what ``_state`` gave."""

    def save(self, path: str | Path) -> None:
        """Write the fitted policy to the folder ``path`` (JSON, flat arrays, ONNX; no pickle).

        Raises:
            PolicyError: the policy is not fitted, or ``path`` holds something else.
        """
        write_bundle(path, self.to_bundle())

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a policy that ``save`` wrote; PolicyError where the folder is missing, damaged or of another class."""
        return cls.from_bundle(read_bundle(path, cls.__name__))

    def to_bundle(self) -> Bundle:
        """The fitted policy as JSON, flat arrays and ONNX."""
        self.check_fitted()
        state = self._state()
        meta = {"params": params_to_json(self), "providers": list(self.providers_), "state": state.meta}
        return Bundle(type(self).__name__, meta, state.arrays, state.onnx)

    @classmethod
    def from_bundle(cls, bundle: Bundle) -> Self:
        """Inverse of ``to_bundle``; PolicyError where another version of the policy wrote it."""
        try:
            self = cls(**params_from_json(bundle.meta["params"]))
            self._names = tuple(bundle.meta["providers"])
            self._restore(Bundle(bundle.kind, bundle.meta["state"], bundle.arrays, bundle.onnx))
        except (KeyError, TypeError, ValueError, IndexError) as error:
            if isinstance(error, PolicyError):
                raise
            told = f"{type(error).__name__}: {error}"
            raise PolicyError(
                f"this {bundle.kind} was saved by another version of routelab ({told}); fit it again"
            ) from None
        return self

    def check_fitted(self) -> None:
        """Refuse to go on before ``fit``.

        Raises:
            PolicyError: the policy has no arms yet.
        """
        if not self.providers_:
            raise PolicyError(f"{type(self).__name__} is not fitted; call `fit` (or `add_provider` on a bandit) first")

    def _position(self, name: str) -> int:
        """Column of the arm called ``name``."""
        self.check_fitted()
        if name not in self.providers_:
            raise PolicyError(f"provider {name!r} is unknown; the policy has {', '.join(self.providers_)}")
        return self.providers_.index(name)

    def _drop_name(self, name: str) -> int:
        """Take the arm called ``name`` off the list; returns the column it had."""
        position = self._position(name)
        if len(self.providers_) == 1:
            raise PolicyError(f"{name!r} is the last provider; add another before removing it")
        self._names = self.providers_[:position] + self.providers_[position + 1 :]
        return position


def params_to_json(policy: BaseEstimator) -> dict[str, Any]:
    """Constructor arguments as JSON; an ``Objective`` or a policy, of which only the settings, is a tagged mapping."""
    return {name: _to_json(value) for name, value in policy.get_params(deep=False).items()}


def params_from_json(params: dict[str, Any]) -> dict[str, Any]:
    """Inverse of ``params_to_json``."""
    return {name: _from_json(value) for name, value in params.items()}


def _to_json(value: Any) -> Any:
    if isinstance(value, Objective):
        return {"objective": asdict(value)}
    if isinstance(value, Policy):
        return {"policy": type(value).__name__, "params": params_to_json(value)}
    return value


def _from_json(value: Any) -> Any:
    if isinstance(value, dict) and "objective" in value:
        return Objective(**value["objective"])
    if isinstance(value, dict) and "policy" in value:
        from routelab.policies import policy_class

        return policy_class(value["policy"])(**params_from_json(value["params"]))
    return value
