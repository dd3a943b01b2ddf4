"""Twelve counts that describe the surface of a prompt: length, digits, code, mathematics, lists."""

from __future__ import annotations

import re
from math import log1p

LEXICAL_NAMES: tuple[str, ...] = (
    "words",
    "sentences",
    "lines",
    "word_length",
    "digit_share",
    "upper_share",
    "punctuation_share",
    "non_ascii_share",
    "code_marks",
    "math_marks",
    "question_marks",
    "choice_marks",
)

_SENTENCES = re.compile(r"[.!?]+(?:\s|$)")
_CODE = re.compile(r"```|[{};]|\b(?:def|class|return|import|function|assert|print)\b|=>|==|\(\)")
_MATH = re.compile(r"[+*/^=<>√∑∫π\\$]|\d\s*-\s*\d")
_CHOICES = re.compile(r"^\s*\(?[A-Ea-e1-5][.):]\s", re.MULTILINE)
_PUNCTUATION = frozenset("!\"#%&'(),-./:;?@[]_`{|}~")


def lexical_counts(text: str) -> tuple[float, ...]:
    """Count the twelve ``LEXICAL_NAMES`` in ``text``: counts as log(1 + count), shares of characters in [0, 1].

    >>> dict(zip(LEXICAL_NAMES, lexical_counts("Is 7 prime?")))["question_marks"] == log1p(1)
    True
    """
    size = len(text) or 1
    words = len(text.split())
    return (
        log1p(words),
        log1p(len(_SENTENCES.findall(text))),
        log1p(text.count("\n")),
        log1p(len(text) / (words or 1)),
        sum(map(str.isdigit, text)) / size,
        sum(map(str.isupper, text)) / size,
        sum(map(_PUNCTUATION.__contains__, text)) / size,
        1.0 - len(text.encode("ascii", "ignore")) / size if text else 0.0,
        log1p(len(_CODE.findall(text))),
        log1p(len(_MATH.findall(text))),
        log1p(text.count("?")),
        log1p(len(_CHOICES.findall(text))),
    )
