"""What routing adds to a provider's own time, at 200 requests a second: ``pytest -s`` prints it, half a minute."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from time import perf_counter

import numpy as np

from routelab import LLMRequest, OnlineMLRouter, PerformanceDB, simulated_providers
from routelab.policies import EpsilonGreedyPolicy, Policy
from routelab.providers import Completion, ProviderPool, SimulatedProvider
from routing import requests

RATE, SECONDS = 200, 30


class Timed:
    """A provider that notes how long its own part takes, by the request's id."""

    def __init__(self, provider: SimulatedProvider, spent: dict[str, float]) -> None:
        self.provider, self.spent = provider, spent

    @property
    def name(self) -> str:
        return self.provider.name

    @property
    def price(self) -> object:
        return self.provider.price

    async def complete(self, request: LLMRequest) -> Completion:
        start = perf_counter()
        try:
            return await self.provider.complete(request)
        finally:
            assert request.request_id is not None
            self.spent[request.request_id] = self.spent.get(request.request_id, 0.0) + perf_counter() - start


async def overheads(router: OnlineMLRouter, asked: list[LLMRequest], spent: dict[str, float]) -> np.ndarray:
    """Seconds (n,) from the call of ``route_and_learn`` to its return less those within providers; open loop."""
    loop, added = asyncio.get_running_loop(), np.zeros(len(asked))

    async def one(number: int, request: LLMRequest) -> None:
        start = perf_counter()
        await router.route_and_learn(request)
        added[number] = perf_counter() - start - spent[str(request.request_id)]

    begun, tasks = loop.time(), []
    for number, request in enumerate(asked):
        await asyncio.sleep(begun + number / RATE - loop.time())
        tasks.append(asyncio.create_task(one(number, request)))
    await asyncio.gather(*tasks)
    return added


def test_overhead_of_route_and_learn_at_200_requests_a_second(tmp_path: Path) -> None:
    spent: dict[str, float] = {}
    policies: dict[str, Policy] = {"bandit": EpsilonGreedyPolicy(0.1)}
    world = requests(500)
    prompts = [LLMRequest(world[number % 500].prompt, request_id=str(number)) for number in range(RATE * SECONDS)]
    for label, policy in policies.items():
        pool = ProviderPool([Timed(one, spent) for one in simulated_providers(latency_scale=0.01)])  # type: ignore[misc]
        with PerformanceDB(f"sqlite:///{tmp_path / label}.db") as db:
            router = OnlineMLRouter(pool, policy, db=db, retrain_after=None)
            asyncio.run(overheads(router, [LLMRequest("Warm up", request_id=f"w{i}") for i in range(100)], spent))
            added = 1e3 * asyncio.run(overheads(router, prompts, spent))
            assert db.count()[0] >= len(prompts)
        told = {f"p{share}": round(float(np.percentile(added, share)), 3) for share in (50, 90, 99, 100)}
        print(json.dumps({"policy": label, "requests": len(prompts), "overhead in ms": told}))
