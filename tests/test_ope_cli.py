"""``routelab ope``, and the figure of the estimators."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from routelab import PerformanceDB, RidgePolicy, cli, plots
from routelab.db_records import Decision, Outcome
from routelab.errors import OffPolicyError, PolicyError
from routelab.evaluation.ope import LoggedData, evaluate, fixed
from routelab.ope_cli import ope_lines, ope_report, read_log, read_policy
from routelab.policies.objective import Objective


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log, ``log.db``, in which b is better and dearer where the feature is large; and a saved ``policy``."""
    path = tmp_path_factory.mktemp("ope")
    rng = np.random.default_rng(0)
    X, arm = rng.random((400, 1)), rng.integers(2, size=400)
    with PerformanceDB(f"sqlite:///{path / 'log.db'}") as db:
        for row in range(400):
            db.record_decision(
                Decision(
                    decision_id=f"d{row}",
                    request_id=f"r{row}",
                    decided_at=float(row),
                    feature_set="demo",
                    features=X[row],
                    providers=("a", "b"),
                    provider="ab"[arm[row]],
                    probabilities=(0.5, 0.5),
                    propensity=0.5,
                    policy="random",
                )
            )
        db.record_outcomes(
            Outcome(f"d{row}", float(X[row, 0] if arm[row] else 0.5), 0.01 * (1 + arm[row]), 1e3) for row in range(400)
        )
    quality = np.column_stack([np.full(400, 0.5), X[:, 0]])
    RidgePolicy().fit(X, quality, np.tile([0.01, 0.02], (400, 1)), providers=("a", "b")).save(path / "policy")
    return path


def run(*arguments: str) -> str:
    answer = CliRunner().invoke(cli.app, ["ope", *arguments], catch_exceptions=False)
    assert answer.exit_code == 0
    return answer.stdout


@pytest.mark.parametrize("name", ["{}/log.db", "sqlite:///{}/log.db"])
def test_a_saved_policy_is_estimated_and_ranked_from_a_routers_log(folder: Path, tmp_path: Path, name: str) -> None:
    out = tmp_path / "ope.json"
    policies = ("--policy", str(folder / "policy"), "--policy", "fixed:a", "--policy", "uniform")
    told = run(name.format(folder), *policies, "--estimators", "snips,dr,sndr", "--json", str(out))
    lines = told.splitlines()
    assert lines[0].startswith("400 decisions: a ")
    assert lines[1].split()[:5] == ["policy", "estimator", "quality", "[95", "%"]
    assert "ranking by quality (sndr; intervals hold for all policies at once):" in lines
    assert lines[-3].startswith(f"  1. {folder / 'policy'}")
    assert lines[-3].endswith("rank 1")
    report = json.loads(out.read_text(encoding="utf-8"))
    assert report["chosen"]["a"] + report["chosen"]["b"] == report["decisions"] == 400
    values = {(row["policy"], row["metric"], row["estimator"]): row["value"] for row in report["estimates"]}
    assert len(values) == 3 * 2 * 3
    assert values[str(folder / "policy"), "quality", "dr"] == pytest.approx(0.625, abs=0.02)
    assert values["fixed:a", "quality", "snips"] == pytest.approx(0.5)
    assert values["fixed:a", "cost", "snips"] == pytest.approx(0.01)


def test_a_price_on_cost_adds_the_utility_and_ranks_by_it(folder: Path) -> None:
    told = run(str(folder / "log.db"), "--policy", "fixed:a", "--policy", "fixed:b", "--cost-weight", "50")
    assert "utility [95 % CI]" in told.splitlines()[1]
    assert told.splitlines()[-2].startswith("  1. fixed:a")


def test_what_the_log_cannot_say_is_told_in_one_line(folder: Path, tmp_path: Path) -> None:
    log = read_log(str(folder / "log.db"))
    with pytest.raises(OffPolicyError, match="provider 'c' is not in the log; it holds a, b"):
        read_policy(log, "fixed:c")
    with pytest.raises(PolicyError, match="give the folder that `save` wrote"):
        read_policy(log, str(tmp_path))
    with pytest.raises(OffPolicyError, match="'logged' needs the columns"):
        read_policy(LoggedData([0], [1.0], [0.5], ("a", "b")), "logged")
    for missing in (str(tmp_path / "no.db"), f"sqlite:///{tmp_path}/no.db"):
        with pytest.raises(OffPolicyError, match=r"no\.db: no such file; give a database"):
            read_log(missing)
    assert list(tmp_path.iterdir()) == []


