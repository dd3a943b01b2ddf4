"""JudgeCorrection: what people would say of an answer, given what the judge said."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from routelab.arrays import Floats, float_array
from routelab.errors import RoutelabError

_PRIOR = 1.0  # labels that the mean of all labels counts for at every score
_LEAST = 10


@dataclass(frozen=True, slots=True, eq=False)
class JudgeCorrection:
    """Expected human grade as a rising function of the judge's score, from a small sample that both graded.

    Isotonic regression (pool adjacent violators; Barlow et al., 1972) finds groups of scores of one human mean each.
    A group's mean is a posterior one: one label that is the mean of all is added, and one of the usual spread, so that
    a group of few is not taken for certain. For right or wrong that is a Beta prior, and of a binary judge the result
    is P(right | verdict). Between the groups' mean scores it is interpolated. The standard error is that of the human
    grade of one answer: the spread of human grades at that score, and the uncertainty of their mean.

    It is unbiased over answers like those of the sample, and draws each towards what is usual among them: differences
    between providers, of which the sample is a mixture, shrink. To compare providers take ``corrected_mean``, or a
    correction for each (``JudgeEvaluator``).

    Args:
        judged: (m,) the sample: scores of the judge in [0, 1].
        human: (m,) what people said of the same answers, in [0, 1].
        scores: (g,) mean score of each group, rising.
        quality: (g,) expected human grade.
        variance: (g,) of one human grade around it.

    >>> correction = JudgeCorrection.fit([1, 1, 1, 1, 1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 1, 0, 0, 0, 0, 1])
    >>> [round(value, 3) for value in correction.correct(1.0)]
    [0.8, 0.418]
    >>> JudgeCorrection.from_dict(correction.to_dict()).correct(1.0) == correction.correct(1.0)
    True
    """

    judged: Floats
    human: Floats
    scores: Floats
    quality: Floats
    variance: Floats

    @classmethod
    def fit(cls, judged: ArrayLike, human: ArrayLike) -> Self:
        """From what the judge, and what people, said of the same m answers; both (m,) in [0, 1].

        Raises:
            RoutelabError: fewer than 10 labels, lengths that differ, or a value outside [0, 1].
        """
        scores, labels = checked_sample(judged, human)
        return cls(scores, labels, *_groups(scores, labels))

    def correct(self, score: float) -> tuple[float, float]:
        """What people would say of an answer of this ``score`` in [0, 1], and its standard error."""
        quality, variance = (float(np.interp(score, self.scores, of)) for of in (self.quality, self.variance))
        return quality, math.sqrt(variance)

    def to_dict(self) -> dict[str, list[float]]:
        """The sample, as JSON can hold it; the rest follows from it."""
        return {"judged": self.judged.tolist(), "human": self.human.tolist()}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Self:
        """Inverse of ``to_dict``; RoutelabError where the sample is none."""
        if set(state) != {"judged", "human"}:
            raise RoutelabError(f"a correction has the keys judged and human, not {sorted(state)}; save it by to_dict")
        return cls.fit(state["judged"], state["human"])


def checked_sample(judged: ArrayLike, human: ArrayLike) -> tuple[Floats, Floats]:
    """Both (m,) as float64; RoutelabError where they are fewer than 10, differ in length, or leave [0, 1]."""
    scores, labels = float_array("judged", judged, ndim=1), float_array("human", human, ndim=1)
    if len(scores) != len(labels) or len(scores) < _LEAST:
        raise RoutelabError(f"{len(scores)} judged, {len(labels)} human; give both of the same ≥ {_LEAST} answers")
    for name, values in (("judged", scores), ("human", labels)):
        check_grades(name, values)
    return scores, labels


def check_grades(name: str, values: Floats) -> None:
    """Refuse what is no grade; RoutelabError names the first."""
    bad = np.flatnonzero(~((values >= 0.0) & (values <= 1.0)))
    if len(bad):
        raise RoutelabError(f"{name}[{bad[0]}] is {values[bad[0]]}; give grades in [0, 1]")


def _groups(scores: Floats, labels: Floats) -> tuple[Floats, Floats, Floats]:
    """Mean score of each group, posterior mean and predictive variance of its labels, each (g,)."""
    from scipy.optimize import isotonic_regression

    _, which, count = np.unique(scores, return_inverse=True, return_counts=True)
    fit = isotonic_regression(np.bincount(which, labels) / count, weights=count)
    group = np.repeat(np.arange(len(fit.blocks) - 1), np.diff(fit.blocks))[which]
    n = np.bincount(group)
    drawn = (np.bincount(group, labels) + _PRIOR * labels.mean()) / (n + _PRIOR)
    quality = np.asarray(isotonic_regression(drawn, weights=n + _PRIOR).x)  # few are drawn past many
    squares = (labels - quality[group]) ** 2
    # a fitted group costs about 1.5 degrees of freedom (Meyer & Woodroofe, 2000)
    usual = squares.sum() / max(len(labels) - 1.5 * len(n), 1.0)
    spread = (np.bincount(group, squares) + _PRIOR * usual) / (n + _PRIOR)
    return np.bincount(group, scores) / n, quality, spread * (1.0 + 1.0 / (n + _PRIOR))
