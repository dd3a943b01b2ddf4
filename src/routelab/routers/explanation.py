"""Why a router would choose a provider for one request: what it expects of each, and the features that moved it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from routelab.errors import RoutelabError
from routelab.html import Bar, Card, Shown, number
from routelab.policies import Estimates, Objective, Policy
from routelab.policies.attribution import feature_groups, shapley
from routelab.policies.base import Features, Floats
from routelab.reduction import Matrix

_HEADER = {"provider": "provider", "quality": "quality", "± SE": "quality_se", "USD per 1,000": "cost_usd"}
_HEADER |= {"latency (s)": "latency_s", "utility": "utility", "propensity": "propensity"}


@dataclass(frozen=True, slots=True, repr=False)
class Explanation(Shown):
    """One decision explained: estimates, objective, propensities, and what each feature of the request added.

    Args:
        policy: class name of the policy that decides.
        objective: the trade-off.
        providers: names of the arms (k,).
        estimates: what the policy expects of each arm, shapes (1, k); None where it has learned nothing yet. Their
            ``quality_se`` is sampling error only: it does not tell how biased the estimate is.
        utility: (k,) utility of each arm under the objective, constraints aside; NaN where nothing is learned.
        feasible: (k,) whether an arm meets the constraints (or, where none does, comes nearest); None where unknown.
        meets_bounds: (k,) whether an arm meets the constraints, all False where none does; None where unknown.
        propensities: (k,) probability of each arm.
        choice: the most probable arm.
        runner_up: the next best by utility, of those that are feasible; by usual propensity where nothing is learned.
            None with a single arm, or where several of which nothing is learned are next.
        measure: what ``attribution`` adds up to: "utility"; "propensity" where no feature moves that, but the choice
            depends on them all the same (rules, a classifier), or where nothing is learned.
        features: names of the groups of features (g,).
        contributions: (g, k) Shapley values: by how much each feature moved each arm's measure.
        usual: (k,) mean of the measure over the background requests.
    """

    policy: str
    objective: Objective
    providers: tuple[str, ...]
    estimates: Estimates | None
    utility: Floats
    feasible: tuple[bool | None, ...]
    meets_bounds: tuple[bool | None, ...]
    propensities: Floats
    choice: str
    runner_up: str | None
    measure: str
    features: tuple[str, ...]
    contributions: Floats
    usual: Floats

    def attribution(self, provider: str | None = None) -> dict[str, float]:
        """By how much each feature moved the choice's lead over the runner-up, or the measure of ``provider``.

        The largest first; they add up to the measure of this request less its mean over the background requests.

        Raises:
            RoutelabError: the provider is unknown.
        """
        if provider is not None and provider not in self.providers:
            raise RoutelabError(f"provider {provider!r} is unknown; choose one of {', '.join(self.providers)}")
        moved = self._lead(self.contributions) if provider is None else self._of(self.contributions, provider)
        return {self.features[i]: float(moved[i]) for i in np.argsort(-np.abs(moved), kind="stable")}

    def _of(self, values: Floats, provider: str) -> Floats:
        return np.asarray(values[..., self.providers.index(provider)])

    def _lead(self, values: Floats) -> Floats:
        """The choice's value less the runner-up's; the choice's own where there is no other arm."""
        own = self._of(values, self.choice)
        return own if self.runner_up is None else own - self._of(values, self.runner_up)

    def as_dict(self) -> dict[str, Any]:
        """Everything by name, ready for JSON; the prompt is not in it."""
        return {
            "policy": self.policy,
            "objective": asdict(self.objective),
            "choice": self.choice,
            "runner_up": self.runner_up,
            "providers": {row.pop("provider"): row for row in self._rows()},
            "measure": self.measure,
            "usual_lead": float(self._lead(self.usual)),
            "attribution": self.attribution(),
        }

    def to_json(self) -> str:
        """``as_dict`` as JSON."""
        return json.dumps(self.as_dict(), ensure_ascii=False, allow_nan=False)

    def _rows(self) -> list[dict[str, Any]]:
        """One row per provider, in the order of the arms; what is not known is None."""
        fields = {"quality": "quality", "quality_se": "quality_se", "cost_usd": "cost", "latency_s": "latency"}
        expected = {name: getattr(self.estimates, field, None) for name, field in fields.items()}
        known = {name: None if values is None else values[0] for name, values in expected.items()}
        known |= {"utility": self.utility, "propensity": self.propensities}
        return [
            {"provider": name, "feasible": self.feasible[arm], "meets_bounds": self.meets_bounds[arm]}
            | {key: None if row is None or np.isnan(row[arm]) else float(row[arm]) for key, row in known.items()}
            for arm, name in enumerate(self.providers)
        ]

    def _notes(self) -> list[str]:
        """What a reader of the table has to know."""
        if self.estimates is None:
            return ["nothing is learned yet, so there are no estimates"]
        notes = [] if self.estimates.quality_se is None else ["± SE is sampling error only; it leaves out bias"]
        if not any(self.meets_bounds):
            nearest = self.feasible[self.providers.index(self.choice)]
            notes.append("no provider meets the bound(s)" + ("; the nearest is chosen" if nearest else ""))
        return notes

    def _card(self) -> Card:
        """Decision and table of providers (the choice first); below it a bar for each feature that moved it."""
        chance = float(self._of(self.propensities, self.choice))
        ranked = sorted(
            self._rows(), key=lambda r: (r["provider"] != self.choice, not r["feasible"], -(r["utility"] or 0.0))
        )
        for row in ranked:
            row["cost_usd"] = row["cost_usd"] and 1e3 * row["cost_usd"]
            row["provider"] += " (breaks a bound)" if row["meets_bounds"] is False else ""
        return Card(
            f"{self.policy} chooses {self.choice} with probability {chance:.3g} (objective: {self.objective})",
            [[row[key] if key == "provider" else number(row[key]) for key in _HEADER.values()] for row in ranked],
            tuple(_HEADER),
            self._notes(),
            self._moved(),
        )

    def _moved(self) -> Card:
        """What each feature added to the lead of the choice; the small ones together."""
        moved, usual = self.attribution(), float(self._lead(self.usual))
        largest = max(map(abs, moved.values()))
        shown = {name: value for name, value in moved.items() if abs(value) > 0.01 * largest}
        if rest := sum(value for name, value in moved.items() if name not in shown):
            shown[f"{len(moved) - len(shown)} others"] = rest
        lead = self.choice if self.runner_up is None else f"{self.choice} over {self.runner_up}"
        question = f"{self.measure} of {lead}: {usual + sum(moved.values()):+.4f} for this request, "
        question += f"{usual:+.4f} usually" + ("" if shown else "; no feature moves it")
        return Card(question, [(f"{value:+.4f}", Bar(value / largest), name) for name, value in shown.items()])


