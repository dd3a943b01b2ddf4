from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from routelab.db_rows import Prompts
from routelab.drift import Drift
from routelab.errors import DatabaseError
from routelab.performance_db import Decision, Outcome, PerformanceDB, new_decision_id


def decision(decision_id: str = "d0", **changes: object) -> Decision:
    fields: dict[str, object] = {
        "decision_id": decision_id,
        "request_id": f"request of {decision_id}",
        "decided_at": 10.0,
        "provider": "b",
        "providers": ("a", "b", "c"),
        "probabilities": (0.2, 0.7, 0.1),
        "propensity": 0.7,
        "features": np.array([1.5, -2.0]),
        "feature_set": "set1",
        "policy": "thompson",
    }
    return Decision(**(fields | changes))  # type: ignore[arg-type]


def outcome(decision_id: str = "d0", **changes: object) -> Outcome:
    fields: dict[str, object] = {"quality": 0.75, "cost_usd": 0.01, "observed_at": 12.0, "latency_s": 1.25}
    return Outcome(decision_id, **(fields | changes))  # type: ignore[arg-type]


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'log.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def db(request: pytest.FixtureRequest) -> Iterator[PerformanceDB]:
    """An empty log on disk, of either store."""
    with PerformanceDB(request.getfixturevalue("url" if request.param == "sqlite" else "postgres_url")) as opened:
        yield opened


@dataclass
class Table:
    prompt_ids: np.ndarray
    providers: tuple[str, ...]
    quality: np.ndarray
    cost: np.ndarray
    latency: np.ndarray


def small_table() -> Table:
    nan = np.nan
    return Table(
        np.array(["p10", "p9", "p1/x"], dtype=object),
        ("openai/one", "two"),
        np.array([[0.5, 1.0], [nan, 0.25], [0.0, nan]]),
        np.array([[0.1, 0.2], [0.3, 0.4], [0.5, nan]]),
        np.array([[1.0, nan], [2.0, 3.0], [nan, nan]]),
    )


# --- the log keeps what it was given ---


def test_every_field_survives_closing_and_reopening(url: str) -> None:
    given_decision = decision(
        unit_id="user 7",
        policy_version="v3",
        objective={"λ": 2.5, "max_cost": None},
        prompt_sha256="0f" * 32,
        experiment="forest",
    )
    given_outcome = outcome(
        input_tokens=np.int64(11),
        output_tokens=0,
        error="429 – später",
        quality_se=0.125,
        grading_cost_usd=np.float32(0.5),
        first_token_s=0.25,
        cached_tokens=np.int64(7),
    )
    with PerformanceDB(url) as db:
        db.record_decision(given_decision)
        db.record_outcome(given_outcome)
    with PerformanceDB(url) as db:
        assert db.count() == (1, 1)
        row = db.log().iloc[0].to_dict()
    assert np.isnan(row.pop("prompt"))
    np.testing.assert_array_equal(row.pop("features"), np.array([1.5, -2.0], dtype=np.float32), strict=True)
    assert row == {
        "decision_id": "d0",
        "request_id": "request of d0",
        "unit_id": "user 7",
        "decided_at": 10.0,
        "provider": "b",
        "providers": ["a", "b", "c"],
        "probabilities": [0.2, 0.7, 0.1],
        "propensity": 0.7,
        "feature_set": "set1",
        "policy": "thompson",
        "policy_version": "v3",
        "objective": {"λ": 2.5, "max_cost": None},
        "prompt_sha256": "0f" * 32,
        "experiment": "forest",
        "quality": 0.75,
        "cost_usd": 0.01,
        "latency_s": 1.25,
        "input_tokens": 11.0,
        "output_tokens": 0.0,
        "error": "429 – später",
        "observed_at": 12.0,
        "quality_se": 0.125,
        "grading_cost_usd": 0.5,
        "first_token_s": 0.25,
        "cached_tokens": 7.0,
    }


