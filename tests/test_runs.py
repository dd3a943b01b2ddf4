"""Runs as a table, their difference, and where they came from; on a real store and a real git repository."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from pipeline import SETTINGS, new_project
from routelab import tracking
from routelab.errors import RoutelabError
from routelab.evaluation.crossfit import Curve, oracle_curve
from routelab.policies.objective import cost_weight_sweep

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")  # MLflow's own models

RNG = np.random.default_rng(3)
QUALITY = RNG.integers(0, 2, size=(400, 2)).astype(float)
COST = np.tile([0.001, 0.01], (400, 1)) * RNG.uniform(0.8, 1.2, size=(400, 1))
SWEEP = cost_weight_sweep(COST, 5)


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    done = subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def log(policy: str, skill: float, prompts: slice = slice(None), stage: str = "evaluate") -> str:
    """A run of a policy that follows the oracle on a share of the prompts, and asks the cheapest on the others."""
    quality, cost = QUALITY[prompts], COST[prompts]
    best, follows = oracle_curve(quality, cost, SWEEP), np.random.default_rng(1).random((len(quality), 1)) < skill
    outcomes = Curve(*(np.where(follows, mine, m[:, :1]) for mine, m in zip(best, (quality, cost), strict=True)))
    with tracking.run(stage, "toy", policy, 0, {"alike": 1, "skill": skill}) as run_id:
        gap = {"estimate": skill, "low": skill - 0.1, "high": skill + 0.1}
        tracking.log_metrics(tracking.named_scores({"hull_gap_captured": gap, "aiq": skill, "ece": {"a/b": 0.1}}))
        tracking.log_outcomes(outcomes, quality, cost, SWEEP)
    return run_id


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A committed project with one DVC experiment that MLflow does not know."""
    root = new_project(tmp_path_factory.mktemp("runs") / "project")
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "first")
    settings = {**SETTINGS, "seed": 7}
    (root / "params.yaml").write_text(yaml.safe_dump(settings))
    report = root / "data" / "reports" / "toy" / "evaluation.json"
    report.parent.mkdir(parents=True)
    scores = {"aiq": 0.5, "hull_gap_captured": {"estimate": 0.3, "low": 0.2, "high": 0.4}}
    report.write_text(json.dumps({"table": "toy", "policies": {"forest": scores}}))
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "an experiment")
    git(root, "update-ref", "refs/exps/ab/cdef/far-away", "HEAD")
    git(root, "reset", "-q", "--hard", "HEAD~1")
    return root


