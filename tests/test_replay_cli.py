"""``routelab replay``: the report, its determinism, and every bad input told in one line before anything is written."""

from __future__ import annotations

import json
import sys
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

from routelab import cli
from routelab.benchmark.replay_report import replay_table
from routelab.benchmark.replays import Plan, run_plans
from routelab.evaluation.scenarios import SCENARIOS
from routelab.evaluation.split import Split
from routelab.features import RequestFeaturizer
from routelab.tables.sources import load_source
from streams import part
from tables import hard_and_easy, table_of, with_split, write_csv

MEASURES = {"reward", "cost", "cost_over_budget", "regret"}
INTERVAL = {"mean", "low", "high"}


@pytest.fixture
def replay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Runs the command in this process and an empty folder: (exit code or message, standard output)."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int | str | None, str]:
        monkeypatch.setattr(sys, "argv", ["routelab", "replay", *arguments])
        with pytest.raises(SystemExit) as left:
            cli.run()
        return left.value.code, capsys.readouterr().out

    return run


@pytest.fixture
def table(tmp_path: Path) -> str:
    return write_csv(with_split(hard_and_easy(240), train=120), tmp_path / "t.csv")


@pytest.mark.parametrize("scenario", [name for name in SCENARIOS if name != "drift"])
def test_every_scenario_writes_its_report(replay, table, scenario):
    code, out = replay(
        table, "--scenario", scenario, "--policy", "linucb", "--budget", "0.004", "--seeds", "2",
        "--jobs", "1", "--json", "out.json",
    )  # fmt: skip
    assert code == 0
    assert f"t.csv, {scenario}: linucb, 0.004 USD per request, cold start" in out
    report = json.loads(Path("out.json").read_text(encoding="utf-8"))
    assert list(report) == [
        "table", "scenario", "policy", "budget", "seeds", "feedback", "warm_start", "summary", "phases", "per_seed",
    ]  # fmt: skip
    told = {"table": table, "scenario": scenario, "policy": "linucb", "budget": 0.004, "seeds": 2}
    assert {key: report[key] for key in told} == told
    assert (report["feedback"], report["warm_start"]) == ("bandit", None)
    assert set(report["summary"]) == MEASURES
    assert all(set(report["summary"][name]) == INTERVAL for name in MEASURES)
    for phase in report["phases"]:
        assert set(phase) == {"name", "shares", "reaction", "best_static", *MEASURES}
        assert sum(phase["shares"].values()) == pytest.approx(1.0)
        assert all(set(phase[name]) == INTERVAL for name in (*MEASURES, "best_static"))
        assert f"{phase['name']}: " in out
    names = [phase["name"] for phase in report["phases"]]
    assert [row["seed"] for row in report["per_seed"]] == [0, 1]
    for row in report["per_seed"]:
        assert [phase["phase"] for phase in row["phases"]] == names == list(row["reaction"])
        assert {"shares", "drifts", "cost_weight", *MEASURES} <= set(row)
    for name in ("reward", "cost_over_budget"):
        mean = np.mean([row[name] for row in report["per_seed"]])
        assert report["summary"][name]["mean"] == pytest.approx(mean)


def test_real_drift_is_replayed_from_march_to_june(replay, mirror):
    code, _ = replay(
        "llmdrift", "--scenario", "drift", "--policy", "linucb", "--cost-weight", "0", "--seeds", "2",
        "--set", "task=prime", "--jobs", "1", "--json", "out.json",
    )  # fmt: skip
    assert code == 0
    report = json.loads(Path("out.json").read_text(encoding="utf-8"))
    assert [phase["name"] for phase in report["phases"]] == ["0-200", "200-600", "600-1000"]
    assert report["budget"] is None
    assert report["summary"]["cost_over_budget"] == dict.fromkeys(INTERVAL)
    # who knew the date would ask GPT-3.5 from then on: .68 over all of June, more on the 200 prompts in hindsight
    assert report["phases"][0]["best_static"]["mean"] == pytest.approx(0.68, abs=0.05)
    code, _ = replay("paretobandit", "--scenario", "drift", "--policy", "linucb", "--cost-weight", "0")
    assert "a change of versions needs two dates" in str(code)