def test_the_log_lists_decisions_without_an_outcome_and_an_empty_log_has_all_columns(
    db: PerformanceDB,
) -> None:
    assert list(db.log().columns) == list(db.log().columns.unique())
    assert db.log().empty
    db.record_decisions([decision("late"), decision("early", decided_at=1.0)])
    db.record_outcome(outcome("late", quality=float("nan")))
    log = db.log()
    assert list(log["decision_id"]) == ["early", "late"]
    assert log["cost_usd"].isna().tolist() == [True, False]
    assert log["quality"].isna().all()


def test_a_late_outcome_joins_in_another_session(url: str) -> None:
    with PerformanceDB(url) as db:
        db.record_decision(decision())
        with pytest.raises(DatabaseError, match="no decision has an outcome yet; record outcomes first"):
            db.get_training_data()
    with PerformanceDB(url) as db:
        db.record_outcome(outcome())
        assert db.get_training_data().quality[0, 1] == 0.75


# --- training data ---


def test_training_data_marks_what_was_not_observed_and_not_chosen(db: PerformanceDB) -> None:
    db.record_decisions([decision("d1", decided_at=2.0), decision("d0", decided_at=1.0), decision("waits")])
    db.record_outcomes([outcome("d0", quality=None, latency_s=None), outcome("d1")])
    data = db.get_training_data()
    nan = np.nan
    assert data.providers == ("a", "b", "c")
    assert data.request_ids.tolist() == ["request of d0", "request of d1"]
    np.testing.assert_array_equal(data.X, np.array([[1.5, -2.0]] * 2, dtype=np.float32), strict=True)
    np.testing.assert_array_equal(data.quality, [[nan, nan, nan], [nan, 0.75, nan]])
    np.testing.assert_array_equal(data.cost, [[nan, 0.01, nan], [nan, 0.01, nan]])
    np.testing.assert_array_equal(data.latency, [[nan, nan, nan], [nan, 1.25, nan]])
    np.testing.assert_array_equal(data.propensity, [[nan, 0.7, nan], [nan, 0.7, nan]])
    np.testing.assert_array_equal(data.decided_at, [1.0, 2.0])


def test_a_request_decided_again_on_the_same_features_shares_a_row_until_a_provider_repeats(
    db: PerformanceDB,
) -> None:
    certain = {"propensity": 1.0, "request_id": "r"}
    a, b, c = ({"provider": name, "probabilities": row} for name, row in zip("abc", np.eye(3), strict=True))
    db.record_decisions(
        [
            decision("0", **certain, **a, decided_at=0.0),
            decision("1", **certain, **b, decided_at=1.0),
            decision("2", **certain, **b, decided_at=2.0),
            decision("3", **certain, **a, decided_at=3.0, features=np.array([9.0, 9.0])),
            decision("4", **certain, **c, decided_at=4.0, features=np.array([9.0, 9.0])),
        ]
    )
    db.record_outcomes([outcome(str(i), quality=i / 4) for i in range(5)])
    data = db.get_training_data()
    nan = np.nan
    np.testing.assert_array_equal(data.quality, [[0.0, 0.25, nan], [nan, 0.5, nan], [0.75, nan, 1.0]])
    np.testing.assert_array_equal(data.decided_at, [0.0, 2.0, 3.0])
    np.testing.assert_array_equal(data.X[:, 0], [1.5, 1.5, 9.0])


def test_providers_that_come_later_become_new_columns(db: PerformanceDB) -> None:
    later = {"providers": ("z", "b"), "probabilities": (1.0, 0.0), "propensity": 1.0, "provider": "z"}
    db.record_decisions([decision("0", decided_at=0.0), decision("1", decided_at=1.0, **later)])
    db.record_outcomes([outcome("0"), outcome("1", quality=1.0)])
    data = db.get_training_data()
    assert data.providers == ("a", "b", "c", "z")
    assert data.quality[1, 3] == 1.0


