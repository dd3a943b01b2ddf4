from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from pipeline import (
    STAGES,
    Pipeline,
    change_table,
    charge_the_same,
    cut,
    hide_a_provider_from_training,
    leave_one_provider_out,
    new_project,
    outputs,
    remove,
    replace_by_folder,
    run_stage,
    set_param,
    spoil_table,
    write,
)
from routelab.evaluation.crossfit import Curve
from routelab.evaluation.frontier import Candidates
from routelab.params import load_params
from routelab.stages.ab_test import ab_test
from routelab.stages.collect import collect
from routelab.stages.common import rounded, stage
from routelab.stages.controls import controls
from routelab.stages.evaluate import evaluate
from routelab.stages.featurize import featurize
from routelab.stages.model_card import model_card
from routelab.stages.off_policy import off_policy
from routelab.stages.pareto import pareto
from routelab.stages.train_bandit import train_bandit
from routelab.stages.train_forest import train_forest

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")  # MLflow's own models

ROOT = Path(__file__).resolve().parents[1]
WORK = {
    work.__name__: work
    for work in (
        *(collect, featurize, train_forest, train_bandit, evaluate, pareto, controls),
        *(model_card, ab_test, off_policy),
    )
}


def of(source: str, files: dict[str, bytes]) -> dict[str, bytes]:
    """The outputs of one source, by path without its name."""
    return {name.replace(source, "SOURCE"): content for name, content in files.items() if f"/{source}" in name}


def declared(stages: dict[str, Any]) -> set[str]:
    """Outputs and metrics of the per-source stages of ``dvc.yaml``."""
    entries = [entry for name in STAGES for kind in ("outs", "metrics") for entry in stages[name]["do"].get(kind, [])]
    return {next(iter(entry)) if isinstance(entry, dict) else entry for entry in entries}


