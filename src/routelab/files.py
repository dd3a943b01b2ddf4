"""Files of arrays and reports, written whole or not at all: the same content gives the same bytes."""

from __future__ import annotations

import io
import json
import math
import os
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from routelab.arrays import pack
from routelab.errors import RoutelabError


def written(path: Path) -> Path:
    """``path``, where a stage has written it.

    Raises:
        RoutelabError: it is missing.
    """
    if not path.exists():
        raise RoutelabError(f"{path} is missing; run `dvc repro` at the root of the project, which writes it")
    return path


def check_writable(path: Path) -> None:
    """Put a file beside ``path`` and remove it, as a report will be written there first.

    Raises:
        RoutelabError: ``path`` is no file, or its folder is missing or takes no file.
    """
    try:
        if path.exists() and not path.is_file():
            raise FileExistsError("it is no file")
        with TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise RoutelabError(
            f"{path} cannot be written there ({error.strerror or error}); make its folder, or give --json another path"
        ) from None


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = path.with_name(f".{path.name}.part")
    staging.write_bytes(content)
    os.replace(staging, path)


def write_arrays(path: Path, **arrays: NDArray[Any]) -> None:
    """Write named arrays as ``.npz`` without pickle; the same arrays give the same bytes."""
    write_bytes(path, pack(arrays, compressed=True))


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays that ``write_arrays`` wrote, by name.

    Raises:
        RoutelabError: the file is missing or damaged.
    """
    content = io.BytesIO(written(path).read_bytes())
    try:
        with np.load(content, allow_pickle=False) as held:
            return dict(held)
    except (ValueError, EOFError, BadZipFile, zlib.error) as error:
        raise RoutelabError(f"{path} is damaged ({error}); remove it and run `dvc repro`") from None


def rounded(value: Any) -> Any:
    """Numbers of a report with 9 significant digits, so that the last bits of a sum do not show."""
    if isinstance(value, Mapping):
        return {str(name): rounded(item) for name, item in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [rounded(item) for item in value]
    if isinstance(value, (float, np.floating)):
        return float(f"{value:.9g}") if math.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value


def write_json(path: Path, report: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> None:
    """Write a report as JSON with 9 significant digits."""
    write_bytes(path, (json.dumps(rounded(report), indent=1, ensure_ascii=False) + "\n").encode())
