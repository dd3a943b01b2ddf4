from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from pipeline import SETTINGS, new_project, run_stage
from routelab import metrics
from routelab.benchmark.harness import evaluate_table, read_table
from routelab.benchmark.text import report_lines
from routelab.errors import PolicyError, RoutelabError, SourceError, TableError
from routelab.evaluation.crossfit import cross_fit, oracle_curve
from routelab.params import load_params
from routelab.policies import POLICIES, MeansPolicy
from routelab.tables.sources import SOURCES
from tables import hard_and_easy, table_of, with_split, write_csv

ROOT = Path(__file__).resolve().parents[1]
CHEAP = ("best-single", "train-means", "random-mix", "rule", "thompson", "oracle")


def report_on(frame: pd.DataFrame, *policies: str, **settings: object) -> dict[str, object]:
    return evaluate_table(table_of(frame), "t", policies=policies or CHEAP, resamples=60, **settings)


def test_the_report_holds_the_promised_keys_and_figures_of_hand() -> None:
    frame = with_split(hard_and_easy(), train=200)
    report = report_on(frame)
    assert list(report) == [
        *("table", "split", "repeats", "n_train", "n_eval", "n_eval_incomplete", "providers"),
        *("single_hull_aiq", "oracle_aiq", "policies", "left_out"),
    ]
    assert (report["split"], report["n_train"], report["n_eval"], report["providers"]) == ("own", 200, 100, 2)
    held = frame[frame["split"] == "eval"]
    hard = held.groupby("prompt_id")["x_hard"].first().mean()
    assert report["single_hull_aiq"] == pytest.approx(1.0 - hard / 2.0, abs=0.01)  # halfway from small to large
    policies = report["policies"]
    assert policies["oracle"]["hull_gap_captured"] == {"estimate": 1.0, "low": 1.0, "high": 1.0}
    single = policies["best-single"]
    assert single["perf_gain"] == 0.0
    assert single["cost_save"] == pytest.approx(0.0)
    assert single["curve"] == [[pytest.approx(0.01), 1.0]] * 32
    assert policies["oracle"]["cost_save"] == pytest.approx(1.0 - (0.01 * hard + 0.001 * (1 - hard)) / 0.01)
    for scores in policies.values():
        assert np.sum(list(scores["shares"].values()), axis=0) == pytest.approx(np.ones(len(scores["curve"])))
        assert set(scores["ece"]) == set(scores["brier"]) == {"small", "large"}
    assert policies["train-means"]["difference_to_strongest_other"]["policy"] not in ("oracle", "train-means")
    assert "difference_to_strongest_other" not in policies["oracle"]


def test_best_single_is_chosen_on_the_training_prompts() -> None:
    frame = with_split(hard_and_easy(), train=200)
    trusted = np.where(frame["split"] == "train", "small", "large")
    policies = report_on(frame.assign(quality=np.where(frame["provider"] == trusted, 1.0, 0.5)))["policies"]
    assert policies["best-single"]["perf_gain"] == 0.0
    assert policies["oracle"]["perf_gain"] == pytest.approx(1.0)


def test_the_random_mixture_goes_from_the_cheapest_provider_to_the_dearest() -> None:
    costs = np.array(report_on(hard_and_easy())["policies"]["random-mix"]["curve"])[:, 0]
    assert costs == pytest.approx(np.linspace(0.001, 0.01, 32))


def test_calls_of_the_strong_provider_are_those_of_the_definition() -> None:
    frame = with_split(hard_and_easy(), train=200)
    hard = frame[frame["split"] == "eval"]["x_hard"].mean()
    policies = report_on(frame)["policies"]
    for name in ("train-means", "random-mix", "best-single"):
        assert [policies[name][key] for key in ("apgr", "cpt50", "cpt80")] == pytest.approx([0.5, 0.5, 0.8], abs=1e-6)
    # sending the hard prompts first recovers the gap in a straight line
    found = [policies["oracle"][key] for key in ("apgr", "cpt50", "cpt80")]
    assert found == pytest.approx([1.0 - hard / 2.0, 0.5 * hard, 0.8 * hard])


