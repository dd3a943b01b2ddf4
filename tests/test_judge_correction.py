"""Correction of a judge by a few labels, by simulation: unbiased, as uncertain as it says, never worse than labels."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from judging import TRUTH, WORLDS, errors_of_corrections, lenient
from routelab import JudgeCorrection, RoutelabError
from routelab.evaluators import corrected_mean

RUNS, ANSWERS = 400, 2_000


def intervals(world: str, labels: int, runs: int) -> np.ndarray:
    """Of each run whether the interval holds the truth, its width over that of the labels alone, and the error."""
    rows = []
    for seed in range(runs):
        judged, human = WORLDS[world](np.random.default_rng(seed), ANSWERS)
        found = corrected_mean(judged[labels:], judged[:labels], human[:labels])
        alone = 2.0 * stats.t.ppf(0.975, labels - 1) * human[:labels].std(ddof=1) / np.sqrt(labels)
        rows.append((found.low <= TRUTH <= found.high, (found.high - found.low) / alone, found.mean - TRUTH))
    return np.array(rows, dtype=float)


@pytest.mark.parametrize("world", WORLDS)
def test_the_corrected_mean_is_unbiased_covered_and_no_wider_than_the_labels_alone(world: str) -> None:
    covered, width, error = intervals(world, 100, RUNS).T
    assert 0.92 <= covered.mean() <= 0.98
    assert width.max() <= 1.0 + 1e-9
    assert abs(error.mean()) <= 3.0 * error.std() / np.sqrt(RUNS)


def test_a_lenient_judge_alone_is_wrong_and_corrected_saves_a_third_of_the_labels() -> None:
    judged, human = lenient(np.random.default_rng(0), 100_000)
    assert np.mean(judged != human) == pytest.approx(0.2, abs=0.01)
    assert judged.mean() - human.mean() > 0.15
    assert intervals("lenient", 100, 50)[:, 1].mean() < 0.82  # of the width: two thirds of the labels would do


def test_few_answers_without_a_label_leave_the_mean_uncertain() -> None:
    covered = 0
    for seed in range(RUNS):
        judged, human = WORLDS["graded"](np.random.default_rng(seed), 300)
        found = corrected_mean(judged[200:], judged[:200], human[:200])
        covered += found.low <= TRUTH <= found.high
    assert covered / RUNS > 0.92


def test_labels_alone_where_the_judge_says_always_the_same() -> None:
    human = [1.0] * 7 + [0.0] * 3
    found = corrected_mean([0.5] * 50, [0.5] * 10, human)
    radius = stats.t.ppf(0.975, 9) * np.std(human, ddof=1) / np.sqrt(10)
    assert (found.mean, found.trust) == (pytest.approx(0.7), 0.0)
    assert (found.low, found.high) == (pytest.approx(0.7 - radius), 1.0)


@pytest.mark.parametrize("labels", [50, 100])
@pytest.mark.parametrize("world", WORLDS)
def test_a_correction_is_unbiased_and_as_uncertain_as_it_says(world: str, labels: int) -> None:
    errors, squares, said = errors_of_corrections(WORLDS[world], labels, seeds=100)
    assert abs(np.mean(errors)) <= 3.0 * np.std(errors) / 10.0
    assert np.mean(squares) / np.mean(said) == pytest.approx(1.03, abs=0.08)


def test_a_correction_is_nearer_to_the_truth_than_the_judge() -> None:
    rng = np.random.default_rng(0)
    correction = JudgeCorrection.fit(*lenient(rng, 100))
    judged, human = lenient(rng, 20_000)
    corrected = np.array([correction.correct(score)[0] for score in judged])
    assert ((corrected - human) ** 2).mean() < 0.8 * ((judged - human) ** 2).mean()
    assert abs(corrected.mean() - human.mean()) < 0.3 * abs(judged.mean() - human.mean())


def test_few_labels_that_agree_are_not_taken_for_certain() -> None:
    correction = JudgeCorrection.fit([0.0] * 5 + [1.0] * 5, [0.0] * 5 + [1.0] * 5)
    quality, se = correction.correct(1.0)
    assert quality == pytest.approx(5.5 / 6)
    assert se > 0.05


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=10, max_size=40),
    st.lists(st.floats(0, 1), min_size=2, max_size=5),
)
def test_a_correction_rises_stays_in_range_and_survives_json(
    sample: list[tuple[float, float]], asked: list[float]
) -> None:
    judged, human = zip(*sample, strict=True)
    correction = JudgeCorrection.fit(judged, human)
    again = JudgeCorrection.from_dict(json.loads(json.dumps(correction.to_dict())))
    for score in asked:
        quality, se = correction.correct(score)
        assert 0.0 <= quality <= 1.0
        assert se >= 0.0
        assert again.correct(score) == (quality, se)
    assert correction.correct(min(asked))[0] <= correction.correct(max(asked))[0] + 1e-12


@pytest.mark.parametrize(
    ("judged", "human", "told"),
    [
        ([0.5] * 9, [0.5] * 9, "9 judged, 9 human; give both of the same ≥ 10 answers"),
        ([0.5] * 11, [0.5] * 10, "11 judged, 10 human"),
        ([0.5] * 9 + [1.5], [0.5] * 10, r"judged\[9\] is 1.5; give grades in \[0, 1\]"),
        ([0.5] * 10, [0.5] * 9 + [float("nan")], "human is nan at row 9"),
    ],
)
def test_a_sample_that_is_none_is_refused(judged: list[float], human: list[float], told: str) -> None:
    for use in (JudgeCorrection.fit, lambda judged, human: corrected_mean([0.5], judged, human)):
        with pytest.raises(RoutelabError, match=told):
            use(judged, human)


def test_other_arguments_that_cannot_be_are_refused() -> None:
    sample = [0.5] * 10
    with pytest.raises(RoutelabError, match=r"alpha is 1\.0"):
        corrected_mean([0.5], sample, sample, alpha=1.0)
    with pytest.raises(RoutelabError, match="judged is empty"):
        corrected_mean([], sample, sample)
    with pytest.raises(RoutelabError, match=r"keys judged and human, not \['judged'\]"):
        JudgeCorrection.from_dict({"judged": sample})
