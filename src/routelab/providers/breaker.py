"""A circuit breaker: a provider that keeps failing is left alone for a while, then tried by one request."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from random import Random

from routelab.errors import RoutelabError
from routelab.providers.limits import Unavailable
from routelab.request import is_finite

_LONGEST_ASKED_S = 3600.0  # a provider that asks for more is tried all the same


@dataclass(frozen=True, slots=True)
class Circuit:
    """When a provider is left alone, and for how long (Nygard, *Release It!*, 2007, with half-open probes).

    Args:
        failures: in a row that open the circuit, ≥ 1.
        share: of the last ``window`` answers; as large a share of failures opens it as well, in (0, 1].
        window: answers, ≥ 1.
        cooldown_s: seconds for which it first stays open, > 0; twice as long after each probe that fails, each time
            drawn between half of that and all of it, so that several routers do not probe at once.
        longest_s: the longest of these.

    Raises:
        RoutelabError: a value is out of its range.
    """

    failures: int = 5
    share: float = 0.5
    window: int = 20
    cooldown_s: float = 1.0
    longest_s: float = 60.0

    def __post_init__(self) -> None:
        """Refuse what could never open or close."""
        for name, least in (("failures", 1), ("window", 1), ("cooldown_s", 1e-9), ("longest_s", 1e-9)):
            value = getattr(self, name)
            if not (is_finite(value) and value >= least):
                raise RoutelabError(f"Circuit.{name} is {value!r}; give a number ≥ {least:g}")
        if not (is_finite(self.share) and 0.0 < self.share <= 1.0):
            raise RoutelabError(f"Circuit.share is {self.share!r}; give a share in (0, 1]")


class Breaker:
    """The circuit of one provider: closed, open until a moment, then half-open: one probe decides.

    What began before it opened, and ends later, changes nothing. Times are seconds of the caller's clock.

    Args:
        circuit: when it opens, and for how long.
        rng: of the jitter.

    Attributes:
        open_until: the moment from which a probe may go; None while the circuit is closed.

    >>> breaker = Breaker(Circuit(failures=2), Random(0))
    >>> for _ in range(2):
    ...     breaker.failed(breaker.begin(now=0.0), now=0.0)
    >>> breaker.unavailable(now=0.0).reason
    'left alone after 2 failures in a row'
    >>> probe = breaker.begin(now=5.0)
    >>> breaker.unavailable(now=5.0).reason
    'a probe is on its way'
    >>> breaker.answered(probe)
    >>> breaker.ended(probe)
    >>> breaker.unavailable(now=5.0) is None
    True
    """

    def __init__(self, circuit: Circuit, rng: Random) -> None:
        self.circuit = circuit
        self.open_until: float | None = None
        self._rng = rng
        self._why, self._failing = "", False
        self._probing = False
        self._cooldowns = 0
        self._in_a_row = 0
        self._failed: deque[bool] = deque(maxlen=circuit.window)

    def unavailable(self, now: float) -> Unavailable | None:
        """Why the provider cannot be asked now, if so."""
        if self.open_until is None:
            return None
        if now < self.open_until:
            return Unavailable(self._why, self.open_until - now, self._failing)
        return Unavailable("a probe is on its way", float("inf"), self._failing) if self._probing else None

    def begin(self, now: float) -> bool:
        """A request goes out; whether it is the probe."""
        probe = self.open_until is not None and now >= self.open_until and not self._probing
        self._probing |= probe
        return probe

    def answered(self, probe: bool) -> None:
        """It was answered, or refused by a provider that is well."""
        if probe:
            self.open_until, self._cooldowns = None, 0
            self._failed.clear()
        if self.open_until is None:
            self._in_a_row = 0
            self._failed.append(False)

    def ended(self, probe: bool) -> None:
        """It is over, however: where it was the probe and told nothing (its caller gave it up), another one may go."""
        if probe:
            self._probing = False

    def failed(self, probe: bool, now: float, retry_after_s: float | None = None) -> None:
        """It failed; left alone for at least ``retry_after_s`` seconds where the provider asked for that."""
        if probe:
            self._cool_down(now, "left alone after a probe that failed")
        elif self.open_until is None:
            self._in_a_row += 1
            self._failed.append(True)
            self._judge(now)
        if retry_after_s is not None and is_finite(retry_after_s) and retry_after_s > 0.0:
            asked_s = min(retry_after_s, _LONGEST_ASKED_S)
            self._open(now + asked_s, f"asked to be left alone for {asked_s:g} s", failing=False)

    def _judge(self, now: float) -> None:
        """Open where too much failed."""
        window, failed = self.circuit.window, sum(self._failed)
        if self._in_a_row >= self.circuit.failures:
            self._cool_down(now, f"left alone after {self._in_a_row} failures in a row")
        elif len(self._failed) == window and failed >= self.circuit.share * window:
            self._cool_down(now, f"left alone after {failed} failures of {window}")

    def _cool_down(self, now: float, why: str) -> None:
        longest_s = min(self.circuit.cooldown_s * 2.0 ** min(self._cooldowns, 60), self.circuit.longest_s)
        self._cooldowns += 1
        self._open(now + longest_s * self._rng.uniform(0.5, 1.0), why, failing=True)

    def _open(self, until: float, why: str, *, failing: bool) -> None:
        """Open until then, or later where that was said before."""
        if self.open_until is None or until >= self.open_until:
            self.open_until, self._why, self._failing = until, why, failing
        self._in_a_row = 0
