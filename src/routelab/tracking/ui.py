"""The MLflow UI on the project's store, as one process."""

from __future__ import annotations

import os
import socket
import warnings
from contextlib import suppress
from pathlib import Path

from routelab.errors import RoutelabError
from routelab.tracking.store import artifact_folder, experiment_id, store_errors, store_uri, use_store
from routelab.tracking.views import START, UI_ADDRESS


def serve_ui(host: str, port: int) -> None:
    """Serve the MLflow UI on the project's runs until it is interrupted; says where once it is up.

    ``mlflow ui`` starts two processes at least and imports MLflow in each; this is one, ready in half the time.

    Raises:
        RoutelabError: no runs are there yet, the port cannot be had, or the store cannot be used.
    """
    uri = store_uri()
    database = Path(uri.removeprefix("sqlite:///"))
    if uri.startswith("sqlite:///") and not database.is_file():
        raise RoutelabError(f"there are no runs yet ({database} is missing); run `dvc repro` first")
    with _bound(host, port) as listening:
        _serve(uri, listening, host)


def _bound(host: str, port: int) -> socket.socket:
    """A socket on ``host`` and ``port``, taken before the long imports."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
    except (OSError, OverflowError) as error:
        told = error.strerror if isinstance(error, OSError) else error
        raise RoutelabError(f"{host}:{port} cannot be listened on ({told}); give another with --port") from None
    return listening


def _serve(uri: str, listening: socket.socket, host: str) -> None:
    os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"  # its workers are not needed to look at runs
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    import uvicorn  # first: mlflow.server protects itself (hosts, origins) only where it sees a server

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's own
        from mlflow import MlflowClient
        from mlflow.server import constants
        from mlflow.server.fastapi_app import app
        from mlflow.telemetry.utils import is_telemetry_disabled

    os.environ[constants.BACKEND_STORE_URI_ENV_VAR] = uri
    os.environ[constants.ARTIFACT_ROOT_ENV_VAR] = artifact_folder(uri) or "mlflow-artifacts:/"
    os.environ[constants.SERVE_ARTIFACTS_ENV_VAR] = "true"
    name = f"[{host}]" if ":" in host else host
    address = f"http://{name}:{listening.getsockname()[1]}"
    use_store()
    store = MlflowClient()
    with store_errors():
        experiment = experiment_id()
    with suppress(RoutelabError), store_errors():  # for the links of ``tracking.runs``; a store may be read-only
        store.set_experiment_tag(experiment, UI_ADDRESS, address)
    print(f"MLflow UI: {address}/#/experiments/{experiment}/runs?viewStateShareKey={START}", flush=True)
    print("Other views are in the menu at the top right; Ctrl-C stops.", flush=True)
    if is_telemetry_disabled():
        print("MLflow sends no usage data from here, though its start page says that it does.", flush=True)
    config = uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1)
    try:
        uvicorn.Server(config).run(sockets=[listening])
    except KeyboardInterrupt:
        print("\nstopped")
    finally:
        with suppress(RoutelabError), store_errors():
            store.delete_experiment_tag(experiment, UI_ADDRESS)
