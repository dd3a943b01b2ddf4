"""ExactEvaluator: the answer is the reference, give or take how it is written."""

from __future__ import annotations

import re
import string

from routelab.evaluators.base import ReferenceEvaluator

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_UNMARKED = str.maketrans("", "", string.punctuation + "“”‘’«»„…。、¿¡")


def normalised(text: str, *, punctuation: bool = True, articles: bool = True) -> str:
    """``text`` in lower case with single spaces, without punctuation and English articles where they do not count.

    The normalisation of SQuAD's official script (Rajpurkar et al., 2016).

    Args:
        text: any.
        punctuation: whether it is left out.
        articles: whether they are left out.

    >>> normalised("  The Eiffel\\nTower. ")
    'eiffel tower'
    """
    text = text.casefold()
    if punctuation:
        text = text.translate(_UNMARKED)
    if articles:
        text = _ARTICLES.sub(" ", text)
    return " ".join(text.split())


class ExactEvaluator(ReferenceEvaluator):
    """1 where answer and reference are the same text; case and white space never count.

    Args:
        ignore_punctuation: whether "Paris." is "Paris".
        ignore_articles: whether "the Seine" is "Seine".

    >>> ExactEvaluator().is_right("The Seine.", "seine")
    True
    >>> ExactEvaluator(ignore_articles=False).is_right("The Seine.", "seine")
    False
    """

    def __init__(self, *, ignore_punctuation: bool = True, ignore_articles: bool = True) -> None:
        self.ignore_punctuation = ignore_punctuation
        self.ignore_articles = ignore_articles

    def is_right(self, answer: str, reference: str) -> bool:
        """Whether both are the same text."""
        return self._normalised(answer) == self._normalised(reference)

    def _normalised(self, text: str) -> str:
        found = normalised(text, punctuation=self.ignore_punctuation, articles=self.ignore_articles)
        return found or " ".join(text.split())  # "+" and "The" are answers, too
