"""Where the project is, from whatever folder of it Python was started in."""

from __future__ import annotations

from pathlib import Path

from routelab.errors import RoutelabError


def working_copy(start: str | Path | None = None) -> Path:
    """The folder of ``dvc.yaml`` at or above ``start``, be it the project or an experiment's copy of it.

    Raises:
        RoutelabError: no such folder.
    """
    here = Path(start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / "dvc.yaml").is_file():
            return folder
    raise RoutelabError(f"{here} is in no routelab project (no dvc.yaml above it); change into one")


def project_root(start: str | Path | None = None) -> Path:
    """The folder of ``dvc.yaml`` at or above ``start``; for a DVC experiment's temporary copy, that of its origin.

    Raises:
        RoutelabError: no such folder.
    """
    folder = working_copy(start)
    parts = folder.parts
    if ".dvc" in parts:  # <root>/.dvc/tmp/exps/…: queued experiments run in a copy inside the project
        return Path(*parts[: parts.index(".dvc")])
    return folder


def project_path(*parts: str) -> Path:
    """A file or folder of the project, such as ``project_path("data", "reports")``, from any folder of the project.

    Raises:
        RoutelabError: it is missing, or Python runs outside the project.
    """
    root = working_copy()
    path = root.joinpath(*parts)
    if not path.exists():
        raise RoutelabError(f"{path.relative_to(root)} is missing: run `dvc repro` in a terminal at {root}")
    return path
