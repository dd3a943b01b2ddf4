"""Files of a run that has ended."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from routelab.tracking.origin import held_run
from routelab.tracking.store import store_errors


def attach(run: str | Mapping[str, Any], *paths: str | Path) -> None:
    """Attach files to a run that has ended, in place of those that had the same names.

    Args:
        run: its id, or a row of ``runs()``.
        paths: of the files.

    Raises:
        RoutelabError: there is no such run, or the store cannot be used.
    """
    import mlflow

    run_id = held_run(run).info.run_id
    with store_errors():
        for path in paths:
            mlflow.MlflowClient().log_artifact(run_id, str(path))
