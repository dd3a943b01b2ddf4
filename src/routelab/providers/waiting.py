"""Requests that wait until a provider can be asked again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress

from routelab.providers.base import ProviderError
from routelab.providers.limits import Unavailable

_LEAST_S, _MOST_S = 0.001, 1.0  # between two looks


class Queue:
    """Those who wait, first come first: each answer that makes room wakes one of them."""

    def __init__(self) -> None:
        self._waiting: dict[object, asyncio.Future[None]] = {}

    def wake(self) -> None:
        """There may be room for one more: let the first who sleeps look."""
        for sleep in self._waiting.values():
            if not sleep.done():
                sleep.set_result(None)
                return

    async def wait(self, look: Callable[[], Mapping[str, Unavailable | None]], timeout_s: float) -> None:
        """Return once one of those that ``look`` names can be asked.

        Raises:
            ProviderError: none can be within ``timeout_s`` seconds; says why for each.
        """
        place, end = object(), asyncio.get_running_loop().time() + timeout_s
        try:
            while (pause_s := _pause_s(look(), end)) > 0.0:
                await self._sleep(place, pause_s)
        finally:
            if self._waiting.pop(place, None) is not None:
                self.wake()  # there may be room for more than one, or for the next if this one gave up

    async def _sleep(self, place: object, longest_s: float) -> None:
        """Until woken, or ``longest_s`` seconds are over; the place in the row stays."""
        self._waiting[place] = asyncio.get_running_loop().create_future()
        with suppress(TimeoutError):
            async with asyncio.timeout(longest_s):
                await self._waiting[place]


def _pause_s(found: Mapping[str, Unavailable | None], end: float) -> float:
    """Seconds to sleep before the next look; 0 where somebody can be asked now.

    Raises:
        ProviderError: nobody can be by the time ``end`` of the event loop.
    """
    blocked = {name: why for name, why in found.items() if why is not None}
    if len(blocked) < len(found):
        return 0.0
    soonest, left = min((why.wait_s for why in blocked.values()), default=0.0), end - asyncio.get_running_loop().time()
    if not blocked or left <= 0.0 or left < soonest < float("inf"):
        raise _nobody(blocked, soonest)
    return max(min(soonest, left, _MOST_S), _LEAST_S)


def _nobody(blocked: Mapping[str, Unavailable], soonest: float) -> ProviderError:
    told = "; ".join(
        f"{name}: {why.reason}" + (f", {why.wait_s:.3g} s left" if why.wait_s < float("inf") else "")
        for name, why in blocked.items()
    )
    return ProviderError(
        f"no provider can be asked: {told or 'there is none left'}",
        retry_after_s=soonest if blocked and soonest < float("inf") else None,
    )
