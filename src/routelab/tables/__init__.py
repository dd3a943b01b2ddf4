"""Tables of prompts × providers: what each provider answered, cost and took."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from routelab.tables.registry import SOURCES as SOURCES
    from routelab.tables.sources import load_source as load_source
    from routelab.tables.table import PerformanceTable as PerformanceTable

__all__ = ["SOURCES", "PerformanceTable", "load_source"]

_HOMES = {"PerformanceTable": "table", "SOURCES": "registry", "load_source": "sources"}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