@pytest.fixture
def ids(project: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Runs of the project, logged once."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    monkeypatch.chdir(project)
    if not (project / "mlflow.db").exists():
        ids = {"weak": log("weak", 0.2), "strong": log("strong", 0.8), "few": log("few", 0.8, slice(0, 300))}
        (project / "params.yaml").write_text(yaml.safe_dump({**SETTINGS, "train_fraction": 0.5}))
        monkeypatch.setenv("DVC_EXP_NAME", "half-train")
        ids["again"] = log("strong", 0.8)
        git(project, "checkout", "-q", "params.yaml")
        (project / "ids.json").write_text(json.dumps(ids))
        monkeypatch.delenv("DVC_EXP_NAME")
    held: dict[str, str] = json.loads((project / "ids.json").read_text())
    return held


def test_runs_and_experiments_are_one_table_newest_first_with_what_differs_before_the_metrics(
    ids: dict[str, str], project: Path
) -> None:
    table = tracking.runs()
    assert table["policy"].tolist() == ["strong", "few", "strong", "weak", "forest"]
    assert table["experiment"].tolist() == ["half-train", "workspace", "workspace", "workspace", "far-away"]
    assert table["status"].tolist() == ["FINISHED"] * 4 + ["DVC only"]
    names = list(table)
    assert names.index("commit") < names.index("params.skill") < names.index("aiq") < names.index("started")
    assert names.index("started") < names.index("params.alike") < names.index("run_id")
    assert table["hull_gap_captured"].tolist() == [0.8, 0.8, 0.8, 0.2, 0.3]
    assert table["hull_gap_captured_low"].tolist() == pytest.approx([0.7, 0.7, 0.7, 0.1, 0.2])
    assert table["params.train_fraction"].tolist() == [0.5, 0.7, 0.7, 0.7, 0.7]  # changed, or as committed
    assert table["params.seed"].tolist() == [0, 0, 0, 0, 7]
    head = git(project, "rev-parse", "HEAD")
    assert set(table["commit"]) == {head}
    assert table["experiment_commit"].tolist()[-1] == git(project, "rev-parse", "refs/exps/ab/cdef/far-away")
    assert table["link"].iloc[0].endswith(f"/#/experiments/1/runs/{ids['again']}")


def test_runs_are_filtered_and_the_newest_of_those_alike_kept(ids: dict[str, str]) -> None:
    assert tracking.runs(policy="strong")["run_id"].tolist() == [ids["again"], ids["strong"]]
    assert tracking.runs(experiment="half-train")["run_id"].tolist() == [ids["again"]]
    assert tracking.runs(experiment="far-away")["policy"].tolist() == ["forest"]
    assert len(tracking.runs(newest=True)) == 5
    with pytest.raises(RoutelabError, match=r"no run with source='none'; tracking.runs\(\) lists those there are"):
        tracking.runs(source="none")
    with pytest.raises(RoutelabError, match="holds a quote"):
        tracking.runs(source="it's")


def test_an_experiment_that_is_logged_has_no_row_for_what_it_did_not_run(ids: dict[str, str], project: Path) -> None:
    git(project, "update-ref", "refs/exps/ab/cdef/half-train", "refs/exps/ab/cdef/far-away")  # its evaluation as well
    try:
        assert tracking.runs(policy="forest")["experiment"].tolist() == ["far-away"]
    finally:
        git(project, "update-ref", "-d", "refs/exps/ab/cdef/half-train")


def test_a_link_leads_to_the_ui_that_is_up_and_an_empty_store_tells_only_the_remedy(
    ids: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    def start() -> str:
        return str(tracking.runs()["link"].iloc[0].partition("#")[0])

    client = mlflow.MlflowClient()
    assert start() == "http://127.0.0.1:5000/"
    client.set_experiment_tag("1", "routelab.ui", "http://127.0.0.1:5777")
    assert start() == "http://127.0.0.1:5777/"
    client.delete_experiment_tag("1", "routelab.ui")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'empty.db'}")
    monkeypatch.setattr("routelab.tracking.table.experiments", lambda folder: {})
    with pytest.raises(RoutelabError, match=r"^no run yet; run `dvc repro`$"):
        tracking.runs()


def test_two_runs_on_the_same_prompts_differ_by_an_interval_that_shares_their_noise(ids: dict[str, str]) -> None:
    found = tracking.compare(ids["strong"], ids["weak"]).set_index("metric")
    gap = found.loc["hull_gap_captured"]
    assert gap["difference"] == pytest.approx(0.6)
    assert 0.0 < gap["low"] < gap["high"] < 1.0
    assert found.loc["ece/a-b", "why"] == "logged as one number for all prompts"
    assert np.isnan(found.loc["ece/a-b", "low"])
    same = tracking.compare(ids["strong"], ids["again"]).set_index("metric").loc["aiq"]
    assert (same["difference"], same["low"], same["high"]) == (0.0, 0.0, 0.0)
    other_way = tracking.compare(ids["weak"], ids["strong"]).set_index("metric").loc["aiq"]
    assert (other_way["low"], other_way["high"]) == (-found.loc["aiq", "high"], -found.loc["aiq", "low"])


def test_runs_that_cannot_be_paired_have_no_interval_and_say_why(ids: dict[str, str]) -> None:
    found = tracking.compare(ids["strong"], ids["few"])
    assert found["low"].isna().all()
    assert set(found["why"]) == {"they were scored on other prompts"}
    with tracking.run("train_forest", "toy", "forest", 0, {}) as run_id:
        tracking.log_metrics({"aiq": 0.5})
    assert set(tracking.compare(ids["strong"], run_id)["why"]) == {
        "forest · toy · train_forest kept no outcomes per prompt"
    }
    with tracking.run("train_forest", "toy", "forest", 0, {}) as empty:
        pass
    with pytest.raises(RoutelabError, match="have no metric in common"):
        tracking.compare(ids["strong"], empty)
    with pytest.raises(RoutelabError, match="'nonsense' is no run's id; give a row or a run_id"):
        tracking.compare("nonsense", run_id)


def test_the_origin_of_a_run_is_its_commit_its_changed_params_and_one_command(
    ids: dict[str, str], project: Path
) -> None:
    head = git(project, "rev-parse", "HEAD")
    made = tracking.origin(tracking.runs(experiment="half-train").iloc[0])
    assert made.command == f"git checkout {head} && dvc exp run -S train_fraction=0.5 evaluate@toy"
    assert (made.commit, made.exact, made.changed) == (head, True, {"train_fraction": 0.5})
    assert made.experiment == "half-train"
    assert made.apply is None  # git knows no such experiment
    assert made.command in str(made)
    assert tracking.origin(ids["weak"]).command == f"git checkout {head} && dvc exp run evaluate@toy"
    with tracking.run("notebook 05", "live", "forest", 0, {}) as run_id:
        pass
    with pytest.raises(RoutelabError, match="'notebook 05' was logged outside the pipeline; repeat what logged it"):
        tracking.origin(run_id)


def test_what_is_no_run_is_told_by_what_it_is(ids: dict[str, str]) -> None:
    table = tracking.runs()
    elsewhere = table[table["status"] == "DVC only"].iloc[0]
    cases: list[tuple[Any, str]] = [
        (elsewhere, "known to DVC only .*`dvc exp apply far-away` brings its files back"),
        (dict(elsewhere), "`dvc exp apply far-away`"),
        (None, "None is no run's id; give a row"),
        (table, f"^a table of {len(table)} runs was given; give one row"),
        ("0" * 32, "^there is no run 0{32}; tracking.runs.. lists those there are$"),
    ]
    for given, told in cases:
        with pytest.raises(RoutelabError, match=told):
            tracking.origin(given)
        with pytest.raises(RoutelabError, match=told):
            tracking.compare(ids["strong"], given)


def test_the_experiment_tells_the_ui_its_views(ids: dict[str, str]) -> None:
    import mlflow

    tracking.use_store()
    experiment = mlflow.get_experiment_by_name("routelab")
    assert experiment is not None
    shared = {name: json.loads(tag) for name, tag in experiment.tags.items() if "sharedViewState" in name}
    assert {view["name"] for view in shared.values()} == {"Policies compared", "Training", "Learning online"}
    state = json.loads(shared["mlflow.sharedViewState.policies"]["state"])
    best = [state["orderByKey"], state["columnOrder"][1], state["selectedColumns"][0]]
    assert best == 3 * ["metrics.`hull_gap_captured`"]
    mlflow.MlflowClient().set_experiment_tag(experiment.experiment_id, "mlflow.note.content", "old")
    tracking.check_store()
    assert mlflow.get_experiment(experiment.experiment_id).tags["mlflow.note.content"].startswith("The greater")
