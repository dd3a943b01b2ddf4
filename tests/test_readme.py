"""The numbers of README and of the pages it leads to are those that the stages wrote; its files are there."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from routelab.cards.markdown import interval

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "data" / "README.md", *ROOT.glob("src/routelab/*/README.md")]
)


def words(*place: str) -> str:
    """A page as one line."""
    return " ".join(ROOT.joinpath(*place).read_text(encoding="utf-8").split())


def reported(source: str, name: str) -> Any:
    return json.loads((ROOT / "data" / "reports" / source / f"{name}.json").read_text(encoding="utf-8"))


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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_file_that_a_page_shows_is_there(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text(encoding="utf-8"))
    assert not [link for link in links if not (page.parent / link).exists()]


def test_the_readme_leads_to_every_page_and_card() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    cards = [*ROOT.glob("data/reports/*/*_card.md")]
    assert len(cards) == 4
    for page in [*PAGES, *cards]:
        assert page.name == "README.md" == str(page.relative_to(ROOT)) or f"({page.relative_to(ROOT)})" in readme, page


@pytest.mark.parametrize("source", ["paretobandit", "synthetic"])
def test_the_cards_are_of_the_committed_results(source: str) -> None:
    report = reported(source, "evaluation")
    card = (ROOT / "data" / "reports" / source / "model_card.md").read_text(encoding="utf-8")
    row = next(line for line in card.splitlines() if line.startswith("| **forest**"))
    assert interval(report["policies"]["forest"]["hull_gap_captured"]) in row


def test_the_change_of_versions_is_told_as_the_stage_found_it() -> None:
    report = reported("llmdrift", "drift")
    early, later = list(report["share_of_informed"]["thompson"].values())[:2]
    page = words("src", "routelab", "policies", "README.md")
    told = f"earns {early:.0%} over the first 200 requests, {later:.1%} over the next 400".replace("%", " %")
    assert f"{report['seeds']} seeds" in page
    assert told in page


def test_experiments_are_told_as_the_stages_found_them() -> None:
    page = words("src", "routelab", "abtest", "README.md")
    told = {source: reported(source, "ab_test") for source in ("synthetic", "paretobandit")}
    same = told["synthetic"]["simulations"][0]
    assert f"in {same['runs']} simulated tests of the rules against themselves" in page
    assert f"{100.0 * same['found']:.1f} % ever found a difference" in page
    shipped, stopped = (told[source]["first_verdict"] for source in ("paretobandit", "synthetic"))
    assert (shipped["verdict"], stopped["verdict"]) == ("ship", "stop")
    assert f"the forest is shipped after {shipped['units']}" in page
    assert "latency_s p95 broken" in stopped["reason"]


def test_nothing_is_found_where_there_is_nothing_to_learn_and_the_forest_falls_behind_nowhere() -> None:
    """What README says of the controls and of all tables."""
    outcomes = reported("paretobandit", "controls")["outcomes"]
    assert outcomes["excluding_zero"] == 0
    assert abs(outcomes["mean"]) < 0.01
    rows = pd.read_csv(ROOT / "data" / "reports" / "benchmark.csv")
    forest = rows[rows["policy"] == "forest"]
    assert 1 <= (forest["difference_low"] > 0.0).sum() <= 4
    assert not (forest["difference_high"] < 0.0).any()