def test_the_forest_captures_what_the_features_tell_and_beats_the_means_by_all_of_it() -> None:
    frame = hard_and_easy(noise=0.1)
    forest = report_on(frame, "train-means", "forest", "oracle")["policies"]["forest"]
    assert forest["hull_gap_captured"]["low"] > 0.4
    other = forest["difference_to_strongest_other"]
    assert other["policy"] == "train-means"
    assert other["low"] > 0.4


def test_every_registered_policy_is_run_or_left_out_with_a_reason() -> None:
    report = evaluate_table(table_of(hard_and_easy(120)), "t", resamples=50)
    assert set(report["policies"]) | set(report["left_out"]) == set(POLICIES)
    assert report["left_out"] == {}


def test_same_seed_same_report_and_another_seed_another_split() -> None:
    frame = hard_and_easy(noise=0.3)
    one, again, other = (report_on(frame, seed=seed) for seed in (3, 3, 4))
    assert json.dumps(one) == json.dumps(again)
    assert one["single_hull_aiq"] != other["single_hull_aiq"]


def test_repeats_are_the_mean_over_splits_and_pool_the_calibration() -> None:
    frame = hard_and_easy(noise=0.3)
    alone = [report_on(frame, seed=seed, train_split=0.6) for seed in (5, 6)]
    both = report_on(frame, seed=5, repeats=2, train_split=0.6)
    for name in ("rule", "thompson"):
        scores = [report["policies"][name] for report in alone]
        found = both["policies"][name]
        gaps = [each["hull_gap_captured"]["estimate"] for each in scores]
        assert found["hull_gap_captured"]["estimate"] == pytest.approx(np.mean(gaps))
        assert found["perf_gain"] == pytest.approx(np.mean([each["perf_gain"] for each in scores]))
        assert np.array(found["curve"]) == pytest.approx(np.mean([each["curve"] for each in scores], axis=0))
    sides = [table_of(frame).split(0.6, seed=seed) for seed in (5, 6)]
    predicted = np.concatenate([np.full(held.n, train.quality[:, 0].mean()) for train, held in sides])
    observed = np.concatenate([held.quality[:, 0] for _, held in sides])
    pooled = metrics.expected_calibration_error(predicted, observed)
    assert both["policies"]["train-means"]["ece"]["small"] == pytest.approx(pooled)


def test_intervals_of_repeats_respect_that_splits_share_their_evaluation_prompts() -> None:
    """Eight splits at 30 % cover each prompt 2.4 times: √.3 of one split's width, not √⅛."""
    frame = hard_and_easy(600, noise=0.5)

    def width(**settings: object) -> float:
        report = evaluate_table(table_of(frame), "t", policies=["rule"], resamples=300, **settings)
        gap = report["policies"]["rule"]["hull_gap_captured"]
        return gap["high"] - gap["low"]

    one = np.mean([width(seed=seed) for seed in range(8)])
    assert 0.45 < width(repeats=8) / one < 0.75


def test_given_weights_take_the_place_of_resamples() -> None:
    rng = np.random.default_rng(0)
    quality, cost = rng.integers(0, 2, size=(100, 2)).astype(float), np.tile([0.001, 0.01], (100, 1))
    arguments = ({"itself": oracle_curve(quality, cost)}, quality, cost)
    fitted = cross_fit(*arguments, np.random.default_rng(1), weights=[np.ones((2, 100)), np.full((1, 100), 3.0)])
    assert fitted.single == pytest.approx(np.full(4, fitted.single[0]))
    half = np.zeros((1, 100))
    half[0, :50] = 1.0
    drawn = cross_fit(*arguments, np.random.default_rng(1), weights=[half])
    assert drawn.single[1] != pytest.approx(drawn.single[0])


