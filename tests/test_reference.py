"""``make docs`` renders every public name with its docstring, quietly, and the pages ask nobody for anything."""

from __future__ import annotations

import html
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import routelab


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reference")
    ended = subprocess.run([sys.executable, "-m", "routelab.reference", folder], capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")
    return folder


def entry(page: str, name: str) -> str:
    """What the page says of a name, its members left out, as text."""
    found = re.search(rf'<section id="{name}">(.*?)(?:<section|</section>|<div id="{name}\.)', page, re.DOTALL)
    return "" if found is None else html.unescape(re.sub(r"<[^>]+>", "", found[1]))


def test_every_public_name_has_an_entry_with_its_docstring(pages: Path) -> None:
    page = (pages / "routelab.html").read_text(encoding="utf-8")
    for name in routelab.__all__:
        if name == "__version__":
            continue
        first = (inspect.getdoc(getattr(routelab, name)) or "").split()[:4]
        assert first, name
        told = re.sub(r"[`*]", "", " ".join(entry(page, name).split()))
        assert re.sub(r"[`*]", "", " ".join(first)) in told, name


def test_modules_have_pages_and_private_names_have_none(pages: Path) -> None:
    for module in ("metrics", "policies/forest", "evaluation/ope", "abtest/analysis", "tables/table"):
        assert (pages / "routelab" / f"{module}.html").exists()
    assert not (pages / "routelab" / "stages").exists()
    assert not list(pages.rglob("_*"))
    for page in pages.rglob("*.html"):
        assert not re.search(r'<section id="_', page.read_text(encoding="utf-8")), page


def test_the_pages_load_nothing_from_another_host(pages: Path) -> None:
    loads = re.compile(r'(?:<script[^>]+src|<link[^>]+href|<img[^>]+src|@import)\s*=?\s*["\'(]*(https?:)?//')
    assert not [page for page in pages.rglob("*.html") if loads.search(page.read_text(encoding="utf-8"))]
