"""OraclePolicy: knows every outcome beforehand; the ceiling of a comparison, never a router."""

from __future__ import annotations

import numpy as np

from routelab.bundle import Bundle
from routelab.errors import PolicyError
from routelab.policies.base import Estimates, Features, Policy
from routelab.policies.outcomes import Outcomes


class OraclePolicy(Policy):
    """Chooses argmax of the utility on the true outcomes of the very prompts it was fitted on.

    >>> X = np.array([[0.0], [1.0]])
    >>> oracle = OraclePolicy().fit(X, np.array([[1.0, 0.0], [0.0, 1.0]]), np.zeros((2, 2)))
    >>> oracle.predict(X).quality.argmax(axis=1)
    array([0, 1])
    """

    def _fit(self, data: Outcomes) -> None:
        """Remember the outcomes of the evaluation prompts, complete (n, k) matrices.

        Raises:
            PolicyError: an outcome is missing, so the best arm is unknown.
        """
        if np.isnan(data.quality).any() or np.isnan(data.cost).any():
            raise PolicyError("the oracle needs every outcome; drop the prompts with a missing quality or cost")
        self.data_ = data

    def predict(self, X: Features) -> Estimates:
        """The true outcomes (n, k).

        Raises:
            PolicyError: ``X`` is not the array of ``fit``.
        """
        self.check_fitted()
        if not np.array_equal(np.asarray(X, dtype=np.float32), self.data_.X):
            raise PolicyError("the oracle knows only the prompts it was fitted on; fit it on the evaluation prompts")
        return Estimates(self.data_.quality, self.data_.cost, self.data_.latency)

    def _state(self) -> Bundle:
        raise PolicyError("an oracle holds the outcomes of one evaluation; there is nothing to save")

    def _restore(self, bundle: Bundle) -> None:
        raise PolicyError("an oracle cannot be loaded")