def test_on_paretobandit_a_bandit_keeps_its_budget_and_beats_the_published_reward():
    (report,) = replay_table(
        load_source("paretobandit"), "paretobandit", scenario="budget", policy="linucb", budgets=[6.64e-4], seeds=3,
        n_jobs=1,
    )  # fmt: skip
    assert report["summary"]["reward"]["low"] > 0.8978
    assert report["summary"]["cost_over_budget"]["mean"] < 1.02


def test_several_budgets_make_a_list_and_their_order_changes_nothing(replay, table):
    both = ["--policy", "linucb", "--seeds", "2", "--jobs", "1", "--json", "out.json"]
    replay(table, *both, "--budget", "0.004, 0.002")
    reports = json.loads(Path("out.json").read_text(encoding="utf-8"))
    assert [report["budget"] for report in reports] == [0.004, 0.002]
    replay(table, *both, "--budget", "0.002")
    assert json.loads(Path("out.json").read_text(encoding="utf-8")) == reports[1]


@pytest.mark.parametrize("policy", ["linucb", "lints", "thompson", "epsilon-greedy"])
def test_the_number_of_processes_changes_nothing(policy):
    plans = [Plan("delay", policy, budget=0.01), Plan("budget", policy, cost_weight=2.0)]
    one, two = (run_plans(plans, part(60), part(90, first=1000), seeds=3, n_jobs=jobs) for jobs in (1, 2))
    for mine, theirs in zip(chain(*one), chain(*two), strict=True):
        np.testing.assert_array_equal(mine.replay.arms, theirs.replay.arms)
        assert mine.scores == theirs.scores
    arms = [run.replay.arms.tolist() for run in one[0]]
    assert arms[0] != arms[1] != arms[2]
    assert [run.scores["seed"] for run in one[1]] == [0, 1, 2]


def test_seeds_count_from_the_first(table):
    whole = table_of(hard_and_easy(240))
    settings = {"scenario": "budget", "policy": "linucb", "cost_weight": 20.0, "train_split": 0.5, "n_jobs": 1}
    (both,) = replay_table(whole, "t", seeds=2, seed=3, **settings)
    (alone,) = replay_table(whole, "t", seeds=1, seed=3, **settings)
    assert [row["seed"] for row in both["per_seed"]] == [3, 4]
    assert alone["per_seed"][0] == both["per_seed"][0]
    assert alone["summary"]["reward"]["low"] is None


def test_settings_reach_the_scenario(replay, table):
    arguments = (table, "--scenario", "regression", "--policy", "linucb", "--cost-weight", "1", "--seeds", "1")
    replay(*arguments, "--set", "level=0", "--set", "provider=large", "--jobs", "1", "--json", "out.json")
    (row,) = json.loads(Path("out.json").read_text(encoding="utf-8"))["per_seed"]
    assert row["phases"][1]["best_static"] < 0.7 < row["phases"][0]["best_static"]


def test_drifts_are_watched_for_on_request(replay, tmp_path):
    table = write_csv(with_split(hard_and_easy(1200), train=300), tmp_path / "t.csv")
    outage = (table, "--scenario", "outage", "--set", "provider=large", "--policy", "thompson", "--cost-weight", "0")
    drifts = []
    for option in ("--drift", "--no-drift"):
        code, _ = replay(*outage, option, "--seeds", "1", "--jobs", "1", "--json", "out.json")
        assert code == 0
        drifts.append(json.loads(Path("out.json").read_text(encoding="utf-8"))["per_seed"][0]["drifts"])
    (first, *_), none = drifts
    assert none == []
    assert 300 < first[0] < 600  # within the outage
    assert first[1] == "large"


def test_a_warm_start_lets_a_bandit_begin_with_what_another_table_says(tmp_path):
    earlier = hard_and_easy(400, seed=1).assign(prompt_id=lambda frame: "earlier " + frame["prompt_id"].astype(str))
    whole, other = table_of(hard_and_easy(200)), write_csv(earlier, tmp_path / "warm.csv")
    settings = {"scenario": "budget", "policy": "linucb", "cost_weight": 20.0, "seeds": 3, "train_split": 0.1}
    cold, warm = (replay_table(whole, "t", warm_start=start, n_jobs=1, **settings)[0] for start in (None, other))
    assert (cold["warm_start"], warm["warm_start"]) == (None, other)
    assert warm["summary"]["regret"]["mean"] < cold["summary"]["regret"]["mean"]


