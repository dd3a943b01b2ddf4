"""The verdict of an A/B test, and how it is told."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest

from routelab.abtest.analysis import analyse, analyse_over_time
from routelab.abtest.plan import Metric, Plan
from routelab.abtest.report import ABReport
from routelab.errors import ExperimentError

SOLVED, COST = Metric("solved"), Metric("cost", lower_is_better=True, margin=0.2)
PLAN = Plan({"rules": 0.5, "forest": 0.5}, (SOLVED, COST), units=4_000)


def experiment(
    solved: dict[str, float], cost: dict[str, float] | None = None, units: int = 4_000, seed: int = 0
) -> pd.DataFrame:
    """Units that take the variants in turn; chance of being solved, and mean cost, of each variant."""
    rng = np.random.default_rng(seed)
    variant = np.tile(list(solved), units)[:units]
    spent = np.array([(cost or {}).get(name, 1.0) for name in variant]) + 0.5 * rng.normal(size=units)
    success = rng.random(units) < np.array([solved[name] for name in variant])
    return pd.DataFrame({"unit": np.arange(units), "variant": variant, "solved": success, "cost": spent})


def claims(report: ABReport) -> list[str]:
    return [row.claim for row in report.results]


def test_a_better_goal_within_the_guardrails_ships() -> None:
    report = analyse(experiment({"rules": 0.3, "forest": 0.4}), PLAN)
    assert (report.verdict.decision, report.verdict.variant) == ("ship", "forest")
    assert claims(report) == ["better", "holds"]
    assert report.verdict.reason.startswith("forest: solved better (+0.0")


def test_a_worse_goal_stops_and_so_does_a_broken_guardrail() -> None:
    worse = analyse(experiment({"rules": 0.4, "forest": 0.3}), PLAN)
    assert (worse.verdict.decision, claims(worse)) == ("stop", ["worse", "holds"])
    dear = analyse(experiment({"rules": 0.3, "forest": 0.4}, {"forest": 1.4}), PLAN)
    assert (dear.verdict.decision, claims(dear)) == ("stop", ["better", "broken"])
    assert "cost broken (+0.3" in dear.verdict.reason


def test_a_better_goal_with_a_guardrail_in_doubt_goes_on_to_the_planned_end() -> None:
    frame = experiment({"rules": 0.3, "forest": 0.45}, {"forest": 1.2})
    early, end = analyse(frame.iloc[:3_000], PLAN), analyse(frame, PLAN)
    assert (early.verdict.decision, claims(early)) == ("continue", ["better", "open"])
    assert early.verdict.reason == "forest: not shown yet: cost; 1,000 of the planned units are to come"
    assert end.verdict.decision == "stop"
    assert end.verdict.reason.startswith("the planned 4,000 units are reached")


def test_a_goal_that_is_worse_outweighs_one_that_is_better() -> None:
    plan = replace(PLAN, metrics=(SOLVED, Metric("cost", lower_is_better=True)))
    report = analyse(experiment({"rules": 0.3, "forest": 0.4}, {"forest": 1.4}), plan)
    assert (report.verdict.decision, claims(report)) == ("stop", ["better", "worse"])


def test_lower_is_better_turns_the_sign() -> None:
    plan = replace(PLAN, metrics=(Metric("cost", lower_is_better=True),))
    frame = experiment({"rules": 0.3, "forest": 0.3}, {"forest": 0.8})
    assert analyse(frame, plan).verdict.decision == "ship"
    assert analyse(frame, replace(plan, metrics=(Metric("cost"),))).verdict.decision == "stop"


def test_guardrails_alone_ship_what_is_not_worse_by_more_than_their_margins() -> None:
    plan = replace(PLAN, metrics=(COST, Metric("solved", margin=0.1)))
    assert analyse(experiment({"rules": 0.4, "forest": 0.4}), plan).verdict.decision == "ship"
    assert analyse(experiment({"rules": 0.4, "forest": 0.2}), plan).verdict.decision == "stop"


def test_of_three_variants_the_best_ships_and_no_claim_is_cheaper_for_it() -> None:
    plan = Plan({"rules": 1.0, "forest": 1.0, "bandit": 1.0}, (SOLVED, COST), units=6_000)
    report = analyse(experiment({"rules": 0.3, "forest": 0.38, "bandit": 0.45}, units=6_000), plan)
    assert (report.verdict.decision, report.verdict.variant) == ("ship", "bandit")
    assert all(row.p <= row.p_holm for row in report.results)
    losing = analyse(experiment({"rules": 0.4, "forest": 0.25, "bandit": 0.4}, units=3_000), plan)
    assert losing.verdict.decision == "continue"
    assert "forest: solved worse" in losing.verdict.reason
    assert "bandit: not shown yet: solved" in losing.verdict.reason


def test_a_sample_ratio_mismatch_blocks_every_claim() -> None:
    frame = experiment({"rules": 0.3, "forest": 0.5})
    lost = frame[(frame["variant"] == "rules") | (frame["unit"] % 4 == 1)]
    report = analyse(lost, PLAN)
    assert report.verdict.decision == "blocked"
    assert "The intervals and p mean nothing then." in str(report)
    assert "at all looks" not in str(report)
    assert report.verdict.reason.startswith("sample-ratio mismatch: 2,000 : 1,000 units were to be as 0.5 : 0.5")
    assert claims(report) == ["open", "open"]
    exposed = {"forest": 2_000, "rules": 2_000}
    assert analyse(lost, PLAN, exposed=exposed).verdict.decision == "ship"
    assert analyse(lost, PLAN, exposed=pd.Series(exposed)).verdict.decision == "ship"  # as value_counts() gives them


def test_too_few_units_and_a_fixed_test_before_its_end_say_nothing() -> None:
    frame = experiment({"rules": 0.1, "forest": 0.9})
    few = analyse(frame.iloc[:98], PLAN)
    assert (few.verdict.decision, claims(few)) == ("continue", ["open", "open"])
    assert few.as_dict()["results"][0]["low"] is None
    fixed = replace(PLAN, method="welch")
    assert analyse(frame.iloc[:3_998], fixed).verdict.reason.startswith("Welch's test is read once, at 4,000 units")
    assert claims(analyse(frame.iloc[:3_998], fixed)) == ["open", "open"]
    assert analyse(frame, fixed).verdict.decision == "ship"


def test_the_msprt_takes_its_spread_of_effects_per_metric() -> None:
    plan = replace(PLAN, method="msprt", tau={"solved": 0.05, "cost": 0.1})
    assert analyse(experiment({"rules": 0.3, "forest": 0.4}), plan).verdict.decision == "ship"


def test_the_report_is_json_text_and_an_escaped_card() -> None:
    plan = Plan({"rules": 0.5, "<b>": 0.5}, (SOLVED, COST), units=4_000)
    report = analyse(experiment({"rules": 0.3, "<b>": 0.4}), plan)
    told = json.loads(report.to_json())
    assert told["verdict"]["decision"] == "ship"
    assert told["units"] == {"rules": 2_000, "<b>": 2_000}
    assert [row["metric"] for row in told["results"]] == ["solved", "cost"]
    assert told["plan"]["srm_concentration"] == 400.0
    assert told["plan"]["metrics"][1] == asdict(COST)
    assert told["plan"]["ends_at"] is told["plan"]["tau"] is None
    ended = replace(report, plan=replace(plan, ends_at=1_763_912_345.0)).as_dict()
    assert ended["plan"]["ends_at"] == 1_763_912_345.0
    assert report.to_json() == analyse(experiment({"rules": 0.3, "<b>": 0.4}), plan).to_json()
    card = report._repr_html_()
    assert ">&lt;b&gt;</td>" in card
    assert "<b>" not in card
    for text in ("ship: <b>: solved better", "cost (guardrail)", "hold at all looks at once", "Holm"):
        assert text in str(report)


def test_over_time_each_look_tells_what_was_known_then() -> None:
    frame = experiment({"rules": 0.3, "forest": 0.4})
    shuffled = frame.assign(observed_at=frame["unit"]).sample(frac=1.0, random_state=0)
    sequence = analyse_over_time(shuffled, PLAN, looks=8)
    assert sequence["units"].unique().tolist() == list(range(500, 4_001, 500))
    third = analyse(frame.iloc[:1_500], PLAN)
    assert sequence[sequence["units"] == 1_500]["high"].tolist() == pytest.approx([row.high for row in third.results])
    assert sequence["verdict"].iloc[-1] == "ship"
    few = analyse_over_time(frame, PLAN, looks=[2, 60, 4_000])
    assert np.isinf(few["high"]).tolist() == [True, True, True, True, False, False]
    for looks in ([], [0, 5], [5, 5], [5_000]):
        with pytest.raises(ExperimentError, match="give ascending numbers of the 4000 outcomes"):
            analyse_over_time(frame, PLAN, looks=looks)


def test_welchs_test_read_again_and_again_past_its_size_claims_only_at_its_one_look() -> None:
    plan = replace(PLAN, metrics=(SOLVED,), units=400, method="welch")
    wrong = 0
    for seed in range(150):
        frame = experiment({"rules": 0.3, "forest": 0.3}, units=2_000, seed=seed)
        wrong += any(claims(analyse(frame.iloc[:n], plan)) != ["open"] for n in range(400, 2_001, 160))
    assert wrong / 150 <= 0.08  # .05 and sampling; with a claim at each of these looks .2
    within, past = (analyse(experiment({"rules": 0.1, "forest": 0.9}, units=n), plan) for n in (420, 422))
    assert (within.verdict.decision, claims(within)) == ("ship", ["better"])
    assert (past.verdict.decision, claims(past)) == ("stop", ["open"])
    assert past.verdict.reason == "Welch's one look, at 400 to 420 units, has passed; there are 422"
