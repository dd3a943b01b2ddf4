"""A provider of the synthetic world that answers live, by the same model that draws the synthetic table."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from itertools import cycle

import numpy as np

from routelab.errors import RoutelabError
from routelab.providers.base import Chunk, Completion, Price, ProviderError
from routelab.request import LLMRequest
from routelab.tables.synthetic_text import TASKS, read_prompt
from routelab.tables.synthetic_world import (
    DEFAULT_PROVIDERS,
    Conditions,
    Outcomes,
    ProviderProfile,
    Requests,
    draw,
    expected,
    named_rng,
)


class SimulatedProvider:
    """Answers with the quality, cost and latency that its profile says, and grades itself.

    Its text tells the quality, too, so that it is known where the answer comes over HTTP (``routelab proxy``).

    The answer depends on ``seed``, the prompt, the ``request_id`` and the requests in flight alone: the same request
    gets the same answer, and the same prompt under another ``request_id`` a fresh draw.

    Args:
        profile: who it is.
        seed: of its answers.
        latency_scale: seconds slept per simulated second; 0 answers at once, so that the load stays 0.
        graded: whether it grades its answers; real providers do not.

    Attributes:
        outage: set to True, every request fails.
        quality_shift: added to the expected quality, in [-1, 1].

    Raises:
        RoutelabError: ``latency_scale`` is negative or not finite.

    >>> provider = SimulatedProvider(DEFAULT_PROVIDERS[0])
    >>> completion = asyncio.run(provider.complete(LLMRequest("Extract the fields from a business card.")))
    >>> completion.provider, completion.input_tokens
    ('nano', 10)
    """

    def __init__(
        self, profile: ProviderProfile, *, seed: int = 0, latency_scale: float = 0.0, graded: bool = True
    ) -> None:
        if not 0.0 <= latency_scale < float("inf"):
            raise RoutelabError(f"SimulatedProvider latency_scale is {latency_scale!r}; give a finite number ≥ 0")
        self.seed = seed
        self.latency_scale = latency_scale
        self.graded = graded
        self.outage = False
        self.quality_shift = 0.0
        self._profile = profile
        self._in_flight = 0
        self._cached_input: float | None = None  # nothing is cached here, but the price may say so

    def __repr__(self) -> str:
        return f"SimulatedProvider({self.name!r})"

    @property
    def name(self) -> str:
        """Name of the provider."""
        return self._profile.name

    @property
    def price(self) -> Price:
        """Price as of now."""
        return Price(self._profile.input_price, self._profile.output_price, self._cached_input)

    def set_price(self, price: Price) -> None:
        """Charge ``price`` from the next request on."""
        self._profile = replace(self._profile, input_price=price.input, output_price=price.output)
        self._cached_input = price.cached_input

    def estimate(self, request: LLMRequest) -> tuple[float, float]:
        """The truth: expected quality in [0, 1] and expected cost in USD, failures counted as 0."""
        truth = expected(self._profile, _as_drawn(request), self._load(), self._conditions())
        return float(truth.quality[0]), float(truth.cost[0])

    async def complete(self, request: LLMRequest) -> Completion:
        """Answer ``request``, after ``latency_scale`` times its simulated latency.

        Raises:
            ProviderError: the provider fails by its fitted failure rate, or is out of order.
        """
        rng = named_rng(self.seed, self.name, request.prompt, request.request_id or "")
        traits = _as_drawn(request)
        outcome = draw(self._profile, traits, self._load(), self._conditions(), rng)
        self._in_flight += 1
        try:
            if self.latency_scale:
                await asyncio.sleep(self.latency_scale * float(outcome.latency[0]))
        finally:
            self._in_flight -= 1
        completion = self._completion(traits, outcome)
        if completion.error:
            raise ProviderError(completion.error, completion)
        return completion

    async def stream(self, request: LLMRequest) -> AsyncIterator[Chunk | Completion]:
        """The same answer word by word, once it is whole.

        Raises:
            ProviderError: as ``complete``.
        """
        completion = await self.complete(request)
        for piece in re.findall(r"\S+\s*", completion.text):
            yield Chunk(piece)
        yield replace(completion, first_token_s=completion.latency_s)

    def _completion(self, traits: Requests, outcome: Outcomes) -> Completion:
        failed = bool(outcome.failed[0])
        quality, latency = float(outcome.quality[0]), float(outcome.latency[0])
        return Completion(
            text="" if failed else f"A {TASKS[traits.task[0]]} answer by {self.name} of quality {quality:.3f}.",
            provider=self.name,
            input_tokens=int(traits.input_tokens[0]),
            output_tokens=int(outcome.output_tokens[0]),
            cost_usd=float(outcome.cost[0]),
            latency_s=latency,
            quality=quality if self.graded else None,
            error=f"provider {self.name!r} gave no answer within {latency:.0f} s" if failed else None,
        )

    def _load(self) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        return np.array([float(self._in_flight)])

    def _conditions(self) -> Conditions:
        return Conditions(shift=self.quality_shift, outage=self.outage)


def _as_drawn(request: LLMRequest) -> Requests:
    """The request as the synthetic world sees it: by its prompt, and by its estimates where the prompt is not ours."""
    traits = read_prompt(
        request.prompt,
        complexity=float(request.estimated_complexity or 0.0),
        reasoning=bool(request.requires_reasoning),
    )
    return Requests.of([traits])


def simulated_providers(
    seed: int = 0, *, latency_scale: float = 0.0, graded: bool = True, names: Iterable[str] = ()
) -> list[SimulatedProvider]:
    """The five providers of the synthetic world, from cheap to dear; or stand-ins for those of ``names``.

    >>> [provider.name for provider in simulated_providers()]
    ['nano', 'mini', 'coder', 'large', 'frontier']
    >>> [provider.name for provider in simulated_providers(names=["mine", "yours"])]
    ['mine', 'yours']
    """
    profiles = [replace(profile, name=name) for name, profile in zip(names, cycle(DEFAULT_PROVIDERS), strict=False)]
    return [
        SimulatedProvider(profile, seed=seed, latency_scale=latency_scale, graded=graded)
        for profile in profiles or DEFAULT_PROVIDERS
    ]
