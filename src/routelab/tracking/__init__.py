"""MLflow: one store, flat runs, batched metrics, served models. The only room that imports mlflow."""

from routelab.project import project_root
from routelab.tracking.models import log_policy, promote, rollback
from routelab.tracking.runs import (
    flatten,
    git_commit,
    log_arrays,
    log_event,
    log_files,
    log_metrics,
    run,
    runs,
)
from routelab.tracking.store import EXPERIMENT, check_store, use_store

__all__ = [
    "EXPERIMENT",
    "check_store",
    "flatten",
    "git_commit",
    "log_arrays",
    "log_event",
    "log_files",
    "log_metrics",
    "log_policy",
    "project_root",
    "promote",
    "rollback",
    "run",
    "runs",
    "use_store",
]
