"""Flat runs: their tags, and what is logged to them in batches."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from routelab.tracking.commits import changed_params, flatten, git_commit, project_params
from routelab.tracking.store import experiment_id, store_errors, use_store

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_BATCH = 1000  # MLflow's limit of metrics in one call


@contextmanager
def run(stage: str, source: str, policy: str, seed: int, params: Mapping[str, Any]) -> Iterator[str]:
    """A flat run named ``policy · source · stage``, tagged with these, seed, commit, changed params and experiment.

    Raises:
        RoutelabError: the store cannot be reached or used.

    Yields:
        The run's id. Inside, the functions of this module log to it.
    """
    import mlflow

    use_store()
    tags = {
        "stage": stage,
        "source": source,
        "policy": policy,
        "seed": str(seed),
        "git_commit": git_commit(),
        "params_changed": json.dumps(changed_params()),
        "size": str(project_params().get("size", "unknown")),
        "dvc_experiment": os.environ.get("DVC_EXP_NAME", "workspace"),
    }
    name = f"{policy} · {source} · {stage}"
    with store_errors(), mlflow.start_run(experiment_id=experiment_id(), run_name=name, tags=tags) as active:
        mlflow.log_params(flatten(params))
        yield str(active.info.run_id)


def log_metrics(metrics: Mapping[str, float], steps: Mapping[str, Any] | None = None, step: int = 0) -> None:
    """Log single ``metrics`` at ``step``, and ``steps`` (name -> one value per step), in one batch."""
    import time

    import mlflow
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    batch = [Metric(_name(name), float(value), now, step) for name, value in metrics.items()]
    for name, values in (steps or {}).items():
        batch += [Metric(_name(name), float(value), now, step) for step, value in enumerate(values)]
    active = mlflow.active_run()
    assert active is not None, "log_metrics works inside `with run(...)`"
    for start in range(0, len(batch), _BATCH):
        mlflow.MlflowClient().log_batch(active.info.run_id, metrics=batch[start : start + _BATCH])


def log_event(kind: str, values: Mapping[str, Any]) -> None:
    """Log the numbers of a router's event (its ``on_event``) as metrics, at the step of its decisions.

    They are named ``kind/…``, or ``kind/provider/…`` where the event is about one provider.
    """
    about = f"{kind}/{values['provider']}" if "provider" in values else kind
    numbers = {f"{about}/{name}": value for name, value in values.items() if isinstance(value, int | float)}
    log_metrics(numbers, step=values["decisions"])


def _name(text: str) -> str:
    """The name of a metric as MLflow takes it: letters, digits and _-. :/, no path with empty or dotted steps.

    >>> _name("quality/a//b?"), _name("quality/..")
    ('quality/a/_/b_', 'quality/_')
    """
    kept = "".join(letter if letter.isalnum() or letter in "_-. :/" else "_" for letter in text)
    return "/".join(step if step.strip(".") else "_" for step in kept.split("/"))[:250].rstrip("/")


def log_arrays(X: NDArray[np.float32], outcomes: Mapping[str, NDArray[np.float64]], source: str, context: str) -> None:
    """Log which features (n, p) and outcomes (n, k) were used: shape, digest and name, not the data itself."""
    import mlflow
    import numpy as np
    from mlflow.data.code_dataset_source import CodeDatasetSource
    from mlflow.data.numpy_dataset import from_numpy

    targets = {name: np.nan_to_num(values, nan=-1.0) for name, values in outcomes.items()}
    data = from_numpy(X, CodeDatasetSource({"source": source}), targets=targets, name=source)
    mlflow.log_input(data, context=context)


def describe(text: str) -> None:
    """Set the run's description, Markdown that the MLflow UI shows on its page."""
    import mlflow

    mlflow.set_tag("mlflow.note.content", text)


def log_files(*paths: str | Path) -> None:
    """Attach figures and reports to the run."""
    import mlflow

    for path in paths:
        mlflow.log_artifact(str(path))
