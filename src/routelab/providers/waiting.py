"""Requests that wait until a provider can be asked again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from routelab.providers.base import FailingError, ProviderError
from routelab.providers.limits import Unavailable

_LEAST_S, _MOST_S = 0.001, 1.0  # between two looks
_OTHERS_FIRST = Unavailable("others wait for it", float("inf"))

Found = Mapping[str, Unavailable | None]


@dataclass(slots=True, eq=False)
class Place:
    """One who waits: for whom, how to find out who can be asked, and the sleep from which to be woken."""

    names: frozenset[str]
    look: Callable[[], Found]
    sleep: asyncio.Future[None] | None = None

    def wake(self) -> None:
        """End the sleep, if any."""
        if self.sleep is not None and not self.sleep.done():
            self.sleep.set_result(None)


class Queue:
    """Those who wait, first come first: nobody takes a provider for which somebody before them waits.

    Who is woken keeps the place until running again, so that a newcomer cannot slip in between.
    """

    def __init__(self) -> None:
        self._waiting: dict[Place, None] = {}

    def __bool__(self) -> bool:
        """Whether anybody waits."""
        return bool(self._waiting)

    def wake(self) -> None:
        """There may be room: wake everyone who can have it by now."""
        claimed: set[str] = set()
        for place in self._waiting:
            if not place.names <= claimed and None in _without(claimed, place.look()).values():
                place.wake()
            claimed |= place.names

    async def wait(
        self, names: Iterable[str], look: Callable[[], Found], timeout_s: float, *, for_failing: bool = False
    ) -> None:
        """Return once one of the providers ``names`` can be asked, as ``look`` tells, and nobody before waits for it.

        Raises:
            FailingError: all are left alone since they kept failing, and it is not to wait ``for_failing`` ones.
            ProviderError: none can be within ``timeout_s`` seconds; says why for each.
        """
        place, end = Place(frozenset(names), look), asyncio.get_running_loop().time() + timeout_s
        self._waiting[place] = None
        try:
            while (pause_s := _pause_s(_without(self._claimed_before(place), look()), end, for_failing)) > 0.0:
                await _sleep(place, pause_s)
        finally:
            del self._waiting[place]
            if place.sleep is not None:
                self.wake()  # there may be room for more than one, or for the next if this one gave up

    def _claimed_before(self, place: Place) -> set[str]:
        """Those of the names of ``place`` for which somebody waits who came earlier."""
        claimed: set[str] = set()
        for other in self._waiting:
            if other is place or place.names <= claimed:
                break
            claimed |= other.names
        return claimed


def _without(claimed: set[str], found: Found) -> Found:
    """What was found, where those ``claimed`` cannot be asked."""
    return {name: _OTHERS_FIRST if why is None and name in claimed else why for name, why in found.items()}


async def _sleep(place: Place, longest_s: float) -> None:
    """Until woken, or ``longest_s`` seconds are over."""
    place.sleep = asyncio.get_running_loop().create_future()
    with suppress(TimeoutError):
        async with asyncio.timeout(longest_s):
            await place.sleep


def _pause_s(found: Found, end: float, for_failing: bool) -> float:
    """Seconds to sleep before the next look; 0 where somebody can be asked now.

    Raises:
        ProviderError: nobody for whom it is worth waiting can be by the time ``end`` of the event loop.
    """
    blocked = {name: why for name, why in found.items() if why is not None}
    if len(blocked) < len(found):
        return 0.0
    left = end - asyncio.get_running_loop().time()
    worth = [why.wait_s for why in blocked.values() if for_failing or not why.failing]
    if left <= 0.0 or all(left < wait_s < float("inf") for wait_s in worth):
        raise _nobody(blocked)
    return max(min(*(why.wait_s for why in blocked.values()), left, _MOST_S), _LEAST_S)


def _nobody(blocked: Mapping[str, Unavailable]) -> ProviderError:
    told = "; ".join(
        f"{name}: {why.reason}" + (f", {why.wait_s:.3g} s left" if why.wait_s < float("inf") else "")
        for name, why in blocked.items()
    )
    return unanswered(f"no provider can be asked: {told or 'there is none left'}", blocked.values())


def unanswered(message: str, reasons: Collection[Unavailable]) -> ProviderError:
    """The error for a request that nobody answers while providers are unavailable for these ``reasons``."""
    soonest = min((why.wait_s for why in reasons), default=float("inf"))
    kind = FailingError if reasons and all(why.failing for why in reasons) else ProviderError
    return kind(message, retry_after_s=soonest if soonest < float("inf") else None)
