"""Notebook 08 on tables that users bring."""

from __future__ import annotations

import json
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from nbclient import NotebookClient

from routelab import PerformanceTable
from routelab.tables.synthetic import World

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"


def told(table: Path, out: Path) -> str:
    """What the notebook writes, run on that table."""
    notebook = nbformat.read(NOTEBOOKS / "08_own_data.ipynb", 4)
    [settings] = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ())]
    settings.source += f"\ntable, out, tolerance = {str(table)!r}, {str(out)!r}, 0.05"
    NotebookClient(notebook, timeout=200, resources={"metadata": {"path": NOTEBOOKS}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    return json.dumps([output.get("data", {}) for output in outputs], ensure_ascii=False)


@pytest.mark.parametrize("first", [True, False])
def test_a_provider_that_is_left_out_is_named_once_and_asked_never(tmp_path: Path, first: bool) -> None:
    table = World().generate(300, seed=3).table
    frame = table.to_frame()
    rare = frame[frame["provider"] == "nano"].iloc[:30].assign(provider="rare/new")
    rows = [rare, frame] if first else [frame, rare]
    PerformanceTable.from_frame(pd.concat(rows)).write(tmp_path / "mine.csv")
    said = told(tmp_path / "mine.csv", tmp_path / "router")
    assert "rare/new was left out: it has 30 outcomes" in said
    assert "decides alike: 100%" in said
    saved = json.loads((tmp_path / "router" / "trade_off.json").read_text())
    assert saved["providers"] == list(table.providers)


def test_a_public_table_gets_its_verdict(mirror: Path, tmp_path: Path) -> None:
    said = told(mirror.parent / "tables" / "bfcl.parquet", tmp_path / "router")
    assert "fresh prompts" in said
    assert "decides alike: 100%" in said