def test_the_ranking_needs_no_reward_model_where_none_is_asked_for() -> None:
    """One unit cannot be cross-fitted."""
    log = LoggedData([0, 1] * 20, np.linspace(0, 1, 40), [0.5] * 40, ("a", "b"), units=np.zeros(40))
    ranking = ope_report(log, ["fixed:a", "fixed:b"], objective=Objective(), estimators=["snips"])["ranking"]
    assert [row["estimator"] for row in ranking] == ["snips", "snips"]


def test_a_log_is_read_for_one_feature_set_and_one_version(tmp_path: Path) -> None:
    columns = {"provider": ["a", "b"] * 200, "propensity": 0.5, "quality": 0.5, "feature_set": "new"}
    frame = pd.DataFrame(columns | {"policy_version": np.arange(400) // 300, "features": "[0.5]"})
    frame.loc[:99, ["feature_set", "features"]] = ["old", "[0.5, 0.5]"]
    path = tmp_path / "log.csv"
    frame.to_csv(path)
    asked = (str(path), "--policy", "fixed:a", "--estimators", "snips", "--feature-set", "new")
    assert run(*asked).startswith("300 decisions")
    assert run(*asked, "--policy-version", "0").startswith("200 decisions")
    with pytest.raises(OffPolicyError, match="no decision of the log has feature_set 'none'; it holds new, old"):
        read_log(str(path), feature_set="none")
    with pytest.raises(OffPolicyError, match="no column 'unit'; leave that filter out"):
        read_log(str(path), unit="u")


def test_doubts_stand_below_the_table() -> None:
    log = LoggedData([0, 1] * 20, np.linspace(0, 1, 40), [0.5] * 40, ("a", "b"))
    report = ope_report(log, ["fixed:a"], objective=Objective())
    lines = list(ope_lines(report))
    assert lines[-1] == "  beware: few decisions carry it: effective sample 20, largest weight 2"
    assert len(lines) == 1 + 1 + 8 + 2


def estimates() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    action = rng.integers(2, size=400)
    log = LoggedData(action, rng.random(400) * 0.5 + 0.5 * action, np.full(400, 0.5), ("a", "b"), cost=0.01 + action)
    frame = evaluate(log, {"always a": fixed(log, "a"), "always b": fixed(log, "b")}, estimators=["ips", "snips", "dr"])
    return frame.assign(warning=np.where(frame["policy"] == "always a", "few decisions", ""))


def test_the_figure_draws_every_estimate_with_its_interval_and_names_the_best() -> None:
    frame = estimates()
    ax = plots.plot_estimators(frame, truth={"always b": 0.75})
    assert ax.get_title(loc="left") == "always b comes first in quality by all 3 estimators"
    assert plots.plot_estimators(frame, metric="cost").get_title(loc="left").startswith("always a comes first in cost")
    assert [text.get_text() for text in ax.get_yticklabels()] == ["always a", "always b"]
    legend = ax.get_legend()
    assert legend is not None
    told = [text.get_text() for text in legend.get_texts()]
    assert told[:3] == ["ips", "snips", "dr"]
    assert any("hollow" in text for text in told)
    quality = frame[frame["metric"] == "quality"].set_index(["estimator", "policy"])
    drawn = {line.get_label(): np.asarray(line.get_xdata(), float) for line in ax.get_lines()}
    for name in ("ips", "snips", "dr"):
        assert np.isnan(drawn[name][0])  # hollow only
        assert drawn[name][1] == pytest.approx(quality.loc[(name, "always b"), "value"])
    ends = {tuple(np.round(segment[:, 0], 9)) for lines in ax.collections for segment in lines.get_segments()}
    assert {tuple(np.round(row, 9)) for row in quality[["low", "high"]].to_numpy()} <= ends


def test_estimates_without_an_interval_are_shown_without_one(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "ope.json"
    told = run(str(folder / "log.db"), "--policy", "fixed:b", "--estimators", "dm", "--json", str(out))
    assert next(line for line in told.splitlines() if line.startswith("fixed:b")).split()[3] == "–"
    first = json.loads(out.read_text(encoding="utf-8"))["estimates"][0]
    assert (first["low"], first["high"]) == (None, None)
    rng = np.random.default_rng(0)
    action = rng.integers(2, size=400)
    log = LoggedData(action, rng.random(400), np.full(400, 0.5), ("a", "b"))
    ax = plots.plot_estimators(evaluate(log, {"a": fixed(log, "a")}, estimators=["dm", "dr"]))
    assert sum(len(segment) > 0 for lines in ax.collections for segment in lines.get_segments()) == 1
    assert {"dm, no interval", "dr"} <= {str(line.get_label()) for line in ax.get_lines()}