def test_a_split_of_its_own_a_fraction_and_another_column_are_told_apart(tmp_path: Path) -> None:
    frame = with_split(hard_and_easy(100), train=80)
    assert report_on(frame)["n_train"] == 80
    assert report_on(frame, train_split=0.5)["n_train"] == 50
    assert report_on(frame, repeats=2)["split"] == "0.7"
    path = write_csv(with_split(frame, train=30, column="fold"), tmp_path / "t.csv")
    by_fold = evaluate_table(read_table(path, "fold"), path, policies=["rule"], train_split="split", resamples=50)
    assert (by_fold["split"], by_fold["n_train"]) == ("own", 30)
    with pytest.raises(RoutelabError, match=r"its own split is one split; give a fraction for 3 random ones"):
        report_on(frame, train_split="split", repeats=3)


@pytest.mark.parametrize("column", ["nowhere", "provider", "quality"])
def test_a_column_that_is_missing_or_means_something_else_is_refused(tmp_path: Path, column: str) -> None:
    path = write_csv(hard_and_easy(20), tmp_path / "t.csv")
    with pytest.raises(TableError, match=f"there is no column '{column}' of its own"):
        read_table(path, column)
    with pytest.raises(TableError, match=r"t.csv: there is no column 'split'; give a fraction"):
        read_table(path, "split")


def test_what_nothing_can_be_scored_on_is_refused() -> None:
    frame = with_split(hard_and_easy(60), train=40)
    with pytest.raises(TableError, match=r"every provider costs 0.001 USD"):
        report_on(frame.assign(cost_usd=0.001))
    with pytest.raises(TableError, match=r"every provider costs 0 USD"):
        report_on(frame.assign(cost_usd=0.0))
    unseen = (frame["split"] == "eval") & (frame["provider"] == "large")
    with pytest.raises(TableError, match=r"evaluation split: no prompt has both quality and cost of 'large'"):
        report_on(frame.assign(quality=frame["quality"].where(~unseen)))
    with pytest.raises(TableError, match=r"train_fraction is 1.5. Give a number in \(0, 1\)"):
        report_on(frame, train_split=1.5)
    with pytest.raises(PolicyError, match=r"no policy 'magic', 'luck'; known are best-single, "):
        report_on(frame, "magic", "rule", "luck")


@pytest.mark.parametrize("quality", [0.0, 0.5])
def test_without_a_gap_everything_else_is_still_told(quality: float) -> None:
    report = report_on(hard_and_easy(60).assign(quality=quality, task="only"))
    assert report["no_gap"].startswith(f"oracle AIQ is {quality:g}, single-hull AIQ {quality:g}: no gap")
    for scores in report["policies"].values():
        assert scores["hull_gap_captured"] == {"estimate": None, "low": None, "high": None}
        assert scores["aiq"] == pytest.approx(quality)
        assert scores["perf_gain"] == (None if quality == 0.0 else pytest.approx(0.0))
    assert "no gap to capture" in "\n".join(report_lines(report))


def test_prompts_that_lack_an_outcome_train_but_are_not_scored() -> None:
    frame = with_split(hard_and_easy(100), train=60)
    gone = frame["prompt_id"].isin(["p0", "p70", "p80"]) & (frame["provider"] == "small")
    report = report_on(frame.assign(quality=frame["quality"].where(~gone)))
    assert (report["n_train"], report["n_eval"], report["n_eval_incomplete"]) == (60, 38, 2)


class SlowPolicy(MeansPolicy):
    quadratic = True


