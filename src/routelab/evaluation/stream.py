"""A stream of requests: what every provider would have answered at every step, and what happens on the way."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from routelab.arrays import Floats, take_rows
from routelab.errors import RoutelabError
from routelab.policies.base import Features

NEVER = -1


class Event(NamedTuple):
    """What becomes of a provider before the choice of ``step``.

    Args:
        step: of the stream.
        action: "add" (``number`` is its list price, the cost in USD to expect), "remove", or "reprice" (``number`` is
            the factor of its price, > 0).
        provider: its name.
        number: see ``action``; 0 where it has no meaning.
    """

    step: int
    action: Literal["add", "remove", "reprice"]
    provider: str
    number: float = 0.0


class Phase(NamedTuple):
    """Scored steps that are reported together: from ``start`` up to ``stop``, counted from the first scored one."""

    name: str
    start: int
    stop: int


@dataclass(frozen=True, slots=True, eq=False)
class Stream:
    """n requests in their order, k providers.

    Args:
        X: (n, p) features.
        quality: (n, k) in [0, 1] as it really is at that step, NaN = unknown, or the provider is not there.
        cost: (n, k) USD, alike.
        providers: names (k,).
        shown: (n, k) rewards that feedback reports, in [0, 1]; None = the quality itself.
        delay: (n,) decisions after which the feedback of a decision arrives, ``NEVER`` = it does not; None = at once.
        events: in any order.
        start: first scored step; those before are for learning.
        phases: of the scored steps.

    Raises:
        RoutelabError: shapes disagree, or an event names no provider of the stream or no action.
    """

    X: Features
    quality: Floats
    cost: Floats
    providers: tuple[str, ...]
    shown: Floats | None = None
    delay: NDArray[np.intp] | None = None
    events: tuple[Event, ...] = ()
    start: int = 0
    phases: tuple[Phase, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what does not fit together."""
        n, k = len(self.X), len(self.providers)
        shapes = [a.shape for a in (self.quality, self.cost, self.shown) if a is not None and a.shape != (n, k)]
        if shapes or (self.delay is not None and self.delay.shape != (n,)):
            raise RoutelabError(
                f"X has {n} rows, quality {self.quality.shape}, cost {self.cost.shape}, and there are {k} providers; "
                "give one row per prompt and one column per provider, also of `shown`, and one delay per prompt"
            )
        for event in self.events:
            if event.provider not in self.providers or event.action not in ("add", "remove", "reprice"):
                raise RoutelabError(f"{event} is no event of a stream with the providers {', '.join(self.providers)}")

    @property
    def present(self) -> tuple[str, ...]:
        """Providers that are there from the first step: all but those whose first event adds them."""
        first: dict[str, str] = {}
        for event in sorted(self.events, key=lambda event: event.step):
            first.setdefault(event.provider, event.action)
        return tuple(name for name in self.providers if first.get(name) != "add")

    def scored(self) -> Stream:
        """The scored steps alone; what happens in the learning part must not matter to them.

        Raises:
            RoutelabError: an event lies in the learning part.
        """
        if any(event.step < self.start for event in self.events):
            raise RoutelabError("the learning part of this stream changes its providers; it cannot be left out")
        events = tuple(event._replace(step=event.step - self.start) for event in self.events)
        return replace(take_rows(self, slice(self.start, None)), events=events, start=0)
