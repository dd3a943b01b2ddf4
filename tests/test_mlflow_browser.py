"""The MLflow UI as `routelab ui` opens it, in a browser: runs, charts, and two policies beside each other.

Pictures of the pages stay in ``build/screenshots``.
"""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab import NO_BROWSER, browser
from pipeline import environment

pytestmark = pytest.mark.skipif(NO_BROWSER is not None, reason=str(NO_BROWSER))
ROOT = Path(__file__).resolve().parents[1]
SHOTS = ROOT / "build" / "screenshots"
SERVE = "from routelab.cli import run; run()"
TAGGED = """
SELECT runs.run_uuid, runs.experiment_id FROM runs
JOIN tags AS stage ON stage.run_uuid = runs.run_uuid AND stage.key = 'stage' AND stage.value = 'evaluate'
JOIN tags AS source ON source.run_uuid = runs.run_uuid AND source.key = 'source' AND source.value = 'synthetic'
JOIN tags AS policy ON policy.run_uuid = runs.run_uuid AND policy.key = 'policy' AND policy.value = ?
ORDER BY runs.start_time DESC
"""


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address that `routelab ui` prints, over a copy of the project's runs."""
    if not (ROOT / "mlflow.db").exists():
        pytest.skip("the pipeline has not run: make repro")
    project = tmp_path_factory.mktemp("ui")
    for name in ("mlflow.db", "dvc.yaml"):
        shutil.copy(ROOT / name, project)
    command = [sys.executable, "-c", SERVE, "ui", "--port", "0"]
    server = subprocess.Popen(command, cwd=project, env=environment(), stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    yield next(word for word in server.stdout.readline().split() if word.startswith("http"))
    server.send_signal(signal.SIGINT)
    server.communicate(timeout=20)


def look(page: Any, name: str) -> None:
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.wait_for_timeout(1000)
    page.screenshot(path=SHOTS / f"mlflow_{name}.png")


def test_the_first_page_shows_the_metrics_that_matter_and_charts_of_them(opened: str) -> None:
    with browser(1600, 1200) as browsed:
        page = browsed.page
        page.goto(opened)
        page.get_by_text("forest · synthetic · evaluate").first.wait_for(timeout=60_000)
        for column in ("hull_gap_captured", "cost_save", "cost_usd"):
            assert page.get_by_role("columnheader", name=column).count() >= 1
        rows = page.locator(".ag-row").all_inner_texts()
        assert "Group: synthetic" in " ".join(rows)  # runs stand under their source
        assert not [row for row in rows if "oracle" in row]
        look(page, "runs")
        page.locator("label:has(input[value=CHART])").click()
        page.locator(".js-plotly-plot").nth(2).wait_for(timeout=60_000)
        page.get_by_text("Show differences only").first.wait_for(timeout=60_000)
        look(page, "charts")
        assert browsed.foreign == []


def test_two_policies_are_compared_by_name_and_metric(opened: str) -> None:
    with sqlite3.connect(ROOT / "mlflow.db") as store:
        (forest, experiment), (rule, _) = (store.execute(TAGGED, [name]).fetchone() for name in ("forest", "rule"))
    asked = f"runs={json.dumps([forest, rule])}&experiments={json.dumps([str(experiment)])}"
    with browser(1600, 2400) as browsed:
        page = browsed.page
        page.goto(f"{opened.partition('#')[0]}#/compare-runs?{asked}")
        for name in ("forest · synthetic · evaluate", "rule · synthetic · evaluate"):
            page.get_by_text(name, exact=True).first.wait_for(timeout=60_000)
        page.get_by_role("link", name="aiq", exact=True).wait_for(timeout=60_000)
        look(page, "compare")
        assert browsed.foreign == []
