"""What an evaluator is: an awaitable grade of an answer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from routelab.errors import RoutelabError
from routelab.providers import Completion
from routelab.request import LLMRequest, is_finite


@dataclass(frozen=True, slots=True)
class Grade:
    """What an answer is worth.

    Args:
        quality: in [0, 1].
        se: standard error of ``quality``; 0 where the grade is exact.
        cost_usd: what grading cost, USD.

    Raises:
        RoutelabError: a value is out of its range.

    >>> Grade(1.0)
    Grade(quality=1.0, se=0.0, cost_usd=0.0)
    """

    quality: float
    se: float = 0.0
    cost_usd: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what is no grade."""
        if not (is_finite(self.quality) and 0.0 <= self.quality <= 1.0):
            raise RoutelabError(f"Grade.quality is {self.quality!r}; give a number in [0, 1]")
        for name in ("se", "cost_usd"):
            value = getattr(self, name)
            if not (is_finite(value) and value >= 0.0):
                raise RoutelabError(f"Grade.{name} is {value!r}; give a finite number ≥ 0")


@runtime_checkable
class QualityEvaluator(Protocol):
    """Whatever grades answers."""

    async def grade(self, request: LLMRequest, completion: Completion) -> Grade | None:
        """What ``completion`` is worth as an answer to ``request`` (to its ``reference``, where one is needed).

        Returns:
            None where it cannot be graded: there is no reference, or the judge gave no verdict.
        """
        ...


class ReferenceEvaluator(ABC):
    """Right or wrong, by the request's ``reference``; what has none is not graded."""

    async def grade(self, request: LLMRequest, completion: Completion) -> Grade | None:
        """1 where the answer is right, else 0; None without a reference."""
        if request.reference is None:
            return None
        return Grade(float(self.is_right(completion.text, request.reference)))

    @abstractmethod
    def is_right(self, answer: str, reference: str) -> bool:
        """Whether ``answer`` says what ``reference`` says; RoutelabError where the reference is none of its kind."""
