from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import psutil
import pytest

from pipeline import Pipeline, environment, new_project
from routelab import cli
from routelab.tables.sources import SOURCES
from tables import hard_and_easy, with_split, write_csv

ROUTELAB = str(Path(sys.executable).with_name("routelab"))


def routelab(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([ROUTELAB, *arguments], cwd=folder, env=environment(), capture_output=True, text=True)


def test_help_lists_the_commands(tmp_path: Path) -> None:
    answer = routelab("--help", folder=tmp_path)
    assert answer.returncode == 0
    assert "Learn which LLM provider should answer each request" in answer.stdout
    assert {"sources", "evaluate", "replay", "ui"} <= set(answer.stdout.replace("│", " ").split())


def test_sources_lists_every_source_with_licence_size_and_place(tmp_path: Path) -> None:
    file = tmp_path / "sources.json"
    answer = routelab("sources", "--json", str(file), folder=tmp_path)
    assert (answer.returncode, answer.stderr) == (0, "")
    rows = {line.split()[0]: line for line in answer.stdout.splitlines()}
    assert set(rows) == set(SOURCES)
    written = {row["name"]: row for row in json.loads(file.read_text(encoding="utf-8"))}
    assert set(written) == set(SOURCES)
    for name, source in SOURCES.items():
        assert source.licence in rows[name]
        assert written[name]["where"] in rows[name]
        assert (written[name]["bytes"], written[name]["licence"]) == (source.bytes, source.licence)
    assert "generated" in rows["synthetic"]
    assert "bundled" in rows["paretobandit"]
    places = {line.index(SOURCES[name].title) for name, line in rows.items()}
    assert len(places) == 1, "every column starts at the same place in all lines"


def test_sources_says_that_the_mirror_is_no_folder_and_still_lists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROUTELAB_DATA_MIRROR", str(tmp_path / "gone"))
    answer = routelab("sources", folder=tmp_path)
    assert answer.returncode == 0
    assert [line.split()[0] for line in answer.stdout.splitlines()] == list(SOURCES)
    assert len(answer.stderr.splitlines()) == 1
    assert answer.stderr.startswith("routelab: ROUTELAB_DATA_MIRROR names ")
    assert "no folder" in answer.stderr


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("ui",), "is in no routelab project (no dvc.yaml above it); change into one"),
        (("sources", "--json", "no/such/folder.json"), "no/such/folder.json"),
    ],
)
def test_bad_input_ends_with_one_line_and_code_1(tmp_path: Path, arguments: tuple[str, ...], expected: str) -> None:
    answer = routelab(*arguments, folder=tmp_path)
    assert (answer.returncode, answer.stdout) == (1, "")
    assert answer.stderr.startswith("routelab: ")
    assert len(answer.stderr.splitlines()) == 1
    assert expected in answer.stderr


def test_evaluate_prints_the_policies_by_gap_and_writes_the_same_as_json(tmp_path: Path) -> None:
    write_csv(hard_and_easy(noise=0.2), tmp_path / "mine.csv")
    command = ("evaluate", "mine.csv", "--policies", "rule,train-means, oracle", "--train-split", "0.6", "--seed", "1")
    answer = routelab(*command, "--repeats", "2", "--budgets", "0.005", "--json", "out.json", folder=tmp_path)
    assert (answer.returncode, answer.stderr) == (0, "")
    report = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert [(row["budget"], row["policy"]) for row in report["budgets"]] == [(0.005, "train-means")]
    assert [report[key] for key in ("table", "split", "repeats", "n_train", "n_eval")] == [
        "mine.csv",
        "0.6",
        2,
        180,
        120,
    ]
    gaps = {name: scores["hull_gap_captured"]["estimate"] for name, scores in report["policies"].items()}
    assert set(gaps) == {"oracle", "train-means", "rule"}
    lines = answer.stdout.splitlines()
    assert lines[0] == (
        "mine.csv: 180 training and 120 evaluation prompts × 2 providers (random split, 60% to train, mean of 2)"
    )
    header = next(place for place, line in enumerate(lines) if line.startswith("policy "))
    rows = [line.replace(" (ceiling, no policy)", "").split() for line in lines[header + 1 : header + 4]]
    assert [row[0] for row in rows] == sorted(gaps, key=gaps.__getitem__, reverse=True)
    assert [float(row[1]) for row in rows] == pytest.approx(sorted(gaps.values(), reverse=True), abs=5e-4)


def test_an_unwritable_report_is_refused_before_anything_is_read_or_fitted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["routelab", "evaluate", "no such table", "--json", "/proc/x.json"])
    with pytest.raises(SystemExit, match=r"routelab: /proc/x.json cannot be written there"):
        cli.run()
    assert capsys.readouterr().out == ""


def test_the_report_is_printed_even_where_writing_it_fails_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_csv(hard_and_easy(60), tmp_path / "t.csv")
    (tmp_path / ".out.json.part").mkdir()  # where the report is staged
    out = str(tmp_path / "out.json")
    monkeypatch.setattr("sys.argv", ["routelab", "evaluate", path, "--policies", "train-means", "--json", out])
    with pytest.raises(SystemExit, match=r"routelab: .*Is a directory"):
        cli.run()
    told = capsys.readouterr().out
    assert "\ntrain-means " in told
    assert told.startswith("only 18 evaluation prompts: differences between policies, and their order, are noise\n")


def leak(frame: pd.DataFrame) -> pd.DataFrame:
    """The text of a training prompt comes back in the evaluation split."""
    frame = with_split(frame, train=40).assign(prompt="Question " + frame["prompt_id"])
    return frame.assign(prompt=frame["prompt"].where(frame["prompt_id"] != "p50", "Question p7"))


