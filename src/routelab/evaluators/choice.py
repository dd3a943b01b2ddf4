"""ChoiceEvaluator: the letter that an answer chooses is the reference's."""

from __future__ import annotations

import re

from routelab.errors import RoutelabError
from routelab.evaluators.base import ReferenceEvaluator
from routelab.evaluators.boxed import boxed

_MARKUP = r"[\s*_`$({\[\\\"'“‘]{0,12}"  # what may stand around a letter; bounded, so that searching stays linear
_SEPARATOR = r"[\s*)\]]{0,4}(?:,|/|&|\bor\b|\band\b|,\s?(?:or|and)\b)" + _MARKUP


class ChoiceEvaluator(ReferenceEvaluator):
    r"""1 where the answer chooses the reference's letter.

    The choice is what is boxed; else what the last statement of the kind "the answer is (C)", "Answer: C" or "option C
    is correct" says (a later one corrects an earlier); else the one letter that begins a line ("C) Paris"), stands in
    brackets or bold, or stands alone. An answer that names several letters without saying which, or none, is wrong,
    not ungraded: else hedging would pay.

    Args:
        letters: of the choices.

    Raises:
        RoutelabError: the letters are not different letters, or a reference is none of them.

    >>> ChoiceEvaluator().is_right("(A) is tempting, but the answer is **C**.", "C")
    True
    """

    def __init__(self, letters: str = "ABCDEFGHIJ") -> None:
        if not (letters.isascii() and letters.isalpha() and len(set(letters.upper())) == len(letters)):
            raise RoutelabError(f"ChoiceEvaluator.letters is {letters!r}; give each letter once, such as 'ABCD'")
        self.letters = letters.upper()
        upper, lower = f"[{self.letters}]", f"[{self.letters.lower()}]"
        # "I think" and "a mystery" choose nothing; "C-14" and "B's" are no letters
        letter = rf"(?:(?!I\s+[a-z]){upper}(?![\w'’+-])|{lower}(?=\s{{0,2}}(?:[).,;:*_`\]}}\"'$]|\Z|\n)))"
        no_verb = r"(?!\s{1,2}(?:is|are|was|has|would|can|cannot)\b)"
        several = rf"{letter}(?:{_SEPARATOR}{letter}{no_verb}){{0,9}}"
        word = r"(?i:answer|choice|option|solution|correct one)"
        verb = r"(?i:\s{0,2}(?:is|:|=|would be|must be|should be|→|->):?\s{0,2}(?:therefore|thus|clearly|indeed)?)"
        kind = r"(?i:(?:the\s)?(?:option|choice|letter|answer)\s)?(?:\\?text(?:bf)?\{)?"
        right = r"(?i:[\s*)\]]{0,4}(?:is|seems|must be|looks)\s(?:the\s)?(?:most\s)?(?:correct|right|best|true)\b)"
        self._stated = re.compile(
            rf"\b{word}[\s*_)]{{0,4}}{verb}{_MARKUP}{kind}{_MARKUP}({several})"
            rf"|\b(?i:option|choice|answer)\s{_MARKUP}({letter}){right}|(?<!\w)({upper}){right}"
        )
        self._lone = re.compile(rf"\A\W{{0,12}}({upper}|{lower})\W{{0,12}}\Z")
        self._shown = [
            re.compile(rf"^[ \t*_(\[>-]{{0,8}}({upper})[)\].:*]", re.MULTILINE),
            re.compile(rf"[(\[]({upper})[)\]]|\*\*\(?({upper})[).:]?\*\*|(?i:option|choice)\s({upper})(?!\w)"),
            re.compile(rf"(?<![\w'’])(?![AI])({upper})(?![\w'’+-])"),
        ]

    def is_right(self, answer: str, reference: str) -> bool:
        """Whether the answer chooses the letter of ``reference`` ("C" or "(C)")."""
        letter = reference.strip(" \t\n().:*").upper()
        if len(letter) != 1 or letter not in self.letters:
            raise RoutelabError(
                f"the reference {reference[:80]!r} is no choice; give one letter of {self.letters}, or more letters"
            )
        return self.chosen(answer) == letter

    def chosen(self, answer: str) -> str | None:
        """The letter that ``answer`` chooses; None where it chooses none, or several."""
        box = boxed(answer)
        if box is not None:
            return self._one(re.findall(rf"(?<![A-Za-z])[{self.letters}](?![A-Za-z])", box))
        stated = [next(filter(None, match.groups())) for match in self._stated.finditer(answer)]
        if stated:
            return self._one(re.findall(rf"(?i)\b[{self.letters}]\b", stated[-1]))
        alone = self._lone.match(answer)
        if alone:
            return alone[1].upper()
        for shown in self._shown:
            found = [next(filter(None, match.groups())) for match in shown.finditer(answer)]
            if found:
                return self._one(found)
        return None

    @staticmethod
    def _one(letters: list[str]) -> str | None:
        """The letter, if all are the same one."""
        different = {letter.upper() for letter in letters}
        return different.pop() if len(different) == 1 else None
