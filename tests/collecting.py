"""What the tests of collecting share: prompts, and providers that count what they are asked and what they charge."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from routelab import Completion, LLMRequest, ProviderPool
from routelab.collecting import Collected, Patience, Prompts, collect
from routelab.providers import Price, ProviderError
from routelab.providers.limits import Limits

QUICK = Patience(concurrency=8, attempts=3, backoff_s=0.001)


def prompts(n: int, tasks: bool = False) -> Prompts:
    requests = [LLMRequest(f"Question {i}?", request_id=f"p{i}", reference=str(i)) for i in range(n)]
    return Prompts(requests, ["even" if i % 2 == 0 else "odd" for i in range(n)] if tasks else None)


class Charging:
    """A provider whose answers are always the same, and cost at most ten times what they do: 0.001 USD."""

    price = Price(1.0, 2.0)

    def __init__(self, name: str, fault: Callable[[int], Exception | None] = lambda number: None, cost: float = 0.001):
        self.name, self.fault, self.cost = name, fault, cost
        self.limits = Limits()
        self.asked = Counter[str]()
        self.charged, self.in_flight, self.peak = 0.0, 0, 0
        self.latency_s = 0.001

    def worst_cost_usd(self, request: LLMRequest) -> float:
        return 10.0 * self.cost

    async def complete(self, request: LLMRequest) -> Completion:
        number = self.asked.total()
        self.asked[str(request.request_id)] += 1
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        try:
            await asyncio.sleep(self.latency_s)
            error = self.fault(number)
            if error is not None:
                raise error
            self.charged += self.cost
            share = int(hashlib.sha256((self.name + request.prompt).encode()).hexdigest()[:6], 16) / 16**6
            return Completion(f"It is {request.reference}", self.name, 10, 20, self.cost, self.latency_s, share)
        finally:
            self.in_flight -= 1


def run(folder: Path, asked: Prompts, providers: list[Charging] | ProviderPool, **keywords: object) -> Collected:
    """Collect with the journal of ``folder``."""
    options = {"patience": QUICK, "progress": False, **keywords}
    return asyncio.run(collect(asked, providers, journal=folder / "journal.jsonl", **options))  # type: ignore[arg-type]


def busy(number: int) -> ProviderError:
    return ProviderError("busy (503)")
