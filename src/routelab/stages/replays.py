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
from routelab.benchmark.replay_report import parts, report_of
from routelab.benchmark.replay_scores import WINDOW, best_static
from routelab.benchmark.replays import Plan, SeedRun, run_plans
from routelab.drift import DriftMonitor
from routelab.evaluation.scenarios import build
from routelab.evaluation.split import Split
from routelab.params import Params
from routelab.stages.common import collected, drawn, reports, write_bytes, write_json
from routelab.tables.table import PerformanceTable

_POINTS = 150  # of a curve; more do not show
_SHOWN = "regression"  # the scenario of the figure


def replay_scenarios(source: str, params: Params) -> None:
    """Replay the scenarios on ``source`` with every policy of this run; write reports and figures, log to MLflow."""
    table = PerformanceTable.read(collected(source))
    train, held, _ = parts(*table.split(params.train_fraction, seed=params.seed), params.seed)
    tracking.check_store()
    budgets = params.replay.budgets.get(source) or _levels(train.cost, params.replay.levels)
    plans = list(_plans(params, budgets))
    done = run_plans(plans, train, held, seeds=params.sized(params.replay.seeds), seed=params.seed)
    told = [report_of(plan, runs, source) for plan, runs in zip(plans, done, strict=True)]
    curves = curves_of(plans, done)
    figures = {"budgets.png": _budget_figure(source, told, held, budgets)}
    if _SHOWN in params.replay.scenarios:
        phases = build(_SHOWN, train, held, np.random.default_rng(params.seed)).phases
        figures["adaptation.png"] = _adaptation_figure(source, told, curves, phases)
    write_json(reports(source) / "replay.json", {"seeds": told[0]["seeds"], "budgets": budgets, "runs": shown(told)})
    write_bytes(reports(source) / "replay.csv", curves.to_csv(index=False, float_format="%.9g").encode())
    for name, png in figures.items():
        write_bytes(reports(source) / name, png)
    log_replays(source, params.seed, told, curves, figures)
    print(f"{source}: {len(params.replay.scenarios)} scenarios replayed with {told[0]['seeds']} seeds each")


def shown(told: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What a report of a stage keeps of each replay; single seeds would make it long."""
    return [{key: each[key] for key in ("scenario", "policy", "budget", "summary", "phases")} for each in told]


def _levels(cost: Floats, count: int) -> list[float]:
    """Budgets from just above the cheapest provider's mean training cost to the dearest one's."""
    means = cost.mean(axis=0)
    return [float(f"{level:.3g}") for level in np.geomspace(1.02 * means.min(), means.max(), count)]


def _plans(params: Params, budgets: Sequence[float]) -> Iterator[Plan]:
    middle = sorted(budgets)[len(budgets) // 2]
    for scenario in params.replay.scenarios:
        for policy in params.online_policies():
            for budget in budgets if scenario == "budget" else [middle]:
                yield Plan(scenario, policy, budget, monitor=DriftMonitor)


def curves_of(plans: Sequence[Plan], done: Sequence[Sequence[SeedRun]]) -> pd.DataFrame:
    """Mean reward of the last 50 requests, and cumulative regret, at some of the scored steps.

    Returns:
        Columns ``scenario``, ``policy``, ``budget``, ``seed``, ``step``, ``reward``, ``regret``.
    """
    frames = []
    for plan, runs in zip(plans, done, strict=True):
        named = {"scenario": plan.scenario, "policy": plan.policy, "budget": plan.budget}
        frames += [_curve(run).assign(seed=run.scores["seed"], **named) for run in runs]
    return pd.concat(frames, ignore_index=True)


def _curve(run: SeedRun) -> pd.DataFrame:
    reward, regret = run.replay.reward[run.start :], run.replay.regret[run.start :]
    recent = np.convolve(reward, np.full(WINDOW, 1.0 / WINDOW))[: len(reward)]
    steps = np.unique(np.linspace(min(WINDOW, len(reward)) - 1, len(reward) - 1, _POINTS).astype(int))
    before = run.replay.regret[run.start - 1] if run.start else 0.0
    return pd.DataFrame({"step": steps + 1, "reward": recent[steps], "regret": regret[steps] - before})


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


def _adaptation_figure(
    source: str, told: Sequence[dict[str, Any]], curves: pd.DataFrame, phases: Sequence[tuple[str, int, int]]
) -> bytes:
    rows = curves[curves["scenario"] == _SHOWN]
    meanwhile = {each["policy"]: each["phases"][1]["reward"]["mean"] for each in told if each["scenario"] == _SHOWN}
    best = max(meanwhile, key=meanwhile.__getitem__)
    title = f"{source}: a provider silently gets worse and recovers; {best} earns {meanwhile[best]:.3f} meanwhile"
    return drawn(plots.plot_adaptation(rows, phases, title=title))


def log_replays(
    source: str, seed: int, told: Sequence[dict[str, Any]], curves: pd.DataFrame, figures: dict[str, bytes]
) -> None:
    """One MLflow run per scenario and policy; those of several budgets have them as steps."""
    for (scenario, policy), rows in curves.groupby(["scenario", "policy"], sort=False):
        mine = [each for each in told if (each["scenario"], each["policy"]) == (scenario, policy)]
        middle = mine[len(mine) // 2]
        metrics = {name: value["mean"] for name, value in middle["summary"].items() if value["mean"] is not None}
        metrics |= {f"{phase['name']}/reward": phase["reward"]["mean"] for phase in middle["phases"]}
        metrics["drifts"] = float(np.mean([len(each["drifts"]) for each in middle["per_seed"]]))
        series = _steps(rows if middle["budget"] is None else rows[rows["budget"] == middle["budget"]])
        if len(mine) > 1:
            names = ("reward", "cost", "cost_over_budget", "regret")
            by_budget = {name: [each["summary"][name]["mean"] for each in mine] for name in names}
            series |= {f"{name}_by_budget": np.array(values) for name, values in by_budget.items()}
        settings = {"scenario": scenario, "budgets": [each["budget"] for each in mine], "seeds": middle["seeds"]}
        with tracking.run(f"replay {scenario}", source, str(policy), seed, settings):
            tracking.log_metrics(metrics, series)
            for step, provider in middle["per_seed"][0]["drifts"]:
                if step >= 0:  # in the scored part
                    tracking.log_event("drift", {"provider": provider, "decisions": step})
            with tempfile.TemporaryDirectory() as folder:
                for name, png in figures.items():
                    (Path(folder) / name).write_bytes(png)
                    tracking.log_files(Path(folder) / name)


def _steps(rows: pd.DataFrame) -> dict[str, Floats]:
    """Curves over seeds, the reward with an interval of two standard errors."""
    steps = rows.groupby("step")
    mean, sem = steps["reward"].mean().to_numpy(), steps["reward"].sem().to_numpy()
    return {
        "recent_reward": mean,
        "recent_reward_low": mean - 2.0 * sem,
        "recent_reward_high": mean + 2.0 * sem,
        "regret_so_far": steps["regret"].mean().to_numpy(),
    }
