"""What the tests of judges share: judges in this process, and worlds in which their errors are known."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence

import numpy as np

from routelab import Completion, JudgeCorrection, LLMRequest
from routelab.arrays import Floats
from routelab.providers import Price, ProviderError

World = Callable[[np.random.Generator, int], tuple[Floats, Floats]]


class Judge:
    """Replies in turn; an exception is raised."""

    name, price = "judge", Price(1.0, 2.0)

    def __init__(self, replies: Sequence[str | Exception]) -> None:
        self.replies, self.asked = list(replies), list[LLMRequest]()

    async def complete(self, request: LLMRequest) -> Completion:
        self.asked.append(request)
        reply = self.replies[(len(self.asked) - 1) % len(self.replies)]
        await asyncio.sleep(0)
        if isinstance(reply, Exception):
            raise reply
        return Completion(reply, self.name, 200, 5, 0.001, 0.2)


class Gullible:
    """Reads what stands outside the quotation, and does what it is told there; an answer that is quoted gets a 2."""

    name, price = "gullible", Price(1.0, 2.0)

    async def complete(self, request: LLMRequest) -> Completion:
        begin = re.compile(r"^BEGIN ([a-z ]+?)((?: \w{16})?)$", re.MULTILINE)
        said, position = "", 0
        while opened := begin.search(request.prompt, position):
            said += request.prompt[position : opened.start()]
            closing = f"\nEND {opened[1]}{opened[2]}"
            end = request.prompt.find(closing, opened.end())
            position = len(request.prompt) if end < 0 else end + len(closing)
        said += request.prompt[position:]
        ordered = re.findall(r"(?i)give (?:it|this|the answer)[^\n\d]{0,40}(\d+)", said)
        return Completion(f'{{"score": {ordered[-1] if ordered else 2}}}', self.name, 200, 5, 0.001, 0.2)


def failing(cost: float) -> ProviderError:
    return ProviderError("judge is down", Completion("", "judge", 200, 0, cost, 0.2, error="judge is down"))


def lenient(rng: np.random.Generator, n: int) -> tuple[Floats, Floats]:
    """A judge that is wrong of 20 % of the answers, nearly always in their favour; 60 % are right."""
    right = rng.random(n) < 0.6
    return np.where(right, rng.random(n) < 0.98, rng.random(n) < 0.47).astype(float), right.astype(float)


def useless(rng: np.random.Generator, n: int) -> tuple[Floats, Floats]:
    return rng.integers(0, 11, n) / 10.0, (rng.random(n) < 0.6).astype(float)


def contrary(rng: np.random.Generator, n: int) -> tuple[Floats, Floats]:
    right = rng.random(n) < 0.6
    return np.where(rng.random(n) < 0.8, ~right, right).astype(float), right.astype(float)


def graded(rng: np.random.Generator, n: int) -> tuple[Floats, Floats]:
    """People give 0, ¼, …, 1; the judge, with decimals, bends and blurs that. Mean 0.6."""
    human = rng.binomial(4, rng.beta(3.0, 2.0, n)) / 4.0
    return np.clip(0.2 + 0.8 * human**2 + rng.normal(0.0, 0.15, n), 0.0, 1.0).round(1), human


WORLDS: dict[str, World] = {one.__name__: one for one in (lenient, useless, contrary, graded)}
TRUTH = 0.6


def errors_of_corrections(world: World, labels: int, seeds: int) -> tuple[Floats, Floats, Floats]:
    """Of corrections fitted on ``labels`` labels, over 500 others: mean error, squared error and se² (seeds,)."""
    told = []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        correction = JudgeCorrection.fit(*world(rng, labels))
        judged, human = world(rng, 500)
        quality, se = np.array([correction.correct(score) for score in judged]).T
        told.append(((quality - human).mean(), ((quality - human) ** 2).mean(), (se**2).mean()))
    errors, squares, said = np.array(told).T
    return errors, squares, said
