"""The pipeline as real processes in a project of their own: what the tests of stages and tracking share."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from routelab.cards.data_card import data_card
from routelab.stages.common import write_bytes
from routelab.tables.synthetic import World
from routelab.tables.table import PerformanceTable

STAGES = (
    "collect",
    "featurize",
    "train_forest",
    "train_bandit",
    "evaluate",
    "pareto",
    "controls",
    "model_card",
    "ab_test",
    "off_policy",
)
SETTINGS = {
    "size": "small",
    "seed": 0,
    "sources": ["synthetic"],
    "synthetic_requests": {"small": 300, "full": 300},
    "train_fraction": 0.7,
    "features": {"embedder": "wordllama", "n_components": 8},
    "forest": {"n_estimators": 10, "min_samples_leaf": 10, "max_features": 0.33, "random_splits": 0.5},
    "classifier": {"n_estimators": 10, "min_samples_leaf": 10, "settings": 3},
    "bandit": {"epsilon": 0.1, "prior": 1.0, "settings": 3, "seeds": {"small": 2, "full": 2}},
    "replay": {
        "scenarios": ["budget", "regression"],
        "policies": {"small": ["thompson", "linucb"], "full": ["thompson"]},
        "seeds": {"small": 2, "full": 2},
        "budgets": {},
        "levels": 3,
    },
    "drift": {"table": "llmdrift", "task": None, "policies": ["thompson", "linucb"], "seeds": 2},
    "evaluation": {"settings": 5, "partitions": 2, "resamples": {"small": 100, "full": 100}},
    "controls": {
        "shuffles": {"small": 2, "full": 2},
        "prompts": {"small": 150, "full": 150},
        "resamples": {"small": 50, "full": 50},
    },
    "ab_test": {
        "cost_weight": 10.0,
        "units": {"small": 400, "full": 400},
        "requests": 2.0,
        "runs": {"small": 20, "full": 20},
    },
    "off_policy": {
        "cost_weight": 10.0,
        "exploration": 0.3,
        "decisions": {"small": 300, "full": 300},
        "logs": {"small": 3, "full": 3},
        "resamples": {"small": 100, "full": 100},
    },
    "benchmark": {"policies": [], "resamples": 50, "runs": [{"table": "synthetic", "repeats": 1}]},
    "live": {"providers": [], "gateway_columns": {}},
}
# All stages in one process, as a notebook would run them; the other tables are collected already.
_DRIVER = """
import sys
from importlib import import_module
from routelab.params import load_params
for source in sys.argv[1:]:
    for name in {stages}:
        if name != "collect" or source == "synthetic":
            getattr(import_module(f"routelab.stages.{{name}}"), name)(source, load_params())
"""


@dataclass(frozen=True)
class Pipeline:
    """A project after its pipeline, and the copy in which DVC would run an experiment, which had another store."""

    root: Path
    copy: Path
    other_store: str


def new_project(folder: Path) -> Path:
    """A folder that routelab takes for a project."""
    (folder / "notebooks").mkdir(parents=True)
    (folder / "dvc.yaml").write_text("stages: {}\n")
    (folder / "params.yaml").write_text(yaml.safe_dump(SETTINGS))
    return folder


def environment(**changes: str) -> dict[str, str]:
    """This process' environment without a tracking store chosen for it, with ``changes``."""
    return {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"} | changes


def run_stage(folder: Path, stage: str, source: str = "synthetic") -> subprocess.CompletedProcess[str]:
    """``python -m routelab.stages.<stage> <source>`` in ``folder``."""
    command = [sys.executable, "-m", f"routelab.stages.{stage}", source]
    return subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True)


