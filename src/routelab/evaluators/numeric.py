"""NumericEvaluator: the number that an answer comes to is the reference's."""

from __future__ import annotations

import math
import re

from routelab.errors import RoutelabError
from routelab.evaluators.base import ReferenceEvaluator
from routelab.evaluators.boxed import boxed
from routelab.request import is_finite

_SIGN = r"(?:(?<![\w).])[-−+])?"
_PLAIN = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+"
_POWER = r"(?:[eE](?P<e>[-+]?\d{1,4})|\s?(?:×|x|\*|\\times|\\cdot)\s?10\s?(?:\^|\*\*)\s?\{?(?P<power>[-−+]?\d{1,4})\}?)"
_NUMBER = re.compile(
    rf"(?P<sign>{_SIGN})(?:[$€£]|\\\$)?(?:"
    rf"\\[dt]?frac\s?\{{(?P<over>[-−]?(?:{_PLAIN}))\}}\s?\{{(?P<under>{_PLAIN})\}}"
    rf"|(?<![\w.])(?P<plain>{_PLAIN})(?:{_POWER}|\s?/\s?(?P<by>{_PLAIN}))?)(?P<percent>\s?\\?%)?"
)
_TAIL = 100_000  # characters in which the last number is looked for
_STATED = [
    re.compile(r"####([^\n]{1,200})"),
    re.compile(r"(?i)\banswer\b[^\n\d]{0,40}?(?:\bis\b|:|=)([^\n]{1,200})"),
]


class NumericEvaluator(ReferenceEvaluator):
    r"""1 where the answer comes to the reference's number.

    That is the last number in its last ``\boxed{…}``; else behind ``####`` (GSM8K); else the first behind the last "the
    answer is" or "Answer:" (behind the last "=" of that line); else the last number of all. It reads 1,234.5; 1.2e-3;
    1.2 × 10^5; 3/4; \frac{3}{4}; -$5; 12 %. A percentage also matches the number before its sign, since references
    often leave the sign out. Decimal commas are not read.

    Args:
        rel: relative tolerance, ≥ 0.
        abs: absolute tolerance, ≥ 0; the wider of both holds.

    Raises:
        RoutelabError: a tolerance is negative or not finite, or a reference holds no number.

    >>> NumericEvaluator().is_right("3 apples at $417 each make 1,251.00 dollars.", "1251")
    True
    """

    def __init__(self, *, rel: float = 1e-6, abs: float = 1e-9) -> None:
        for name, value in (("rel", rel), ("abs", abs)):
            if not (is_finite(value) and value >= 0.0):
                raise RoutelabError(f"NumericEvaluator.{name} is {value!r}; give a tolerance ≥ 0")
        self.rel, self.abs = rel, abs

    def is_right(self, answer: str, reference: str) -> bool:
        """Whether the answer comes to the number of ``reference``."""
        right = final_number(reference)
        if right is None:
            raise RoutelabError(f"the reference {reference[:80]!r} holds no number; give one, such as '1251' or '3/4'")
        found = final_number(answer)
        if found is None:
            return False
        (value, sign), (truth, truth_sign) = found, right
        readings = {value, 100.0 * value} if sign and not truth_sign else {value}
        truths = {truth, 100.0 * truth} if truth_sign and not sign else {truth}
        return any(math.isclose(a, b, rel_tol=self.rel, abs_tol=self.abs) for a in readings for b in truths)


def final_number(text: str) -> tuple[float, bool] | None:
    r"""The number that ``text`` comes to, and whether it bears a percent sign (12 % is 0.12); None without a number.

    >>> final_number("The answer is 12%, found in 3 steps."), final_number("#### -1,000"), final_number("none")
    ((0.12, True), (-1000.0, False), None)
    """
    box = boxed(text)
    if box is not None and (number := _last(box)):
        return number
    for pattern in _STATED:
        stated = [match[1] for match in pattern.finditer(text)]
        if stated and (number := _first(stated[-1].rpartition("=")[2])):
            return number
    return _last(text)


def _first(text: str) -> tuple[float, bool] | None:
    return next(filter(None, map(_value, _NUMBER.finditer(text))), None)


def _last(text: str) -> tuple[float, bool] | None:
    matches = list(_NUMBER.finditer(text, max(len(text) - _TAIL, 0)))
    return next(filter(None, map(_value, reversed(matches))), None)


def _value(match: re.Match[str]) -> tuple[float, bool] | None:
    """What a match says; None where that is no finite number."""
    value = _float(f"{match['over'] or match['plain']}e{match['e'] or match['power'] or 0}")
    under = match["under"] or match["by"]
    if under:
        divisor = _float(under)
        value = value / divisor if divisor else math.nan
    if match["sign"] in ("-", "−"):
        value = -value
    if match["percent"]:
        value /= 100.0
    return (value, bool(match["percent"])) if math.isfinite(value) else None


def _float(text: str) -> float:
    return float(text.replace("−", "-").replace(",", ""))
