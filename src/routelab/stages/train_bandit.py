"""Stage ``train_bandit``: bandits pass over the training split, seeing only the outcomes of what they chose."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from routelab import plots, tracking
from routelab.evaluation.curves import curve_of
from routelab.evaluation.replay import Replay, replay
from routelab.params import Params
from routelab.policies import EpsilonGreedyPolicy, Objective, Policy, ThompsonPolicy
from routelab.policies.base import Floats
from routelab.policies.objective import cost_weight_sweep
from routelab.stages.common import (
    Split,
    drawn,
    models,
    progress,
    read_splits,
    reports,
    stage,
    write_bytes,
    write_curve,
    write_json,
)
from routelab.stages.replays import replay_scenarios
from routelab.stages.training_run import log_training_run, request_example

_POINTS = 150  # of a regret curve; more do not show


def _bandits(params: Params) -> dict[str, Policy]:
    return {
        "epsilon-greedy": EpsilonGreedyPolicy(params.bandit.epsilon, ThompsonPolicy(params.bandit.prior)),
        "thompson": ThompsonPolicy(params.bandit.prior),
    }


def _pass(name: str, train: Split, objective: Objective, params: Params, seed: int) -> tuple[Policy, Replay]:
    """One cold start through the training prompts, in an order of its own."""
    policy, rng = _bandits(params)[name], np.random.default_rng([params.seed, seed])
    for provider in train.providers:
        policy.add_provider(provider)
    order = rng.permutation(len(train.X))
    return policy, replay(policy, train.X[order], train.quality[order], train.cost[order], objective, rng)


def _regret_rows(name: str, seed: int, regret: Floats) -> pd.DataFrame:
    steps = np.unique(np.linspace(0, len(regret) - 1, _POINTS).astype(int))
    return pd.DataFrame({"policy": name, "seed": seed, "step": steps + 1, "regret": regret[steps]})


def _blind_regret(train: Split, objective: Objective, params: Params, seeds: int) -> Iterator[pd.DataFrame]:
    """What choosing at random would have lost, on the same orders: the line that learning must stay below."""
    utility = objective.utility(train.quality, train.cost)
    for seed in range(seeds):
        rng = np.random.default_rng([params.seed, seed])
        order = rng.permutation(len(utility))
        lost = utility.max(axis=1)[order] - utility[order, rng.integers(utility.shape[1], size=len(order))]
        yield _regret_rows("random", seed, np.cumsum(lost))


def train_bandit(source: str, params: Params) -> None:
    """Train ε-greedy and Thompson sampling for each trade-off, then replay the scenarios with every policy."""
    _train(source, params)
    replay_scenarios(source, params)


def _train(source: str, params: Params) -> None:
    """One pass for each trade-off and seed; save the policies, and log both to MLflow."""
    train, held = (
        split.complete(f"{source}, {name} split")
        for name, split in zip(("training", "evaluation"), read_splits(source), strict=True)
    )
    example = request_example(source)
    tracking.check_store()
    sweep = cost_weight_sweep(train.cost, params.bandit.settings)
    shown = Objective(cost_weight=float(sweep[len(sweep) // 2]))
    seeds = params.sized(params.bandit.seeds)
    regrets, report, curves = list(_blind_regret(train, shown, params, seeds)), {}, {}
    kept: dict[str, Policy] = {}
    mixed: dict[str, Floats] = {}
    for name in _bandits(params):
        probabilities = np.zeros((len(sweep), 1, len(train.providers)))
        final = []
        for setting, weight in enumerate(progress(sweep, name)):
            objective = Objective(cost_weight=float(weight))
            for seed in range(seeds):
                policy, past = _pass(name, train, objective, params, seed)
                probabilities[setting] += policy.action_probabilities(held.X[:1], objective) / seeds
                if objective == shown:
                    regrets.append(_regret_rows(name, seed, past.regret))
                    final.append(past.regret[-1])
                    if seed == 0:
                        kept[name] = policy
        mixed[name] = probabilities
        curves[name] = curve_of(name, sweep, probabilities, held.quality, held.cost)
        report[name] = {
            "regret_per_request": float(np.mean(final) / len(train.X)),
            "best_quality": float(curves[name].points[:, 1].max()),
        }
    regret = pd.concat(regrets, ignore_index=True)
    blind = regret[(regret["policy"] == "random") & (regret["step"] == len(train.X))]["regret"].mean()
    report["random"] = {"regret_per_request": float(blind / len(train.X))}
    saved = 1.0 - min(report[name]["regret_per_request"] for name in curves) / report["random"]["regret_per_request"]
    title = (
        f"{source}: learning online saves {saved:.0%} of the regret of choosing at random (λ = {shown.cost_weight:.3g})"
    )
    figure = drawn(plots.plot_regret(regret, title=title))

    for name, policy in kept.items():
        policy.save(models(source) / name)
        write_curve(models(source) / f"{name}.npz", sweep, mixed[name])
    write_bytes(reports(source) / "regret.csv", regret.to_csv(index=False, float_format="%.9g").encode())
    write_bytes(reports(source) / "regret.png", figure)
    write_json(reports(source) / "bandit.json", report)
    for name, curve in curves.items():
        mean = regret[regret["policy"] == name].groupby("step")["regret"].mean()
        log_training_run(
            "train_bandit",
            source,
            curve,
            (train, held),
            example,
            seed=params.seed,
            params=params.bandit.model_dump(),
            metrics=report[name],
            series={"regret": mean.to_numpy()},
            figures={"regret.png": figure},
        )
    print(title)


if __name__ == "__main__":
    stage(train_bandit)
