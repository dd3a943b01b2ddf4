"""What ``train_bandit`` reports of its scenarios, and the figures of learning online."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from pipeline import SETTINGS, new_project, run_stage
from routelab import plots
from tables import hard_and_easy, write_csv

POLICIES = SETTINGS["replay"]["policies"]["small"]  # type: ignore[index]


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = new_project(tmp_path_factory.mktemp("replays"))
    for stage in ("collect", "featurize", "train_bandit"):
        run = run_stage(root, stage)
        assert run.returncode == 0, run.stderr
    return root / "data" / "reports" / "synthetic"


def test_every_scenario_policy_and_budget_is_reported(reports: Path) -> None:
    told = json.loads((reports / "replay.json").read_text(encoding="utf-8"))
    budgets = told["budgets"]
    assert told["seeds"] == 2
    assert len(budgets) == 3
    assert (np.diff(budgets) > 0.0).all()
    expected = {("budget", policy, budget) for policy in POLICIES for budget in budgets}
    expected |= {("regression", policy, budgets[1]) for policy in POLICIES}
    assert {(run["scenario"], run["policy"], run["budget"]) for run in told["runs"]} == expected
    for run in told["runs"]:
        assert 0.0 < run["summary"]["reward"]["mean"] < 1.0
        phases = ["all"] if run["scenario"] == "budget" else ["normal", "regression", "recovery"]
        assert [phase["name"] for phase in run["phases"]] == phases


def test_the_command_line_finds_what_the_stage_found(reports: Path) -> None:
    from routelab.benchmark.replay_report import replay_table
    from routelab.tables.table import PerformanceTable

    told = json.loads((reports / "replay.json").read_text(encoding="utf-8"))
    run = next(run for run in told["runs"] if run["scenario"] == "regression" and run["policy"] == "linucb")
    table = PerformanceTable.read(reports.parents[1] / "collected" / "synthetic.parquet")
    again, *_ = replay_table(
        table, "synthetic", scenario="regression", policy="linucb", budgets=[run["budget"]], seeds=2, n_jobs=1
    )
    assert again["summary"]["reward"]["mean"] == pytest.approx(run["summary"]["reward"]["mean"])


def test_curves_have_each_seed_from_the_first_window_to_the_last_request(reports: Path) -> None:
    curves = pd.read_csv(reports / "replay.csv")
    assert set(curves["seed"]) == {0, 1}
    whole = curves[curves["scenario"] == "budget"]
    assert whole["step"].min() == 50
    assert whole["step"].max() == 90  # of 300 requests 90 are scored
    assert curves["reward"].between(0.0, 1.0).all()
    assert (curves.groupby(["scenario", "policy", "budget", "seed"])["regret"].diff().dropna() >= -1e-9).all()


def test_a_change_of_versions_is_replayed_on_a_table_of_two_dates(tmp_path: Path) -> None:
    project = new_project(tmp_path / "project")
    frame = hard_and_easy(300)
    later = frame["prompt_id"].rank(method="dense") > 150
    frame["timestamp"] = np.where(later, 2e9, 1e9)
    frame["quality"] = np.where(later, 1.0 - frame["quality"], frame["quality"])  # the better one is now the worse one
    write_csv(frame, project / "versions.csv")
    settings = {"table": "versions.csv", "task": None, "policies": ["thompson"], "seeds": 3}
    (project / "params.yaml").write_text(yaml.safe_dump(SETTINGS | {"drift": settings}))
    run = run_stage(project, "drift")
    assert run.returncode == 0, run.stderr
    told = json.loads((project / "data" / "reports" / "versions" / "drift.json").read_text(encoding="utf-8"))
    assert (told["seeds"], told["task"], [each["policy"] for each in told["runs"]]) == (3, None, ["thompson"])
    (phase,) = told["runs"][0]["phases"]
    share = phase["reward"]["mean"] / phase["best_static"]["mean"]
    assert told["share_of_informed"] == {"thompson": {"0-150": pytest.approx(share)}}
    assert 0.5 < share < 1.0  # it does notice, and not at once
    assert (project / "data" / "reports" / "versions" / "drift.png").read_bytes().startswith(b"\x89PNG")


def rewards() -> pd.DataFrame:
    means = {("linucb", 1e-4): 0.6, ("linucb", 1e-3): 0.8, ("thompson", 1e-4): 0.5, ("thompson", 1e-3): 0.7}
    rows = [{"policy": policy, "budget": budget, "mean": mean} for (policy, budget), mean in means.items()]
    return pd.DataFrame(rows).assign(low=lambda rows: rows["mean"] - 0.05, high=lambda rows: rows["mean"] + 0.1)


def test_rewards_are_drawn_over_budgets_beside_their_references() -> None:
    ax = plots.plot_budgets(rewards(), reference={"published": {1e-3: 0.75, 1e-4: 0.55}}, title="more is more")
    legend = ax.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["published", "linucb", "thompson"]
    lines = {line.get_label(): np.asarray(line.get_xydata()) for line in ax.get_lines()}
    assert lines["published"] == pytest.approx(np.array([[0.1, 0.55], [1.0, 0.75]]))
    assert lines["linucb"] == pytest.approx(np.array([[0.1, 0.6], [1.0, 0.8]]))
    band = np.asarray(ax.collections[0].get_paths()[0].vertices)
    assert (band[:, 1].min(), band[:, 1].max()) == pytest.approx((0.55, 0.9))
    assert (ax.get_title(loc="left"), ax.get_xscale()) == ("more is more", "log")
    assert "USD" in ax.get_xlabel()


def test_reactions_are_drawn_through_named_phases() -> None:
    rows = [
        {"policy": policy, "seed": seed, "step": step, "reward": 0.5 + 0.1 * seed}
        for policy in ("linucb", "thompson")
        for seed in (0, 1)
        for step in (50, 100, 150)
    ]
    ax = plots.plot_adaptation(pd.DataFrame(rows), [("calm", 0, 75), ("storm", 75, 150)])
    assert [text.get_text() for text in ax.texts] == ["calm", "storm"]
    assert {line.get_label() for line in ax.get_lines()} >= {"linucb", "thompson"}
    assert np.asarray(ax.get_lines()[0].get_ydata()) == pytest.approx([0.55] * 3)
    assert "50 requests" in ax.get_ylabel()
