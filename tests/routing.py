"""What the tests of the routers share: requests, providers and a way to have them answered."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from routelab import (
    BanditRouter,
    Completion,
    ForestPolicy,
    LLMRequest,
    MLRouter,
    Objective,
)
from routelab.providers import Circuit, Price, ProviderError, ProviderPool, SimulatedProvider
from routelab.tables.synthetic import SyntheticData, World
from routelab.tables.synthetic_world import DEFAULT_PROVIDERS

TRADE_OFF = Objective(cost_weight=20.0)
EASY = LLMRequest("Hi", estimated_complexity=0.0, requires_reasoning=False)
HARD = LLMRequest("Prove it", estimated_complexity=1.0, requires_reasoning=True, user_tier="premium")


class Answering:
    """A provider that answers with a fixed quality (None: it does not grade itself), or fails in some way."""

    price = Price(1.0, 2.0)

    def __init__(self, name: str, quality: float | None = 0.5, *, fails: str | None = None) -> None:
        self.name, self.quality, self.fails = name, quality, fails

    async def complete(self, request: LLMRequest) -> Completion:
        error = None if self.fails is None else f"{self.name} is down"
        completion = Completion("", self.name, 10, 20, 0.001, 0.2, self.quality, error)
        if self.fails == "times out":
            raise TimeoutError("no answer in 60 s")
        if self.fails == "hangs":
            await asyncio.sleep(60)
        if self.fails == "raises":
            raise ProviderError(str(error), completion)
        return completion


def patient(*providers: Answering) -> ProviderPool:
    """A pool that never leaves a failing provider alone."""
    return ProviderPool(providers, circuit=Circuit(failures=10_000, window=10_000))


def small_forest() -> ForestPolicy:
    return ForestPolicy(n_estimators=20, min_samples_leaf=10)


def requests(n: int, seed: int = 2) -> list[LLMRequest]:
    return World().generate(n, seed=seed).table.requests()


def answer_all(router: MLRouter | BanditRouter, asked: list[LLMRequest]) -> None:
    async def work() -> None:
        for request in asked:
            await router.complete(request)

    asyncio.run(work())


def record(router: MLRouter, data: SyntheticData) -> None:
    """Full information: what every provider makes of every request."""
    assert router.db is not None
    X = router.featurizer.transform(data.table)
    router.db.record_table(data.table, X, feature_set=router.featurizer.feature_set_)


def newcomer(name: str = "newcomer") -> SimulatedProvider:
    return SimulatedProvider(replace(DEFAULT_PROVIDERS[1], name=name))
