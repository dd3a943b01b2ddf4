"""MLflow: one store, flat runs, batched metrics. The only module that imports mlflow (beside ``served_policy``)."""

from __future__ import annotations

import logging
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from routelab.errors import RoutelabError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

EXPERIMENT = "routelab"
_DATABASE = "mlflow.db"
_chosen_uris = [""]
# what serving a policy imports beside MLflow, which adds itself
_SERVING = ("numpy", "onnxruntime", "pandas", "pyarrow", "scikit-learn", "wordllama")
_BATCH = 1000  # MLflow's limit of metrics in one call


def project_root(start: str | Path | None = None) -> Path:
    """The folder of ``dvc.yaml`` at or above ``start``; for a DVC experiment's temporary copy, that of its origin.

    Raises:
        RoutelabError: no such folder.
    """
    here = Path(start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / "dvc.yaml").is_file():
            parts = folder.parts
            if ".dvc" in parts:  # <root>/.dvc/tmp/exps/…: queued experiments run in a copy inside the project
                return Path(*parts[: parts.index(".dvc")])
            return folder
    raise RoutelabError(f"{here} is in no routelab project (no dvc.yaml above it); change into one")


def use_store(start: str | Path | None = None) -> str:
    """Point MLflow to the project's one store, from wherever Python runs; returns its URI.

    ``MLFLOW_TRACKING_URI`` wins where it is set; otherwise it is ``mlflow.db`` at the project's root.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    import mlflow

    logging.getLogger("mlflow").setLevel(logging.WARNING)
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if not uri or uri == _chosen_uris[-1]:
        uri = f"sqlite:///{project_root(start) / _DATABASE}"
        _chosen_uris.append(uri)  # set_tracking_uri exports it, and it must not pass for the user's own choice later
    mlflow.set_tracking_uri(uri)
    return uri


def _experiment_id() -> str:
    import mlflow

    found = mlflow.get_experiment_by_name(EXPERIMENT)
    if found is not None:
        return str(found.experiment_id)
    # without an absolute folder, artifacts would land in whatever folder Python was started from
    database = Path(mlflow.get_tracking_uri().removeprefix("sqlite:///"))
    location = (database.parent / "mlartifacts").as_uri() if database.name == _DATABASE else None
    # the UI opens an experiment of this kind on its runs, not on a page for chat traces
    tags = {"mlflow.experimentKind": "custom_model_development"}
    return str(mlflow.create_experiment(EXPERIMENT, artifact_location=location, tags=tags))


@contextmanager
def _store_errors() -> Iterator[None]:
    """What MLflow raises, as one ``RoutelabError`` that names the store, without passwords in its URI."""
    import mlflow
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (mlflow.exceptions.MlflowException, SQLAlchemyError) as error:
        told = f"MLflow store {mlflow.get_tracking_uri()}: {str(error).splitlines()[0]}"
        raise RoutelabError(
            f"{re.sub(r'//[^/@ ]*@', '//', told)}; see that it is up and can be written, "
            "or set MLFLOW_TRACKING_URI to another (unset: mlflow.db of the project)"
        ) from error


def check_store() -> None:
    """Open the store, so that a stage fails before it has written anything.

    Raises:
        RoutelabError: the store cannot be reached or used.
    """
    use_store()
    with _store_errors():
        _experiment_id()


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout.strip()


def git_commit() -> str:
    """Commit of the working folder, with "-dirty" where sources have changed since; "unknown" outside git."""
    try:
        # what the pipeline itself writes does not count
        changed = _git("status", "--porcelain", "-uno", "--", ":/", ":(top,exclude)data", ":(top,exclude)dvc.lock")
        return _git("rev-parse", "HEAD") + ("-dirty" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as dotted names.

    >>> flatten({"forest": {"seed": 0}})
    {'forest.seed': 0}
    """
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


@contextmanager
def run(stage: str, source: str, policy: str, seed: int, params: Mapping[str, Any]) -> Iterator[str]:
    """A flat run named ``source · policy · stage``, tagged with stage, source, policy, seed, commit and experiment.

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
        "dvc_experiment": os.environ.get("DVC_EXP_NAME", "workspace"),
    }
    name = f"{source} · {policy} · {stage}"
    with _store_errors(), mlflow.start_run(experiment_id=_experiment_id(), run_name=name, tags=tags) as active:
        mlflow.log_params(flatten(params))
        yield str(active.info.run_id)


def log_metrics(metrics: Mapping[str, float], steps: Mapping[str, Any] | None = None, step: int = 0) -> None:
    """Log single ``metrics`` at ``step``, and ``steps`` (name -> one value per step), in one batch."""
    import time

    import mlflow
    from mlflow.entities import Metric

    now, steps = int(time.time() * 1000), steps or {}
    batch = [Metric(_name(name), float(value), now, step) for name, value in metrics.items()]
    batch += [Metric(_name(name), float(v), now, at) for name, values in steps.items() for at, v in enumerate(values)]
    active = mlflow.active_run()
    assert active is not None, "log_metrics works inside `with run(...)`"
    for start in range(0, len(batch), _BATCH):
        mlflow.MlflowClient().log_batch(active.info.run_id, metrics=batch[start : start + _BATCH])


def log_event(kind: str, values: Mapping[str, Any]) -> None:
    """Log the numbers of a router's event as metrics ``kind/…`` or ``kind/provider/…`` at the step of its decisions."""
    about = f"{kind}/{values['provider']}" if "provider" in values else kind
    numbers = {f"{about}/{key}": value for key, value in values.items() if isinstance(value, int | float)}
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


def log_files(*paths: str | Path) -> None:
    """Attach figures and reports to the run."""
    import mlflow

    for path in paths:
        mlflow.log_artifact(str(path))


def log_policy(policy: str | Path, featurizer: str | Path, example: pd.DataFrame) -> str:
    """Log a saved policy with its featurizer as a pyfunc model (models from code, no pickle); returns its URI.

    Args:
        policy: folder that ``Policy.save`` wrote.
        featurizer: folder that ``RequestFeaturizer.save`` wrote.
        example: requests as rows (column ``prompt`` and what else of the request is known), for the signature.
    """
    import mlflow

    from routelab import served_policy
    from routelab.features import RequestFeaturizer
    from routelab.policies import load_policy

    loaded = load_policy(policy)
    objective = served_policy.own_objective(loaded)
    answer = served_policy.answer(loaded, RequestFeaturizer.load(featurizer), example, objective)
    logged = mlflow.pyfunc.log_model(
        name="policy",
        python_model=served_policy.__file__,
        artifacts={"policy": str(policy), "featurizer": str(featurizer)},
        signature=mlflow.models.infer_signature(example, answer, params={"cost_weight": objective.cost_weight}),
        input_example=example,
        # the package is on no index: the model carries its source
        code_paths=[str(Path(__file__).parent)],
        pip_requirements=[f"{name}=={version(name)}" for name in _SERVING],
    )
    return str(logged.model_uri)


def runs() -> pd.DataFrame:
    """All runs of the project as a DataFrame: ``params.…``, ``metrics.…``, ``tags.…``."""
    import mlflow

    use_store()
    found: pd.DataFrame = mlflow.search_runs(search_all_experiments=True)
    return found
