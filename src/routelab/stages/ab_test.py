"""Stage ``ab_test``: rules against the forest against a bandit, on units drawn from prompts that none of them saw."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from routelab import plots, tracking
from routelab.abtest.analysis import analyse, analyse_over_time
from routelab.abtest.assignment import ABTest
from routelab.abtest.confidence_sequence import ConfidenceSequence
from routelab.abtest.plan import Metric, Plan
from routelab.abtest.planning import quantile_guardrail
from routelab.abtest.simulation import Draw, drawn_from, simulate
from routelab.arrays import Floats
from routelab.evaluation.split import Split
from routelab.params import Params
from routelab.policies import Policy, RulePolicy, load_policy
from routelab.policies.objective import Objective
from routelab.stages.common import drawn, features, models, read_splits, reports, stage, write_bytes, write_json
from routelab.stages.training_run import request_example

_LOOKS = 40
_WORSE_QUALITY, _LATER = 0.02, 1.0  # what guardrails tolerate: quality, and seconds at the 95th percentile


def ab_test(source: str, params: Params) -> None:
    """Run one A/B test and many simulated ones on the evaluation prompts; write reports and figure, log to MLflow.

    Where the verdict is to ship, the MLflow model ``routelab-SOURCE`` has the winner as ``champion`` then, and the
    control as ``challenger``.
    """
    settings, seed = params.ab_test, params.seed
    objective = Objective(cost_weight=settings.cost_weight)
    train, everything = read_splits(source)
    held = everything.complete(f"{source}, evaluation split")
    policies = variants(source, train)
    chosen = {name: policy.action_probabilities(held.X, objective) for name, policy in policies.items()}
    tracking.check_store()

    test = ABTest(f"routers on {source}", tuple(chosen), np.full(len(chosen), 1.0 / len(chosen)).tolist(), str(seed))
    plan = Plan(test.shares, metrics_of(held, chosen["rule"]), units=params.sized(settings.units))
    rows = served(test, chosen, held, objective, plan.units, settings.requests, np.random.default_rng(seed))
    report = analyse(rows, plan)
    looks = analyse_over_time(rows, plan, _LOOKS)
    utility = objective.utility(held.quality, held.cost)
    worth = {name: float((p * utility).sum(axis=1).mean()) for name, p in chosen.items()}
    truth = {name: worth[name] - worth[test.variants[0]] for name in test.variants[1:]}
    first = first_verdict(looks)
    title = "no verdict" if first is None else f"{first['verdict']} at {first['units']:,} units; {first['reason']}"
    figure = drawn(plots.plot_sequence(looks, truth=truth))
    told = report.as_dict() | {
        "cost_weight": settings.cost_weight,
        "true_difference": truth,
        "first_verdict": first,
        "simulations": simulations(chosen, utility, params.sized(settings.runs), seed),
    }
    write_json(reports(source) / "ab_test.json", told)
    write_bytes(reports(source) / "ab_test.png", figure)
    with tracking.run("ab test", source, "rule, forest, thompson", seed, settings.model_dump()):
        for result in report.results:
            found = {"difference": result.difference, "low": result.low, "high": result.high}
            tracking.log_metrics({f"{result.variant}/{result.metric}/{name}": value for name, value in found.items()})
        tracking.log_files(reports(source) / "ab_test.json", reports(source) / "ab_test.png")
        print(f"{source}: {title}")
        if report.verdict.variant is not None:
            promote(source, policies[report.verdict.variant], policies[plan.control])


def variants(source: str, train: Split) -> dict[str, Policy]:
    """The policies of the test by name; the control comes first."""
    rules: Policy = RulePolicy().fit(train.X, train.quality, train.cost, providers=train.providers)
    return {"rule": rules} | {name: load_policy(models(source) / name) for name in ("forest", "thompson")}


def promote(source: str, winner: Policy, control: Policy) -> None:
    """Log both as models of the active run, and point the aliases to them."""
    example, uris = request_example(source), {}
    with tempfile.TemporaryDirectory() as folder:
        for name, policy in (("winner", winner), ("control", control)):
            policy.save(Path(folder) / name)
            uris[name] = tracking.log_policy(Path(folder) / name, features(source) / "featurizer", example)
    tracking.promote(uris["winner"], uris["control"], name=f"routelab-{source}")


def metrics_of(held: Split, control: Floats) -> tuple[Metric, ...]:
    """Utility is the goal; quality, and latency where it is known, must not get much worse."""
    metrics = Metric("utility"), Metric("quality", margin=_WORSE_QUALITY)
    if held.latency is None or np.isnan(held.latency).any():
        return metrics
    before = held.latency[np.arange(len(held.X)), control.argmax(axis=1)]
    return *metrics, quantile_guardrail(before, _LATER)


def served(
    test: ABTest,
    chosen: Mapping[str, Floats],
    held: Split,
    objective: Objective,
    units: int,
    requests: float,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """What the log of a test would hold: a row per request, of units with one request or more, in their order.

    Prompts are drawn with replacement, so that a policy's true value is its mean over them.
    """
    names = [f"unit-{number}" for number in range(units)]
    unit = rng.permutation(np.repeat(np.arange(units), 1 + rng.poisson(requests - 1.0, units)))
    variant = test.assign_many(names)[unit]
    prompt = rng.integers(len(held.X), size=len(unit))
    arm = np.empty(len(unit), dtype=np.intp)
    for name, probabilities in chosen.items():
        mine = variant == name
        cumulative = probabilities[prompt[mine]].cumsum(axis=1)
        arm[mine] = (rng.random((mine.sum(), 1)) > cumulative[:, :-1]).sum(axis=1)
    quality, cost = held.quality[prompt, arm], held.cost[prompt, arm]
    rows = pd.DataFrame({"unit": np.array(names)[unit], "variant": variant, "decision_id": np.arange(len(unit))})
    rows = rows.assign(observed_at=np.arange(len(unit)), quality=quality, cost_usd=cost)
    rows["utility"] = objective.utility(quality, cost)
    return rows if held.latency is None else rows.assign(latency_s=held.latency[prompt, arm])


def first_verdict(looks: pd.DataFrame) -> dict[str, Any] | None:
    """The first look that told to ship or to stop, if one did."""
    decided = looks[looks["verdict"] != "continue"]
    if decided.empty:
        return None
    first = decided.iloc[0]
    return {"units": int(first["units"]), "verdict": first["verdict"], "reason": first["reason"]}


def simulations(chosen: Mapping[str, Floats], utility: Floats, runs: int, seed: int) -> list[dict[str, Any]]:
    """Many tests of each variant against the one before it, and of the first against itself, where nothing is to be
    found: 40 looks at up to 4,000 units of one request each.
    """
    looks = np.arange(50, 2_001, 50)
    method = ConfidenceSequence((float(looks[-1]), float(looks[-1])))
    first = next(iter(chosen))
    told = []
    for control, treatment in [(first, first), *pairwise(chosen)]:
        before, after = (_outcomes(chosen[name], utility) for name in (control, treatment))
        truth = float(((chosen[treatment] - chosen[control]) * utility).sum(axis=1).mean())
        result = simulate(method, before, after, truth, looks=looks, runs=runs, seed=seed)
        told.append({"control": control, "treatment": treatment, "true_difference": truth, **asdict(result)})
    return told


def _outcomes(probabilities: Floats, utility: Floats) -> Draw:
    """Draws the utility of a request: any prompt, any provider that the policy would choose for it."""
    return drawn_from(utility.ravel(), probabilities.ravel())


if __name__ == "__main__":
    stage(ab_test)
