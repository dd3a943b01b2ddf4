"""The performance log read in batches, exported and pruned."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from durability import numbered
from routelab.cli import app
from routelab.db_batches import LOG, read_batches
from routelab.db_reading import read_training_data
from routelab.errors import DatabaseError
from routelab.evaluation.ope import LoggedData
from routelab.performance_db import Decision, Outcome, PerformanceDB

ROWS = 25


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def db(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PerformanceDB]:
    """A log of 25 decisions, two and two at the same time; every third waits for its outcome."""
    url = {"memory": "sqlite://", "sqlite": f"sqlite:///{tmp_path / 'log.db'}"}.get(request.param)
    with PerformanceDB(url or request.getfixturevalue("postgres_url"), prompts="stored") as opened:
        fill(opened)
        yield opened


def fill(db: PerformanceDB) -> None:
    for i in np.random.default_rng(0).permutation(ROWS).tolist():
        db.record_decision(
            Decision(
                decision_id=f"d{i:02d}",
                request_id=f"r{i // 2}",
                decided_at=i // 2 / 3,
                provider="ab"[i % 2],
                providers=("a", "b") if i < 20 else ("b", "a", "new"),
                probabilities=(0.5, 0.5) if i < 20 else (0.5, 0.5, 0.0),
                propensity=0.5,
                features=np.array([i // 2, 0.1]),
                feature_set="set",
                policy="p",
                objective={"cost_weight": i} if i % 2 else {},
                prompt=f"„{i}“" if i % 4 else None,
            )
        )
        if i % 3:
            db.record_outcome(
                Outcome(
                    f"d{i:02d}", quality=i / ROWS, cost_usd=i / 7, observed_at=9.0, input_tokens=i, cached_tokens=None
                )
            )


def graded(decision_id: str, quality: float = 0.5, **others: float) -> Outcome:
    return Outcome(decision_id, quality, 0.0, 0.0, **others)  # type: ignore[arg-type]


def test_an_answer_gets_its_grade_once_and_all_else_stays(db: PerformanceDB) -> None:
    db.record_outcome(Outcome("d00", None, cost_usd=0.25, observed_at=9.0, output_tokens=4))  # all in one transaction
    for _ in range(2):
        db.record_grade(graded("d00", quality_se=0.1, grading_cost_usd=0.02))
    whole = Outcome("d00", 0.5, 0.25, 9.0, output_tokens=4, quality_se=0.1, grading_cost_usd=0.02)
    assert db.outcome("d00") == whole
    db.record_outcome(Outcome("d03", None, cost_usd=0.0, observed_at=9.0, error="refused"))
    before = db.log()
    for decision_id, quality in (("d00", 0.6), ("d01", 0.6), ("d03", 0.5), ("d06", 0.5), ("nobody", 0.5)):
        db.record_grade(graded(decision_id, quality))
        reason = "has no outcome; record that" if decision_id in ("d06", "nobody") else "has another grade already"
        with pytest.raises(DatabaseError, match=rf"'{decision_id}',? (which )?{reason}"):
            db.flush()
    pd.testing.assert_frame_equal(db.log(), before)
    assert db.outcome("d06") is None


@pytest.mark.parametrize("flushed", [False, True])
def test_an_outcome_delivered_again_after_its_grade_is_harmless_and_the_grade_stays(
    db: PerformanceDB, flushed: bool
) -> None:
    answer = Outcome("d00", None, cost_usd=0.25, observed_at=9.0, output_tokens=4)
    db.record_outcome(answer)
    db.record_grade(graded("d00", quality_se=0.1, grading_cost_usd=0.02))
    if flushed:
        db.flush()
    whole = replace(answer, quality=0.5, quality_se=0.1, grading_cost_usd=0.02)
    for again in (answer, replace(answer, observed_at=99.0), whole):
        db.record_outcome(again)
        db.flush()
    for other in (replace(answer, cost_usd=0.5), replace(answer, error="late"), replace(whole, quality=0.6)):
        db.record_outcome(other)
        with pytest.raises(DatabaseError, match="'d00' has another outcome already; the first one stays"):
            db.flush()
    assert db.outcome("d00") == whole


@pytest.mark.parametrize("rows", [1, 2, 3, 24, 25, 26, 1000])
def test_batches_of_any_size_are_the_log_in_its_order(db: PerformanceDB, rows: int) -> None:
    batches = list(db.batches(rows))
    log = db.log()
    assert list(log["decision_id"]) == [f"d{i:02d}" for i in range(ROWS)]
    assert [len(batch) for batch in batches if len(batch)] == [rows] * (ROWS // rows) + [ROWS % rows] * (
        ROWS % rows > 0
    )
    pd.testing.assert_frame_equal(pd.concat(batches, ignore_index=True), log)


def test_what_is_recorded_between_batches_is_read_and_holds_nobody_up(db: PerformanceDB) -> None:
    read = []
    for batch in db.batches(10):
        read.extend(batch["decision_id"])
        decision, outcome = numbered(f"{'x' * 100}{len(read)}")  # whose length is its time
        db.record_decision(decision)
        db.record_outcome(outcome)
        db.flush()
    assert len(read) == len(set(read)) == len(db.log()) - 1 == ROWS + 2


def test_batches_of_no_rows_are_refused(db: PerformanceDB) -> None:
    with pytest.raises(DatabaseError, match="rows is 0; give an int ≥ 1"):
        db.batches(0)


def test_sqlite_reads_the_log_along_an_index(tmp_path: Path) -> None:
    with PerformanceDB(f"sqlite:///{tmp_path / 'log.db'}") as db:
        fill(db)
        statements: list[str] = []
        with db._reading() as connection:
            connection.connection.driver_connection.set_trace_callback(statements.append)  # type: ignore[union-attr]
        list(read_batches(db._reading, LOG, 10))
        pages = [statement for statement in statements if statement.startswith("SELECT decisions")]
        assert len(pages) == 3
        with db._reading() as connection:
            for page in pages:
                plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {page}")]
                assert plan[0].split(" (")[0].endswith("decisions USING INDEX decisions_in_order")
                assert not [step for step in plan if "TEMP B-TREE" in step]


@pytest.mark.parametrize("rows", [1, 4, 1000])
def test_training_data_is_the_same_in_whatever_batches_it_is_read(db: PerformanceDB, rows: int) -> None:
    data, whole = read_training_data(db._reading, None, rows), db.get_training_data()
    assert data.providers == whole.providers == ("a", "b", "new")
    assert len(whole.X) < 17, "both answers to a request share a row"
    for name in ("request_ids", "X", "quality", "quality_se", "cost", "latency", "propensity", "decided_at"):
        np.testing.assert_array_equal(getattr(data, name), getattr(whole, name), strict=True)


def test_feature_sets_and_lengths_are_told_apart_across_batches(db: PerformanceDB) -> None:
    decision, outcome = numbered("x" * 100)
    db.record_decision(decision)
    db.record_outcome(outcome)
    with pytest.raises(DatabaseError, match=r"\['durability', 'set'\]; pass feature_set="):
        read_training_data(db._reading, None, 2)
    db.record_decision(
        Decision(
            **{name: getattr(decision, name) for name in decision.__slots__}
            | {"decision_id": "longer", "decided_at": 200.0, "features": np.zeros(9)}
        )
    )
    db.record_outcome(Outcome("longer", quality=0.0, cost_usd=0.0, observed_at=0.0))
    with pytest.raises(DatabaseError, match="'durability' has rows of several lengths"):
        read_training_data(db._reading, "durability", 1)


def test_an_exported_log_is_the_log(db: PerformanceDB, tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "log.parquet"
    db.export(path)
    written, log = pd.read_parquet(path), db.log()
    assert list(written.columns) == list(log.columns)
    for name in ("features", "providers", "probabilities"):
        assert [list(row) for row in written[name]] == [list(row) for row in log[name]]
    others = log.columns.difference(["features", "providers", "probabilities", "objective"])
    assert written[others].to_json(double_precision=15) == log[others].to_json(double_precision=15)
    read, direct = LoggedData.from_frame(written), LoggedData.from_db(db)
    np.testing.assert_array_equal(read.quality, direct.quality)
    np.testing.assert_array_equal(read.X, direct.X)


def test_exports_of_one_log_have_the_same_bytes_and_an_empty_log_its_columns(db: PerformanceDB, tmp_path: Path) -> None:
    db.export(tmp_path / "one.parquet")
    db.export(str(tmp_path / "two.parquet"))
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()
    with PerformanceDB("sqlite://") as empty:
        empty.export(tmp_path / "empty.parquet")
        assert list(pd.read_parquet(tmp_path / "empty.parquet").columns) == list(empty.log().columns)


def test_a_log_is_exported_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    path.write_bytes(b"earlier")
    with PerformanceDB(f"sqlite:///{tmp_path / 'log.db'}") as db:
        fill(db)
        db.flush()
        with sqlite3.connect(tmp_path / "log.db") as connection:
            connection.execute("UPDATE decisions SET probabilities = 'damaged' WHERE decision_id = 'd24'")
        connection.close()
        with pytest.raises(ValueError, match="Expecting value"):
            db.export(path)
    assert path.read_bytes() == b"earlier"
    assert {file.name for file in tmp_path.iterdir()} == {"log.parquet", "log.db"}


def test_pruning_takes_what_was_decided_before_with_all_that_belongs_to_it(
    db: PerformanceDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("routelab.db_writing._DELETED_AT_ONCE", 4)
    before, shadow = db.log(), numbered("s")[0]
    db.record_shadow("bold", shadow)  # decided at 1
    db.record_shadow("bold", numbered("later")[0])
    assert db.prune(before=2.0) == 12
    pd.testing.assert_frame_equal(db.log(), before[before["decided_at"] >= 2.0].reset_index(drop=True))
    assert db.count() == (13, 8)
    assert list(db.shadows()["decision_id"]) == ["later"]
    assert db.prune(before=2.0) == 0
    db.record_outcome(Outcome("d00", quality=1.0, cost_usd=0.0, observed_at=99.0))
    with pytest.raises(DatabaseError, match="outcome of unknown decision_id 'd00'"):
        db.flush()
    with pytest.raises(DatabaseError, match="before is nan; give unix seconds"):
        db.prune(before=float("nan"))


def test_no_transaction_of_pruning_deletes_more_than_its_share(
    db: PerformanceDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("routelab.db_writing._DELETED_AT_ONCE", 4)
    for number in range(10):
        db.record_shadow("bold", numbered(str(number))[0])  # decided at 1
    deleted: dict[str, list[int]] = {"decisions": [0], "outcomes": [0], "shadows": [0]}

    def count(_connection: object, cursor: sqlite3.Cursor, statement: str, *_: object) -> None:
        if statement.startswith("DELETE FROM "):
            deleted[statement.split()[2]][-1] += cursor.rowcount

    def end(_connection: object) -> None:
        for counts in deleted.values():
            counts.append(0)

    sa.event.listen(db._engine, "after_cursor_execute", count)
    sa.event.listen(db._engine, "commit", end)
    db.prune(before=2.0)
    assert {kind: sum(counts) for kind, counts in deleted.items()} == {"decisions": 12, "outcomes": 8, "shadows": 10}
    assert {kind: max(counts) for kind, counts in deleted.items()} == {"decisions": 4, "outcomes": 3, "shadows": 4}


def test_the_command_looks_at_exports_and_prunes_a_log(tmp_path: Path) -> None:
    path, table = str(tmp_path / "log.db"), tmp_path / "log.parquet"
    with PerformanceDB(f"sqlite:///{path}") as db:
        fill(db)
    run = CliRunner()
    assert run.invoke(app, ["db", "info", path]).output == "25 decisions, 16 outcomes, 0 drifts\n"
    assert run.invoke(app, ["db", "export", f"sqlite:///{path}", str(table)]).exit_code == 0
    assert len(pd.read_parquet(table)) == ROWS
    assert run.invoke(app, ["db", "prune", path, "--before", "1970-01-01T00:00:02"]).output == "12 decisions deleted\n"
    missing = run.invoke(app, ["db", "info", str(tmp_path / "none.db")])
    assert isinstance(missing.exception, DatabaseError)
    assert not (tmp_path / "none.db").exists()
