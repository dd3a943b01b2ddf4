from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline import SETTINGS, Pipeline, new_project
from routelab import LLMRequest, Objective, RequestFeaturizer, load_policy, tracking
from routelab.errors import RoutelabError

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")  # MLflow's own models

MODELS = ("forest", "forest-classifier", "epsilon-greedy", "thompson")


@pytest.fixture
def project(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The finished project as the working folder, with no store chosen by the environment."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    monkeypatch.chdir(pipeline.root)
    return pipeline.root


def place(project: Path, name: str) -> Path:
    experiment = project / ".dvc" / "tmp" / "exps" / "standalone" / "copy"
    return {"notebooks": project / "notebooks", "reports": project / "data" / "reports", "experiment": experiment}[name]


@pytest.mark.parametrize("start", ["notebooks", "reports", "experiment"])
def test_the_store_is_the_same_from_everywhere_in_the_project(
    project: Path, monkeypatch: pytest.MonkeyPatch, start: str
) -> None:
    uri = tracking.use_store()
    assert uri == f"sqlite:///{project / 'mlflow.db'}"
    monkeypatch.chdir(place(project, start))
    assert tracking.project_root() == project
    assert tracking.use_store() == uri


def test_the_store_follows_the_working_folder_unless_the_user_chose_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    for folder in (new_project(tmp_path / name) for name in ("one", "two")):
        monkeypatch.chdir(folder)
        assert tracking.use_store() == f"sqlite:///{folder / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:////somewhere/mine.db")
    assert tracking.use_store() == "sqlite:////somewhere/mine.db"
    assert os.environ["MLFLOW_TRACKING_URI"] == "sqlite:////somewhere/mine.db"


def test_outside_a_project_there_is_no_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RoutelabError, match=r"is in no routelab project \(no dvc.yaml above it\); change into one"):
        tracking.runs()


def logged() -> pd.DataFrame:
    """All runs as MLflow tells them."""
    import mlflow

    tracking.use_store()
    found: pd.DataFrame = mlflow.search_runs(search_all_experiments=True)
    return found


def synthetic_runs() -> pd.DataFrame:
    runs = logged()
    return runs[runs["tags.source"] == "synthetic"]


def run_of(stage: str, policy: str) -> Any:
    runs = synthetic_runs()
    return runs[(runs["tags.stage"] == stage) & (runs["tags.policy"] == policy)].iloc[0]


def test_every_run_is_flat_finished_and_tagged(project: Path) -> None:
    runs = synthetic_runs()
    assert set(runs["status"]) == {"FINISHED"}
    assert "tags.mlflow.parentRunId" not in runs
    trained = {"train_forest", "train_bandit", "evaluate", "pareto", "controls"}
    tried = {"replay budget", "replay regression", "ab test", "off-policy"}
    assert set(runs["tags.stage"]) == trained | tried
    assert set(runs.loc[runs["tags.stage"].str.startswith("train"), "tags.policy"]) == set(MODELS)
    assert set(runs["tags.seed"]) == {"0"}
    assert set(runs["tags.git_commit"]) == {"unknown"}
    assert set(runs["tags.dvc_experiment"]) == {"workspace"}
    assert run_of("train_forest", "forest")["tags.mlflow.runName"] == "forest · synthetic · train_forest"


def test_a_training_run_holds_params_metrics_per_setting_and_task_data_figures_and_card(project: Path) -> None:
    import mlflow

    row = run_of("train_forest", "forest")
    for name, value in SETTINGS["forest"].items():  # type: ignore[attr-defined]
        assert row[f"params.{name}"] == str(value)
    client = mlflow.MlflowClient()
    tasks = [name for name in row.index if name.startswith("metrics.quality/") and pd.notna(row[name])]
    assert len(tasks) > 2
    for name in ["lambda", "quality", "cost_usd", tasks[0].removeprefix("metrics.")]:
        history = client.get_metric_history(row["run_id"], name)
        assert [metric.step for metric in history] == list(range(SETTINGS["evaluation"]["settings"]))  # type: ignore[index]
    run = client.get_run(row["run_id"])
    assert [data.dataset.name for data in run.inputs.dataset_inputs] == ["synthetic"] * 2
    files = {
        "forest": ["importance.png", "model_card.md"],
        "forest-classifier": ["shares.png"],
        "thompson": ["regret.png"],
    }
    for policy, names in files.items():
        run_id = run_of("train_forest" if policy.startswith("forest") else "train_bandit", policy)["run_id"]
        assert [file.path for file in client.list_artifacts(run_id)] == names


