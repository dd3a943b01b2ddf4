"""The scenarios of ``train_bandit``: what policies earn online while prices, providers and feedback change."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from routelab import plots, tracking
from routelab.arrays import Floats
from routelab.benchmark.published import budget_rewards
from routelab.benchmark.replay_report import contexts, report_of
from routelab.benchmark.replay_scores import WINDOW, best_static
from routelab.benchmark.replays import Plan, SeedRun, run_plans
from routelab.evaluation.scenarios import build
from routelab.evaluation.split import Split
from routelab.params import Params
from routelab.stages.common import collected, drawn, reports, write_bytes, write_json
from routelab.tables.table import PerformanceTable

_POINTS = 150  # of a curve; more do not show
_SHOWN = "regression"  # the scenario of the figure


def replay_scenarios(source: str, params: Params) -> None:
    """Replay the scenarios on ``source`` with every policy of this run; write reports and figures, log to MLflow."""
    train_table, held_table = PerformanceTable.read(collected(source)).split(params.train_fraction, seed=params.seed)
    featurizer = contexts(train_table, params.seed)
    train = Split.of(train_table, featurizer).complete(f"{source}, training split")
    held = Split.of(held_table, featurizer).complete(f"{source}, evaluation split")
    tracking.check_store()
    budgets = params.replay.budgets.get(source) or _levels(train.cost, params.replay.levels)
    plans = list(_plans(params, budgets))
    done = run_plans(plans, train, held, seeds=params.sized(params.replay.seeds), seed=params.seed)
    told = [report_of(plan, runs, source) for plan, runs in zip(plans, done, strict=True)]
    curves = pd.concat([_curves(plan, runs) for plan, runs in zip(plans, done, strict=True)], ignore_index=True)
    figures = {"budgets.png": _budget_figure(source, told, held, budgets)}
    if _SHOWN in params.replay.scenarios:
        phases = build(_SHOWN, train, held, np.random.default_rng(params.seed)).phases
        figures["adaptation.png"] = _adaptation_figure(source, curves, phases)

    shown = [{key: each[key] for key in ("scenario", "policy", "budget", "summary", "phases")} for each in told]
    write_json(reports(source) / "replay.json", {"seeds": told[0]["seeds"], "budgets": budgets, "runs": shown})
    write_bytes(reports(source) / "replay.csv", curves.to_csv(index=False, float_format="%.9g").encode())
    for name, png in figures.items():
        write_bytes(reports(source) / name, png)
    _log(source, params, told, curves, figures)


def _levels(cost: Floats, count: int) -> list[float]:
    """Budgets from just above the cheapest provider's mean training cost to the dearest one's."""
    means = cost.mean(axis=0)
    return [float(f"{level:.3g}") for level in np.geomspace(1.02 * means.min(), means.max(), count)]


def _plans(params: Params, budgets: Sequence[float]) -> Iterator[Plan]:
    middle = sorted(budgets)[len(budgets) // 2]
    for scenario in params.replay.scenarios:
        for policy in params.online_policies():
            for budget in budgets if scenario == "budget" else [middle]:
                yield Plan(scenario, policy, budget)


def _curves(plan: Plan, runs: Sequence[SeedRun]) -> pd.DataFrame:
    """Mean reward of the last 50 requests, and cumulative regret, of each seed at some of the scored steps."""
    frames = []
    for run in runs:
        reward, regret = run.replay.reward[run.start :], run.replay.regret[run.start :]
        recent = np.convolve(reward, np.full(WINDOW, 1.0 / WINDOW))[: len(reward)]
        steps = np.unique(np.linspace(WINDOW - 1, len(reward) - 1, _POINTS).astype(int))
        before = regret[0] if not run.start else run.replay.regret[run.start - 1]
        columns = {"step": steps + 1, "reward": recent[steps], "regret": regret[steps] - before}
        frames.append(pd.DataFrame({"seed": run.scores["seed"], **columns}))
    named = {"scenario": plan.scenario, "policy": plan.policy, "budget": plan.budget}
    return pd.concat(frames, ignore_index=True).assign(**named)


def _budget_figure(source: str, told: Sequence[dict[str, Any]], held: Split, budgets: Sequence[float]) -> bytes:
    rows = pd.DataFrame(
        [
            {"policy": each["policy"], "budget": each["budget"], **each["summary"]["reward"]}
            for each in told
            if each["scenario"] == "budget"
        ]
    )
    static = {budget: best_static(held.quality, held.cost, budget) for budget in budgets}
    reference = {"best mixture of providers, in hindsight": static}
    if published := budget_rewards(source):
        reference["published: ParetoBandit, after warm-up priors"] = published
    rows["lead"] = rows["mean"] - rows["budget"].map(static)
    leads = rows.groupby("policy", sort=False)["lead"].mean()
    best, lead = leads.idxmax(), leads.max()
    title = f"{source}: {best} learns online within every budget, {lead:+.3f} over the best mixture on average"
    return drawn(plots.plot_budgets(rows, reference=reference, title=title))


def _adaptation_figure(source: str, curves: pd.DataFrame, phases: Sequence[tuple[str, int, int]]) -> bytes:
    rows = curves[curves["scenario"] == _SHOWN]
    _, begin, stop = phases[1]
    during = rows[rows["step"].between(begin + WINDOW, stop)].groupby("policy", sort=False)["reward"].mean()
    title = (
        f"{source}: a provider silently gets worse and recovers; {during.idxmax()} earns {during.max():.3f} meanwhile"
    )
    return drawn(plots.plot_adaptation(rows, phases, title=title))


def _log(
    source: str, params: Params, told: Sequence[dict[str, Any]], curves: pd.DataFrame, figures: dict[str, bytes]
) -> None:
    """One MLflow run per scenario and policy; those of several budgets have them as steps."""
    seeds = params.sized(params.replay.seeds)
    for (scenario, policy), rows in curves.groupby(["scenario", "policy"], sort=False):
        mine = [each for each in told if (each["scenario"], each["policy"]) == (scenario, policy)]
        series = {
            f"{name}_by_budget": np.array([each["summary"][name]["mean"] for each in mine])
            for name in ("reward", "cost", "cost_over_budget", "regret")
        }
        middle = mine[len(mine) // 2]
        metrics = {name: middle["summary"][name]["mean"] for name in ("reward", "cost_over_budget", "regret")}
        metrics |= {f"{phase['name']}/reward": phase["reward"]["mean"] for phase in middle["phases"]}
        steps = rows[rows["budget"] == middle["budget"]].groupby("step")
        mean, sd = (getattr(steps["reward"], how)() for how in ("mean", "std"))
        series |= {
            "recent_reward": mean.to_numpy(),
            "recent_reward_low": (mean - 2.0 * sd / np.sqrt(seeds)).to_numpy(),
            "recent_reward_high": (mean + 2.0 * sd / np.sqrt(seeds)).to_numpy(),
            "regret_so_far": steps["regret"].mean().to_numpy(),
        }
        settings = {"scenario": scenario, "budgets": [each["budget"] for each in mine], "seeds": seeds}
        with tracking.run(f"replay {scenario}", source, str(policy), params.seed, settings):
            tracking.log_metrics(metrics, series if len(mine) > 1 else {k: v for k, v in series.items() if len(v) > 1})
            with tempfile.TemporaryDirectory() as folder:
                for name, png in figures.items():
                    (Path(folder) / name).write_bytes(png)
                    tracking.log_files(Path(folder) / name)
