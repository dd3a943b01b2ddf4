"""One decision of a router, as its caller sees it and as the log keeps it; and changes of prices."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from routelab.db_records import Decision
from routelab.html import Card, Shown, short
from routelab.policies import Choice, Estimates, Objective
from routelab.providers import Price, Provider
from routelab.reduction import Matrix
from routelab.request import LLMRequest


@dataclass(frozen=True, slots=True, repr=False)
class RoutingDecision(Shown):
    """One decision of a router.

    Args:
        decision_id: under which the outcome joins later.
        provider: that was chosen.
        providers: names of the arms (k,).
        choice: of the policy.
        objective: the trade-off it was made under.
        policy: name of the policy that decided.
        logged: whether the router's log, where there is one, took it.
    """

    decision_id: str
    provider: Provider
    providers: tuple[str, ...]
    choice: Choice
    objective: Objective
    policy: str
    logged: bool = True

    def _card(self) -> Card:
        chosen = self.provider.name
        rows = [(name, *row) for name, row in zip(self.providers, self.estimates.cells(), strict=True)]
        return Card(
            f"{self.policy} chose {short(chosen)} with probability {self.propensity:.3g} (objective: {self.objective})",
            sorted(rows, key=lambda row: row[0] != chosen),
            ("provider", "quality", "± SE", "USD per 1,000", "latency (s)"),
            [f"estimates of the policy; decision {self.decision_id}" + ("" if self.logged else ", not in the log")],
        )

    @property
    def propensity(self) -> float:
        """Probability with which the provider was chosen, in (0, 1]."""
        return self.choice.propensity

    @property
    def estimates(self) -> Estimates:
        """What the policy expected of each arm, shapes (1, k)."""
        return self.choice.estimates

    def record(
        self,
        request: LLMRequest,
        x: Matrix,
        *,
        decided_at: float,
        feature_set: str,
        policy_version: int,
    ) -> Decision:
        """What the log keeps: features (p,), and of the prompt what its settings say."""
        return Decision(
            decision_id=self.decision_id,
            request_id=request.request_id or self.decision_id,
            decided_at=decided_at,
            provider=self.provider.name,
            providers=self.providers,
            probabilities=self.choice.probabilities,
            propensity=self.propensity,
            features=x,
            feature_set=feature_set,
            policy=self.policy,
            policy_version=str(policy_version),
            objective=asdict(self.objective),
            unit_id=request.unit_id,
            experiment=request.experiment,
            prompt=request.prompt or None,
        )


@dataclass(frozen=True, slots=True)
class PriceChange:
    """A price that changed at run time: the unix second, the provider, and new over old typical cost.

    The factor is NaN where costs from before tell nothing about the present: the provider was free, or the changes
    between are no longer known.
    """

    at: float
    provider: str
    factor: float


def typical_cost(price: Price) -> float:
    """USD of a request of 500 input and 200 output tokens: what is believed before any outcome."""
    return price.cost_usd(500, 200)
