"""Evaluators at full size: ``pytest -s tests/benchmarks/test_grading.py`` prints the figures."""

from __future__ import annotations

import time

import numpy as np
import pytest
from scipy import stats

from judging import WORLDS, errors_of_corrections
from routelab import LinTSPolicy, LinUCBPolicy
from routelab.policies import Policy
from test_evaluators import EVALUATORS, PIECES, REFERENCES, grade
from test_judge_correction import intervals
from uncertain import Problem, constant, linear, saved


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


@pytest.mark.parametrize("labels", [50, 100, 200])
@pytest.mark.parametrize("world", WORLDS)
def test_the_corrected_mean_covers_the_truth(world: str, labels: int) -> None:
    covered, width, error = intervals(world, labels, 2_000).T
    low, high = stats.binomtest(int(covered.sum()), len(covered)).proportion_ci(method="wilson")
    bias, spread = error.mean(), 2.0 * error.std() / np.sqrt(len(error))
    print(
        f"\n{world}, {labels} labels of 2,000: 95 % interval covers {covered.mean():.4f} [{low:.4f}, {high:.4f}]",
        end="",
    )
    print(f", {width.mean():.2f} as wide as the labels alone, bias {bias:+.4f} ± {spread:.4f}", end="")
    assert 0.93 <= covered.mean() <= 0.97
    assert width.max() <= 1.0 + 1e-9
    assert abs(bias) <= 1.5 * spread


@pytest.mark.parametrize("labels", [20, 50, 100, 200])
@pytest.mark.parametrize("world", WORLDS)
def test_a_correction_is_as_uncertain_as_it_says(world: str, labels: int) -> None:
    errors, squares, said = errors_of_corrections(WORLDS[world], labels, seeds=1_000)
    ratio, spread = np.mean(squares) / np.mean(said), 2.0 * np.std(errors) / np.sqrt(len(errors))
    print(f"\n{world}, {labels} labels: squared error {ratio:.3f} of what is said", end="")
    print(f", bias {np.mean(errors):+.4f} ± {spread:.4f}", end="")
    assert 0.9 <= ratio <= (1.25 if labels == 20 else 1.1)
    assert abs(np.mean(errors)) <= 0.02


@pytest.mark.parametrize(
    ("policy", "problem"),
    [(LinUCBPolicy(), linear), (LinTSPolicy(), linear), (LinTSPolicy(), constant)],
    ids=["LinUCB", "LinTS", "LinTS without features"],
)
def test_regret_with_standard_errors_told_and_ignored(policy: Policy, problem: Problem) -> None:
    ignored, told, error = saved(policy, problem, seeds=40, rounds=3_000)
    print(f"\n{policy}: regret {ignored:.1f} ignored, {told:.1f} told", end="")
    print(f", difference {ignored - told:+.1f} ± {2 * error:.1f} (2 SE of 40 pairs)", end="")
    assert ignored - told >= 3.0 * error
