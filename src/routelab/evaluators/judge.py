"""JudgeEvaluator: a language model grades, several times, and its errors are corrected by what people said."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from routelab.errors import RoutelabError
from routelab.evaluators.base import Grade
from routelab.evaluators.correction import JudgeCorrection
from routelab.evaluators.judge_prompt import RUBRIC, judge_prompt, verdict
from routelab.providers import Completion, Provider, ProviderError
from routelab.request import LLMRequest, is_finite

_VARIANCE, _WEIGHT = 0.05, 1.0  # of votes a priori, and for how many it counts


class JudgeEvaluator:
    """Grades an answer by the mean of several votes of a judge, any provider.

    The votes are asked for at once, each under a ``request_id`` of its own (give the judge a temperature above 0, else
    all say the same). A vote that fails, comes late or gives no score is dropped; where none is left there is no grade.
    The standard error is that of the mean of the votes, their variance drawn towards 0.05 as if by one vote more, so
    that few that agree are not taken for certain. It knows nothing of errors that all votes share; a ``correction``,
    fitted on answers that both this judge (with as many votes) and people graded, knows them.

    Args:
        provider: the judge; best none of those that are judged.
        rubric: what makes an answer good; "right or wrong" suits ``scale=1``.
        votes: ≥ 1.
        scale: best score on the judge's scale, > 0.
        correction: of the grades; a mapping has one for each provider that answers, and "" for all others.
        options: of the judge's requests, such as ``{"temperature": 1.0, "max_tokens": 200}``.
        timeout_s: for all votes together, > 0.

    Attributes:
        spent_usd: on all votes so far, those included that failed or led to no grade.

    Raises:
        RoutelabError: an argument is out of range.

    >>> class Judge:
    ...     name, price = "judge", None
    ...     async def complete(self, request):
    ...         return Completion('{"score": 8}', "judge", 200, 5, cost_usd=0.001, latency_s=0.2)
    >>> answer = Completion("Paris.", "mini", 9, 2, 1e-5, 0.1)
    >>> grade = asyncio.run(JudgeEvaluator(Judge()).grade(LLMRequest("Capital of France?"), answer))
    >>> round(grade.quality, 3), round(grade.se, 3), grade.cost_usd
    (0.8, 0.075, 0.003)
    """

    def __init__(
        self,
        provider: Provider,
        *,
        rubric: str = RUBRIC,
        votes: int = 3,
        scale: float = 10.0,
        correction: JudgeCorrection | Mapping[str, JudgeCorrection] | None = None,
        options: Mapping[str, Any] | None = None,
        timeout_s: float = 60.0,
    ) -> None:
        if not (isinstance(votes, int) and votes >= 1):
            raise RoutelabError(f"JudgeEvaluator.votes is {votes!r}; give an int ≥ 1")
        for name, value in (("scale", scale), ("timeout_s", timeout_s)):
            if not (is_finite(value) and value > 0.0):
                raise RoutelabError(f"JudgeEvaluator.{name} is {value!r}; give a finite number > 0")
        self.provider, self.rubric, self.votes, self.scale = provider, rubric, votes, scale
        self.correction = correction
        self.options = dict(options or {})
        self.timeout_s = timeout_s
        self.spent_usd = 0.0

    async def grade(self, request: LLMRequest, completion: Completion) -> Grade | None:
        """The mean of the votes, corrected where there is a correction; None where no vote gave a score."""
        system, data = judge_prompt(self.rubric, self.scale, request, completion.text)
        messages = [{"role": "system", "content": system}, {"role": "user", "content": data}]
        questions = [
            LLMRequest(
                f"{system}\n\n{data}",
                request_id=f"{request.request_id or completion.provider}/vote-{number}",
                messages=messages,
                options=self.options,
            )
            for number in range(1, self.votes + 1)
        ]
        replies = await asyncio.gather(*map(self._vote, questions))
        scores = [score for score, _ in replies if score is not None]
        if not scores:
            return None
        quality, se = self._corrected(fmean(scores), standard_error(scores), completion.provider)
        return Grade(quality, se, math.fsum(cost for _, cost in replies))

    async def _vote(self, question: LLMRequest) -> tuple[float | None, float]:
        """The quality in [0, 1] that one vote gives, if any, and its cost in USD."""
        try:
            async with asyncio.timeout(self.timeout_s):
                reply = await self.provider.complete(question)
            said = None if reply.error else reply.text
        except Exception as error:  # a vote less, in whatever way it failed
            logging.getLogger(__name__).warning("judge %s gave no vote: %s", self.provider.name, type(error).__name__)
            if not (isinstance(error, ProviderError) and error.completion):
                return None, 0.0
            reply, said = error.completion, None
        self.spent_usd += reply.cost_usd
        return None if said is None else verdict(said, self.scale), reply.cost_usd

    def _corrected(self, quality: float, se: float, provider: str) -> tuple[float, float]:
        correction = self.correction
        if isinstance(correction, Mapping):
            correction = correction.get(provider, correction.get(""))
        return (quality, se) if correction is None else correction.correct(quality)


def standard_error(scores: Sequence[float]) -> float:
    """Standard error of the mean of scores (n,) in [0, 1], n ≥ 1, their variance drawn towards 0.05.

    >>> [round(standard_error(votes), 3) for votes in ([0.8], [0.8, 0.8, 0.8], [0.0, 1.0])]
    [0.224, 0.075, 0.371]
    """
    n, mean = len(scores), fmean(scores)
    scatter = math.fsum((score - mean) ** 2 for score in scores)
    return math.sqrt((scatter + _WEIGHT * _VARIANCE) / (n - 1 + _WEIGHT) / n)
