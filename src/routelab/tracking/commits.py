"""What git and DVC know of a run: the commit, the params that differ from it, and the experiments."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from routelab.errors import RoutelabError
from routelab.project import working_copy

_EXPERIMENTS = "refs/exps/"


def git(*arguments: str, folder: Path | None = None) -> str | None:
    """What ``git`` prints in ``folder`` (the working folder); None where it fails or is missing."""
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout


def git_commit() -> str:
    """Commit of the working folder, with "-dirty" where sources have changed since; "unknown" outside git."""
    # what the pipeline itself writes does not count, and what changed in params.yaml is told by ``changed_params``
    written = [f":(top,exclude){path}" for path in ("data", "dvc.lock", "params.yaml")]
    changed, head = git("status", "--porcelain", "-uno", "--", ":/", *written), git("rev-parse", "HEAD")
    return "unknown" if head is None else head.strip() + ("-dirty" if changed else "")


def project_params() -> dict[str, Any]:
    """Dotted names and values of ``params.yaml`` as it stands; empty where there is none."""
    try:
        return _flat_params((working_copy() / "params.yaml").read_text(encoding="utf-8"))
    except (RoutelabError, OSError):
        return {}


def committed_params(commit: str, folder: Path) -> dict[str, Any]:
    """The same as committed; empty where git does not know the commit."""
    return _flat_params(git("show", f"{commit}:./params.yaml", folder=folder) or "")


def changed_params() -> dict[str, Any]:
    """What of ``params.yaml`` the commit does not have, as ``dvc exp run -S`` takes it; empty outside git."""
    now = project_params()
    before = committed_params("HEAD", working_copy()) if now else {}
    return {name: value for name, value in now.items() if before and before.get(name, before) != value}


@lru_cache  # many experiments share one file
def _flat_params(text: str) -> dict[str, Any]:
    try:
        return flatten(yaml.safe_load(text) or {})
    except yaml.YAMLError:  # whoever reads it next will say so
        return {}


def experiments(folder: Path) -> dict[str, str]:
    """Name → commit of the DVC experiments of the repository that holds ``folder``, newest first."""
    told = git(
        "for-each-ref", "--sort=-committerdate", "--format=%(refname) %(objectname)", _EXPERIMENTS, folder=folder
    )
    rows = [line.split() for line in (told or "").splitlines()]
    # refs/exps/<2 digits>/<38 digits>/<name>; others (exec, stash, celery) are DVC's own
    return {ref.split("/")[4]: commit for ref, commit in rows if len(ref.split("/")) == 5}


def committed_files(commit: str, under: str, folder: Path) -> list[str]:
    """Paths of the files below ``under`` (both from ``folder``) in a commit."""
    return (git("ls-tree", "-r", "--name-only", commit, f"./{under}", folder=folder) or "").splitlines()


def committed_json(commit: str, path: str, folder: Path) -> Any:
    """The JSON file ``path`` (from ``folder``) of a commit that has it."""
    return json.loads(git("show", f"{commit}:./{path}", folder=folder) or "null")


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
