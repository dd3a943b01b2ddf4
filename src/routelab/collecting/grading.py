"""Evaluators by their names on the command line."""

from __future__ import annotations

from collections.abc import Callable

from routelab.errors import RoutelabError
from routelab.evaluators import (
    ChoiceEvaluator,
    ExactEvaluator,
    JudgeEvaluator,
    NumericEvaluator,
    QualityEvaluator,
    RegexEvaluator,
)
from routelab.providers import Provider

NAMES = "exact, choice, numeric, regex:PATTERN, judge:PROVIDER or none"
_JUDGE_S = 600.0  # for all votes, their waiting for the judge's limits included
_BY_REFERENCE: dict[str, Callable[[], QualityEvaluator]] = {
    "exact": ExactEvaluator,
    "choice": ChoiceEvaluator,
    "numeric": NumericEvaluator,
}


def evaluator_named(name: str, judge: Callable[[str], Provider]) -> QualityEvaluator | None:
    """The evaluator of that name; None for "none".

    Args:
        name: one of ``NAMES``.
        judge: gives the provider of a name.

    Raises:
        RoutelabError: there is no such evaluator, its pattern is none, or there is no such provider.

    >>> evaluator_named("guess", judge=lambda name: None)
    Traceback (most recent call last):
    routelab.errors.RoutelabError: evaluator 'guess' is unknown; name exact, choice, numeric, regex:PATTERN, ...
    """
    kind, _, rest = name.partition(":")
    if name in _BY_REFERENCE:
        return _BY_REFERENCE[name]()
    if kind == "regex" and rest:
        return RegexEvaluator(rest)
    if kind == "judge" and rest:
        return JudgeEvaluator(judge(rest), timeout_s=_JUDGE_S)
    if name != "none":
        raise RoutelabError(f"evaluator {name!r} is unknown; name {NAMES}")
    return None


def needs_references(name: str) -> bool:
    """Whether the evaluator of that name compares with the right answer."""
    return name in _BY_REFERENCE