def test_feature_sets_are_never_mixed(db: PerformanceDB) -> None:
    db.record_decisions([decision("0"), decision("1", feature_set="set2", features=np.zeros(0))])
    db.record_outcomes([outcome("0"), outcome("1")])
    with pytest.raises(DatabaseError, match=r"\['set1', 'set2'\]; pass feature_set="):
        db.get_training_data()
    assert db.get_training_data("set1").X.shape == (1, 2)
    assert db.get_training_data("set2").X.shape == (1, 0)
    with pytest.raises(DatabaseError, match="no decision for feature_set='set3' has an outcome"):
        db.get_training_data("set3")
    db.record_decision(decision("2", features=np.zeros(5)))
    db.record_outcome(outcome("2"))
    with pytest.raises(DatabaseError, match="'set1' has rows of several lengths"):
        db.get_training_data("set1")


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    quality=st.lists(
        st.tuples(*[st.one_of(st.none(), st.floats(0, 1))] * 3), min_size=1, max_size=6
    ),  # None: the cell is absent
    seed=st.integers(0, 99),
)
def test_a_table_comes_back_as_the_same_matrices(quality: list[tuple[float | None, ...]], seed: int) -> None:
    matrix = np.array(quality, dtype=float)
    cost = np.where(np.isnan(matrix), np.nan, 0.5)
    X = np.random.default_rng(seed).normal(size=(len(matrix), 4)).astype(np.float32)
    ids = np.array([f"p/{i}" for i in range(len(matrix))], dtype=object)
    with PerformanceDB("sqlite://") as db:
        db.record_table(Table(ids, ("x", "x/y", "z"), matrix, cost, cost), X, feature_set="f")
        held = ~np.isnan(cost).all(axis=1)
        if not held.any():
            assert db.count() == (0, 0)
            return
        data = db.get_training_data("f")
    assert data.providers == ("x", "x/y", "z")
    np.testing.assert_array_equal(data.request_ids, ids[held])
    np.testing.assert_array_equal(data.X, X[held])
    np.testing.assert_array_equal(data.quality, matrix[held])
    np.testing.assert_array_equal(data.propensity, np.where(np.isnan(cost), np.nan, 1.0)[held])


# --- tables ---


def test_a_table_keeps_its_order_its_ungraded_cells_and_skips_absent_ones(db: PerformanceDB) -> None:
    table = small_table()
    db.record_table(table, np.arange(6.0).reshape(3, 2), feature_set="f")
    data = db.get_training_data()
    assert data.request_ids.tolist() == ["p10", "p9", "p1/x"]
    np.testing.assert_array_equal(data.quality, table.quality)
    np.testing.assert_array_equal(data.cost, table.cost)
    np.testing.assert_array_equal(data.latency, table.latency)
    assert db.count() == (5, 5)
    assert set(db.log()["policy"]) == {"table"}
    assert "table/f/p1%2Fx/openai%2Fone" in set(db.log()["decision_id"])


def test_a_table_is_logged_whole_or_not_at_all(db: PerformanceDB) -> None:
    table, X = small_table(), np.zeros((3, 2))
    table.quality[2, 0] = 1.5
    with pytest.raises(DatabaseError, match=r"Outcome\.quality is .*1\.5"):
        db.record_table(table, X, feature_set="f")
    with pytest.raises(DatabaseError, match="X has 2 rows, the table has 3"):
        db.record_table(table, X[:2], feature_set="f")
    assert db.count() == (0, 0)
    for _ in range(2):
        db.record_table(small_table(), X, feature_set="f")
        assert db.count() == (5, 5), "the same table again is no error"
    with pytest.raises(DatabaseError, match=r"'table/f/p10/openai%2Fone' is in the log already.*another policy name"):
        db.record_table(small_table(), X + 1.0, feature_set="f")
    db.record_table(small_table(), X, feature_set="f", policy="table again")
    assert db.count() == (10, 10)


# --- duplicates and strangers ---


def test_a_decision_id_is_used_once_and_the_others_are_written(db: PerformanceDB) -> None:
    db.record_decisions([decision("d0"), decision("d1"), decision("d0", provider="a", propensity=0.2)])
    with pytest.raises(DatabaseError, match="refused 1 rows, all others are written: decision_id 'd0'"):
        db.flush()
    db.record_decision(decision("d1", decided_at=11.0))
    with pytest.raises(DatabaseError, match="decision_id 'd1' is in the log already"):
        db.flush()
    db.record_decision(decision("d1"))  # as after a commit whose answer was lost
    db.flush()
    assert db.count() == (2, 0)
    assert list(db.log()["provider"]) == ["b", "b"]


