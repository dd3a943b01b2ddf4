"""MLflow: one store, flat runs, batched metrics, served models. The only room that imports mlflow."""

from routelab.project import project_root
from routelab.tracking.attach import attach
from routelab.tracking.commits import flatten, git_commit
from routelab.tracking.compare import compare, log_outcomes, named_scores
from routelab.tracking.models import log_policy, promote, rollback
from routelab.tracking.origin import Origin, origin
from routelab.tracking.runs import describe, log_arrays, log_event, log_files, log_metrics, run
from routelab.tracking.store import EXPERIMENT, check_store, use_store
from routelab.tracking.table import runs

__all__ = [
    "EXPERIMENT",
    "Origin",
    "attach",
    "check_store",
    "compare",
    "describe",
    "flatten",
    "git_commit",
    "log_arrays",
    "log_event",
    "log_files",
    "log_metrics",
    "log_outcomes",
    "log_policy",
    "named_scores",
    "origin",
    "project_root",
    "promote",
    "rollback",
    "run",
    "runs",
    "use_store",
]
