"""What a provider lets its callers do: requests and tokens a minute, and requests at once."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, fields
from typing import NamedTuple

from routelab.errors import RoutelabError
from routelab.providers.openai_requests import LIMITS
from routelab.request import LLMRequest, is_finite

CHARACTERS_PER_TOKEN = 4  # OpenAI's rule of thumb for English
_MINUTE_S = 60.0


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one provider; None is no limit.

    Args:
        requests_per_minute: begun in any 60 seconds.
        tokens_per_minute: of requests begun in any 60 seconds, input and output. Those of a request are estimated when
            it begins (``approximate_tokens``), and known when it is answered.
        concurrency: requests in flight.

    Raises:
        RoutelabError: a limit is not a number ≥ 1.

    >>> Limits(requests_per_minute=0)
    Traceback (most recent call last):
    ...
    routelab.errors.RoutelabError: Limits.requests_per_minute is 0; give a number ≥ 1, or None for no limit
    """

    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    concurrency: int | None = None

    def __post_init__(self) -> None:
        """Refuse what would let nobody through."""
        for one in fields(self):
            value = getattr(self, one.name)
            if value is not None and not (is_finite(value) and value >= 1):
                raise RoutelabError(f"Limits.{one.name} is {value!r}; give a number ≥ 1, or None for no limit")


class Unavailable(NamedTuple):
    """Why a provider cannot be asked now.

    Args:
        reason: in words.
        wait_s: seconds until it can be; infinite: until an answer has come.
        failing: whether it is left alone since it kept failing, and not for limits or since it asked to be.
    """

    reason: str
    wait_s: float
    failing: bool = False


@dataclass(slots=True, eq=False)
class Use:
    """What was used of a window at one moment."""

    at: float
    amount: float


class Window:
    """A limit on what is used in any span of time: a sliding log, exact, in time O(1) per use on average.

    Args:
        limit: of the sum of what is used within the span; more at once is let through when nothing else is in it.
        span_s: seconds.

    >>> window = Window(2)
    >>> _ = window.use(1, now=0.0), window.use(1, now=10.0)
    >>> window.wait_s(1, now=15.0), window.wait_s(2, now=15.0), window.wait_s(1, now=60.0)
    (45.0, 55.0, 0.0)
    """

    def __init__(self, limit: float, span_s: float = _MINUTE_S) -> None:
        self.limit, self.span_s = limit, span_s
        self._uses: deque[Use] = deque()
        self._sum = 0.0

    def wait_s(self, amount: float, now: float) -> float:
        """Seconds until ``amount`` can be used."""
        self._forget(now)
        excess = self._sum + amount - self.limit
        if excess <= 0.0 or not self._uses:
            return 0.0
        for use in self._uses:
            excess -= use.amount
            if excess <= 0.0:
                break
        return use.at + self.span_s - now

    def use(self, amount: float, now: float) -> Use:
        """Use ``amount`` now, whether or not it can be."""
        use = Use(now, amount)
        self._uses.append(use)
        self._sum += amount
        return use

    def correct(self, use: Use, amount: float, now: float) -> None:
        """It turned out that ``amount`` was used."""
        self._forget(now)
        if use.at + self.span_s > now:
            self._sum += amount - use.amount
            use.amount = amount

    def _forget(self, now: float) -> None:
        while self._uses and self._uses[0].at + self.span_s <= now:
            self._sum -= self._uses.popleft().amount


def approximate_tokens(request: LLMRequest) -> int:
    """Tokens that ``request`` may take: its own, estimated, and ``max_tokens`` of output where it has that option.

    >>> approximate_tokens(LLMRequest("x" * 400, options={"max_tokens": 50}))
    150
    """
    limits = (request.options.get(name) for name in LIMITS)
    return input_tokens(request) + max((most for most in limits if isinstance(most, int)), default=0)


def input_tokens(request: LLMRequest) -> int:
    """Tokens of the conversation of ``request``, estimated."""
    if request.messages is None:
        return len(request.prompt) // CHARACTERS_PER_TOKEN
    return sum(len(str(message.get("content", ""))) for message in request.messages) // CHARACTERS_PER_TOKEN
