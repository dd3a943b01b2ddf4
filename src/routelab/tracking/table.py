"""MLflow runs and DVC experiments as one tidy table."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from routelab.errors import RoutelabError
from routelab.project import project_root
from routelab.tracking.commits import committed_files, committed_json, committed_params, experiments, flatten, git
from routelab.tracking.store import experiment_id, store_errors, use_store
from routelab.tracking.views import UI_ADDRESS

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.entities import Run

_PAGE = 1000
_WHO = ["run", "stage", "source", "policy", "seed", "size", "experiment", "commit"]
_WHEN = ["started", "duration_s", "status"]
_WHERE = ["experiment_commit", "run_id", "link"]
# as metrics were named before their bounds were; a table may hold runs of both
_ENDINGS = {".estimate": "", ".low": "_low", ".high": "_high"}


def runs(
    stage: str | None = None,
    source: str | None = None,
    policy: str | None = None,
    experiment: str | None = None,
    *,
    newest: bool = False,
) -> pd.DataFrame:
    """MLflow runs and DVC experiments, a row each, the newest first.

    A DVC experiment that MLflow knows nothing of (made elsewhere, say) has a row per policy too, read from the
    metrics that it committed; its ``run_id`` is missing.

    Args:
        stage: only runs of this stage, as in "evaluate" or "train_forest".
        source: only of this source.
        policy: only of this policy.
        experiment: only of this DVC experiment; "workspace" for runs outside any.
        newest: of runs that agree in stage, source, policy, experiment and changed params, only the last.

    Returns:
        ``run`` (its name), ``stage``, ``source``, ``policy``, ``seed``, ``size``, ``experiment``, ``commit``
        ("-dirty": sources had changed since), ``params.…`` that differ between the rows, metrics (with ``…_low`` and
        ``…_high`` where an interval was logged), ``started`` (UTC), ``duration_s``, ``status``, params that do not
        differ, ``experiment_commit``, ``run_id``, and ``link``, which works while ``routelab ui`` runs.

    Raises:
        RoutelabError: the store cannot be used, or holds no such run.
    """
    import pandas as pd

    wanted = {"stage": stage, "source": source, "policy": policy, "dvc_experiment": experiment}
    tags = {name: value for name, value in wanted.items() if value is not None}
    use_store()
    with store_errors():
        project = experiment_id()
        pages = f"{_ui(project)}/#/experiments/{project}/runs"
        rows = [_row(run, pages) for run in _found(project, tags)]
        known = experiments(project_root())
        logged = {row["experiment"] for row in rows}
        others = (name for name in known if name not in logged)
        logged |= {name for name in others if _is_logged(project, name)}
    rows = [row | {"experiment_commit": known.get(row["experiment"])} for row in rows]
    rows += _unlogged({name: commit for name, commit in known.items() if name not in logged}, tags)
    if not rows:
        asked = ", ".join(f"{name}={value!r}" for name, value in tags.items())
        told = f"with {asked}; tracking.runs() lists those there are" if asked else "yet; run `dvc repro`"
        raise RoutelabError(f"no run {told}")
    _add_changed(rows)
    table = pd.DataFrame(rows)
    table["started"] = pd.to_datetime(table["started"], unit="ms", utc=True)
    table = table.sort_values("started", ascending=False, kind="stable", na_position="last", ignore_index=True)
    if newest:
        same = ["stage", "source", "policy", "experiment", "params_changed"]
        table = table.drop_duplicates(same, ignore_index=True)
    return table[_ordered(table.drop(columns="params_changed"))]


def _found(experiment: str, tags: dict[str, str]) -> Iterator[Run]:
    """The runs of the project that carry ``tags``, page by page."""
    import mlflow

    client, page = mlflow.MlflowClient(), None
    asked = " and ".join(f"tags.{name} = '{_quoted(value)}'" for name, value in tags.items())
    while True:
        found = client.search_runs([experiment], asked, max_results=_PAGE, page_token=page)
        yield from found
        page = found.token
        if not page:
            return


def _is_logged(project: str, experiment: str) -> bool:
    """Whether any run, of whatever stage, is of that DVC experiment."""
    import mlflow

    return bool(mlflow.MlflowClient().search_runs([project], f"tags.dvc_experiment = '{experiment}'", max_results=1))


def _quoted(value: str) -> str:
    """A value inside the quotes of MLflow's filter, which knows no escape.

    Raises:
        RoutelabError: it holds a quote itself.
    """
    if "'" in value:
        raise RoutelabError(f"{value!r} holds a quote; no stage, source, policy or experiment does")
    return value


def _row(run: Run, pages: str) -> dict[str, Any]:
    tags, info = run.data.tags, run.info
    metrics = {plain_name(name): value for name, value in run.data.metrics.items()}
    duration = (info.end_time - info.start_time) / 1000 if info.end_time else None
    return {
        "run": info.run_name,
        **{name: tags.get(name) for name in ("stage", "source", "policy", "seed", "size", "params_changed")},
        "experiment": tags.get("dvc_experiment"),
        "commit": tags.get("git_commit"),
        **{f"params.{name}": value for name, value in run.data.params.items()},
        **metrics,
        "started": info.start_time,
        "duration_s": duration,
        "status": info.status,
        "run_id": info.run_id,
        "link": f"{pages}/{info.run_id}",
    }


def _ui(experiment: str) -> str:
    """Address of the tracking server, where there is one, or of ``routelab ui``, at its usual port if it is not up."""
    import mlflow

    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if uri.startswith("http"):
        return uri.rstrip("/")
    return str(mlflow.get_experiment(experiment).tags.get(UI_ADDRESS, "http://127.0.0.1:5000"))


def plain_name(name: str) -> str:
    """A metric's name as it is written now.

    >>> plain_name("hull_gap_captured.low"), plain_name("aiq")
    ('hull_gap_captured_low', 'aiq')
    """
    for old, new in _ENDINGS.items():
        if name.endswith(old):
            return name.removesuffix(old) + new
    return name


def _unlogged(commits: dict[str, str], tags: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Rows of the DVC experiments (name → commit) that have no run here, from the evaluations that they committed."""
    folder = project_root()
    for name, commit in commits.items():
        for path in committed_files(commit, "data/reports", folder):
            if not path.endswith("/evaluation.json"):
                continue
            report = committed_json(commit, path, folder)
            for policy, scores in report["policies"].items():
                row = {"stage": "evaluate", "source": report["table"], "policy": policy, "dvc_experiment": name}
                if tags.items() <= row.items():
                    yield _experiment_row(row, commit, scores)


