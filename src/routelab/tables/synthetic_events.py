"""What may happen in the synthetic world: a provider's quality drifts, its price changes, it is out of order."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routelab.errors import RoutelabError
from routelab.tables.synthetic_world import Conditions


@dataclass(frozen=True, slots=True)
class Drift:
    """From ``start`` until ``stop``, hours since the world began, ``shift`` is added to the expected quality.

    The sum is clipped to [0.01, 0.99]; a negative shift is a provider that got worse.
    """

    provider: str
    shift: float
    start: float
    stop: float = np.inf


@dataclass(frozen=True, slots=True)
class PriceChange:
    """From ``start`` until ``stop``, hours since the world began, both prices are multiplied by ``factor`` ≥ 0."""

    provider: str
    factor: float
    start: float
    stop: float = np.inf


@dataclass(frozen=True, slots=True)
class Outage:
    """From ``start`` until ``stop``, hours since the world began, every request fails by timeout."""

    provider: str
    start: float
    stop: float = np.inf


Event = Drift | PriceChange | Outage


def check_events(events: Sequence[Event], providers: Collection[str]) -> None:
    """Refuse an event of an unknown provider, or one that cannot be.

    >>> check_events([Drift("gpt", -0.2, start=24.0)], ["nano"])
    Traceback (most recent call last):
    ...
    routelab.errors.RoutelabError: Drift(provider='gpt', ...): no such provider; the world has nano
    """
    for event in events:
        if event.provider not in providers:
            raise RoutelabError(f"{event!r}: no such provider; the world has {', '.join(providers)}")
        if not 0.0 <= event.start < event.stop:
            raise RoutelabError(f"{event!r}: give hours with 0 ≤ start < stop")
        if isinstance(event, Drift) and not -1.0 <= event.shift <= 1.0:
            raise RoutelabError(f"{event!r}: give a shift in [-1, 1]")
        if isinstance(event, PriceChange) and not 0.0 <= event.factor < np.inf:
            raise RoutelabError(f"{event!r}: give a finite factor ≥ 0")


def conditions(events: Sequence[Event], provider: str, hours: NDArray[np.float64]) -> Conditions:
    """What ``events`` do to ``provider`` at each of ``hours`` (n,); shifts add up, price factors multiply.

    >>> conditions([Drift("nano", -0.2, start=24.0)], "nano", np.array([0.0, 30.0])).shift
    array([ 0. , -0.2])
    """
    shift, factor = np.zeros(len(hours)), np.ones(len(hours))
    outage = np.zeros(len(hours), dtype=np.bool_)
    for event in events:
        if event.provider != provider:
            continue
        active = (hours >= event.start) & (hours < event.stop)
        match event:
            case Drift():
                shift += event.shift * active
            case PriceChange():
                factor *= np.where(active, event.factor, 1.0)
            case Outage():
                outage |= active
    return Conditions(shift, factor, outage)