def test_an_outcome_of_an_unknown_decision_is_refused_and_the_others_are_written(db: PerformanceDB) -> None:
    db.record_outcomes([outcome("nobody"), outcome("d0")])
    db.record_decision(decision("d0"))
    with pytest.raises(DatabaseError, match="unknown decision_id 'nobody'; record and flush the decision first"):
        db.flush()
    assert db.count() == (1, 1)


def test_the_same_outcome_twice_counts_once_and_a_different_one_never_replaces_it(db: PerformanceDB) -> None:
    db.record_decisions([decision("d0"), decision("d1")])
    db.record_outcomes([outcome("d0"), outcome("d0"), outcome("d0", observed_at=99.0)])
    db.flush()
    db.record_outcome(outcome("d0"))
    db.flush()
    assert db.count() == (2, 1)
    db.record_outcomes([outcome("d0", quality=0.1), outcome("d1"), outcome("d1", latency_s=None)])
    with pytest.raises(DatabaseError, match=r"refused 2 rows.*'d0' has another outcome.*'d1' has another outcome"):
        db.flush()
    log = db.log()
    assert list(log["quality"]) == [0.75, 0.75]
    assert list(log["observed_at"]) == [12.0, 12.0]


def test_a_long_list_of_refused_rows_is_cut_short(db: PerformanceDB) -> None:
    db.record_outcomes(outcome(f"n{i}") for i in range(2000))
    with pytest.raises(DatabaseError, match=r"refused 2000 rows.*'n4'; record and flush the decision first; …$"):
        db.flush()


# --- prompts ---


@pytest.mark.parametrize(
    ("prompts", "kept"), [("hashed", ([], 2)), ("stored", (["Why \ufffd?"] * 2, 2)), ("omitted", ([], 0))]
)
def test_the_setting_says_what_is_kept_of_a_prompt(url: str, prompts: Prompts, kept: tuple[list[str], int]) -> None:
    given, digest = "Why \0?", hashlib.sha256(b"Why \0?").hexdigest()
    with PerformanceDB(url, prompts=prompts) as db:
        db.record_decisions([decision("0", prompt=given), decision("1", prompt=given, prompt_sha256=digest)])
        log = db.log()
        assert log["prompt"].dropna().tolist() == kept[0]
        assert log["prompt_sha256"].dropna().tolist() == [digest] * kept[1]
    assert (b"Why" in Path(url.removeprefix("sqlite:///")).read_bytes()) == (prompts == "stored")


def test_a_prompt_shows_in_no_repr_and_an_unknown_setting_is_refused(url: str) -> None:
    assert "secret" not in repr(decision(prompt="secret"))
    with pytest.raises(DatabaseError, match=r"Decision\.prompt is of type bytes"):
        decision(prompt=b"secret")
    with pytest.raises(DatabaseError, match="prompts is 'plain'; give one of hashed, stored, omitted"):
        PerformanceDB(url, prompts="plain")  # type: ignore[arg-type]