@pytest.mark.parametrize("providers", [20, 21])
def test_a_policy_quadratic_in_providers_is_left_out_of_large_tables_and_the_output_says_so(
    monkeypatch: pytest.MonkeyPatch, providers: int
) -> None:
    monkeypatch.setitem(POLICIES, "slow", SlowPolicy)
    rng = np.random.default_rng(0)
    many = pd.concat(
        hard_and_easy(40)
        .query("provider == 'small'")
        .assign(provider=f"m{arm}", cost_usd=0.001 * (arm + 1), quality=rng.random(40))
        for arm in range(providers)
    )
    report = report_on(many, "train-means", "slow")
    assert ("slow" in report["policies"]) == (providers == 20)
    told = [line for line in report_lines(report) if line.startswith("left out: slow: its cost is quadratic")]
    assert len(told) == (providers == 21)


def test_a_policy_that_cannot_learn_from_the_table_is_left_out_with_its_reason() -> None:
    frame = with_split(hard_and_easy(100), train=60)
    place = frame["prompt_id"].str.removeprefix("p").astype(int)
    one_each = (place >= 60) | ((place % 2 == 0) == (frame["provider"] == "small"))
    report = report_on(frame[one_each], "train-means", "forest-classifier", "thompson")
    assert set(report["policies"]) == {"train-means"}
    assert "no prompt was answered by two providers" in report["left_out"]["forest-classifier"]
    assert "no prompt has both quality and cost of all 2 providers" in report["left_out"]["thompson"]


def test_published_figures_stand_beside_ours(mirror: Path) -> None:
    report = evaluate_table(read_table("routellm-gsm8k"), "routellm-gsm8k", policies=["train-means"], resamples=50)
    assert [figures["apgr"] for figures in report["published"]] == [0.622]
    lines = list(report_lines(report))
    assert any(line.startswith("published: RouteLLM") and "0.622" in line for line in lines)
    assert "published in Ong et al. 2024, RouteLLM, arXiv 2406.18665" in lines


def test_an_unknown_table_names_what_was_meant() -> None:
    with pytest.raises(SourceError, match=r"Did you mean 'paretobandit'"):
        read_table("paretobandi")


def test_the_stage_writes_the_comparison_and_names_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = new_project(tmp_path / "project")
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("ROUTELAB_DATA_MIRROR", str(tmp_path / "empty"))
    write_csv(hard_and_easy(150, noise=0.3), project / "own.csv")
    runs = [("own.csv", 2), ("own.csv", 1), ("gone.csv", 2), ("routerbench", 2)]
    settings = {"policies": [*CHEAP], "resamples": 50, "runs": [{"table": t, "repeats": r} for t, r in runs]}
    (project / "params.yaml").write_text(yaml.safe_dump(SETTINGS | {"benchmark": settings}))
    run = run_stage(project, "benchmark")
    assert (run.returncode, run.stderr) == (0, "")
    assert "missing: gone.csv: no file gone.csv" in run.stdout
    assert "missing: routerbench: source 'routerbench':" in run.stdout
    reports = project / "data" / "reports"
    assert sorted(path.name for path in reports.iterdir()) == ["benchmark.csv", "benchmark.json", "benchmark.png"]
    text = (reports / "benchmark.json").read_text(encoding="utf-8")
    report = json.loads(text)
    assert report["missing"] == ["gone", "routerbench"]
    assert [(each["table"], each["repeats"]) for each in report["runs"]] == [("own", 2), ("own", 1)]
    assert str(tmp_path) not in text
    rows = pd.read_csv(reports / "benchmark.csv")
    assert len(rows) == 2 * len(CHEAP)
    for _, row in rows.iterrows():
        run_report = next(each for each in report["runs"] if each["repeats"] == row["repeats"])
        gap = run_report["policies"][row["policy"]]["hull_gap_captured"]
        assert [row["gap"], row["low"], row["high"]] == pytest.approx(list(gap.values()))
    assert (reports / "benchmark.png").read_bytes().startswith(b"\x89PNG")


def test_the_benchmark_runs_over_every_registered_table() -> None:
    params = load_params(ROOT / "params.yaml")
    assert {name for name, s in SOURCES.items() if s.kind == "table"} <= {run.table for run in params.benchmark.runs}
