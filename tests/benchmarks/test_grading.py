"""Evaluators at full size: ``pytest -s tests/benchmarks/test_grading.py`` prints the figures."""

from __future__ import annotations

import time

from test_evaluators import EVALUATORS, PIECES, REFERENCES, grade


def test_a_megabyte_is_graded_in_a_second() -> None:
    worst = (0.0, "", "")
    for evaluator, reference in zip(EVALUATORS, REFERENCES, strict=True):
        for piece in PIECES:
            answer = piece * (1_000_000 // len(piece))
            begin = time.process_time()
            grade(evaluator, answer, reference)
            worst = max(worst, (time.process_time() - begin, type(evaluator).__name__, piece))
    print(f"\nthe slowest megabyte: {worst[0]:.2f} s, {worst[1]} on {worst[2]!r}", end="")
    assert worst[0] < 1.0