# --- bad records ---


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"propensity": 0.0},
            r"Decision\.propensity is 0\.0; give the probability in \(0, 1\] of the chosen arm, 0\.7",
        ),
        ({"propensity": 1.5}, r"Decision\.propensity is 1\.5"),
        ({"propensity": float("nan")}, r"Decision\.propensity is nan"),
        ({"propensity": 0.2}, r"Decision\.propensity is 0\.2; .* 0\.7"),
        ({"provider": "d"}, r"Decision\.provider is 'd'; give one of providers=\('a', 'b', 'c'\)"),
        ({"providers": ("a", "b", "b")}, "name each arm once"),
        ({"probabilities": (0.3, 0.7)}, "give 3 numbers, one per provider"),
        ({"probabilities": (0.2, 0.7, 0.2)}, "numbers ≥ 0 that sum to 1"),
        ({"probabilities": (0.4, 0.7, -0.1)}, "numbers ≥ 0 that sum to 1"),
        ({"probabilities": (float("nan"), 0.7, 0.3)}, "numbers ≥ 0 that sum to 1"),
        ({"features": np.array([1.0, np.nan])}, r"Decision\.features is .* finite float32"),
        ({"features": np.array([1e300])}, "finite float32"),
        ({"features": np.zeros((1, 2))}, r"shape \(p,\)"),
        ({"decided_at": float("inf")}, r"Decision\.decided_at is inf"),
        ({"decision_id": "nul\0"}, r"Decision\.decision_id is 'nul\\x00'; give a str"),
        ({"request_id": None}, r"Decision\.request_id is None"),
        ({"unit_id": "\ud800"}, r"Decision\.unit_id is"),
        ({"prompt_sha256": "Tell me a secret"}, "64 lower-case hex digits, never the text"),
    ],
)
def test_a_bad_decision_is_refused_where_it_is_made(changes: dict[str, object], message: str) -> None:
    with pytest.raises(DatabaseError, match=message):
        decision(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"quality": -0.1}, r"Outcome\.quality is -0\.1; give a finite number in \[0, 1\]"),
        ({"cost_usd": -1.0}, r"Outcome\.cost_usd is -1\.0"),
        ({"cost_usd": None}, r"Outcome\.cost_usd is None"),
        ({"cost_usd": float("nan")}, r"Outcome\.cost_usd is nan"),
        ({"latency_s": float("inf")}, r"Outcome\.latency_s is inf"),
        ({"input_tokens": -1}, r"Outcome\.input_tokens is -1; give an int ≥ 0"),
        ({"output_tokens": 1.5}, r"Outcome\.output_tokens is 1\.5"),
        ({"output_tokens": 2**70}, r"Outcome\.output_tokens"),
        ({"error": "half \udc00"}, r"Outcome\.error"),
        ({"observed_at": "noon"}, r"Outcome\.observed_at is 'noon'"),
    ],
)
def test_a_bad_outcome_is_refused_where_it_is_made(changes: dict[str, object], message: str) -> None:
    with pytest.raises(DatabaseError, match=message):
        outcome(**changes)


def test_an_objective_that_json_cannot_hold_is_refused_before_anything_is_queued(db: PerformanceDB) -> None:
    for objective in ({"cost_weight": float("nan")}, {"rule": object()}):
        with pytest.raises(DatabaseError, match=r"Decision\.objective is .* which JSON cannot hold"):
            db.record_decisions([decision("d0"), decision("d1", objective=objective)])
    assert db.count() == (0, 0)


@pytest.mark.parametrize("name", [7, None, "a\0", "\ud800"])
def test_a_shadow_of_a_name_that_is_no_text_is_refused_before_it_blocks_the_queue(db: PerformanceDB, name: str) -> None:
    with pytest.raises(DatabaseError, match="a shadow's name is"):
        db.record_shadow(name, decision("d0"))
    db.flush()
    assert db.shadows().empty


def test_numpy_scalars_and_nan_are_stored_as_plain_values(db: PerformanceDB) -> None:
    db.record_decision(decision(probabilities=np.array([0.2, 0.7, 0.1], dtype=np.float32), propensity=np.float32(0.7)))
    made = outcome(quality=np.float32(0.5), cost_usd=np.float64(0.25), latency_s=np.nan, input_tokens=np.int32(3))
    assert made == replace(made, quality=0.5, latency_s=None, input_tokens=3)
    db.record_outcome(made)
    assert db.get_training_data().quality[0, 1] == 0.5


def test_decision_ids_repeat_only_with_their_seed() -> None:
    first, second = (np.random.default_rng(3) for _ in range(2))
    assert [new_decision_id(first) for _ in range(3)] == [new_decision_id(second) for _ in range(3)]
    assert len({new_decision_id() for _ in range(100)}) == 100


# --- the queue ---


def rows_on_disk(url: str, table: str = "decisions") -> int:
    connection = sqlite3.connect(url.removeprefix("sqlite:///"))
    try:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
    finally:
        connection.close()


def test_rows_are_on_disk_after_flush_after_close_and_before_long_in_any_case(url: str) -> None:
    with PerformanceDB(url) as db:
        db.record_decision(decision("0"))
        db.flush()
        assert rows_on_disk(url) == 1
        db.record_decision(decision("1"))
        deadline = time.monotonic() + 10.0
        while rows_on_disk(url) == 1 and time.monotonic() < deadline:
            time.sleep(0.01)
        db.record_decision(decision("2"))
    assert rows_on_disk(url) == 3


