"""Every notebook in JupyterLab, as a person runs it: opened, Run All, looked at; nothing is asked of another machine.

Pictures of the pages stay in ``build/screenshots``.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import NO_BROWSER, browser, errors, lab, open_notebook, run_all

ROOT = Path(__file__).resolve().parents[1]
SHOTS = ROOT / "build" / "screenshots"
NOTEBOOKS = sorted(path.name for path in (ROOT / "notebooks").glob("[0-9]*.ipynb"))

WIDGET = "application/vnd.jupyter.widget-view+json"

pytestmark = pytest.mark.skipif(NO_BROWSER is not None, reason=str(NO_BROWSER))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project as it is committed, with what the pipeline made: JupyterLab writes outputs into notebooks."""
    if not (ROOT / "data/reports/synthetic/evaluation.json").exists():
        pytest.skip("the pipeline has not run: make repro")
    folder = tmp_path_factory.mktemp("browsed") / "project"
    shutil.copytree(ROOT, folder, symlinks=True, ignore=shutil.ignore_patterns(".venv", "build", ".*_cache", "cache"))
    return folder


@pytest.fixture(scope="module")
def served(project: Path) -> Iterator[str]:
    with lab(project) as url:
        yield url


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_runs_in_jupyterlab_and_its_figures_are_seen(name: str, served: str) -> None:
    with browser() as browsed:
        page = browsed.page
        open_notebook(page, served, f"notebooks/{name}")
        ran = run_all(page, timeout_s=240)
        assert errors(ran) == []
        outputs = [out.get("data", {}) for cell in ran["cells"] for out in cell.get("outputs", ())]
        widgets = sum(WIDGET in data for data in outputs)
        figures = sum("image/png" in data and WIDGET not in data for data in outputs)
        sizes = page.locator(".jp-RenderedImage img").evaluate_all("all => all.map(one => one.clientWidth)")
        assert len(sizes) == figures
        assert figures + widgets > 0
        assert min(sizes, default=300) >= 300
        assert (
            page.locator(".jp-OutputArea-output.jupyter-widgets, .jp-OutputArea-output .jupyter-widgets").count()
            >= widgets
        )
        SHOTS.mkdir(parents=True, exist_ok=True)
        height = page.evaluate("document.querySelector('.jp-WindowedPanel-viewport').scrollHeight")
        page.evaluate("window.jupyterapp.commands.execute('application:toggle-left-area')")
        page.set_viewport_size({"width": 1400, "height": min(int(height) + 150, 16_000)})
        page.evaluate("document.querySelector('.jp-WindowedPanel-outer').scrollTop = 0")
        page.wait_for_timeout(500)
        page.screenshot(path=SHOTS / f"{Path(name).stem}.png")
        assert browsed.foreign == []
    shown = json.dumps([out for cell in ran["cells"] for out in cell.get("outputs", ())])
    assert "Traceback" not in shown
