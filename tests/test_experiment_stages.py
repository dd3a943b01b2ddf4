"""What ``ab_test`` and ``off_policy`` report: a test and a log whose truth is known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline import new_project, run_stage
from routelab.abtest.assignment import ABTest
from routelab.abtest.confidence_sequence import ConfidenceSequence
from routelab.abtest.simulation import drawn_from, simulate
from routelab.abtest.welch import Welch
from routelab.evaluation.split import Split
from routelab.policies.objective import Objective
from routelab.stages.ab_test import first_verdict, served
from routelab.stages.off_policy import draw

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")  # MLflow's own models


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = new_project(tmp_path_factory.mktemp("experiments"))
    for stage in ("collect", "featurize", "train_forest", "train_bandit", "ab_test", "off_policy"):
        run = run_stage(root, stage)
        assert run.returncode == 0, run.stderr
    return root


def read(project: Path, name: str) -> dict:  # type: ignore[type-arg]
    return json.loads((project / "data" / "reports" / "synthetic" / f"{name}.json").read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def test_the_test_is_told_beside_the_truth(project: Path) -> None:
    told = read(project, "ab_test")
    assert told["verdict"]["decision"] in ("ship", "stop", "continue")
    assert sum(told["units"].values()) == 400
    assert set(told["true_difference"]) == {"forest", "thompson"}
    for row in told["results"]:
        if row["metric"] == "utility":
            assert row["low"] <= told["true_difference"][row["variant"]] <= row["high"]
    same, *others = told["simulations"]
    assert (same["control"], same["treatment"], same["true_difference"]) == ("rule", "rule", 0.0)
    assert same["found"] == same["missed"]
    assert [(row["control"], row["treatment"]) for row in others] == [("rule", "forest"), ("forest", "thompson")]


def test_a_shipped_variant_is_the_champion(project: Path) -> None:
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    champions = [model.name for model in client.search_registered_models() if "champion" in model.aliases]
    shipped = read(project, "ab_test")["verdict"]["variant"]
    assert champions == ([] if shipped is None else ["routelab-synthetic"])


def test_estimates_are_told_beside_the_truth(project: Path) -> None:
    told = read(project, "off_policy")
    policies = {"thompson", "epsilon-greedy", "forest", "rule"}
    assert policies < set(told["truth"]["utility"]) == {row["policy"] for row in told["ranking"]}
    for row in told["ranking"]:  # simultaneous intervals
        assert row["low"] <= told["truth"]["utility"][row["policy"]] <= row["high"]
    assert set(told["coverage"]["covered"]) == {"snips", "dr"}
    frame = pd.read_csv(project / "data" / "reports" / "synthetic" / "off_policy.csv")
    assert set(frame["metric"]) == {"quality", "cost", "utility"}
    assert frame["estimator"].nunique() == 8


def split(n: int = 50) -> Split:
    rng = np.random.default_rng(0)
    quality, cost = rng.random((n, 2)), rng.random((n, 2))
    return Split(np.zeros((n, 1), "f4"), quality, cost, None, np.full(n, ""), ("small", "large"))


def test_units_keep_their_variant_and_get_its_choices() -> None:
    held, objective = split(), Objective(cost_weight=2.0)
    test = ABTest("t", ("a", "b"), (0.5, 0.5), "s")
    chosen = {"a": np.tile([1.0, 0.0], (50, 1)), "b": np.tile([0.25, 0.75], (50, 1))}
    rows = served(test, chosen, held, objective, 2_000, 2.0, np.random.default_rng(1))
    assert len(rows[["unit", "variant"]].drop_duplicates()) == 2_000
    assert rows["unit"].nunique() == 2_000
    assert len(rows) == pytest.approx(4_000, abs=150)
    assert rows["variant"].tolist() == test.assign_many(rows["unit"].tolist()).tolist()
    a, b = (rows[rows["variant"] == name] for name in "ab")
    assert set(a["quality"]) <= set(held.quality[:, 0])
    assert b["quality"].isin(held.quality[:, 1]).mean() == pytest.approx(0.75, abs=0.05)
    np.testing.assert_allclose(rows["utility"], rows["quality"] - 2.0 * rows["cost_usd"])


def test_a_log_draws_what_its_probabilities_say() -> None:
    held = split()
    logging = np.tile([0.2, 0.8], (50, 1))
    log, prompt = draw(held, np.zeros((50, 1)), logging, 4_000, np.random.default_rng(1))
    assert log.action.mean() == pytest.approx(0.8, abs=0.03)
    np.testing.assert_allclose(log.propensity, logging[0][log.action])
    np.testing.assert_allclose(log.quality, held.quality[prompt, log.action])


def test_the_first_verdict_is_that_of_the_first_look_that_has_one() -> None:
    looks = pd.DataFrame({"units": [10, 20, 30], "verdict": ["continue", "stop", "ship"], "reason": ["", "bad", ""]})
    assert first_verdict(looks) == {"units": 20, "verdict": "stop", "reason": "bad"}
    assert first_verdict(looks.iloc[:1]) is None


def test_simulated_tests_tell_errors_and_when_a_difference_is_found() -> None:
    looks = np.arange(50, 1_001, 50)
    coin, better = (drawn_from(np.array([0.0, 1.0]), np.array([1.0 - p, p])) for p in (0.3, 0.45))
    sequence = ConfidenceSequence((1_000.0, 1_000.0))
    null = simulate(sequence, coin, coin, 0.0, looks=looks, runs=1_500)
    assert null.found == null.missed < 0.05
    assert np.isnan(null.units)
    naive = simulate(Welch(), coin, coin, 0.0, looks=looks, runs=1_500)
    assert naive.found > 0.18  # a test for one look, read twenty times
    found = simulate(sequence, coin, better, 0.15, looks=looks, runs=1_500)
    assert found.found > 0.95
    assert found.missed < 0.05
    assert 100 < found.units < 1_000
    wrong = simulate(sequence, coin, better, 0.0, looks=looks, runs=1_500)
    assert wrong.missed == wrong.found
