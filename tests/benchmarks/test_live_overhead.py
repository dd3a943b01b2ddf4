"""What routing adds to a provider's own time, at 200 requests a second: ``pytest -s`` prints it, three minutes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import perf_counter, process_time, thread_time

import numpy as np

from routelab import LLMRequest, OnlineMLRouter, PerformanceDB, RequestFeaturizer, simulated_providers
from routelab.policies import EpsilonGreedyPolicy, ForestPolicy, LinTSPolicy, LinUCBPolicy, Policy, ThompsonPolicy
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


async def open_loop(asked: list[LLMRequest], ask: Callable[[LLMRequest], Awaitable[object]]) -> np.ndarray:
    """Seconds (n,) that ``ask`` takes for each request, which come at a fixed rate whatever becomes of the others."""
    loop, taken = asyncio.get_running_loop(), np.zeros(len(asked))

    async def one(number: int, request: LLMRequest) -> None:
        start = perf_counter()
        await ask(request)
        taken[number] = perf_counter() - start

    begun, tasks = loop.time(), []
    for number, request in enumerate(asked):
        await asyncio.sleep(begun + number / RATE - loop.time())
        tasks.append(asyncio.create_task(one(number, request)))
    await asyncio.gather(*tasks)
    return taken


def told(seconds: np.ndarray) -> dict[str, float]:
    return {f"p{share}": round(1e3 * float(np.percentile(seconds, share)), 3) for share in (50, 90, 99, 100)}


def policies() -> dict[str, Policy]:
    world = requests(500)
    featurizer = RequestFeaturizer(providers=[one.name for one in simulated_providers()]).fit(world[:1])
    rng = np.random.default_rng(0)
    quality, cost = rng.random((500, 5)), np.tile([1e-4, 2e-4, 1e-3, 2e-3, 1e-2], (500, 1))
    names = tuple(one.name for one in simulated_providers())
    forest = ForestPolicy(n_jobs=1).fit(featurizer.transform(world), quality, cost, providers=names)
    return {
        "thompson": ThompsonPolicy(),
        "epsilon-greedy thompson": EpsilonGreedyPolicy(0.1),
        "linucb": LinUCBPolicy(),
        "lints": LinTSPolicy(),
        "epsilon-greedy forest": EpsilonGreedyPolicy(0.1, forest),
    }


def test_overhead_of_route_and_learn_at_200_requests_a_second(tmp_path: Path) -> None:
    """Overhead: time in ``route_and_learn`` less that of the same request within its providers."""
    spent: dict[str, float] = {}
    world = requests(500)
    prompts = [LLMRequest(world[number % 500].prompt, request_id=str(number)) for number in range(RATE * SECONDS)]
    for label, policy in policies().items():
        pool = ProviderPool([Timed(one, spent) for one in simulated_providers(latency_scale=0.01)])  # type: ignore[misc]
        with PerformanceDB(f"sqlite:///{tmp_path / label}.db") as db:
            router = OnlineMLRouter(pool, policy, db=db, retrain_after=None)
            warm = [LLMRequest("Warm up", request_id=f"w{i}") for i in range(100)]
            asyncio.run(open_loop(warm, router.route_and_learn))
            cpu, before = process_time(), thread_time()
            taken = asyncio.run(open_loop(prompts, router.route_and_learn))
            cpu, own = process_time() - cpu, thread_time() - before
            assert db.count()[0] >= len(prompts)
        added = taken - [spent.pop(str(request.request_id)) for request in prompts]
        micro = {"all threads": round(1e6 * cpu / len(prompts)), "event loop": round(1e6 * own / len(prompts))}
        print(
            json.dumps({"policy": label, "requests": len(prompts), "overhead in ms": told(added), "CPU in us": micro})
        )
