"""The recommended router: chosen without the evaluation prompts, judged on them, and no more sure than it may be."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from routelab import PerformanceTable, RoutelabError, load_router, recommend
from routelab.benchmark.paired import is_dominated, saving_interval
from routelab.benchmark.recommending import fold_numbers, text_groups
from routelab.cli import app
from routelab.providers import SimulatedProvider
from routelab.tables.synthetic import World
from routelab.tables.synthetic_world import DEFAULT_PROVIDERS


def made(n: int, seed: int, *, gap: float = 0.15, told: float = 0.0) -> PerformanceTable:
    """A cheap and a dear provider; where ``told`` is 1, feature ``x_hard`` says exactly who fails."""
    rng = np.random.default_rng(seed)
    hard = rng.random(n) < 0.4
    fails = np.where(rng.random(n) < told, hard, rng.random(n) < gap)
    quality = np.column_stack([1.0 - fails, np.ones(n)])
    cost = np.column_stack([rng.uniform(0.5e-3, 1.5e-3, n), rng.uniform(0.5e-2, 1.5e-2, n)])
    frame = pd.DataFrame(
        {
            "prompt_id": np.repeat([f"p{number}" for number in range(n)], 2),
            "provider": np.tile(["cheap", "dear"], n),
            "quality": quality.ravel(),
            "cost_usd": cost.ravel(),
            "x_hard": np.repeat(hard.astype(float), 2),
        }
    )
    return PerformanceTable.from_frame(frame)


def simulated(*names: str) -> list[SimulatedProvider]:
    return [SimulatedProvider(replace(DEFAULT_PROVIDERS[0], name=name)) for name in names]


def test_a_router_that_knows_who_fails_saves_what_the_easy_prompts_cost() -> None:
    advice = recommend(made(1500, 0, told=1.0), policies=["ridge"])
    assert advice.policy == "ridge"
    assert advice.proven
    assert advice.verdict.startswith("Switch to ridge")
    # six of ten prompts go to the cheap provider, at a tenth of the cost
    assert advice.saving.low < 0.54 < advice.saving.high
    assert advice.quality_difference.estimate == 0.0
    assert advice.shares["cheap"] == pytest.approx(0.6, abs=0.05)


def test_the_choice_sees_no_outcome_of_the_evaluation_prompts() -> None:
    table = World().generate(400, seed=3).table
    train, _ = table.split(0.7, seed=0, column=None)
    frame = table.to_frame()
    held = ~frame["prompt_id"].isin(train.prompt_ids)
    frame.loc[held, "quality"] = 1.0 - frame.loc[held, "quality"]
    first, second = (recommend(one, policies=["ridge"]) for one in (table, PerformanceTable.from_frame(frame)))
    assert first.compared.equals(second.compared)
    assert (first.policy, first.objective) == (second.policy, second.objective)
    assert first.quality_difference != second.quality_difference


def test_the_saving_is_that_of_the_fitted_policy_on_the_evaluation_prompts() -> None:
    table = World().generate(400, seed=3).table
    advice = recommend(table, policies=["ridge"], baseline="large", tolerance=0.1)
    _, held = table.split(0.7, seed=0, column=None)
    estimates = advice.fitted.predict(advice.featurizer.transform(held))
    rows, chosen = np.nonzero(estimates.greedy(advice.objective))
    large = held.providers.index("large")
    assert advice.policy == "ridge"
    assert advice.saving.estimate == pytest.approx(1 - held.cost[rows, chosen].mean() / held.cost[:, large].mean())
    difference = held.quality[rows, chosen].mean() - held.quality[:, large].mean()
    assert advice.quality_difference.estimate == pytest.approx(difference)


def test_the_router_does_as_recommended() -> None:
    table = made(1500, 0, told=1.0)
    advice = recommend(table, policies=["ridge"])
    router = advice.router(simulated(*table.providers))
    easy, hard = (next(row for row in range(table.n) if table.features[row, 0] == value) for value in (0.0, 1.0))
    asked = [asyncio.run(router.route(table.requests()[row])).name for row in (easy, hard)]
    assert asked == ["cheap", "dear"]


def test_a_cheap_provider_that_is_worse_by_chance_is_never_recommended_for_sure() -> None:
    """Nothing tells who fails, and the cheap provider fails in 15 %: any saving costs more than the tolerance."""
    told = [recommend(made(300, seed), policies=["ridge"]) for seed in range(20)]
    assert sum(one.proven for one in told) == 0
    assert all(one.verdict.startswith(("Keep dear", "Try ")) for one in told)


def test_who_brings_too_few_prompts_is_told_so() -> None:
    few = recommend(made(40, 0, gap=0.0), policies=["ridge"], baseline="dear")
    assert few.verdict.startswith("Keep dear for now: something cheaper may be as good, but 28 training prompts do not")
    assert few.quality_difference.as_dict() == {"estimate": 0.0, "low": 0.0, "high": 0.0}
    assert "saving" not in str(few)
    worse = recommend(made(400, 0, gap=0.6), policies=["ridge"], baseline="dear")
    assert worse.verdict == "Keep dear: nothing cheaper was as good on 280 training prompts."


def test_intervals_hold_the_truth() -> None:
    """Always the cheap provider, tolerance .5: saves .9 and loses .15, known by construction."""
    told = [recommend(made(300, seed), policies=["ridge"], tolerance=0.5, baseline="dear") for seed in range(40)]
    assert {one.policy for one in told} == {"always cheap"}
    for name, truth in (("saving", 0.9), ("quality_difference", -0.15)):
        held = [getattr(one, name).low <= truth <= getattr(one, name).high for one in told]
        assert sum(held) >= 34  # of 40 at 95 %, fewer come in one of 70


def test_a_few_prompts_on_which_all_are_equal_prove_nothing() -> None:
    few, many = (recommend(made(n, 0, gap=0.0), policies=["ridge"], baseline="dear") for n in (60, 3000))
    assert not few.proven
    assert many.proven
    assert many.policy == "always cheap"


def test_equal_texts_share_a_fold() -> None:
    table = World().generate(200, seed=0).table
    twice = pd.concat([table.to_frame(), table.to_frame().assign(prompt_id=lambda rows: rows["prompt_id"] + "again")])
    folds = fold_numbers(text_groups(PerformanceTable.from_frame(twice)), 5, seed=0)
    assert (folds[:200] == folds[200:]).all()
    assert set(folds) == set(range(5))


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"baseline": "huge"}, "no provider 'huge'"),
        ({"policies": ["thompson"]}, "'thompson': no candidate"),
        ({"tolerance": -0.1}, "tolerance is -0.1"),
    ],
)
def test_what_cannot_be_recommended_is_refused(wrong: dict[str, object], told: str) -> None:
    with pytest.raises(RoutelabError, match=told):
        recommend(made(50, 0), **wrong)  # type: ignore[arg-type]


def test_the_command_recommends_for_a_file_and_saves_the_router(tmp_path: Path) -> None:
    made(400, 0, told=1.0).write(tmp_path / "mine.csv")
    where = ["--out", str(tmp_path / "router"), "--json", str(tmp_path / "advice.json")]
    result = CliRunner().invoke(app, ["recommend", str(tmp_path / "mine.csv"), "--tolerance", "0.05", *where])
    assert result.exit_code == 0, result.output
    assert "against always dear, losing at most 0.05 of quality" in result.stdout
    advice = json.loads((tmp_path / "advice.json").read_text())
    assert advice["saving"]["low"] <= advice["saving"]["estimate"] <= advice["saving"]["high"]
    router = load_router(tmp_path / "router", simulated("cheap", "dear"))
    assert router.objective.cost_weight == pytest.approx(advice["cost_weight"])
    assert router.objective.cost_weight > 0.0
    requests = PerformanceTable.read(tmp_path / "mine.csv").requests()
    asked = [router.decide(request).provider.name for request in requests]
    assert asked.count("cheap") / 400 == pytest.approx(advice["shares"]["cheap"], abs=0.1)
    assert f"routelab proxy --policy {tmp_path / 'router'}" in result.stdout.splitlines()


def test_what_is_saved_without_proof_is_told_so_and_a_file_is_no_folder(tmp_path: Path) -> None:
    made(100, 0, gap=0.1).write(tmp_path / "mine.csv")
    asked = ["recommend", str(tmp_path / "mine.csv"), "--tolerance", "0.1", "--out"]
    told = CliRunner().invoke(app, [*asked, str(tmp_path / "router")]).stdout
    assert "Try " in told
    assert ", not proven: saved in" in told
    refused = CliRunner().invoke(app, [*asked, str(tmp_path / "mine.csv")])
    assert "mine.csv is a file; give --out a folder" in str(refused.exception)


def test_the_best_that_is_free_is_kept() -> None:
    frame = made(50, 0).to_frame()
    frame.loc[frame["provider"] == "dear", "cost_usd"] = 0.0
    advice = recommend(PerformanceTable.from_frame(frame), policies=["ridge"])
    assert advice.verdict.startswith("Keep dear: nothing cheaper was as good")
    assert advice.saving.estimate == 0.0


def test_of_those_that_are_equally_good_the_cheapest_is_the_baseline() -> None:
    frame = made(200, 0).to_frame()
    frame["quality"] = 1.0
    for names in ({}, {"cheap": "dear", "dear": "cheap"}):
        turned = PerformanceTable.from_frame(frame.assign(provider=frame["provider"].replace(names)))
        costs = dict(zip(turned.providers, turned.cost.mean(axis=0), strict=True))
        advice = recommend(turned, policies=["ridge"], tolerance=0.1)
        assert advice.baseline == min(costs, key=costs.__getitem__)
        assert advice.verdict.startswith("Keep ")


def test_a_baseline_that_is_mostly_free_gives_an_interval_that_says_so() -> None:
    told = saving_interval(np.ones(40), np.where(np.arange(40) == 0, 90.0, 0.0), np.arange(40), 1000, 0)
    assert (told.low, told.high < 1.0) == (-np.inf, True)
    assert told.estimate == pytest.approx(1.0 - 40.0 / 90.0)


def test_a_newcomer_with_few_outcomes_is_left_out_and_named() -> None:
    frame = made(400, 0, told=1.0).to_frame()
    newcomer = frame[frame["provider"] == "dear"].iloc[:20].assign(provider="newcomer", cost_usd=0.03)
    advice = recommend(PerformanceTable.from_frame(pd.concat([frame, newcomer])), policies=["ridge"], tolerance=0.05)
    assert (advice.baseline, advice.n_train + advice.n_eval) == ("dear", 400)
    assert set(advice.shares) == {"cheap", "dear"}
    assert "newcomer was left out: it has 20 outcomes, others up to 400" in str(advice)


def test_the_baseline_is_the_best_on_prompts_that_all_were_asked() -> None:
    """The mean of the lucky one is higher because only easy prompts were graded."""
    rng = np.random.default_rng(0)
    hard = np.arange(600) % 2 == 0
    quality = np.column_stack([np.where(hard, 0.6, 0.95), np.where(hard, np.nan, 0.9)])
    quality[:40, 1] = 0.3  # a few hard ones, graded
    frame = pd.DataFrame({"prompt_id": np.repeat(np.arange(600).astype(str), 2), "provider": ["steady", "lucky"] * 600})
    frame = frame.assign(quality=quality.ravel(), cost_usd=rng.uniform(0.001, 0.002, 1200), x_a=rng.random(1200))
    frame["x_a"] = frame.groupby("prompt_id")["x_a"].transform("first")
    table = PerformanceTable.from_frame(frame)
    assert np.nanmean(table.quality, axis=0)[table.providers.index("lucky")] > 0.8
    advice = recommend(table, policies=["ridge"])
    assert advice.baseline == "steady"
    assert "grades are missing unequally" in str(advice)


def test_prompts_of_the_same_text_are_one_draw() -> None:
    """Sixty texts, each forty times: the intervals are as wide as those of sixty prompts, not of 2,400."""
    frame = made(60, 0).to_frame().assign(prompt=lambda rows: "Is " + rows["prompt_id"] + " prime?")
    many = pd.concat([frame.assign(prompt_id=frame["prompt_id"] + f" {copy}") for copy in range(40)])
    few, often = (
        recommend(PerformanceTable.from_frame(one), policies=["ridge"], tolerance=0.9, baseline="dear")
        for one in (frame, many)
    )
    assert few.policy == often.policy == "always cheap"
    for of in ("quality_difference", "saving"):
        widths = [getattr(one, of).high - getattr(one, of).low for one in (few, often)]
        assert widths[1] > 0.5 * widths[0], of


def test_a_saving_that_hangs_on_ten_prompts_is_not_proven() -> None:
    table = made(600, 0, told=1.0)
    frame = table.to_frame()
    frame.loc[frame["prompt_id"].isin(table.prompt_ids[::30]), "cost_usd"] *= 1000
    advice = recommend(PerformanceTable.from_frame(frame), policies=["ridge"], tolerance=0.1)
    assert not advice.proven
    assert advice.saving.low > 0.0
    assert "A/B test: a few prompts carry a third of the cost or more" in advice.verdict


def test_few_prompts_prove_no_saving_that_hangs_on_two_of_them() -> None:
    assert is_dominated(np.append(np.ones(40), [20.0, 20.0]))
    assert not is_dominated(np.random.default_rng(0).uniform(0.5, 1.5, 42))


def test_what_a_tolerance_needs_is_told() -> None:
    advice = recommend(made(400, 0, gap=0.0), policies=["ridge"], baseline="dear")
    assert "fewer than 276 fresh prompts prove nothing" in str(advice)
    assert advice.verdict.startswith("Try always cheap in an A/B test, or collect more prompts: 120 do not prove")


def test_a_folder_without_a_router_is_told(tmp_path: Path) -> None:
    with pytest.raises(RoutelabError, match=r"trade_off.json is missing; write it with `routelab recommend"):
        load_router(tmp_path, simulated("cheap", "dear"))
