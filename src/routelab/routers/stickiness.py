"""Conversations stay with their provider while its prompt cache is worth it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from routelab.errors import RoutelabError
from routelab.policies import Objective
from routelab.providers import Completion, ProviderPool
from routelab.providers.limits import input_tokens
from routelab.request import LLMRequest, is_finite


class Cached(NamedTuple):
    """What a provider still holds of a conversation: so many input tokens, of a request at unix second ``at``."""

    provider: str
    tokens: int
    at: float


class Stickiness:
    """What a conversation (``unit_id``) saves at the provider that answered it last, as a credit of the objective.

    A request that goes on costs less there: cached tokens × (input − cached input price). The cached tokens are those
    of the last request, and at most those of this one (a shorter one is another conversation). As one term of the
    utility the credit weighs what any USD weighs: the conversation moves on to a provider that is better by more, and
    with ``cost_weight=0`` nothing sticks. A provider without a ``cached_input`` price gives no credit.

    Args:
        ttl_s: seconds for which a provider holds a prompt, > 0.
        min_prompt: tokens from which on a prompt is cached, ≥ 0.
        units: conversations that are remembered, ≥ 1; the one that was quiet for longest is forgotten first.

    Raises:
        RoutelabError: an argument is out of its range.

    >>> from routelab.providers import Price, simulated_providers
    >>> pool = ProviderPool(simulated_providers()[:2])
    >>> pool.reprice("mini", Price(0.25, 1.0, cached_input=0.05))
    >>> sticky, talk = Stickiness(), LLMRequest("x" * 40_000, unit_id="user 7")
    >>> sticky.note(talk, Completion("Yes.", "mini", 10_000, 2, 0.0025, 1.0), now=0.0)
    >>> sticky.credit(talk, pool, ("nano", "mini"), now=60.0), sticky.credit(talk, pool, ("nano", "mini"), now=301.0)
    ((0.0, 0.002), None)
    """

    def __init__(self, ttl_s: float = 300.0, min_prompt: int = 1024, units: int = 100_000) -> None:
        for name, value, least in (("ttl_s", ttl_s, 1e-9), ("min_prompt", min_prompt, 0), ("units", units, 1)):
            if not (is_finite(value) and value >= least):
                raise RoutelabError(f"Stickiness.{name} is {value!r}; give a finite number ≥ {least:g}")
        self.ttl_s, self.min_prompt, self.units = ttl_s, min_prompt, units
        self._last: OrderedDict[str, Cached] = OrderedDict()

    def note(self, request: LLMRequest, completion: Completion, now: float) -> None:
        """Remember who answered ``request``; without a ``unit_id`` it is no conversation."""
        if request.unit_id is None:
            return
        self._last[request.unit_id] = Cached(completion.provider, completion.input_tokens, now)
        self._last.move_to_end(request.unit_id)
        if len(self._last) > self.units:
            self._last.popitem(last=False)

    def credit(
        self, request: LLMRequest, pool: ProviderPool, providers: Sequence[str], now: float
    ) -> tuple[float, ...] | None:
        """USD that ``request`` saves at each of ``providers``; None where it saves nothing."""
        last = None if request.unit_id is None else self._last.get(request.unit_id)
        if last is None or now - last.at > self.ttl_s or last.provider not in pool:
            return None
        price, tokens = pool[last.provider].price, min(last.tokens, input_tokens(request))
        if price.cached_input is None or tokens < self.min_prompt:
            return None
        saved = max(tokens * (price.input - price.cached_input) / 1e6, 0.0)
        return tuple(saved if name == last.provider else 0.0 for name in providers)

    def applied(
        self, objective: Objective, request: LLMRequest, pool: ProviderPool, providers: Sequence[str], now: float
    ) -> Objective:
        """``objective`` with the credit of ``request``."""
        credit = self.credit(request, pool, providers, now) if objective.cost_weight else None
        return objective if credit is None else replace(objective, credit=credit)
