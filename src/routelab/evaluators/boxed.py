"""What an answer puts in a box: the result, as LaTeX writes it."""

from __future__ import annotations

import re

_BOX = re.compile(r"\\f?box(?:ed)?\s?\{")
_LONGEST = 500  # characters of a result


def boxed(text: str) -> str | None:
    r"""The content of the last ``\boxed{…}``, or None.

    >>> boxed(r"So \boxed{1}. No: \boxed{\frac{1}{2}}, as claimed.")
    '\\frac{1}{2}'
    """
    start = max((match.end() for match in _BOX.finditer(text)), default=None)
    if start is None:
        return None
    depth = 1
    for index, character in enumerate(text[start : start + _LONGEST], start):
        depth += (character == "{") - (character == "}")
        if not depth:
            return text[start:index]
    return None