def _experiment_row(row: dict[str, str], commit: str, scores: dict[str, Any]) -> dict[str, Any]:
    numbers = {plain_name(key): value for key, value in flatten(scores).items() if isinstance(value, float)}
    who = {name: row[name] for name in ("stage", "source", "policy")}
    folder = project_root()
    baseline = (git("rev-parse", f"{commit}^", folder=folder) or "unknown").strip()
    now, before = (committed_params(each, folder) for each in (commit, baseline))
    return {
        "run": f"{row['policy']} · {row['source']} · {row['dvc_experiment']}",
        **who,
        "experiment": row["dvc_experiment"],
        "commit": baseline,
        "experiment_commit": commit,
        "params_changed": json.dumps({name: value for name, value in now.items() if before.get(name) != value}),
        **numbers,
        "started": None,
        "status": "DVC only",
    }


def _add_changed(rows: list[dict[str, Any]]) -> None:
    """Give all rows the params that some of them changed, those of its commit to a row that did not."""
    changed = [json.loads(row.get("params_changed") or "{}") for row in rows]
    names = sorted({name for one in changed for name in one})
    commits = {str(row.get("commit")).removesuffix("-dirty") for row in rows} if names else set()
    committed = {commit: committed_params(commit, project_root()) for commit in commits}
    for row, one in zip(rows, changed, strict=True):
        usual = committed.get(str(row.get("commit")).removesuffix("-dirty"), {})
        row |= {f"params.{name}": one.get(name, usual.get(name)) for name in names}


def _ordered(table: pd.DataFrame) -> list[str]:
    """Columns in the order that ``runs`` promises, without those that are empty."""
    names = [str(name) for name in table]
    params = [name for name in names if name.startswith("params.")]
    differing = [name for name in params if len(table[name].dropna().map(str).unique()) > 1]
    ends = [*_WHO, *_WHEN, *_WHERE, *params]
    metrics = [name for name in names if name not in ends]
    told = [*_WHO, *differing, *metrics, *_WHEN, *(name for name in params if name not in differing), *_WHERE]
    return [name for name in told if name in names and (name in _WHERE or table[name].notna().any())]
