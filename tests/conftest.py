from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline import Pipeline, run_pipeline
from postgres import MISSING, empty_schema, postgres_server
from routelab import PerformanceDB
from routelab.tables.sources import MIRROR

STORE = os.environ.get("MLFLOW_TRACKING_URI")
SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(autouse=True, scope="module")
def own_store() -> Iterator[None]:
    """MLflow exports the store that a test chose: kernels that are started later must not take it for the user's."""
    yield
    if STORE is None:
        os.environ.pop("MLFLOW_TRACKING_URI", None)
    else:
        os.environ["MLFLOW_TRACKING_URI"] = STORE


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The mirror of public files: the one that is set, else the one beside the repository."""
    folder = Path(os.environ.get(MIRROR) or SHARED / "mirror")
    if not folder.is_dir():
        pytest.skip(f"no mirror of the public files: set {MIRROR}, or put one at {SHARED / 'mirror'}")
    monkeypatch.setenv(MIRROR, str(folder))
    return folder


@pytest.fixture
def db() -> Iterator[PerformanceDB]:
    """An empty log in memory."""
    with PerformanceDB("sqlite://") as database:
        yield database


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """URL of a PostgreSQL server of our own; whoever needs it is skipped where it is not installed."""
    if MISSING is not None:
        pytest.skip(MISSING)
    with postgres_server() as url:
        yield url


@pytest.fixture
def postgres_url(postgres: str, request: pytest.FixtureRequest) -> str:
    """URL of an empty schema of that server."""
    return empty_schema(postgres, f"test{zlib.crc32(request.node.nodeid.encode())}")


@pytest.fixture(scope="session")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """A small project whose pipeline ran in real processes; its files are read only, its store takes further runs."""
    return run_pipeline(tmp_path_factory.mktemp("pipeline"))
