"""Evaluation: curves of policies, cross-fitted hulls, bootstrap intervals, replay."""

from importlib import import_module
from types import ModuleType

_MODULES = (
    "bootstrap",
    "budget",
    "crossfit",
    "curves",
    "frontier",
    "ope",
    "regret",
    "replay",
    "scenarios",
    "split",
    "stream",
    "two_providers",
)


def __getattr__(name: str) -> ModuleType:
    """Import a module of this folder on first use."""
    if name in _MODULES:
        return import_module(f"routelab.evaluation.{name}")
    raise AttributeError(f"module 'routelab.evaluation' has no attribute {name!r}")
