"""Runs to scores: every figure as the mean over splits, with paired bootstrap intervals over prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from routelab import metrics
from routelab.arrays import Floats
from routelab.benchmark.runs import Run
from routelab.errors import RoutelabError
from routelab.evaluation.bootstrap import percentile_interval
from routelab.evaluation.crossfit import CrossFit
from routelab.evaluation.split import Split

_TOLERATED = 0.01  # of quality, given up for ``cost_save_1pt``
_UNKNOWN = {"estimate": None, "low": None, "high": None}


@dataclass(frozen=True, slots=True)
class Trial:
    """One split, with what the policies did on it.

    Args:
        train: the training prompts.
        held: the evaluation prompts that have every outcome.
        runs: policy → run.
        fitted: their cross-fitted hulls; all trials on the same resamples of prompts.
    """

    train: Split
    held: Split
    runs: Mapping[str, Run]
    fitted: CrossFit

    @property
    def best_single(self) -> int:
        """Column of the provider with the best mean quality on the training prompts."""
        return int(np.nanmean(self.train.quality, axis=0).argmax())


def score(trials: Sequence[Trial]) -> dict[str, Any]:
    """``single_hull_aiq``, ``oracle_aiq`` and ``policies``: name → figures; the mean over trials of each.

    Calibration pools the predictions of all trials. A figure that is undefined is None, as is the calibration of a
    policy without estimates; where the oracle is no better
    than the single hull, so that there is no gap to capture, ``no_gap`` says so.
    """
    names = list(trials[0].runs)
    report: dict[str, Any] = {
        "single_hull_aiq": float(np.mean([trial.fitted.single[0] for trial in trials])),
        "oracle_aiq": float(np.mean([trial.fitted.oracle[0] for trial in trials])),
    }
    captured: dict[str, Floats] = {}
    try:
        captured = {n: np.mean([trial.fitted.captured(n) for trial in trials], axis=0) for n in names}
    except RoutelabError as error:
        report["no_gap"] = str(error)
    report["policies"] = {name: _scores(name, trials, captured) for name in names}
    return report


def _scores(name: str, trials: Sequence[Trial], captured: Mapping[str, Floats]) -> dict[str, Any]:
    runs = [trial.runs[name] for trial in trials]
    scores: dict[str, Any] = {"aiq": float(np.mean([trial.fitted.aiq[name][0] for trial in trials]))}
    own = captured.get(name)
    scores["hull_gap_captured"] = _UNKNOWN if own is None else percentile_interval(own[0], own[1:]).as_dict()
    gains = [_perf_gain(trial, run) for trial, run in zip(trials, runs, strict=True)]
    scores["perf_gain"] = None if None in gains else float(np.mean(np.array(gains, float)))
    for key, loss in (("cost_save", 0.0), ("cost_save_1pt", _TOLERATED)):
        scores[key] = _mean_saving([_saving(trial, run, loss) for trial, run in zip(trials, runs, strict=True)])
    predicted = [run.predicted for run in runs if run.predicted is not None]
    scores["ece"] = scores["brier"] = None
    if predicted:
        pairs = np.concatenate(predicted), np.concatenate([trial.held.quality for trial in trials])
        providers = trials[0].held.providers
        columns = list(zip(providers, pairs[0].T, pairs[1].T, strict=True))
        scores["ece"] = {provider: metrics.expected_calibration_error(p, seen) for provider, p, seen in columns}
        scores["brier"] = {provider: metrics.brier_score(p, seen) for provider, p, seen in columns}
    rivals = [other for other in captured if other not in (name, "oracle")]
    if name != "oracle" and rivals:
        rival = max(rivals, key=lambda other: captured[other][0])
        lead = captured[name] - captured[rival]
        scores["difference_to_strongest_other"] = {"policy": rival} | percentile_interval(lead[0], lead[1:]).as_dict()
    if len(trials[0].held.providers) == 2:
        scores |= _strong_calls(trials, runs)
    return scores


def _perf_gain(trial: Trial, run: Run) -> float | None:
    best = float(trial.held.quality[:, trial.best_single].mean())
    return metrics.perf_gain(run.points[:, 1], best) if best > 0.0 else None


def _saving(trial: Trial, run: Run, loss: float) -> float | None:
    """Largest saving at Best Single's quality less ``loss``; None where Best Single is free, or no setting is as good.

    As in ``metrics.cost_save``, but a tie within rounding is as good.
    """
    quality, cost = (matrix[:, trial.best_single].mean() for matrix in (trial.held.quality, trial.held.cost))
    if not cost > 0.0:
        return None
    saving = metrics.cost_save(run.points[:, 0], run.points[:, 1], float(cost), float(quality) - loss - 1e-12)
    return None if np.isnan(saving) else saving


def _mean_saving(savings: Sequence[float | None]) -> float | None:
    """Over splits, of which one without a setting as good as Best Single saves nothing; None where all are so."""
    if all(saving is None for saving in savings):
        return None
    return float(np.mean([saving or 0.0 for saving in savings]))


def _strong_calls(trials: Sequence[Trial], runs: Sequence[Run]) -> dict[str, float | None]:
    """APGR, CPT(50 %) and CPT(80 %) of two providers, of which the dearer on the training prompts is the strong one."""
    found = [_strong_calls_of(trial, run) for trial, run in zip(trials, runs, strict=True)]
    means = [None if None in each else float(np.mean(np.array(each, float))) for each in zip(*found, strict=True)]
    return dict(zip(("apgr", "cpt50", "cpt80"), means, strict=True))


def _strong_calls_of(trial: Trial, run: Run) -> tuple[float | None, float | None, float | None]:
    strong = int(np.nanmean(trial.train.cost, axis=0).argmax())
    means = trial.held.quality.mean(axis=0)
    ends = float(means[1 - strong]), float(means[strong])
    if not ends[1] > ends[0]:
        return None, None, None
    if run.ranks and run.predicted is not None:
        need = run.predicted[:, strong] - run.predicted[:, 1 - strong]
        path = metrics.strong_share_curve(need, trial.held.quality[:, 1 - strong], trial.held.quality[:, strong])
    else:
        path = np.clip(run.shares[:, strong], 0.0, 1.0), run.points[:, 1]
    return metrics.apgr(*path, *ends), metrics.cpt(*path, *ends, level=0.5), metrics.cpt(*path, *ends, level=0.8)


def curves(trials: Sequence[Trial], name: str) -> dict[str, Any]:
    """``curve``: [[mean cost in USD, mean quality], …] and ``shares``: provider → share, setting by setting."""
    points = np.mean([trial.runs[name].points for trial in trials], axis=0)
    shares = np.mean([trial.runs[name].shares for trial in trials], axis=0)
    return {
        "curve": points.tolist(),
        "shares": dict(zip(trials[0].held.providers, shares.T.tolist(), strict=True)),
    }
