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
from pathlib import Path

import pytest

from pipeline import Pipeline, environment, new_project
from routelab.tables.sources import SOURCES

ROUTELAB = str(Path(sys.executable).with_name("routelab"))


def routelab(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([ROUTELAB, *arguments], cwd=folder, env=environment(), capture_output=True, text=True)


def test_help_lists_the_commands(tmp_path: Path) -> None:
    answer = routelab("--help", folder=tmp_path)
    assert answer.returncode == 0
    assert "Learn which LLM provider should answer each request" in answer.stdout
    assert {"sources", "ui"} <= set(answer.stdout.replace("│", " ").split())


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
        assert json.loads(found)["experiment"]["name"] == "routelab"
        with socket.socket() as elsewhere, pytest.raises(OSError, match="refused"):
            elsewhere.connect(("127.0.0.2", port))
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=20)
    assert f"MLflow UI: http://127.0.0.1:{port}" in (tmp_path / "server.log").read_text()