@pytest.mark.parametrize("name", MODELS)
def test_the_logged_data_are_the_split_that_trained_and_the_one_that_evaluates(project: Path, name: str) -> None:
    import mlflow

    row = run_of("train_forest" if name.startswith("forest") else "train_bandit", name)
    inputs = mlflow.MlflowClient().get_run(row["run_id"]).inputs.dataset_inputs
    shapes = {data.tags[0].value: json.loads(data.dataset.profile)["features_shape"] for data in inputs}
    splits = {"training": "train", "evaluation": "eval"}
    for context, split in splits.items():
        with np.load(project / "data" / "features" / "synthetic" / f"{split}.npz") as held:
            assert shapes[context] == list(held["X"].shape)
    assert len({data.dataset.digest for data in inputs}) == 2


def test_a_logged_model_carries_its_package_and_pins_what_it_needs(project: Path, tmp_path: Path) -> None:
    import mlflow

    uri = f"runs:/{run_of('train_forest', 'forest')['run_id']}/policy"
    model = Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(tmp_path)))
    needs = (model / "requirements.txt").read_text(encoding="utf-8").split()
    assert {f"{name}=={version(name)}" for name in ("mlflow", "numpy", "onnxruntime", "scikit-learn")} <= set(needs)
    assert all("==" in need and "/" not in need and "routelab" not in need for need in needs)
    assert not list((model / "code").rglob("__pycache__"))  # loading a model leaves one beside its script
    # another process, another folder, and a package that is not imported yet
    code = (
        "import sys, mlflow, pandas; model = mlflow.pyfunc.load_model(sys.argv[1]); import routelab;"
        "print(routelab.__file__, model.predict(pandas.DataFrame({'prompt': ['Hi']}))['provider'].item())"
    )
    command = [sys.executable, "-W", "ignore", "-c", code, str(model)]
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    origin, provider = answer.stdout.split()
    assert Path(origin).is_relative_to(model)
    assert provider in load_policy(project / "data" / "models" / "synthetic" / "forest").providers_


def test_a_store_that_is_none_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"no database at all")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    with pytest.raises(RoutelabError, match=r"MLflow store sqlite:///.*mlflow.db: .*; see that it is up") as caught:
        tracking.check_store()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", MODELS)
def test_the_logged_model_answers_as_the_policy_does(project: Path, name: str) -> None:
    import mlflow

    stage = "train_forest" if name.startswith("forest") else "train_bandit"
    model = mlflow.pyfunc.load_model(f"runs:/{run_of(stage, name)['run_id']}/policy")
    policy = load_policy(project / "data" / "models" / "synthetic" / name)
    featurizer = RequestFeaturizer.load(project / "data" / "features" / "synthetic" / "featurizer")
    own = getattr(policy, "objective", Objective())
    asked = [
        {"prompt": "Translate 'cheese' into French.", "user_tier": "free"},
        {"prompt": "Hi", "estimated_complexity": 1.0, "requires_reasoning": True, "time_of_day": 23.0},
        {"prompt": "Prove that 7 is prime.", "estimated_complexity": 0.0, "requires_reasoning": False},
    ]
    X = featurizer.transform([LLMRequest(**fields) for fields in asked])
    for weight in [own.cost_weight] if name == "forest-classifier" else [0.0, 100.0]:
        probabilities = policy.action_probabilities(X, Objective(cost_weight=weight))
        arms, estimates = probabilities.argmax(axis=1), policy.predict(X)
        answer = pd.concat([model.predict(pd.DataFrame([fields]), params={"cost_weight": weight}) for fields in asked])
        assert answer["provider"].tolist() == [policy.providers_[arm] for arm in arms]
        assert answer["probability"].to_numpy() == pytest.approx(probabilities.max(axis=1))
        assert answer["quality"].to_numpy() == pytest.approx(estimates.quality[np.arange(3), arms])
        assert answer["cost_usd"].to_numpy() == pytest.approx(estimates.cost[np.arange(3), arms])
    unasked = model.predict(pd.DataFrame(asked[:1]))
    own_answer = policy.action_probabilities(X[:1], own)
    assert unasked["provider"].item() == policy.providers_[int(own_answer.argmax())]


