"""One small example of every figure, from seeded data: what the tests draw, and what their reference pictures show."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from routelab import FixedPolicy, Objective, Recommendation, RequestFeaturizer, plots
from routelab.evaluation.bootstrap import Interval
from routelab.evaluation.ope.places import Place

POLICIES = ("forest", "thompson", "rule")
PROVIDERS = {"open/small": (0.001, 0.5), "open/large": (0.01, 0.85), "waste": (0.005, 0.4)}


def over_steps(column: str, names: tuple[str, ...] = POLICIES, seeds: int = 4) -> pd.DataFrame:
    """``column`` that rises for each policy, over steps and seeds."""
    rng = np.random.default_rng(0)
    rows = [
        (name, seed, step, step * (0.1 + 0.15 * place) + rng.normal(scale=4.0))
        for place, name in enumerate(names)
        for seed in range(seeds)
        for step in range(1, 301, 13)
    ]
    return pd.DataFrame(rows, columns=["policy", "seed", "step", column])


def budgets() -> pd.DataFrame:
    frame = pd.DataFrame({"policy": np.repeat(POLICIES, 4), "budget": np.tile([3e-5, 2e-4, 1e-3, 5e-3], 3)})
    frame["mean"] = 0.9 + 0.05 * np.log10(frame["budget"]) + np.repeat([0.0, 0.03, 0.05], 4)
    return frame.assign(low=frame["mean"] - 0.02, high=frame["mean"] + 0.02)


def served(n: int = 600, names: tuple[str, ...] = ("small", "large", "frontier")) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame({"provider": np.array(names)[(rng.random(n) ** 2 * len(names)).astype(int)]})


def estimates() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = [(policy, estimator) for policy in POLICIES for estimator in ("ips", "snips", "dr", "dros")]
    frame = pd.DataFrame(rows, columns=["policy", "estimator"])
    value = 0.7 + 0.05 * rng.random(len(frame))
    half = frame["estimator"].map({"ips": 0.08, "snips": 0.04, "dr": 0.03, "dros": np.nan})
    warning = np.where(frame["estimator"] == "ips", "few", "")
    return frame.assign(metric="quality", value=value, low=value - half, high=value + half, warning=warning)


def ranking() -> pd.DataFrame:
    value = np.array([0.8, 0.75, 0.5])
    frame = pd.DataFrame({"policy": POLICIES, "value": value, "low": value - 0.06, "high": value + 0.06})
    return frame.assign(rank_low=[1, 1, 3], rank_high=[2, 2, 3])


def looks() -> pd.DataFrame:
    units = np.arange(200, 3_001, 200)
    frame = pd.concat(
        pd.DataFrame({"variant": name, "units": units, "difference": mean + np.sin(units) / units})
        for name, mean in (("forest", 0.05), ("bandit", 0.03))
    )
    half = 2.0 / np.sqrt(frame["units"])
    frame = frame.assign(low=frame["difference"] - half, high=frame["difference"] + half, metric="utility", null=-0.02)
    return frame.assign(verdict=np.where(frame["units"] >= 1_600, "ship", "continue")).sort_values("units")


def alarms() -> pd.DataFrame:
    frame = pd.DataFrame({"method": np.repeat(["Welch", "sequence"], 4), "looks": np.tile([1, 5, 10, 40], 2)})
    return frame.assign(found=[0.05, 0.14, 0.2, 0.3, 0.01, 0.012, 0.015, 0.02])


def tidy() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"task": np.tile(np.repeat(["code", "maths", "talk"], 60), 3)})
    frame["provider"] = np.repeat(["open/small", "open/large", "waste"], 180)
    return frame.assign(quality=0.6 + 0.1 * (frame["provider"] == "open/large") + 0.2 * rng.normal(size=540))


def worlds() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"world": np.repeat(["calm", "drift"], 700), "day": np.tile(np.arange(700) // 50 / 2, 2)})
    fall = 0.2 * ((frame["world"] == "drift") & (frame["day"] >= 4))
    return frame.assign(quality=0.8 - fall + 0.1 * rng.normal(size=1400))


def busy() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"provider": np.repeat(["small", "large"], 300), "load": np.tile(np.arange(300) // 30, 2)})
    slow = np.where(frame["provider"] == "small", 0.05, 0.2)
    return frame.assign(seconds=1.0 + slow * frame["load"] + 0.2 * rng.random(600))


def pairs() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"provider": np.repeat(["small", "large"], 400), "expected": rng.uniform(0.3, 0.9, 800)})
    return frame.assign(observed=(rng.random(800) < frame["expected"] ** 1.2).astype(float))


def benchmark() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    tables = [("synthetic", "0.7", 1), ("routerbench", "0.7", 5), ("mmlu", "own", 1)]
    rows = [(*table, policy, rng.uniform(-0.4, 0.4)) for policy in POLICIES for table in tables]
    frame = pd.DataFrame(rows, columns=["table", "split", "repeats", "policy", "gap"])
    return frame.assign(low=frame["gap"] - 0.1, high=frame["gap"] + 0.1, difference_low=frame["gap"] - 0.2)


def runs(n: int = 8) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    cost = 10.0 ** rng.uniform(-4, -2, n)
    quality = 0.95 + 0.05 * np.log10(cost) - rng.exponential(0.05, n)
    frame = pd.DataFrame({"run": [f"run-{place}" for place in range(n)], "source": "synthetic"})
    frame = frame.assign(policy=np.resize(POLICIES, n), aiq=rng.random(n), cost_usd=cost, quality=quality)
    return frame.assign(quality_low=quality - 0.02, quality_high=quality + 0.02)


def difference() -> pd.DataFrame:
    rows = [("aiq", 0.03, 0.01, 0.05), ("cost_usd", 2e-4, 1e-4, 3e-4), ("quality", 0.01, -0.01, 0.03)]
    return pd.DataFrame([*rows, ("ece", 0.002, np.nan, np.nan)], columns=["metric", "difference", "low", "high"])


def frontier(ax: Axes | None = None) -> Axes:
    curve = np.array([[0.001, 0.6], [0.002, 0.8], [0.004, 0.9]])
    band = np.column_stack([curve[:, 0], curve[:, 1] - 0.05, curve[:, 1] + 0.02])
    curves = {"forest": curve, "knn": curve - [0.0, 0.07], "rule": np.array([[0.003, 0.7]])}
    hull = np.array([[0.001, 0.45, 0.55], [0.01, 0.8, 0.9]])
    return plots.plot_frontier(
        curves,
        PROVIDERS,
        captured={"forest": (0.25, -0.01, 0.4)},
        bands={"forest": band, plots.HULL: hull, "rule": np.array([[0.003, 0.65, 0.75]])},
        chances={"forest": np.array([1.0, 0.0, 0.5]), "waste": np.zeros(1)},
        ax=ax,
    )


def places(ax: Axes | None = None) -> Axes:
    rng = np.random.default_rng(0)
    found = {name: (0.001 * (place + 2), 0.6 + 0.1 * place) for place, name in enumerate(POLICIES)}
    clouds = {
        name: Place(*at, rng.normal(size=(500, 2)) * [2e-4, 0.02] + np.array(at) * [1.0, 1.0])
        for name, at in found.items()
    }
    return plots.plot_places(clouds, PROVIDERS, truth={"forest": (0.0021, 0.62)}, ax=ax)


def dominance(ax: Axes | None = None) -> Axes:
    rng = np.random.default_rng(0)
    cost = rng.uniform(0.5, 10.0, 30)
    quality = 0.35 + 0.22 * np.log1p(cost) - rng.exponential(0.08, 30)
    ends = np.column_stack([quality - 0.02, quality + 0.02])
    return plots.plot_dominance(cost, quality, (10.0, 0.3), intervals=ends, ax=ax)


def shares(ax: Axes | None = None) -> Axes:
    rise = np.linspace(0.1, 0.9, 9)
    told = np.column_stack([rise**2, rise * (1 - rise), 1 - rise])
    return plots.plot_shares([0.0, *np.logspace(0, 3, 8)], told, list(PROVIDERS), n=200, ax=ax)


def importance(ax: Axes | None = None) -> Axes:
    trees = np.random.default_rng(0).dirichlet([8.0, 4.0, 2.0, 1.0], size=20)
    return plots.plot_importance(["prompt_length", "lines", "embedding_000", "embedding_001"], trees, ax=ax)


def best_arm(ax: Axes | None = None) -> Axes:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"policy": np.repeat(["thompson", "rule"], 600), "step": np.tile(np.arange(1, 601), 2)})
    chance = np.where(frame["policy"] == "rule", 0.4, 1.0 - np.exp(-frame["step"] / 150))
    return plots.plot_best_arm(frame.assign(best=rng.random(1200) < chance), limits={"what ε leaves": 0.92}, ax=ax)


def decision(ax: Axes | None = None) -> Axes:
    quality, utility = np.array([0.6, 0.8, 0.85]), np.array([0.59, 0.75, 0.55])
    return plots.plot_decision(["small", "large", "frontier"], quality, utility, 1, quality_se=0.1 * quality, ax=ax)


def recommendation(ax: Axes | None = None, worst: float = -0.045, tolerance: float = 0.01) -> Axes:
    rng = np.random.default_rng(0)
    settings = pd.DataFrame({"policy": "forest", "cost_weight": np.arange(12.0), "cost": np.geomspace(1e-2, 1e-3, 12)})
    settings = settings.assign(difference=0.005 - 0.03 * rng.random(12) * np.linspace(0, 1, 12), se=0.004)
    single = pd.DataFrame({"policy": ["always open/small", "always open/large"], "cost_weight": 0.0})
    single = single.assign(cost=[8e-4, 1.1e-2], difference=[worst, 0.0], se=[0.005, 0.001])
    advice = Recommendation(
        table="mine.csv",
        policy="forest",
        baseline="open/large",
        tolerance=tolerance,
        objective=Objective(cost_weight=4.0),
        n_train=700,
        n_eval=300,
        saving=Interval(0.5, 0.4, 0.6),
        quality_difference=Interval(-0.002, -0.008, 0.004),
        cost=4.5e-3,
        baseline_cost=1.1e-2,
        quality=0.9,
        shares={"open/small": 0.4, "open/large": 0.6},
        doubts=(),
        caveats=(),
        compared=pd.concat([single, settings], ignore_index=True).assign(
            low=lambda rows: rows["difference"] - 1.959963984540054 * rows["se"],
            high=lambda rows: rows["difference"] + 1.959963984540054 * rows["se"],
        ),
        fitted=FixedPolicy(),
        featurizer=RequestFeaturizer(),
    )
    return plots.plot_recommendation(advice, ax=ax)


REFERENCE = {"best mixture": {3e-5: 0.65, 5e-3: 0.8}, "published": {3e-5: 0.68, 1e-3: 0.8}}
PHASES = [("normal", 0, 100), ("regression", 100, 200), ("recovery", 200, 300)]

# drawn on the ax given, or on a figure of their own
FIGURES: dict[str, Callable[[Axes | None], Axes]] = {
    "adaptation": lambda ax: plots.plot_adaptation(over_steps("reward"), PHASES, ax=ax),
    "benchmark": lambda ax: plots.plot_benchmark(benchmark(), ax=ax),
    "best_arm": best_arm,
    "budgets": lambda ax: plots.plot_budgets(budgets(), reference=REFERENCE, ax=ax),
    "calibration": lambda ax: plots.plot_calibration(pairs(), ax=ax),
    "decision": decision,
    "difference": lambda ax: plots.plot_difference(difference(), names=("forest", "rule"), ax=ax),
    "dominance": dominance,
    "drift": lambda ax: plots.plot_drift(worlds(), ax=ax),
    "estimators": lambda ax: plots.plot_estimators(estimates(), truth={"thompson": 0.74, "rule": 0.72}, ax=ax),
    "false_alarms": lambda ax: plots.plot_false_alarms(alarms(), runs=500, ax=ax),
    "frontier": frontier,
    "importance": importance,
    "live": lambda ax: plots.plot_live(served(), {300: "an outage"}, ax=ax),
    "load": lambda ax: plots.plot_load(busy(), ax=ax),
    "places": places,
    "ranking": lambda ax: plots.plot_ranking(ranking(), truth={"forest": 0.79, "rule": 0.52}, ax=ax),
    "recommendation": recommendation,
    "regret": lambda ax: plots.plot_regret(over_steps("regret"), ax=ax),
    "run_frontier": lambda ax: plots.plot_run_frontier(runs(), ax=ax),
    "runs": lambda ax: plots.plot_runs(runs(), ["aiq", "quality", "cost_usd"], ax=ax),
    "sequence": lambda ax: plots.plot_sequence(looks(), truth={"forest": 0.05, "bandit": 0.03}, ax=ax),
    "shares": shares,
    "tasks": lambda ax: plots.plot_tasks(tidy(), ax=ax),
}