def test_a_failed_flush_keeps_the_queue_and_a_later_one_writes_it(url: str) -> None:
    db = PerformanceDB(f"{url}?timeout=0.05")
    db.record_decisions([decision("0"), decision("1")])
    db.record_outcome(outcome("0"))
    other = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    for failing in (db.flush, db.count, db.close):
        with pytest.raises(DatabaseError, match="database is locked"):
            failing()
    other.execute("ROLLBACK")
    other.close()
    db.close()
    assert (rows_on_disk(url), rows_on_disk(url, "outcomes")) == (2, 1)


def test_a_flush_that_fails_halfway_writes_nothing(url: str) -> None:
    with PerformanceDB(url) as db:
        connection = sqlite3.connect(url.removeprefix("sqlite:///"))
        connection.execute("ALTER TABLE outcomes RENAME TO away")
        db.record_decision(decision("0"))
        db.record_outcome(outcome("0"))
        with pytest.raises(DatabaseError, match="no such table"):
            db.flush()
        assert rows_on_disk(url) == 0
        connection.execute("ALTER TABLE away RENAME TO outcomes")
        connection.close()
        assert db.count() == (1, 1)


def test_a_closed_database_refuses_use_and_closes_twice(url: str) -> None:
    db = PerformanceDB(url)
    db.record_decision(decision())
    db.close()
    db.close()
    for use in (db.count, db.log, lambda: db.record_decision(decision("1"))):
        with pytest.raises(DatabaseError, match="is closed; open it anew"):
            use()


def test_closing_writes_the_good_rows_and_names_the_bad_ones(url: str) -> None:
    db = PerformanceDB(url)
    db.record_decision(decision())
    db.record_outcome(outcome("nobody"))
    with pytest.raises(DatabaseError, match="nobody"):
        db.close()
    db.close()
    assert rows_on_disk(url) == 1


# --- the store ---


@pytest.mark.parametrize("version", [0, 5])
def test_another_schema_version_is_refused(url: str, version: int) -> None:
    PerformanceDB(url).close()
    with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
        connection.execute("UPDATE routelab_schema SET version = ?", [version])
    connection.close()
    with pytest.raises(DatabaseError, match=f"log.db.* has schema version {version}, this routelab knows 4"):
        PerformanceDB(url)


NEW_IN_4 = ("quality_se", "grading_cost_usd", "first_token_s", "cached_tokens")


def make_older(db: PerformanceDB, version: int) -> None:
    """Take from a store what its ``version`` did not have."""
    with db._writing() as connection:
        for statement in (
            "DROP INDEX decisions_in_order",
            "ALTER TABLE decisions DROP COLUMN prompt",
            *(f"ALTER TABLE outcomes DROP COLUMN {name}" for name in NEW_IN_4),
            *(["DROP TABLE exposures", "DROP TABLE shadows"] if version < 3 else []),
            *(["ALTER TABLE decisions DROP COLUMN experiment"] if version < 3 else []),
            *(["DROP TABLE drifts"] if version == 1 else []),
            f"UPDATE routelab_schema SET version = {version}",
        ):
            connection.exec_driver_sql(statement)