def test_a_model_of_a_table_without_text_takes_its_own_features(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", pipeline.other_store)
    runs = logged()
    row = runs[(runs["tags.source"] == "textless") & (runs["tags.policy"] == "forest")].iloc[-1]
    model = mlflow.pyfunc.load_model(f"runs:/{row['run_id']}/policy")
    sizes = [3.0, 400.0, 9000.0]
    answer = model.predict(pd.DataFrame({"x_size": sizes}))
    policy = load_policy(pipeline.copy / "data" / "models" / "textless" / "forest")
    featurizer = RequestFeaturizer.load(pipeline.copy / "data" / "features" / "textless" / "featurizer")
    estimates = policy.predict(featurizer.transform([LLMRequest("", features={"size": size}) for size in sizes]))
    assert answer["quality"].to_numpy() == pytest.approx(estimates.quality.max(axis=1))
    gaps = runs[(runs["tags.source"] == "gaps") & (runs["tags.policy"] == "forest")]
    assert gaps["metrics.quality/a/_/b_"].notna().any()  # the task "a//b?"
    assert gaps["metrics.quality/_"].notna().any()  # the task ".."


def test_a_model_without_the_prompt_it_was_made_for_refuses(project: Path) -> None:
    import mlflow

    model = mlflow.pyfunc.load_model(f"runs:/{run_of('train_forest', 'forest')['run_id']}/policy")
    with pytest.raises(mlflow.exceptions.MlflowException, match=r"missing inputs \['prompt'\]"):
        model.predict(pd.DataFrame({"user_tier": ["free"]}))


def test_artifacts_lie_in_the_project_and_hold_no_pickle(project: Path) -> None:
    files = [path for path in (project / "mlartifacts").rglob("*") if path.is_file()]
    assert {"model.onnx", "bundle.json", "MLmodel", "served_policy.py", "evaluation.json"} <= {f.name for f in files}
    assert not [f for f in files if f.suffix in (".pkl", ".pickle", ".joblib", ".pt", ".bin")]
    assert not [f for f in files if f.read_bytes()[:2] in (b"\x80\x03", b"\x80\x04", b"\x80\x05")]


def test_an_experiment_in_dvcs_copy_logs_into_the_project_under_its_own_name(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place(project, "experiment"))
    monkeypatch.setenv("DVC_EXP_NAME", "bold-moth")
    with tracking.run("try", "none", "forest", 3, {"forest": {"n_estimators": 7}}) as run_id:
        tracking.log_metrics({"quality": 0.5})
    monkeypatch.chdir(project)
    runs = logged().set_index("run_id")
    row = runs.loc[run_id]
    assert row["tags.dvc_experiment"] == "bold-moth"
    assert (row["params.forest.n_estimators"], row["metrics.quality"], row["tags.seed"]) == ("7", 0.5, "3")
    assert row["artifact_uri"].startswith((project / "mlartifacts").as_uri())


def test_metrics_of_odd_task_names_and_more_than_one_batch_survive(project: Path) -> None:
    import mlflow

    names = ["a//b", "..", ".", "/x", "x/", "a?b=c", "é中", "", "emoji😀", "100%", "mmlu/abstract algebra", "x" * 300]
    series = {f"quality/{name}": [0.25, float("nan")] for name in names} | {"regret": np.arange(1500.0)}
    with tracking.run("try", "odd", "forest", 0, {}) as run_id:
        tracking.log_metrics({"single": 1.0}, series)
    kept = mlflow.MlflowClient().get_run(run_id).data.metrics
    assert len([name for name in kept if name.startswith("quality/")]) >= len(names) - 2  # "", "." and ".." are one
    assert {"quality/a/_/b", "quality/_", "quality/a_b_c", "quality/é中", "quality/mmlu/abstract algebra"} <= set(kept)
    history = mlflow.MlflowClient().get_metric_history(run_id, "regret")
    assert sorted((metric.step, metric.value) for metric in history) == [(i, float(i)) for i in range(1500)]


def test_a_run_that_fails_is_marked_as_failed(project: Path) -> None:
    with pytest.raises(KeyError), tracking.run("try", "failing", "forest", 0, {}) as run_id:
        raise KeyError("on purpose")
    assert logged().set_index("run_id").loc[run_id, "status"] == "FAILED"


def test_the_commit_is_that_of_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert tracking.git_commit() == "unknown"
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org"]
    names = ("params.yaml", "dvc.lock", "data/report.json", "policy.py")
    (tmp_path / "data").mkdir()
    for name in names:
        Path(name).write_text("one")
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]):
        subprocess.run([*git, *command], check=True, capture_output=True)
    head = subprocess.run(["git", "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    assert tracking.git_commit() == head
    # what the pipeline writes, strangers, and what is told by itself
    for name in ("data/report.json", "dvc.lock", "params.yaml", "untracked.txt"):
        Path(name).write_text("two")
    assert tracking.git_commit() == head
    Path("policy.py").write_text("two")
    monkeypatch.chdir(tmp_path / "data")
    assert tracking.git_commit() == f"{head}-dirty"


def test_events_of_a_router_are_metrics_at_the_step_of_its_decisions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    monkeypatch.chdir(new_project(tmp_path / "events"))
    with tracking.run("serve", "live", "forest", 0, {}) as run_id:
        for decisions, before in ((300, 0.0), (700, -0.5)):
            tracking.log_event("drift", {"provider": "nano", "before": before, "decisions": decisions, "error": None})
    history = mlflow.MlflowClient().get_metric_history(run_id, "drift/nano/before")
    assert [(metric.step, metric.value) for metric in history] == [(300, 0.0), (700, -0.5)]
    assert set(mlflow.get_run(run_id).data.metrics) == {"drift/nano/before", "drift/nano/decisions"}
