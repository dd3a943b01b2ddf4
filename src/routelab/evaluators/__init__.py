"""Quality evaluators: what an answer is worth, in [0, 1], and how sure that is."""

from __future__ import annotations

from routelab.evaluators.base import Grade, QualityEvaluator

__all__ = ["Grade", "QualityEvaluator"]
