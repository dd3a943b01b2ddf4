"""What a notebook shows of an exception whose remedy is known: a line or two instead of the traceback."""

from __future__ import annotations

import re
from asyncio import CancelledError
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path
from types import TracebackType
from typing import Any

from routelab.errors import RoutelabError
from routelab.project import working_copy

_HOOK = "_render_traceback_"  # of an exception: what IPython shows of it
_LINES, _WIDTH = 4, 600
_DISTRIBUTIONS = {"sklearn": "scikit_learn", "yaml": "pyyaml"}  # which are not named like what they bring


def show_failure(
    shell: Any, kind: type[BaseException], error: BaseException, trace: TracebackType, tb_offset: int | None = None
) -> None:
    """Show ``error`` in short where its remedy is known, else as IPython does; a handler for ``set_custom_exc``."""
    message = remedy(error)
    if message is None:
        shell.showtraceback((kind, error, trace), tb_offset=tb_offset, running_compiled_code=True)
        return
    lines = [line[:_WIDTH] for line in f"{kind.__name__}: {message}".splitlines()[:_LINES]]
    vars(error)[_HOOK] = lambda: [*lines, "(%tb shows where)"]
    shell.showtraceback((kind, error, trace))
    vars(error)[_HOOK] = lambda: shell.InteractiveTB.structured_traceback(kind, error, trace)  # for %tb


def remedy(error: BaseException) -> str | None:
    """What went wrong and what to do about it; None where that is not known.

    >>> remedy(ModuleNotFoundError("No module named 'openai'", name="openai"))
    "openai is not installed: run `pip install 'routelab[live]'` in a terminal"
    >>> remedy(ZeroDivisionError())
    """
    if isinstance(error, (KeyboardInterrupt, CancelledError)):
        return "the cell was interrupted"
    if isinstance(error, RoutelabError):
        return str(error)
    if isinstance(error, ModuleNotFoundError):
        package = (error.name or "").partition(".")[0]
        wanted = _provided_by(package)
        return None if wanted is None else f"{package} is not installed: run `pip install {wanted}` in a terminal"
    if isinstance(error, FileNotFoundError):
        return _unwritten(error.filename)
    if type(error).__module__.partition(".")[0] == "mlflow":
        return _mlflow(str(error))
    return None


def _provided_by(package: str) -> str | None:
    """What to install for ``package``: routelab, with the extra that brings it; None where that is another's."""
    try:
        needed = requires("routelab") or []
    except PackageNotFoundError:
        return None
    wanted = _DISTRIBUTIONS.get(package, package).lower()
    for line in needed:
        if re.split(r"[^\w.-]", line)[0].replace("-", "_").lower() == wanted:
            extra = re.search(r"""extra == ['"](\w+)['"]""", line)
            return "routelab" if extra is None else f"'routelab[{extra[1]}]'"
    return None


def _unwritten(name: object) -> str | None:
    """Which command writes the file ``name`` under ``data`` of the project; None where it is none of those."""
    try:
        root = working_copy()
    except RoutelabError:
        return None
    for path in (Path.cwd() / str(name), root / str(name)):
        if path.resolve().is_relative_to(root / "data"):
            told = path.resolve().relative_to(root)
            if path.exists():
                return f"{told} is in {root}, not in {Path.cwd()}: read it with routelab.project.project_path"
            return f"{told} is missing: run `dvc repro` in a terminal at {root}"
    return None


def _mlflow(message: str) -> str:
    """The first line of what MLflow says, without passwords; and, where no server answers, what to do."""
    first = re.sub(r"//[^/@ ]*@", "//", message.strip().partition("\n")[0])
    server = re.match(r"API request to (\w+://[^/ ]+)", first)
    if server is None:
        return first
    return (
        f"no answer from the MLflow store {server[1]}: start it, or unset MLFLOW_TRACKING_URI (mlflow.db is used then)"
    )
