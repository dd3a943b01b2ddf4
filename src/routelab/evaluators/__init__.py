"""Quality evaluators: what an answer is worth, in [0, 1], and how sure that is."""

from __future__ import annotations

from routelab.evaluators.base import Grade, QualityEvaluator, ReferenceEvaluator
from routelab.evaluators.choice import ChoiceEvaluator
from routelab.evaluators.correction import JudgeCorrection
from routelab.evaluators.exact import ExactEvaluator
from routelab.evaluators.first_of import FirstOf
from routelab.evaluators.judge import JudgeEvaluator
from routelab.evaluators.numeric import NumericEvaluator
from routelab.evaluators.pattern import RegexEvaluator
from routelab.evaluators.prediction_powered import CorrectedMean, corrected_mean

__all__ = [
    "ChoiceEvaluator",
    "CorrectedMean",
    "ExactEvaluator",
    "FirstOf",
    "Grade",
    "JudgeCorrection",
    "JudgeEvaluator",
    "NumericEvaluator",
    "QualityEvaluator",
    "ReferenceEvaluator",
    "RegexEvaluator",
    "corrected_mean",
]
