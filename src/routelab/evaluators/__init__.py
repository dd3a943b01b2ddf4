"""Quality evaluators: what an answer is worth, in [0, 1], and how sure that is."""

from __future__ import annotations

from routelab.evaluators.base import Grade, QualityEvaluator, ReferenceEvaluator
from routelab.evaluators.choice import ChoiceEvaluator
from routelab.evaluators.exact import ExactEvaluator
from routelab.evaluators.first_of import FirstOf
from routelab.evaluators.numeric import NumericEvaluator
from routelab.evaluators.pattern import RegexEvaluator

__all__ = [
    "ChoiceEvaluator",
    "ExactEvaluator",
    "FirstOf",
    "Grade",
    "NumericEvaluator",
    "QualityEvaluator",
    "ReferenceEvaluator",
    "RegexEvaluator",
]