def outputs(folder: Path) -> dict[str, bytes]:
    """Every file under ``data/`` by its relative path."""
    files = (path for path in sorted(folder.glob("data/**/*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def write_own_tables(folder: Path) -> None:
    """``gaps``: cells missing here and there, tasks with odd names; ``textless``: own features instead of prompts."""
    rng = np.random.default_rng(0)
    gaps = World().generate(200, seed=3).table.to_frame()
    gaps.loc[rng.random(len(gaps)) < 0.05, "quality"] = np.nan
    gaps.loc[rng.random(len(gaps)) < 0.3, "latency_s"] = np.nan
    gaps = gaps[rng.random(len(gaps)) > 0.03].replace({"task": {"code": "a//b?", "chat": ".."}})
    textless = gaps[["prompt_id", "provider", "quality", "cost_usd"]].assign(x_size=gaps["input_tokens"].to_numpy())
    for name, frame in (("gaps", gaps), ("textless", textless)):
        table = PerformanceTable.from_frame(frame, origin=name)
        table.write(folder / "data" / "collected" / f"{name}.parquet")
        write_bytes(folder / "data" / "reports" / name / "data_card.md", data_card(table).encode())


def run_pipeline(folder: Path) -> Pipeline:
    """Run every stage as a process of its own, and meanwhile all of them in another place, store and process."""
    root = new_project(folder / "project")
    copy = new_project(root / ".dvc" / "tmp" / "exps" / "standalone" / "copy")
    write_own_tables(copy)
    (folder / "elsewhere").mkdir()
    store = f"sqlite:///{folder / 'elsewhere' / 'mlflow.db'}"
    meanwhile = subprocess.Popen(
        [sys.executable, "-c", _DRIVER.format(stages=STAGES), "synthetic", "gaps", "textless"],
        cwd=copy,
        env=environment(PYTHONHASHSEED="7", TZ="Asia/Tokyo", MLFLOW_TRACKING_URI=store),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    for stage in STAGES:
        run = run_stage(root, stage)
        assert run.returncode == 0, run.stderr
    _, complaint = meanwhile.communicate()
    assert meanwhile.returncode == 0, complaint
    return Pipeline(root, copy, store)


def set_param(folder: Path) -> None:
    broken = SETTINGS | {"forest": {**SETTINGS["forest"], "max_features": 7.0}}  # type: ignore[dict-item]
    (folder / "params.yaml").write_text(yaml.safe_dump(broken))


def spoil_table(folder: Path) -> None:
    path = folder / "data" / "collected" / "synthetic.parquet"
    frame = pd.read_parquet(path)
    frame.loc[3, "quality"] = 1.5
    frame.to_parquet(path)


def change_table(change: Callable[[pd.DataFrame], None]) -> Callable[[Path], None]:
    """Collected table with a column ``split`` of its own and what ``change`` does to it."""

    def harm(folder: Path) -> None:
        path = folder / "data" / "collected" / "synthetic.parquet"
        frame = pd.read_parquet(path)
        prompts = frame["prompt_id"].unique()
        frame["split"] = np.where(frame["prompt_id"].isin(prompts[::3]), "eval", "train")
        frame = frame.drop_duplicates(["prompt", "provider"]) if "prompt" in frame else frame
        change(frame)
        frame.to_parquet(path)

    return harm


def charge_the_same(frame: pd.DataFrame) -> None:
    frame["cost_usd"] = 0.001


def hide_a_provider_from_training(frame: pd.DataFrame) -> None:
    hidden = (frame["split"] == "train") & (frame["provider"] == frame["provider"].max())
    frame.loc[hidden, "quality"] = np.nan


def cut(path: str, at: float) -> Callable[[Path], None]:
    """Only the first share ``at`` of a file is there."""

    def harm(folder: Path) -> None:
        content = (folder / path).read_bytes()
        (folder / path).write_bytes(content[: int(at * len(content))])

    return harm


def replace_by_folder(path: str) -> Callable[[Path], None]:
    def harm(folder: Path) -> None:
        (folder / path).unlink()
        (folder / path).mkdir()

    return harm


def leave_one_provider_out(folder: Path) -> None:
    """No evaluation prompt is known of every provider."""
    path = folder / "data" / "features" / "synthetic" / "eval.npz"
    with np.load(path) as held:
        arrays = dict(held)
    arrays["quality"][:, 2] = np.nan
    np.savez(path, **arrays)


def write(path: str, content: bytes) -> Callable[[Path], None]:
    return lambda folder: write_bytes(folder / path, content)


def remove(path: str) -> Callable[[Path], None]:
    return lambda folder: (folder / path).unlink()
