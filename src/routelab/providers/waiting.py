"""Requests that wait until a provider can be asked again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from routelab.providers.base import ProviderError
from routelab.providers.limits import Unavailable

_LEAST_S, _MOST_S = 0.001, 1.0  # between two looks; whoever was passed over looks for himself


class Queue:
    """Those who wait, first come first: each answer that makes room wakes one of them."""

    def __init__(self) -> None:
        self._waiting: dict[asyncio.Future[None], None] = {}

    def wake(self) -> None:
        """There may be room for one more."""
        while self._waiting:
            first = next(iter(self._waiting))
            del self._waiting[first]
            if not first.done():
                first.set_result(None)
                return

    async def wait(self, look: Callable[[], Mapping[str, Unavailable | None]], timeout_s: float) -> None:
        """Return once one of those that ``look`` names can be asked.

        Raises:
            ProviderError: none can be within ``timeout_s`` seconds; says why for each.
        """
        loop = asyncio.get_running_loop()
        end, waited = loop.time() + timeout_s, False
        while True:
            found = look()
            blocked = {name: why for name, why in found.items() if why is not None}
            if len(blocked) < len(found):
                break
            soonest, left = min((why.wait_s for why in blocked.values()), default=0.0), end - loop.time()
            if not blocked or left <= 0.0 or left < soonest < float("inf"):
                raise _nobody(blocked, soonest)
            await self._sleep(max(min(soonest, left, _MOST_S), _LEAST_S))
            waited = True
        if waited:
            self.wake()  # where there is room for more than one, the next may look as well

    async def _sleep(self, longest_s: float) -> None:
        """Until woken, or ``longest_s`` seconds are over."""
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[woken] = None
        try:
            async with asyncio.timeout(longest_s):
                await woken
        except TimeoutError:
            pass
        except asyncio.CancelledError:
            if woken.done() and not woken.cancelled():
                self.wake()
            raise
        finally:
            self._waiting.pop(woken, None)


def _nobody(blocked: Mapping[str, Unavailable], soonest: float) -> ProviderError:
    told = "; ".join(
        f"{name}: {why.reason}" + (f", {why.wait_s:.3g} s left" if why.wait_s < float("inf") else "")
        for name, why in blocked.items()
    )
    return ProviderError(
        f"no provider can be asked: {told or 'there is none left'}",
        retry_after_s=soonest if blocked and soonest < float("inf") else None,
    )
