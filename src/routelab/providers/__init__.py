"""Providers: the protocol, the pool, simulated providers, and those behind an OpenAI-compatible endpoint."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from routelab.providers.base import (
    Chunk,
    Completion,
    DeadlineError,
    Estimating,
    FailingError,
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
    from routelab.providers.openai_provider import OpenAIProvider as OpenAIProvider
    from routelab.providers.simulated import SimulatedProvider as SimulatedProvider
    from routelab.providers.simulated import simulated_providers as simulated_providers

__all__ = [
    "Chunk",
    "Circuit",
    "Completion",
    "DeadlineError",
    "Estimating",
    "FailingError",
    "Health",
    "Limits",
    "OpenAIProvider",
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


_HOMES = {
    "OpenAIProvider": "openai_provider",
    "SimulatedProvider": "simulated",
    "simulated_providers": "simulated",
}


def __getattr__(name: str) -> Any:
    """Import a provider, and what it needs, when it is first used (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"routelab.providers.{_HOMES[name]}"), name)
