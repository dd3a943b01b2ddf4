"""The providers that a router may choose from, with what is in flight at each and how each has fared."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routelab.errors import RoutelabError
from routelab.providers.base import Completion, Price, Provider, Repriceable
from routelab.request import LLMRequest


@dataclass(slots=True)
class Health:
    """Counters of one provider since it joined the pool."""

    in_flight: int = 0
    successes: int = 0
    failures: int = 0


class ProviderPool:
    """Providers in the order in which they joined; grows and shrinks at run time, and never is empty.

    ``pool[name]`` and ``name in pool`` go by name; iterating gives the providers themselves.

    Args:
        providers: at least one, names distinct.

    Raises:
        RoutelabError: no provider, or a name twice.

    >>> from routelab.providers.simulated import simulated_providers
    >>> pool = ProviderPool(simulated_providers())
    >>> pool.remove("large")
    >>> [provider.name for provider in pool]
    ['nano', 'mini', 'coder', 'frontier']
    """

    def __init__(self, providers: Iterable[Provider]) -> None:
        self._providers: dict[str, Provider] = {}
        self._health: dict[str, Health] = {}
        for provider in providers:
            self.add(provider)
        if not self._providers:
            raise RoutelabError("ProviderPool got no provider; give at least one")

    def __getitem__(self, name: str) -> Provider:
        return self._known(name)[0]

    def __contains__(self, name: object) -> bool:
        return name in self._providers

    def __iter__(self) -> Iterator[Provider]:
        return iter(list(self._providers.values()))

    def __len__(self) -> int:
        return len(self._providers)

    def __repr__(self) -> str:
        return f"ProviderPool({', '.join(self._providers)})"

    @property
    def names(self) -> tuple[str, ...]:
        """Names in the order in which the providers joined."""
        return tuple(self._providers)

    @property
    def prices(self) -> dict[str, Price]:
        """Name → price as of now."""
        return {name: provider.price for name, provider in self._providers.items()}

    @property
    def health(self) -> dict[str, Health]:
        """Name → live counters."""
        return dict(self._health)

    def add(self, provider: Provider) -> None:
        """Let ``provider`` join, as the last in order.

        Raises:
            RoutelabError: its name is taken.
        """
        if provider.name in self._providers:
            raise RoutelabError(f"the pool already has a provider {provider.name!r}; remove it first, or rename one")
        self._providers[provider.name] = provider
        self._health[provider.name] = Health()

    def remove(self, name: str) -> None:
        """Let the provider ``name`` go; what it has in flight still arrives.

        Raises:
            RoutelabError: there is none of that name, or it is the last one.
        """
        self._known(name)
        if len(self._providers) == 1:
            raise RoutelabError(f"{name!r} is the last provider of the pool; add another before removing it")
        del self._providers[name], self._health[name]

    def reprice(self, name: str, price: Price) -> None:
        """Set the price of the provider ``name``.

        Raises:
            RoutelabError: there is none of that name, or it has no ``set_price``.
        """
        provider, _ = self._known(name)
        if not isinstance(provider, Repriceable):
            raise RoutelabError(f"provider {name!r} has no set_price(price); remove it and add one with the new price")
        provider.set_price(price)

    def load(self) -> dict[str, int]:
        """Name → requests in flight."""
        return {name: health.in_flight for name, health in self._health.items()}

    def load_vector(self, names: Sequence[str]) -> NDArray[np.float64]:
        """Requests in flight (len(names),) in the order of ``names``; 0 for a name that is not in the pool."""
        load = self.load()
        return np.array([load.get(name, 0) for name in names], dtype=np.float64)

    async def complete(self, name: str, request: LLMRequest) -> Completion:
        """The completion of ``request`` by the provider ``name``; counts load, successes and failures.

        Raises:
            RoutelabError: there is no provider of that name.
            ProviderError: it did not answer. Whatever a provider raises passes through, counted as a failure.
        """
        provider, health = self._known(name)
        health.in_flight += 1
        try:
            completion = await provider.complete(request)
        except Exception:
            health.failures += 1
            raise
        finally:
            health.in_flight -= 1
        if completion.error is None:
            health.successes += 1
        else:
            health.failures += 1
        return completion

    def _known(self, name: str) -> tuple[Provider, Health]:
        if name not in self._providers:
            raise RoutelabError(f"the pool has no provider {name!r}; it has {', '.join(self._providers)}")
        return self._providers[name], self._health[name]
