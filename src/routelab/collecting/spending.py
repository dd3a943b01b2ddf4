"""A cap on what is spent: the worst case of whatever is in flight counts until its true cost is known."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from typing import Protocol, runtime_checkable

from routelab.request import LLMRequest


@runtime_checkable
class Bounded(Protocol):
    """A provider that can bound what a request costs."""

    def worst_cost_usd(self, request: LLMRequest) -> float:
        """The most that answering ``request`` can cost, USD."""
        ...


class Spending:
    """What was spent, and what may yet be: together never above the cap, as long as no request passes its worst case.

    Args:
        cap_usd: None: no cap.
        spent_usd: what was spent before.

    >>> async def work() -> tuple[bool, bool, float]:
    ...     spending = Spending(cap_usd=1.0)
    ...     first = await spending.reserve(0.8)
    ...     spending.settle(0.8, cost_usd=0.5)
    ...     return first, await spending.reserve(0.6), spending.spent_usd
    >>> asyncio.run(work())
    (True, False, 0.5)
    """

    def __init__(self, cap_usd: float | None = None, spent_usd: float = 0.0) -> None:
        self.cap_usd = math.inf if cap_usd is None else cap_usd
        self.spent_usd = spent_usd
        self._reserved = Counter[float]()  # summed anew each time: running sums would drift
        self._waiting = set[asyncio.Future[None]]()

    @property
    def reserved_usd(self) -> float:
        """The worst case of what is in flight."""
        return math.fsum(self._reserved.elements())

    async def reserve(self, worst_usd: float) -> bool:
        """Set ``worst_usd`` aside, once what is in flight leaves room for it.

        Returns:
            False where there would be no room even if nothing in flight cost anything.
        """
        while self.spent_usd + worst_usd <= self.cap_usd:
            if self.spent_usd + self.reserved_usd + worst_usd <= self.cap_usd:
                self._reserved[worst_usd] += 1
                return True
            settled = asyncio.get_running_loop().create_future()
            self._waiting.add(settled)
            try:
                await settled
            finally:
                self._waiting.discard(settled)
        return False

    def settle(self, worst_usd: float, cost_usd: float) -> None:
        """Replace what was set aside by what it came to."""
        self._reserved[worst_usd] -= 1
        self.spent_usd += cost_usd
        for settled in self._waiting:
            if not settled.done():
                settled.set_result(None)