@pytest.mark.parametrize(
    ("change", "options", "expected"),
    [
        (leak, (), "column 'split' puts 1 prompts into both 'train' and 'eval': 'Question p7'. Move each text"),
        (leak, ("--train-split", "split"), "column=None (on the command line: --train-split 0.7)."),
        (None, ("--train-split", "1"), "train_fraction is 1.0. Give a number in (0, 1)."),
        (None, ("--train-split", "nan"), "train_fraction is nan. Give a number in (0, 1)."),
        (None, ("--train-split", "fold"), "there is no column 'fold' of its own that says 'train' or 'eval'"),
        (None, ("--policies", "forrest"), "no policy 'forrest'; known are best-single, "),
        (None, ("--json", "no/such/out.json"), "no/such/out.json cannot be written there (No such file"),
        (None, ("--budgets", "0.002,much"), "--budgets '0.002,much': could not convert string to float: 'much'"),
        (None, ("--json", "/proc/x.json"), "/proc/x.json cannot be written there ("),
        (None, ("--json", "/dev/null"), "/dev/null cannot be written there (it is no file); make its folder"),
        (None, ("--budgets", "0.002,inf"), "--budgets '0.002,inf': inf is no finite number above 0; give USD per"),
        (None, ("--budgets", "nan"), "--budgets 'nan': nan is no finite number above 0; give USD per request"),
        (None, ("--budgets", "0"), "--budgets '0': 0 is no finite number above 0; give USD per request"),
        (None, ("--budgets", "-0.1"), "--budgets '-0.1': -0.1 is no finite number above 0; give USD per request"),
        (None, ("--budgets", "0.0009"), "a budget of 0.0009 USD per request is below the 0.001 that the cheapest"),
        (lambda frame: frame.assign(cost_usd=0.0), (), "every provider costs 0 USD on average"),
        (lambda frame: frame.assign(quality=3.0), (), "column 'quality' must lie in [0, 1]"),
    ],
)
def test_evaluate_refuses_bad_input_in_one_line_and_writes_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[pd.DataFrame], pd.DataFrame] | None,
    options: tuple[str, ...],
    expected: str,
) -> None:
    frame = hard_and_easy(60)
    write_csv(frame if change is None else change(frame), tmp_path / "t.csv")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["routelab", "evaluate", "t.csv", "--json", "out.json", *options])
    with pytest.raises(SystemExit) as ended:
        cli.run()
    told = str(ended.value.code)
    assert told.startswith("routelab: ")
    assert "\n" not in told
    assert expected in told
    assert capsys.readouterr().out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


def test_a_leaking_split_of_its_own_is_no_obstacle_to_a_random_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_csv(leak(hard_and_easy(60)), tmp_path / "t.csv")
    monkeypatch.setattr("sys.argv", ["routelab", "evaluate", path, "--train-split", "0.5", "--policies", "train-means"])
    with pytest.raises(SystemExit) as ended:
        cli.run()
    assert not ended.value.code
    assert "30 training and 30 evaluation prompts" in capsys.readouterr().out


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def get(address: str) -> str:
    with urllib.request.urlopen(address, timeout=5) as answer:
        assert answer.status == 200
        return str(answer.read().decode())


def test_ui_serves_the_runs_of_the_project_on_this_machine_only(pipeline: Pipeline, tmp_path: Path) -> None:
    project = new_project(tmp_path / "project")
    shutil.copy(pipeline.root / "mlflow.db", project)
    port = free_port()
    with (tmp_path / "server.log").open("w") as log:
        server = subprocess.Popen(
            [ROUTELAB, "ui", "--port", str(port)],
            cwd=project,
            env=environment(),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 30.0
        while True:
            try:
                page = get(f"http://127.0.0.1:{port}/")
                break
            except OSError:
                told = (tmp_path / "server.log").read_text()
                assert server.poll() is None, told
                assert time.monotonic() < deadline, told
                time.sleep(0.2)
        assert "<title>MLflow</title>" in page
        found = get(f"http://127.0.0.1:{port}/api/2.0/mlflow/experiments/get-by-name?experiment_name=routelab")
        experiment = json.loads(found)["experiment"]
        assert experiment["name"] == "routelab"
        assert {"key": "routelab.ui", "value": f"http://127.0.0.1:{port}"} in experiment["tags"]
        with socket.socket() as elsewhere, pytest.raises(OSError, match="refused"):
            elsewhere.connect(("127.0.0.2", port))
        processes = [server.pid, *(child.pid for child in psutil.Process(server.pid).children(recursive=True))]
        assert len(processes) <= 3
        taken = subprocess.run(
            [ROUTELAB, "ui", "--port", str(port)], cwd=project, env=environment(), capture_output=True
        )
        assert taken.returncode == 1
        told = f"routelab: 127.0.0.1:{port} cannot be listened on (Address already in use); give another with --port\n"
        assert taken.stderr.decode() == told
    finally:
        os.killpg(server.pid, signal.SIGINT)  # as Ctrl-C does
        server.wait(timeout=20)
    assert server.returncode == 0
    assert not [pid for pid in processes if psutil.pid_exists(pid)]
    said = (tmp_path / "server.log").read_text()
    assert f"MLflow UI: http://127.0.0.1:{port}/#/experiments/1/runs?viewStateShareKey=policies" in said
    assert "MLflow sends no usage data from here" in said


def test_ui_without_runs_says_how_to_make_some(tmp_path: Path) -> None:
    project = new_project(tmp_path / "project")
    done = subprocess.run([ROUTELAB, "ui"], cwd=project, env=environment(), capture_output=True, text=True)
    assert done.returncode == 1
    assert (
        done.stderr == f"routelab: there are no runs yet ({project / 'mlflow.db'} is missing); run `dvc repro` first\n"
    )
