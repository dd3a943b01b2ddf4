"""The one store of the project: where it is, how it is opened, and what its errors say."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from routelab.errors import RoutelabError
from routelab.project import project_root
from routelab.tracking.views import experiment_tags

EXPERIMENT = "routelab"
_DATABASE = "mlflow.db"
_chosen_uris = [""]


def store_uri(start: str | Path | None = None) -> str:
    """``MLFLOW_TRACKING_URI`` where it is set, otherwise that of ``mlflow.db`` at the project's root."""
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if not uri or uri == _chosen_uris[-1]:
        uri = f"sqlite:///{project_root(start) / _DATABASE}"
        _chosen_uris.append(uri)  # set_tracking_uri exports it, and it must not pass for the user's own choice later
    return uri


def use_store(start: str | Path | None = None) -> str:
    """Point MLflow to the project's one store, from wherever Python runs; returns its URI.

    ``MLFLOW_TRACKING_URI`` wins where it is set; otherwise it is ``mlflow.db`` at the project's root.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")  # a stopped server is told of at once
    import mlflow

    logging.getLogger("mlflow").setLevel(logging.WARNING)
    uri = store_uri(start)
    mlflow.set_tracking_uri(uri)
    return uri


def experiment_id() -> str:
    """The project's one experiment, made where it is missing, and told how to show its runs."""
    import mlflow

    found = mlflow.get_experiment_by_name(EXPERIMENT)
    if found is None:
        # without an absolute folder, artifacts would land in whatever folder Python was started from
        location = artifact_folder(mlflow.get_tracking_uri())
        return str(mlflow.create_experiment(EXPERIMENT, artifact_location=location, tags=experiment_tags()))
    for name, value in experiment_tags().items():
        if found.tags.get(name) != value:
            mlflow.MlflowClient().set_experiment_tag(found.experiment_id, name, value)
    return str(found.experiment_id)


def artifact_folder(uri: str) -> str | None:
    """URI of the folder for artifacts beside the project's own database; None for any other store."""
    database = Path(uri.removeprefix("sqlite:///"))
    return (database.parent / "mlartifacts").as_uri() if database.name == _DATABASE else None


@contextmanager
def store_errors() -> Iterator[None]:
    """What MLflow raises, as one ``RoutelabError`` that names the store, without passwords in its URI."""
    import mlflow
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (mlflow.exceptions.MlflowException, SQLAlchemyError) as error:
        first = str(error).splitlines()[0]
        cause = re.search(r"Caused by \w+\([\"']?(?:\w+\(host=.*?\): )?(.+?)[\"']?\)\)$", first)  # of urllib3's chain
        told = f"MLflow store {mlflow.get_tracking_uri()}: {cause[1] if cause else first}"
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
    with store_errors():
        experiment_id()
