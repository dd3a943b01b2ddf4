"""CONTRIBUTING works as it is written: each recipe is followed in a copy of the repository."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from recipes import ROOT, copy_repository, follow, section

PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return copy_repository(tmp_path)


def check(folder: Path, *files: str) -> None:
    """The linter's and the house's opinion of what the recipe wrote."""
    for command in (["check"], ["format", "--check"]):
        subprocess.run([sys.executable, "-m", "ruff", *command, "-q", *files], cwd=folder, check=True)


def test_a_policy_is_added_by_one_file_and_its_name(copy: Path) -> None:
    printed = follow(section(PAGE, "Add a policy"), copy)
    assert "4 passed" in printed or "5 passed" in printed
    row = next(line for line in printed.splitlines() if line.startswith("median"))
    assert "[" in row
    check(copy, "src/routelab/policies")


def test_a_provider_is_asked_over_http(copy: Path) -> None:
    assert "1 passed" in follow(section(PAGE, "Add a provider"), copy)
    check(copy, "src/routelab/providers", "tests/test_plain_http.py")


def test_a_source_is_collected_and_has_a_card(copy: Path) -> None:
    printed = follow(section(PAGE, "Add a source"), copy)
    assert "answers: 3 prompts × 2 providers (small, large)" in printed
    assert "Answers: three questions to two providers, right or wrong. Costs are made up." in printed
    check(copy, "src/routelab/tables/readers")


def test_a_stage_is_run_by_dvc_with_what_it_needs(copy: Path) -> None:
    printed = follow(section(PAGE, "Add a stage"), copy)
    assert "on 90% of the prompts providers are at most" in printed
    assert 0.0 < json.loads((copy / "data/reports/synthetic/spread.json").read_text())["spread"] <= 1.0
    assert not (copy / "data/features/synthetic/train.npz").exists()
    check(copy, "src/routelab/stages", "src/routelab/params.py")