def test_the_stages_write_what_dvc_yaml_declares_and_nothing_else(pipeline: Pipeline) -> None:
    promised = declared(yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"])
    promised = {path.replace("${item}", "synthetic") for path in promised}
    for path in promised:
        assert (pipeline.root / path).exists(), path
    others = [name for name in outputs(pipeline.root) if not any(name.startswith(path) for path in promised)]
    assert others == []
    assert {path.name for path in pipeline.root.iterdir()} == {
        ".dvc",
        "data",
        "dvc.yaml",
        "mlartifacts",
        "mlflow.db",
        "notebooks",
        "params.yaml",
    }


def test_another_process_folder_hash_seed_and_time_zone_give_the_same_bytes(pipeline: Pipeline) -> None:
    one, other = (of("synthetic", outputs(folder)) for folder in (pipeline.root, pipeline.copy))
    assert set(one) == set(other)
    assert [name for name in one if one[name] != other[name]] == []


def test_no_output_names_the_folder_it_was_made_in(pipeline: Pipeline) -> None:
    here = str(pipeline.root).encode()
    assert not [name for name, content in outputs(pipeline.root).items() if here in content]


def test_running_a_stage_again_over_its_outputs_changes_no_byte(
    pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = finished_project(pipeline, tmp_path, monkeypatch)
    before = outputs(folder)
    for name in ("collect", "featurize"):
        WORK[name]("synthetic", load_params())
    assert outputs(folder) == before


@pytest.mark.parametrize("source", ["gaps", "textless"])
def test_tables_with_missing_cells_or_without_text_pass_all_stages(pipeline: Pipeline, source: str) -> None:
    files = of(source, outputs(pipeline.copy))
    assert set(files) == set(of("synthetic", outputs(pipeline.copy)))
    report = json.loads(files["data/reports/SOURCE/evaluation.json"])
    with np.load(io.BytesIO(files["data/features/SOURCE/eval.npz"])) as held:
        assert report["n_eval"] + report["n_eval_incomplete"] == len(held["X"])
    assert report["n_eval_incomplete"] > 0
    curves = pd.read_csv(pipeline.copy / "data" / "reports" / source / "curves.csv")
    assert np.isfinite(curves[["lambda", "cost_usd", "quality"]]).all().all()
    assert curves["quality"].between(0.0, 1.0).all()
    manifest = json.loads(files["data/features/SOURCE/featurizer/bundle.json"])
    assert manifest["meta"]["has_text"] == (source == "gaps")


def test_reports_hold_ordered_intervals_and_nine_digits(pipeline: Pipeline) -> None:
    text = (pipeline.root / "data/reports/synthetic/evaluation.json").read_text(encoding="utf-8")
    report = json.loads(text)
    assert set(report["policies"]) >= {"best-single", "rule", "forest", "forest-classifier", "thompson", "oracle"}
    for scores in report["policies"].values():
        gap = scores["hull_gap_captured"]
        assert gap["low"] <= gap["estimate"] <= gap["high"]
        assert scores["aiq"] <= report["policies"]["oracle"]["aiq"]
    assert report == rounded(report)
    frontier = pd.read_csv(pipeline.root / "data/reports/synthetic/frontier.csv")
    assert "oracle" not in set(frontier["policy"])
    cheapest = frontier["cost_usd"].idxmin()
    assert frontier.loc[cheapest, "on_frontier"]
    assert frontier["on_frontier_probability"].between(0.0, 1.0).all()
    assert frontier.loc[frontier["on_frontier"], "on_frontier_probability"].mean() > 0.5
    for name in ("cost_usd", "quality"):
        assert frontier[name].between(frontier[f"{name}_low"], frontier[f"{name}_high"]).mean() > 0.99
    summary = json.loads((pipeline.root / "data/reports/synthetic/pareto.json").read_text(encoding="utf-8"))
    for provider, chance in summary["on_frontier_probability"].items():
        row = frontier[frontier["policy"] == f"provider {provider}"]
        assert row["on_frontier_probability"].item() == chance["among_all"] <= chance["among_providers"]


def finished_project(pipeline: Pipeline, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the finished project, as the working folder."""
    project = new_project(folder / "project")
    shutil.copytree(pipeline.root / "data", project / "data")
    monkeypatch.chdir(project)
    return project


DATA = "data/{}/synthetic".format


def forget_an_evaluation_prompt(folder: Path) -> None:
    """The stages before ``pareto`` ran on different splits."""
    path = folder / DATA("reports") / "outcomes.npz"
    scored = Candidates.read(path)
    fewer = Curve(*(matrix[1:] for matrix in scored.outcomes))
    Candidates(scored.names, scored.cost_weights, fewer).write(path)


FAILURES: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "params out of range": ("train_forest", set_param, r"params.yaml: forest.max_features is 7.0: .*change it"),
    "no params": ("evaluate", remove("params.yaml"), r"params.yaml is missing; run from the root of the project"),
    "quality above 1": ("featurize", spoil_table, r"synthetic.parquet: column 'quality'.*1\.5"),
    "no table": ("featurize", remove("data/collected/synthetic.parquet"), r"synthetic.parquet: no such file. Check"),
    "no parquet": ("featurize", write("data/collected/synthetic.parquet", b"prompt_id,pro"), r"not a .parquet file"),
    "no features": ("train_bandit", remove(f"{DATA('features')}/train.npz"), r"train.npz is missing; run `dvc repro`"),
    "damaged": ("train_forest", write(f"{DATA('features')}/eval.npz", b"PK\x03\x04"), r"eval.npz is damaged .*remove"),
    "no model": (
        "evaluate",
        remove(f"{DATA('models')}/forest/bundle.json"),
        r"models/synthetic/forest holds no bundle",
    ),
    "no curve": ("evaluate", remove(f"{DATA('models')}/thompson.npz"), r"thompson.npz is missing; run `dvc repro`"),
    "no report": ("pareto", remove(f"{DATA('reports')}/evaluation.json"), r"evaluation.json is missing; run `dvc re"),
    "no frontier": ("pareto", remove(f"{DATA('reports')}/outcomes.npz"), r"outcomes.npz is missing; run `dvc repro`"),
    "cut report": (
        "pareto",
        cut(f"{DATA('reports')}/evaluation.json", 0.5),
        r"evaluation.json is damaged .*evaluate@syn",
    ),
    "other report": (
        "pareto",
        write(f"{DATA('reports')}/evaluation.json", b"{}"),
        r"evaluation.json is damaged .*`dvc re",
    ),
    "cut curves": (
        "pareto",
        cut(f"{DATA('reports')}/outcomes.npz", 0.5),
        r"outcomes.npz is damaged .*remove it",
    ),
    "empty curves": ("pareto", cut(f"{DATA('reports')}/outcomes.npz", 0.0), r"outcomes.npz is damaged .*remove it"),
    "cut report of the card": (
        "model_card",
        cut(f"{DATA('reports')}/controls.json", 0.5),
        r"controls.json is damaged .*`dvc repro -f controls@synthetic`",
    ),
    "other report of the card": (
        "model_card",
        write(f"{DATA('reports')}/controls.json", b"{}"),
        r"in data/reports/synthetic is damaged .*'shuffles'.*dvc repro -f",
    ),
    "no report of the card": (
        "model_card",
        remove(f"{DATA('reports')}/forest.json"),
        r"forest.json is missing; run `d",
    ),
    "other curves": ("pareto", forget_an_evaluation_prompt, r"outcomes.npz is damaged .*-f evaluate@synthetic`"),
    "a folder": (
        "pareto",
        replace_by_folder(f"{DATA('reports')}/evaluation.json"),
        r"Is a directory: .*evaluation.json",
    ),
    "one price": (
        "featurize",
        change_table(charge_the_same),
        r"training split: every provider costs 0.001 USD .*'cost_",
    ),
    "unseen": (
        "featurize",
        change_table(hide_a_provider_from_training),
        r"training split: no prompt has .* of '.*; bring",
    ),
    "no featurizer": (
        "train_forest",
        remove(f"{DATA('features')}/featurizer/bundle.json"),
        r"featurizer holds no bundle",
    ),
    "none too": ("train_bandit", remove(f"{DATA('features')}/featurizer/bundle.json"), r"featurizer holds no bundle"),
    "sparse": (
        "train_forest",
        leave_one_provider_out,
        r"synthetic, evaluation split: no prompt has .* all 5 providers",
    ),
    "sparse too": ("train_bandit", leave_one_provider_out, r"synthetic, evaluation split: no prompt has .*; bring"),
}


def stamps(folder: Path) -> dict[str, int]:
    """When each output was written: another write of the same bytes shows."""
    return {name: (folder / name).stat().st_mtime_ns for name in outputs(folder)}


@pytest.mark.parametrize("name", FAILURES)
def test_a_stage_that_fails_says_why_in_one_line_and_leaves_the_outputs_whole(
    pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    module, harm, expected = FAILURES[name]
    folder = finished_project(pipeline, tmp_path, monkeypatch)
    harm(folder)
    before, written = outputs(folder), stamps(folder)
    monkeypatch.setattr("sys.argv", [f"routelab.stages.{module}", "synthetic"])
    with pytest.raises(SystemExit, match=expected) as ended:
        stage(WORK[module])
    assert isinstance(ended.value.code, str)  # Python prints it on stderr and exits with 1
    assert ended.value.code.startswith("routelab: ")
    assert "\n" not in ended.value.code
    assert (outputs(folder), stamps(folder)) == (before, written)


@pytest.mark.parametrize("module", ["train_forest", "train_bandit", "evaluate", "pareto", "model_card"])
def test_without_its_mlflow_store_a_stage_writes_nothing_and_names_the_store(
    pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    folder = finished_project(pipeline, tmp_path, monkeypatch)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9")
    monkeypatch.setattr("sys.argv", [f"routelab.stages.{module}", "synthetic"])
    written = stamps(folder)
    with pytest.raises(
        SystemExit, match=r"^routelab: MLflow store http://127.0.0.1:9: .*set MLFLOW_TRACKING_URI"
    ) as ended:
        stage(WORK[module])
    assert "\n" not in str(ended.value.code)
    assert "secret" not in str(ended.value.code)
    assert stamps(folder) == written


@pytest.mark.parametrize(
    ("harm", "module", "source", "expected"),
    [
        (set_param, "collect", "synthetic", "forest.max_features is 7.0"),
        (lambda folder: None, "collect", "synthetik", "Did you mean 'synthetic'?"),
    ],
)
def test_a_failing_process_ends_with_code_1_and_no_traceback(
    pipeline: Pipeline,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    harm: Callable[[Path], None],
    module: str,
    source: str,
    expected: str,
) -> None:
    folder = finished_project(pipeline, tmp_path, monkeypatch)
    harm(folder)
    before = outputs(folder)
    ended = run_stage(folder, module, source)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith("routelab: ")
    assert len(ended.stderr.splitlines()) == 1
    assert expected in ended.stderr
    assert outputs(folder) == before