def explain(
    policy: Policy, x: Matrix, objective: Objective, names: tuple[str, ...], background: Matrix, known: bool = True
) -> Explanation:
    """Explain what ``policy`` makes of one request; nothing is drawn, recorded or learned.

    Args:
        policy: fitted.
        x: (p,) features of the request.
        objective: the trade-off.
        names: of the p columns.
        background: (m, p) features of other requests, with which the request is compared.
        known: False where the policy has learned nothing; its estimates, equal for every request, are then not shown.

    Raises:
        RoutelabError: the policy or the objective refuses.

    >>> from routelab.policies import FixedPolicy
    >>> policy = FixedPolicy().fit(np.zeros((1, 1)), np.array([[0.5, 0.9]]), np.array([[0.01, 0.1]]))
    >>> x = np.zeros(1, dtype=np.float32)
    >>> print(explain(policy, x, Objective(cost_weight=1.0), ("x_age",), x[None]))
    FixedPolicy chooses 1 with probability 1 (objective: cost_weight 1)
    provider  quality  USD per 1,000  utility  propensity
    1         0.9      100            0.8      1
    0         0.5      10             0.49     0
    <BLANKLINE>
    utility of 1 over 0: +0.3100 for this request, +0.3100 usually; no feature moves it
    """
    groups = feature_groups(names)
    estimates = policy.predict(x[None])
    propensities = policy.propensities(x, objective)()

    def utility(X: Features) -> Floats:
        expected = policy.predict(X)
        return objective.utility(expected.quality, expected.cost, expected.latency)

    measure, own, columns = "utility", utility(x[None])[0], list(groups.values())
    contributions, usual = shapley(utility, x, background, columns)
    if not contributions.any():
        moved, often = shapley(lambda X: policy.action_probabilities(X, objective), x, background, columns)
        if moved.any() or not known:
            measure, contributions, usual = "propensity", moved, often
    choice = int(propensities.argmax())
    rank = estimates.scores(objective)[0] if known else usual
    others = sorted(set(range(len(own))) - {choice}, key=lambda arm: (-rank[arm], -own[arm]))
    if not known and len({rank[arm] for arm in others[:2]}) < len(others[:2]):
        others = []  # a tie between arms of which nothing is known
    unknown = (None,) * len(own)
    return Explanation(
        policy=type(policy).__name__,
        objective=objective,
        providers=policy.providers_,
        estimates=estimates if known else None,
        utility=own if known else np.full(len(own), np.nan),
        feasible=tuple(np.isfinite(rank).tolist()) if known else unknown,
        meets_bounds=_meets_bounds(estimates, objective) if known else unknown,
        propensities=propensities,
        choice=policy.providers_[choice],
        runner_up=policy.providers_[others[0]] if others else None,
        measure=measure,
        features=tuple(groups),
        contributions=contributions,
        usual=usual,
    )


def _meets_bounds(estimates: Estimates, objective: Objective) -> tuple[bool, ...]:
    """Which arms (k,) are feasible beside one that breaks no bound."""
    latency = None if estimates.latency is None else np.append(estimates.latency, 0.0)
    met = objective.feasible(np.append(estimates.quality, 1.0), np.append(estimates.cost, 0.0), latency)
    return tuple(met[:-1].tolist())
