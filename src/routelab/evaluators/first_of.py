"""FirstOf: several evaluators, the first of which that can grade an answer does."""

from __future__ import annotations

from routelab.evaluators.base import Grade, QualityEvaluator
from routelab.providers import Completion
from routelab.request import LLMRequest


class FirstOf:
    """Grades by the first evaluator that gives a grade: by the reference where there is one, else by a judge.

    Args:
        evaluators: in the order in which they are asked.

    >>> import asyncio
    >>> from routelab.evaluators import ExactEvaluator, RegexEvaluator
    >>> evaluator = FirstOf(ExactEvaluator(), RegexEvaluator("(?i)paris"))
    >>> asyncio.run(evaluator.grade(LLMRequest("Capital of France?"), Completion("Paris!", "x", 5, 2, 0.0, 0.1)))
    Grade(quality=1.0, se=0.0, cost_usd=0.0)
    """

    def __init__(self, *evaluators: QualityEvaluator) -> None:
        self.evaluators = evaluators

    async def grade(self, request: LLMRequest, completion: Completion) -> Grade | None:
        """The first grade that is not None."""
        for evaluator in self.evaluators:
            grade = await evaluator.grade(request, completion)
            if grade is not None:
                return grade
        return None
