"""Providers: the protocol, the pool, and simulated providers."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from routelab.providers.base import (
    Chunk,
    Completion,
    DeadlineError,
    Estimating,
    Price,
    Provider,
    ProviderError,
    Repriceable,
    Streaming,
)
from routelab.providers.breaker import Circuit
from routelab.providers.gate import Health
from routelab.providers.limits import Limits, Unavailable
from routelab.providers.pool import ProviderPool

if TYPE_CHECKING:
    from routelab.providers.simulated import SimulatedProvider as SimulatedProvider
    from routelab.providers.simulated import simulated_providers as simulated_providers

__all__ = [
    "Chunk",
    "Circuit",
    "Completion",
    "DeadlineError",
    "Estimating",
    "Health",
    "Limits",
    "Price",
    "Provider",
    "ProviderError",
    "ProviderPool",
    "Repriceable",
    "SimulatedProvider",
    "Streaming",
    "Unavailable",
    "simulated_providers",
]


def __getattr__(name: str) -> Any:
    """Import the simulated providers, and scipy with them, when they are first used (PEP 562)."""
    if name not in ("SimulatedProvider", "simulated_providers"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("routelab.providers.simulated"), name)
