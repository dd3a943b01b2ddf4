"""The logged model: MLflow runs this file to serve a saved policy ("models from code")."""

from __future__ import annotations

from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from routelab.features import RequestFeaturizer
from routelab.policies import Objective, Policy, load_policy
from routelab.request import LLMRequest

_FIELDS = ("prompt", "estimated_complexity", "requires_reasoning", "time_of_day", "user_tier")


def to_requests(frame: pd.DataFrame) -> list[LLMRequest]:
    """One request per row: columns named as the fields of ``LLMRequest``, and ``x_…`` for own features."""
    own = [name for name in frame.columns if name.startswith("x_")]
    known = [name for name in _FIELDS if name in frame.columns]
    requests = []
    for row in frame.to_dict("records"):
        values: dict[str, Any] = {name: row[name] for name in known if not pd.isna(row[name])}
        requests.append(LLMRequest(**{"prompt": ""} | values, features={name[2:]: float(row[name]) for name in own}))
    return requests


def answer(policy: Policy, featurizer: RequestFeaturizer, frame: pd.DataFrame, objective: Objective) -> pd.DataFrame:
    """Most probable provider of each request with its probability, estimated quality and cost in USD."""
    X = featurizer.transform(to_requests(frame))
    probabilities, estimates = policy.action_probabilities(X, objective), policy.predict(X)
    rows, arms = np.arange(len(X)), probabilities.argmax(axis=1)
    return pd.DataFrame(
        {
            "provider": [policy.providers_[arm] for arm in arms],
            "probability": probabilities[rows, arms],
            "quality": estimates.quality[rows, arms],
            "cost_usd": estimates.cost[rows, arms],
        }
    )


def own_objective(policy: Policy) -> Objective:
    """The trade-off that a policy was made for, or quality alone where it serves them all."""
    objective: Objective = getattr(policy, "objective", Objective())
    return objective


class ServedPolicy(PythonModel):
    """A saved policy and featurizer behind MLflow's ``predict``; the parameter ``cost_weight`` sets λ."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read the two saved folders."""
        self.policy = load_policy(context.artifacts["policy"])
        self.featurizer = RequestFeaturizer.load(context.artifacts["featurizer"])

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Route each row of ``model_input``."""
        weight = (params or {}).get("cost_weight", own_objective(self.policy).cost_weight)
        objective = Objective(cost_weight=float(weight))
        return answer(self.policy, self.featurizer, model_input, objective)


mlflow.models.set_model(ServedPolicy())