def test_a_policy_that_does_not_learn_online_is_fitted_on_the_learning_part():
    whole = table_of(hard_and_easy(240))
    settings = {"scenario": "outage", "policy": "knn", "cost_weight": 20.0, "seeds": 2, "n_jobs": 1}
    (report,) = replay_table(whole, "t", warm_start="t", **settings)
    assert report["warm_start"] == "t"
    assert all(phase["shares"]["large"] > 0.2 for phase in report["phases"])  # it cannot know of the outage


def test_the_learning_part_is_not_streamed_after_a_fit_on_it():
    whole = table_of(hard_and_easy(240))
    settings = {"scenario": "budget", "policy": "knn", "budgets": [0.004], "seeds": 1, "n_jobs": 1}
    (report,) = replay_table(whole, "t", warm_start="t", **settings)
    featurizer = RequestFeaturizer(standardize=True)
    train, held = whole.split(seed=0)
    learning, scored = Split.of(train, featurizer.fit(train)), Split.of(held, featurizer)
    plan = Plan("budget", "knn", 0.004, warm_start=learning, learning_part=False)
    ((run,),) = run_plans([plan], learning, scored, seeds=1, n_jobs=1)
    assert report["per_seed"] == [run.scores]
    assert (run.start, len(run.replay.arms)) == (0, held.n)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--policy", "linucb"], "give either --budget, in USD per request, or --cost-weight"),
        (["--policy", "linucb", "--budget", "0.1", "--cost-weight", "1"], "give either --budget"),
        (["--policy", "lincub", "--cost-weight", "1"], "no policy 'lincub'; known are best-single"),
        (["--policy", "linucb", "--cost-weight", "1", "--scenario", "sunset"], "no scenario 'sunset'; known are"),
        (["--policy", "knn", "--cost-weight", "1"], "policy 'knn' does not learn online; those that do are epsilon"),
        (["--policy", "linucb", "--budget", "0.0005"], "a budget of 0.0005 USD per request is below the 0.001"),
        (["--policy", "linucb", "--budget", "-1"], "--budget '-1': -1 is no finite number above 0"),
        (["--policy", "linucb", "--budget", "much"], "--budget 'much'"),
        (["--policy", "linucb", "--cost-weight", "inf"], "cost_weight is inf"),
        (["--policy", "linucb", "--cost-weight", "1", "--seeds", "0"], "0 seeds; give 1 or more"),
        (["--policy", "linucb", "--cost-weight", "1", "--set", "factor"], "--set 'factor' has no '='"),
        (["--policy", "linucb", "--cost-weight", "1", "--set", "factor=2"], "'budget' has no setting 'factor'"),
        (["--policy", "linucb", "--cost-weight", "1", "--train-split", "1.5"], "train_fraction is 1.5"),
        (["--policy", "linucb", "--cost-weight", "1", "--train-split", "fold"], "there is no column 'fold'"),
        (
            ["--policy", "linucb", "--cost-weight", "1", "--scenario", "drift", "--train-split", "0.5"],
            "scenario 'drift' cuts a table at its date",
        ),
        (
            ["--policy", "linucb", "--budget", "0.005", "--scenario", "new-provider", "--set", "provider=small"],
            "a budget of 0.005 USD per request is below the 0.01",
        ),
        (
            ["--policy", "knn", "--cost-weight", "1", "--scenario", "new-provider", "--warm-start", "SELF"],
            "cannot add a provider",
        ),
        (["--policy", "linucb", "--cost-weight", "1", "--warm-start", "COPY"], "of its prompts will be scored in"),
        (["--policy", "linucb", "--cost-weight", "1", "--warm-start", "paretobandit"], "no provider 'small'"),
    ],
)  # fmt: skip
def test_bad_input_ends_with_one_line_and_nothing_written(replay, tmp_path, arguments, told):
    frame = with_split(hard_and_easy(60), train=30)
    frame["prompt"] = "prompt " + frame["prompt_id"]
    places = {"SELF": write_csv(frame, tmp_path / "t.csv"), "COPY": write_csv(frame, tmp_path / "copy.csv")}
    code, out = replay(
        places["SELF"], *(places.get(each, each) for each in arguments), "--jobs", "1", "--json", "out.json"
    )
    assert isinstance(code, str)
    assert code.startswith("routelab: ")
    assert told in code
    assert "\n" not in code
    assert out == ""
    assert not Path("out.json").exists()
