"""The widgets in JupyterLab, driven by keyboard in a real browser, and a rendered notebook without a kernel."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest

from lab import NO_BROWSER, Browsed, browser, errors, lab, notebook_of, open_notebook
from widget_notebook import notebook

pytestmark = pytest.mark.skipif(NO_BROWSER is not None, reason=str(NO_BROWSER))
SHOTS = "widgets-{}.png"  # under tmp_path: looked at by people
_SLIDER = ".noUi-handle"


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browsed]:
    """A notebook with all three widgets, run in JupyterLab; its live run goes on until somebody stops it."""
    folder = tmp_path_factory.mktemp("notebooks")
    (folder / "widgets.ipynb").write_text(nbformat.writes(notebook(n_live=300, pause_s=0.2)), encoding="utf-8")
    with lab(folder) as url, browser(height=2200) as browsed:
        open_notebook(browsed.page, url, "widgets.ipynb")
        browsed.page.evaluate("void window.jupyterapp.commands.execute('notebook:run-all-cells')")
        yield browsed


def idle(page: Any) -> None:
    page.wait_for_function(
        "window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.status === 'idle'", timeout=60_000
    )


def test_a_slider_follows_every_move_while_a_live_run_goes_on(opened: Browsed) -> None:
    page = opened.page
    stop = page.get_by_role("button", name="Stop", disabled=False)
    stop.wait_for(timeout=90_000)
    page.locator(_SLIDER).first.focus()
    for key, weight in (("ArrowRight", "50"), ("ArrowRight", "1,000"), ("ArrowLeft", "50"), ("ArrowLeft", "10")):
        page.keyboard.press(key)
        page.get_by_text(f"nearest at λ = {weight}:").wait_for(timeout=20_000)
    assert stop.is_visible()


def test_the_stop_button_ends_a_live_run_while_its_cell_runs(opened: Browsed) -> None:
    page = opened.page
    stop = page.get_by_role("button", name="Stop")
    stop.wait_for(timeout=90_000)
    page.get_by_text("requests answered").wait_for(timeout=30_000)
    page.wait_for_function("!document.body.innerText.includes(' 0 requests answered')")
    stop.focus()
    page.keyboard.press("Enter")
    page.get_by_text("stopped step").wait_for(timeout=30_000)
    idle(page)
    assert errors(notebook_of(page)) == []


def test_the_slider_moves_by_keyboard_and_the_figure_with_it(opened: Browsed, tmp_path: Path) -> None:
    page = opened.page
    page.locator(_SLIDER).first.focus()
    before = page.locator("svg[aria-label]").inner_html(), page.get_by_text("nearest at λ").first.inner_text()
    assert "λ = 10:" in before[1]
    page.keyboard.press("ArrowRight")
    page.get_by_text("nearest at λ = 50:").wait_for(timeout=20_000)
    assert page.locator("svg[aria-label]").inner_html() != before[0]
    drawn = page.locator(".widget-html img").first.bounding_box()
    marks = page.locator("svg[aria-label]").bounding_box()
    assert all(abs(drawn[side] - marks[side]) < 1.0 for side in drawn)  # the mark lies on the picture
    outline = f"getComputedStyle(document.querySelector('{_SLIDER}')).outlineStyle"
    assert page.evaluate(outline) == "solid"  # whoever uses the keyboard sees where it is
    page.screenshot(path=tmp_path / SHOTS.format("slider"))


def test_a_prompt_that_is_typed_is_decided_anew(opened: Browsed) -> None:
    page = opened.page
    told = page.locator(".widget-html", has_text="chooses").last
    before = told.inner_text()
    page.locator("textarea.widget-input, .widget-textarea textarea").first.focus()
    page.keyboard.press("Control+A")
    page.keyboard.type("Prove that the square root of two is irrational, step by step.")
    page.wait_for_function(
        "old => [...document.querySelectorAll('.widget-html')].some("
        "one => one.innerText.includes('chooses') && one.innerText !== old)",
        arg=before,
        timeout=20_000,
    )
    page.keyboard.press("Control+A")
    page.keyboard.press("Delete")
    page.get_by_text("LLMRequest.prompt is empty").wait_for(timeout=20_000)


def test_a_cell_that_runs_again_shows_a_fresh_widget(opened: Browsed) -> None:
    page = opened.page
    page.evaluate(
        """async () => {
            const notebook = window.jupyterapp.shell.currentWidget.content;
            notebook.activeCellIndex = 1;
            await window.jupyterapp.commands.execute('notebook:run-cell');
        }"""
    )
    page.get_by_text("nearest at λ = 10:").wait_for(timeout=30_000)
    assert page.locator(_SLIDER).count() == 2  # of the explorer and of the inspector


def test_nothing_is_asked_of_another_host(opened: Browsed) -> None:
    assert opened.foreign == []


def test_a_rendered_notebook_shows_the_figures_without_a_kernel_or_a_network(opened: Browsed, tmp_path: Path) -> None:
    from nbconvert import HTMLExporter

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of packages that convert
        html, _ = HTMLExporter().from_notebook_node(nbformat.from_dict(notebook_of(opened.page)))
    rendered = tmp_path / "widgets.html"
    rendered.write_text(html, encoding="utf-8")
    context = opened.page.context.browser.new_context(offline=True, viewport={"width": 1200, "height": 2000})
    page = context.new_page()
    page.goto(rendered.as_uri(), wait_until="domcontentloaded")
    images = page.locator("img")
    widths = images.evaluate_all("all => all.map(one => one.complete * one.naturalWidth)")
    assert len(widths) == 3
    assert min(widths) > 500
    page.screenshot(path=tmp_path / SHOTS.format("rendered"))
    context.close()
