"""Where a run came from, and the one command that repeats it."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from routelab.errors import RoutelabError
from routelab.project import project_root
from routelab.tracking.commits import experiments
from routelab.tracking.store import store_errors, use_store

if TYPE_CHECKING:
    from mlflow.entities import Run

# the stage of dvc.yaml, where a run names what it did within one
_STAGES = {"ab test": "ab_test", "off-policy": "off_policy", "replay drift": "drift"}
_WITHOUT_SOURCE = {"drift", "benchmark"}


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a run came from.

    Args:
        run: its name.
        run_id: its id in MLflow.
        commit: of git; "unknown" outside it.
        exact: whether sources were as committed, so that the commit and the params tell all.
        params: settings of the stage that it logged.
        changed: what of ``params.yaml`` differed from the commit.
        experiment: its name in ``dvc exp show``; "workspace" outside any.
        command: repeats the run, in a clean clone of the project.
        apply: brings back the experiment's files instead, where it is still known to DVC.
    """

    run: str
    run_id: str
    commit: str
    exact: bool
    params: Mapping[str, str]
    changed: Mapping[str, Any]
    experiment: str
    command: str
    apply: str | None

    def __str__(self) -> str:
        changed = ", ".join(f"{name} = {value}" for name, value in self.changed.items()) or "none"
        doubt = "" if self.exact else " (sources were not as committed: perhaps not repeatable)"
        lines = [
            self.run,
            f"  commit          {self.commit}{doubt}",
            f"  params changed  {changed}",
            f"  experiment      {self.experiment}",
            f"  repeat          {self.command}",
        ]
        return "\n".join(lines + ([f"  bring it back   {self.apply}"] if self.apply else []))


def origin(run: str | Mapping[str, Any]) -> Origin:
    """Commit, params and experiment of a run, and the command that repeats it.

    Args:
        run: its id, or a row of ``runs()``.

    Raises:
        RoutelabError: there is no such run, it was logged outside the pipeline, or the store cannot be used.
    """
    held = held_run(run)
    tags = held.data.tags
    commit, experiment = tags.get("git_commit", "unknown"), tags.get("dvc_experiment", "workspace")
    changed = json.loads(tags.get("params_changed", "{}"))
    steps = [] if commit == "unknown" else [f"git checkout {commit.removesuffix('-dirty')}"]
    steps.append(f"dvc exp run {_settings(changed)}{_target(tags)}")
    return Origin(
        run=str(held.info.run_name),
        run_id=held.info.run_id,
        commit=commit.removesuffix("-dirty"),
        exact=not commit.endswith("-dirty") and commit != "unknown",
        params=held.data.params,
        changed=changed,
        experiment=experiment,
        command=" && ".join(steps),
        apply=f"dvc exp apply {experiment}" if experiment in experiments(project_root()) else None,
    )


def held_run(run: str | Mapping[str, Any]) -> Run:
    """The run of an id, or of a row of ``runs()``.

    Raises:
        RoutelabError: there is no such run, or the store cannot be used.
    """
    import mlflow

    run_id = _run_id(run)
    use_store()
    with store_errors():
        try:
            return mlflow.MlflowClient().get_run(run_id)
        except mlflow.exceptions.MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            raise RoutelabError(f"there is no run {run_id}; tracking.runs() lists those there are") from None


def _run_id(run: object) -> str:
    """The id, or that of a row.

    Raises:
        RoutelabError: it is neither, or the row of an experiment without a run.
    """
    import pandas as pd

    if isinstance(run, pd.DataFrame):
        raise RoutelabError(f"a table of {len(run)} runs was given; give one row, as in runs.iloc[0]")
    row = run if isinstance(run, Mapping | pd.Series) else {"run_id": run}
    if row.get("status") == "DVC only":
        back = f"`dvc exp apply {shlex.quote(str(row.get('experiment')))}` brings its files back"
        raise RoutelabError(f"{row.get('run')!r} is known to DVC only and has no run in MLflow; {back}")
    run_id = row.get("run_id")
    if not isinstance(run_id, str) or not re.fullmatch(r"[0-9a-f]{32}", run_id):
        raise RoutelabError(f"{run_id!r} is no run's id; give a row or a run_id of tracking.runs()")
    return run_id


def _target(tags: Mapping[str, str]) -> str:
    """The stage of dvc.yaml that logged the run, as in ``evaluate@synthetic``.

    Raises:
        RoutelabError: a notebook or a session of somebody's logged it.
    """
    stage, source = tags.get("stage", "untagged"), tags.get("source", "")
    stage = _STAGES.get(stage, "train_bandit" if stage.startswith("replay ") else stage)
    if not re.fullmatch(r"\w+", stage) or source == "live":
        raise RoutelabError(f"a run of {stage!r} was logged outside the pipeline; repeat what logged it")
    return stage if stage in _WITHOUT_SOURCE else f"{stage}@{source}"


def _settings(changed: Mapping[str, Any]) -> str:
    """Options ``-S name=value`` for DVC, quoted for the shell, each with a space behind.

    >>> _settings({"forest.n_estimators": 50, "forest.min_samples_leaf": [5, 10]})
    "-S forest.n_estimators=50 -S 'forest.min_samples_leaf=[5, 10]' "
    """
    return "".join(f"-S {shlex.quote(f'{name}={json.dumps(value)}')} " for name, value in changed.items())
