"""RegexEvaluator: a pattern of the user's own finds the answer."""

from __future__ import annotations

import re

from routelab.errors import RoutelabError
from routelab.evaluators.base import Grade
from routelab.evaluators.exact import normalised
from routelab.providers import Completion
from routelab.request import LLMRequest


class RegexEvaluator:
    """1 where a pattern is found; with a group, where its last match is the reference.

    The group's text is compared as by ``ExactEvaluator``, punctuation and articles included. Python's engine
    backtracks: a pattern with a repeat inside a repeat, such as ``(a+)+b``, can take exponential time on an answer made
    for it, and no limit here would help. Write such patterns with possessive repeats (``a++``) or atomic groups
    (``(?>…)``). What else backtracks is bounded by ``longest``.

    Args:
        pattern: searched for with ``re.search``; ``(?i)``, ``(?s)`` and the like go inside it.
        longest: characters at the end of an answer that are searched, ≥ 1.

    Raises:
        RoutelabError: the pattern is none, has more than one group, or ``longest`` is no int ≥ 1.

    >>> import asyncio
    >>> evaluator, request = RegexEvaluator(r"Final: (\\w+)"), LLMRequest("Capital of France?", reference="Paris")
    >>> asyncio.run(evaluator.grade(request, Completion("Final: paris", "x", 5, 2, 0.0, 0.1))).quality
    1.0
    """

    def __init__(self, pattern: str, *, longest: int = 20_000) -> None:
        try:
            self.pattern = re.compile(pattern)
        except (re.error, OverflowError, RecursionError) as error:
            raise RoutelabError(f"RegexEvaluator.pattern is {pattern!r}, which is no pattern: {error}") from None
        if self.pattern.groups > 1:
            raise RoutelabError(f"RegexEvaluator.pattern {pattern!r} has several groups; make all but one (?:…)")
        if not (isinstance(longest, int) and longest >= 1):
            raise RoutelabError(f"RegexEvaluator.longest is {longest!r}; give a number of characters, an int ≥ 1")
        self.longest = longest

    async def grade(self, request: LLMRequest, completion: Completion) -> Grade | None:
        """1 or 0; None where a group is to be compared and the request has no reference."""
        text = completion.text
        found = list(self.pattern.finditer(text, max(len(text) - self.longest, 0)))
        if not self.pattern.groups:
            return Grade(float(bool(found)))
        if request.reference is None:
            return None
        return Grade(float(bool(found) and _plain(found[-1][1] or "") == _plain(request.reference)))


def _plain(text: str) -> str:
    return normalised(text, punctuation=False, articles=False)