@pytest.mark.parametrize("version", [1, 2, 3])
@pytest.mark.parametrize("store", ["url", "postgres_url"])
def test_an_older_store_gains_what_it_lacks_and_keeps_its_rows(
    store: str, version: int, request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    url = request.getfixturevalue(store)
    with PerformanceDB(url) as db:
        db.record_decision(decision())
        db.record_outcome(outcome())
        db.flush()
        make_older(db, version)
    for kept in (1, 2):
        with PerformanceDB(url) as db:
            assert db.count() == (kept, 1)
            assert db.drifts().empty
            assert db.exposures().empty
            assert db.shadows().empty
            db.record_decision(decision(f"new {kept}", experiment="t"))
            log = db.log()
            assert log["experiment"].isna().sum() == 1
            assert log["grading_cost_usd"].dropna().tolist() == [0.0]
            assert log["quality_se"].isna().all()
            with db._reading() as connection:
                assert connection.exec_driver_sql("SELECT version FROM routelab_schema").scalars().all() == [4]
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 1, "the second opening changes nothing"
    assert f"had schema version {version} and has 4 now" in told[0]


@pytest.mark.parametrize("reading", [["ope", "--policy", "uniform"], ["db", "info"]])
def test_a_command_that_reads_an_older_log_says_on_stderr_that_it_changed_it(url: str, reading: list[str]) -> None:
    with PerformanceDB(url) as db:
        db.record_decision(decision())
        db.record_outcome(outcome())
        db.flush()
        make_older(db, 3)
    command = [sys.executable, "-c", "from routelab.cli import run; run()", *reading, url]
    first, second = (subprocess.run(command, capture_output=True, text=True).stderr for _ in range(2))
    assert f"{url}') had schema version 3 and has 4 now" in first
    assert "schema" not in second


def test_an_older_store_that_cannot_be_brought_up_to_date_stays_as_it_is(url: str) -> None:
    with PerformanceDB(url) as db:
        make_older(db, 1)
        with db._writing() as connection:
            connection.exec_driver_sql("CREATE VIEW shadows AS SELECT 1")  # stands in the way of the last new table
    with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
        held = connection.execute("SELECT * FROM sqlite_master").fetchall()
        for _ in range(2):
            with pytest.raises(DatabaseError, match="a view"):
                PerformanceDB(url)
            assert connection.execute("SELECT * FROM sqlite_master").fetchall() == held
    connection.close()


def test_drifts_are_on_disk_at_once_in_the_order_of_their_detection(url: str) -> None:
    with PerformanceDB(url) as db:
        db.record_drift(Drift("b", 0.0, -0.25, 40), detected_at=9.0, decisions=500, policy_version="3")
        assert rows_on_disk(url, "drifts") == 1
        db.record_drift(Drift("a", 0.125, 0.5, 7), detected_at=8.0, decisions=501)
    with PerformanceDB(url) as db:
        assert db.drifts().to_dict("list") == {
            "provider": ["b", "a"],
            "detected_at": [9.0, 8.0],
            "decisions": [500, 501],
            "before": [0.0, 0.125],
            "after": [-0.25, 0.5],
            "recent": [40, 7],
            "policy_version": ["3", ""],
        }


def test_tables_of_somebody_else_are_left_alone(url: str) -> None:
    with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
        connection.execute("CREATE TABLE decisions (id INTEGER)")
    connection.close()
    with pytest.raises(DatabaseError, match="holds a table 'decisions' that routelab did not make"):
        PerformanceDB(url)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    path.write_text("prompt_id,provider\n" * 100)
    with pytest.raises(DatabaseError, match=r"log\.db.* not a database; see that"):
        PerformanceDB(f"sqlite:///{path}")
    assert path.read_text().startswith("prompt_id")
    with pytest.raises(DatabaseError, match="unable to open database file"):
        PerformanceDB(f"sqlite:///{tmp_path / 'missing' / 'log.db'}")


def test_no_password_shows_in_repr_or_errors(url: str) -> None:
    for bad in ("canary", "sqlite://u:canary@host/x.db", "nosuch://u:canary@host/x?password=canary"):
        with pytest.raises(DatabaseError) as caught:
            PerformanceDB(bad)
        assert "canary" not in str(caught.value)
        assert "canary" not in str(caught.value.__cause__)
    with PerformanceDB(f"{url}?timeout=5") as db:
        assert repr(db) == f"PerformanceDB({url!r})"


@pytest.mark.parametrize("name", ["mysql", "mysql+pymysql", "mssql", "oracle", "nonsense"])
def test_a_store_that_is_neither_sqlite_nor_postgresql_is_refused_with_those_that_are(name: str) -> None:
    told = f"^a {name.partition('+')[0]} store is not supported; give .*'sqlite:///.*'postgresql://"
    with pytest.raises(DatabaseError, match=told) as caught:
        PerformanceDB(f"{name}://user:canary@host/log")
    assert "canary" not in str(caught.value)


def test_a_batch_size_below_one_is_refused(url: str) -> None:
    with pytest.raises(DatabaseError, match="batch_size is 0"):
        PerformanceDB(url, batch_size=0)


def test_sqlite_is_durable_and_checks_its_references(url: str) -> None:
    with PerformanceDB(url) as db, db._reading() as connection:
        pragmas = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        ]
    assert pragmas == ["wal", 2, 1, 30_000]


