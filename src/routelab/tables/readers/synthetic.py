"""The synthetic world as a source: nothing is read, the table is generated."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from routelab.tables.table import PerformanceTable


def read(files: Sequence[Path], **params: Any) -> PerformanceTable:
    """The table of the default world; ``params`` are ``n_requests`` and ``seed`` of ``World.generate``."""
    from routelab.tables.synthetic import World

    return World().generate(**params).table
