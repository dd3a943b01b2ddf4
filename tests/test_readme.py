"""README's numbers are those that the stages wrote."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(("column", "source"), [(1, "paretobandit"), (2, "synthetic")])
def test_the_results_table_states_what_the_evaluation_found(column: int, source: str) -> None:
    report = json.loads((ROOT / "data" / "reports" / source / "evaluation.json").read_text(encoding="utf-8"))
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    header = next(line for line in readme.splitlines() if line.startswith("| policy |")).split("|")[column + 1]
    counts = [int(number.replace(",", "")) for number in re.findall(r"\d[\d,]*", header)]
    assert counts == [report["n_train"], report["n_eval"], report["providers"]]
    for name, scores in report["policies"].items():
        if name in ("oracle", "best-single"):
            continue
        row = next(line for line in readme.splitlines() if line.startswith(f"| {name} |"))
        gap = scores["hull_gap_captured"]
        told = "{estimate:.2f} [{low:.2f}, {high:.2f}]".format(**gap).replace("-0.00", "0.00")
        assert row.split("|")[column + 1].strip() == told


def test_every_file_that_the_readme_shows_is_there() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", readme)
    assert links
    assert not [link for link in links if not (ROOT / link).exists()]


def test_the_change_of_versions_is_told_as_the_stage_found_it() -> None:
    report = json.loads((ROOT / "data" / "reports" / "llmdrift" / "drift.json").read_text(encoding="utf-8"))
    early, later = list(report["share_of_informed"]["thompson"].values())[:2]
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    told = f"earns {early:.0%} over the first 200 requests, {later:.1%} over the next 400".replace("%", " %")
    assert f"{report['seeds']} seeds" in readme
    assert told in readme


def test_experiments_are_told_as_the_stages_found_them() -> None:
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    told = {}
    for source in ("synthetic", "paretobandit"):
        told[source] = json.loads((ROOT / "data" / "reports" / source / "ab_test.json").read_text(encoding="utf-8"))
    same = told["synthetic"]["simulations"][0]
    assert f"in {same['runs']} simulated tests of the rules against themselves" in readme
    assert f"{100.0 * same['found']:.1f} % ever found a difference" in readme
    shipped, stopped = (told[source]["first_verdict"] for source in ("paretobandit", "synthetic"))
    assert (shipped["verdict"], stopped["verdict"]) == ("ship", "stop")
    assert f"the forest is shipped after {shipped['units']}" in readme
    assert "latency_s p95 broken" in stopped["reason"]
