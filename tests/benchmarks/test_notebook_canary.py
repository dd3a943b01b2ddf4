"""A key in the environment is nowhere in the output of the notebook about live providers, which asks with it."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

KEY = "k1ngfisher.over/the+Thames=="
NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "07_live.ipynb"


def test_the_notebook_of_live_providers_shows_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY", KEY)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for cell in notebook.cells:
        cell.source = cell.source.replace("key_env=None", 'key_env="CANARY"').replace("= 1200", "= 200")
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = nbformat.writes(notebook)
    assert 'key_env=\\"CANARY\\"' in shown
    assert "of 200** requests were answered" in shown
    assert KEY not in shown