# --- threads, processes, kills ---


@pytest.mark.parametrize("memory", [True, False])
def test_threads_share_one_object(memory: bool, url: str) -> None:
    with PerformanceDB("sqlite://" if memory else url, batch_size=7) as db:
        failures: list[BaseException] = []

        def work(writer: int) -> None:
            try:
                for i in range(60):
                    db.record_decision(decision(f"{writer}-{i}"))
                    db.record_outcome(outcome(f"{writer}-{i}"))
                    if i % 20 == 0:
                        db.log()
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work, args=(writer,)) for writer in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert db.count() == (360, 360)


def test_a_read_in_progress_does_not_hold_up_a_writer(url: str) -> None:
    with PerformanceDB(f"{url}?timeout=0.5") as db, PerformanceDB(f"{url}?timeout=0.5") as writer:
        db.record_decision(decision("0"))
        with db._reading() as connection:
            assert connection.exec_driver_sql("SELECT count(*) FROM decisions").scalar() == 1
            writer.record_decision(decision("1"))
            writer.flush()
        assert db.count() == (2, 0)


def test_opening_a_new_store_waits_for_whoever_else_is_making_it(url: str) -> None:
    path = url.removeprefix("sqlite:///")
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")  # SQLite itself does not wait for this lock when it switches to WAL
    with pytest.raises(DatabaseError, match="database is locked"):
        PerformanceDB(f"{url}?timeout=0.05")
    release = threading.Timer(0.2, other.execute, ["COMMIT"])
    release.start()
    PerformanceDB(url).close()
    release.join()
    other.close()


def write_rows(url: str, writer: int, rows: int) -> None:
    with PerformanceDB(url, batch_size=50) as db:
        for i in range(rows):
            db.record_decision(decision(f"{writer}-{i}"))
            db.record_outcome(outcome(f"{writer}-{i}", quality=i / rows))


def test_processes_that_create_and_write_one_store_at_once_lose_nothing(url: str) -> None:
    spawn = multiprocessing.get_context("spawn")
    writers = [spawn.Process(target=write_rows, args=(url, writer, 500)) for writer in range(4)]
    for process in writers:
        process.start()
    for process in writers:
        process.join(60)
    assert [process.exitcode for process in writers] == [0] * 4
    with PerformanceDB(url) as db:
        assert db.count() == (2000, 2000)
        assert sorted(db.log()["quality"]) == sorted([i / 500 for i in range(500)] * 4)


KILLED = """
import sys
sys.path.insert(0, sys.argv[2])
from test_performance_db import PerformanceDB, decision, outcome
db = PerformanceDB(sys.argv[1], batch_size=10**9)
for batch in range(10**6):
    for i in range(20):
        db.record_decision(decision(f"{batch}-{i}"))
        db.record_outcome(outcome(f"{batch}-{i}"))
    db.flush()
    print(batch, flush=True)
"""


def test_a_killed_process_loses_nothing_that_was_flushed(url: str) -> None:
    command = [sys.executable, "-c", KILLED, url, str(Path(__file__).parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "0\n"
        time.sleep(0.2)
        os.kill(process.pid, signal.SIGKILL)
        acknowledged = int(("0\n" + process.stdout.read()).split()[-1]) + 1
    with PerformanceDB(url) as db:
        kept = db.count()
        log = db.log()
    assert kept[0] >= kept[1] >= acknowledged * 20
    assert {f"{batch}-{i}" for batch in range(acknowledged) for i in range(20)} <= set(log["decision_id"])


def test_what_is_queued_is_written_when_python_exits(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'log.db'}"
    code = (
        "import asyncio; from routelab import *\n"
        f"router = BanditRouter(simulated_providers(), db=PerformanceDB({url!r}))\n"
        "asyncio.run(router.complete(LLMRequest('Why is the sky blue?')))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    with PerformanceDB(url) as db:
        assert db.count() == (1, 1)
