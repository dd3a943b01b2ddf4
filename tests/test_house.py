"""The rules of the house that no linter knows."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "routelab"
MODULES = sorted(PACKAGE.rglob("*.py"))
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
# From the cellar to the roof: a room imports from itself and from those before it. Rooms on one line are neighbours
# that must not know each other.
ROOMS = [
    "errors html",
    "arrays request",
    "bundle embedders lexical reduction files project",
    "hull",
    "pareto tables",
    "features",
    "policies",
    "providers drift",
    "redaction",
    "evaluators",
    "db_records",
    "db_schema db_table db_group_commit",
    "db_rows",
    "db_batches db_writing db_experiments",
    "db_reading db_export db_store",
    "performance_db",
    "routers evaluation plots",
    "metrics params_sections served_policy abtest",
    "params_live",
    "params",
    "benchmark cards",
    "ope_cli db_cli recommend_cli",
    "tracking widgets notebook",
    "collecting proxy",
    "collect_cli proxy_cli",
    "stages cli reference",
]
FLOOR = {room: floor for floor, rooms in enumerate(ROOMS) for room in rooms.split()}


def room_of(path: Path) -> str:
    """The module or package right under ``routelab`` that ``path`` belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(tree: ast.AST) -> Iterator[str]:
    """Dotted names of everything imported at run time, wherever it stands; what only types need is left out."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        else:
            yield from imports(node)


def imported(path: Path) -> set[str]:
    return set(imports(ast.parse(path.read_text(encoding="utf-8"))))


def importers(*packages: str) -> set[str]:
    """The files of ``src`` that import one of ``packages``, relative to the package."""
    return {
        path.relative_to(PACKAGE).as_posix()
        for path in MODULES
        if any(name == p or name.startswith(f"{p}.") for name in imported(path) for p in packages)
    }


def test_importing_the_package_imports_nothing_heavy() -> None:
    heavy = "sklearn pandas numpy scipy mlflow matplotlib seaborn onnxruntime onnx pandera sqlalchemy pooch wordllama"
    code = f"import sys, routelab; print([m for m in {heavy.split()} if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_every_public_name_can_be_imported() -> None:
    import routelab

    assert set(routelab.__all__) <= set(dir(routelab))
    for name in dir(routelab):
        assert getattr(routelab, name) is not None


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_a_lower_room_never_imports_a_higher_one(path: Path) -> None:
    room = room_of(path)
    if room == "__init__":
        return
    used = {name.split(".")[1] for name in imported(path) if name.startswith("routelab.")} - {room}
    assert not {other for other in used if FLOOR[other] >= FLOOR[room]}


def test_mlflow_stays_in_tracking_and_drawing_in_plots() -> None:
    assert {name.split("/")[0] for name in importers("mlflow")} == {"tracking", "served_policy.py"}
    assert {name.split("/")[0] for name in importers("seaborn", "matplotlib")} == {"plots"}


def test_only_providers_and_downloads_open_connections() -> None:
    network = importers("pooch", "requests", "urllib.request", "http", "httpx", "aiohttp", "socket", "openai")
    listening = {"tracking/ui.py"}  # takes its port before it imports for seconds
    assert {name for name in network if not name.startswith("providers/")} == {"tables/sources.py"} | listening


def test_nothing_pickles() -> None:
    assert importers("pickle", "joblib", "cloudpickle", "dill", "skops", "shelve", "marshal") == set()
    assert not [path for path in MODULES if "allow_pickle=True" in path.read_text(encoding="utf-8")]


def test_a_file_of_the_package_is_one_idea_of_at_most_250_lines() -> None:
    lengths = {
        path.relative_to(PACKAGE).as_posix(): len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES
    }
    assert {name: length for name, length in lengths.items() if length > 250} == {}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_is_short_and_committed_without_outputs(path: Path) -> None:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    assert len(cells) < 26
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert not [cell for cell in code if cell["outputs"] or cell["execution_count"] is not None]
    functions = [
        node
        for cell in code
        for node in ast.walk(ast.parse("".join(line for line in cell["source"] if not line.startswith(("%", "!")))))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    ]
    assert not [node.name for node in functions if node.end_lineno - node.lineno >= 3]
