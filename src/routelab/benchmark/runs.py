"""One policy on one split: fitted on the training prompts, swept over its knob on the evaluation prompts."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from routelab.arrays import Floats
from routelab.errors import PolicyError
from routelab.evaluation.crossfit import MAX_SETTINGS, Curve
from routelab.evaluation.curves import PolicyCurve, curve_under, is_greedy
from routelab.evaluation.replay import replay
from routelab.evaluation.split import Split
from routelab.policies import POLICIES, ForestBanditPolicy, ForestClassifierPolicy, OraclePolicy, Policy, RandomPolicy
from routelab.policies.linear_bandit import LinearBandit
from routelab.policies.objective import Objective, cost_weight_sweep
from routelab.reduction import COMPONENTS, reduce_columns

REFITS = 8  # settings of a policy that needs a fit, or a pass over the training split, for each
QUADRATIC_PROVIDERS, QUADRATIC_PROMPTS = 20, 50_000


@dataclass(frozen=True, slots=True)
class Run:
    """What a policy did on n evaluation prompts of k providers under s settings of its knob.

    Args:
        cost_weights: (s,) λ, quality per USD.
        outcomes: expected quality and cost, each (n, s).
        shares: (s, k) of the prompts that each provider answers.
        predicted: (n, k) estimated quality (of the first setting's policy, where each has its own), or None.
        ranks: whether it chooses by these estimates alone.
    """

    cost_weights: Floats
    outcomes: Curve
    shares: Floats
    predicted: Floats | None = None
    ranks: bool = False

    @classmethod
    def of(cls, curve: PolicyCurve, policy: Policy | None, held: Split) -> Run:
        """The run behind ``curve``, with the estimates of ``policy`` where it is known and has some of its own."""
        if policy is None or isinstance(policy, ForestClassifierPolicy):  # labels: its ``predict`` fills in means
            return cls(curve.cost_weights, curve.outcomes, curve.shares)
        predicted = np.asarray(policy.predict(held.X).quality)
        return cls(curve.cost_weights, curve.outcomes, curve.shares, predicted, is_greedy(policy))

    @property
    def points(self) -> Floats:
        """Mean cost in USD and mean quality under each setting, (s, 2)."""
        return np.column_stack([self.outcomes.cost.mean(axis=0), self.outcomes.quality.mean(axis=0)])


def why_left_out(name: str, providers: int, prompts: int) -> str | None:
    """Why a policy is too slow for a table, or None.

    >>> why_left_out("forest", providers=70, prompts=100_000)
    """
    if not getattr(POLICIES[name], "quadratic", False):
        return None
    if providers <= QUADRATIC_PROVIDERS and prompts <= QUADRATIC_PROMPTS:
        return None
    return (
        f"its cost is quadratic in providers: at most {QUADRATIC_PROVIDERS} providers and {QUADRATIC_PROMPTS:,} "
        f"prompts, but the table has {providers} and {prompts:,}"
    )


def _passes(policy: Policy) -> bool:
    """Whether a policy is scored after a pass over the training prompts: bandits, but for one that has a forest."""
    return policy.online and not isinstance(policy, ForestBanditPolicy)


def _in_components(train: Split, held: Split) -> tuple[Split, Split]:
    """Both sides with 25 components of the training features in place of all of them."""
    weights, offset = reduce_columns(train.X, COMPONENTS)
    reduced = [replace(side, X=(side.X @ weights + offset).astype(np.float32)) for side in (train, held)]
    return reduced[0], reduced[1]


def new_policy(kind: type[Policy], objective: Objective, seed: int) -> Policy:
    """A policy that has learned nothing, told its objective and seed where it takes them."""
    known = kind().get_params(deep=False)
    return kind(**{name: value for name, value in (("objective", objective), ("seed", seed)) if name in known})


def _objectives(kind: type[Policy], own_each: bool, train: Split, settings: int) -> list[Objective]:
    """The settings of a policy's knob: λ; for a random mixture budgets, every provider's mean cost among them."""
    if issubclass(kind, RandomPolicy):
        means = np.nanmean(train.cost, axis=0)
        between = np.linspace(means.min(), means.max(), max(settings - means.size, 0) + 2)[1:-1]
        budgets = np.quantile(np.append(means, between), np.linspace(0.0, 1.0, settings))
        return [Objective(max_cost=float(budget)) for budget in budgets]
    sweep = cost_weight_sweep(train.cost, min(REFITS, settings) if own_each else settings)
    return [Objective(cost_weight=float(weight)) for weight in sweep]


def learned(kind: type[Policy], train: Split, objective: Objective, seed: int) -> Policy:
    """A policy fitted on the training prompts; a bandit passes over them once, in an order of its own."""
    policy = new_policy(kind, objective, seed)
    if not _passes(policy):
        return policy.fit(train.X, train.quality, train.cost, train.latency, providers=train.providers)
    seen = train.complete("training split")
    for provider in seen.providers:
        policy.add_provider(provider)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(seen.X))
    replay(policy, seen.X[order], seen.quality[order], seen.cost[order], objective, rng)
    return policy


def run_policy(name: str, train: Split, held: Split, seed: int, settings: int = MAX_SETTINGS) -> Run:
    """Fit the policy called ``name`` and sweep it.

    One fit serves all settings, but for a policy that is told its objective (``forest-classifier``: a fit for each of
    8) and for bandits (a pass over the complete training prompts for each of 8, seeing what they chose only). The
    oracle learns the evaluation prompts themselves: a ceiling, no opponent.

    Args:
        name: one of ``POLICIES``.
        train: may lack outcomes.
        held: complete.
        seed: of the policy, where it takes one, and of a bandit's order and draws.
        settings: of the knob, at most 32.

    Raises:
        PolicyError: the name is unknown, or the policy cannot learn from these prompts.
    """
    if name not in POLICIES:
        raise PolicyError(f"no policy {name!r}; known are {', '.join(POLICIES)}")
    kind = POLICIES[name]
    passes = _passes(kind())
    if passes and issubclass(kind, LinearBandit):
        train, held = _in_components(train, held)
    own_each = passes or "objective" in kind().get_params(deep=False)
    objectives = _objectives(kind, own_each, train, settings)
    first = learned(kind, held if kind is OraclePolicy else train, objectives[0], seed)

    def fitted(objective: Objective) -> Policy:
        return first if objective == objectives[0] else learned(kind, train, objective, seed)

    curve = curve_under(name, fitted if own_each else first, held.X, held.quality, held.cost, objectives)
    return Run.of(curve, first, held)
