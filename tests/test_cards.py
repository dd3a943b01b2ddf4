"""Cards tell what is in the table and in the reports, in Markdown that no name can break."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline import Pipeline, new_project
from routelab import PerformanceTable, tracking
from routelab.cards.data_card import data_card
from routelab.cards.markdown import interval, number, table
from routelab.params import load_params
from routelab.stages.model_card import model_card
from routelab.tables.sources import SOURCES, load_source

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")  # MLflow's own models


def frame_of(prompts: int, **columns: object) -> pd.DataFrame:
    """Two providers that charge 2 and 8 USD per million tokens in and out, and their tenfold."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "prompt_id": np.repeat([f"p{place}" for place in range(prompts)], 2),
            "provider": ["small", "large"] * prompts,
            "prompt": np.repeat([f"Why {place}?" for place in range(prompts)], 2),
            "quality": rng.integers(0, 2, 2 * prompts).astype(float),
            "input_tokens": rng.integers(10, 1000, 2 * prompts).astype(float),
            "output_tokens": rng.integers(10, 1000, 2 * prompts).astype(float),
        }
    )
    factor = np.tile([1.0, 10.0], prompts)
    frame["cost_usd"] = factor * (2 * frame["input_tokens"] + 8 * frame["output_tokens"]) / 1e6
    return frame.assign(**columns)


def card_of(frame: pd.DataFrame) -> str:
    return data_card(PerformanceTable.from_frame(frame, origin="mine.csv"))


def rows(card: str) -> dict[str, list[str]]:
    """Cells of every table's rows, by their first cell."""
    lines = [re.split(r"(?<!\\)\|", line)[1:-1] for line in card.splitlines() if line.startswith("|")]
    return {cells[0].strip(): [cell.strip() for cell in cells[1:]] for cells in lines}


def test_the_card_of_a_table_tells_prices_that_follow_from_its_tokens() -> None:
    told = rows(card_of(frame_of(50)))
    assert (told["small"][3], told["large"][3]) == ("2 / 8", "20 / 80")
    rough = frame_of(50)
    rough["cost_usd"] *= np.linspace(0.5, 2.0, len(rough))
    assert rows(card_of(rough))["small"][3] == "–"


def test_the_card_of_a_table_counts_what_is_missing_the_same_or_twice() -> None:
    frame = frame_of(50)
    frame.loc[frame["prompt_id"].isin(["p1", "p2", "p3", "p4", "p5"]) & (frame["provider"] == "large"), "quality"] = (
        np.nan
    )
    frame.loc[frame["prompt_id"].isin(["p7", "p8"]), "prompt"] = "Why 0?"
    card = card_of(frame)
    assert rows(card)["large"][0] == "10 %"
    assert "5 % of the outcomes are not graded; 90 % of the prompts" in card
    assert "2 prompts repeat the text of an earlier one" in card
    small, large = (frame.loc[frame["provider"] == name, "quality"].to_numpy() for name in ("small", "large"))
    assert f"On {number(100 * (small == large).sum() / 45)} % of these" in card


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "a|b", "line\nbreak", "**x**|\r\n| y |"])
def test_no_name_of_a_provider_or_task_breaks_out_of_its_cell(name: str) -> None:
    frame = frame_of(20).replace({"provider": {"small": name}}).assign(task=name)
    card = card_of(frame)
    assert "<" not in card
    tables = [line for line in card.splitlines() if line.startswith("|")]
    widths = {len(re.split(r"(?<!\\)\|", line)) for line in tables}
    assert widths == {6, 8}  # columns, tasks: four cells; providers: six
    assert len({len(line) for line in tables if "USD" in line}) <= 2


def test_the_card_of_a_source_names_its_files_licence_and_citation() -> None:
    source = SOURCES["paretobandit"]
    card = data_card(load_source("paretobandit"), source)
    for fact in (source.licence, source.citation, source.version, *(file.sha256 for file in source.files)):
        assert fact in card
    assert "3,609 prompts" in card


def test_numbers_have_three_digits_and_intervals_their_ends() -> None:
    assert [number(value) for value in (0.0, -2e-13, 0.5, 1e6, float("nan"))] == ["0", "0", "0.5", "1,000,000", "–"]
    assert interval({"estimate": None, "low": None, "high": None}) == "– [–, –]"
    lines = table(["a", "b"], [["x", "1"], ["long name", "1,000"]]).splitlines()
    assert len({len(line) for line in lines}) == 1


def test_the_model_card_tells_what_the_reports_hold(pipeline: Pipeline) -> None:
    folder = pipeline.root / "data" / "reports" / "synthetic"
    card = (folder / "model_card.md").read_text(encoding="utf-8")
    report = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
    controls = json.loads((folder / "controls.json").read_text(encoding="utf-8"))
    told = rows(card)
    for name, scores in report["policies"].items():
        if name in ("oracle", "best-single"):
            continue
        shown = told[f"**{name}**" if name == "forest" else name]
        assert shown[0] == interval(scores["hull_gap_captured"])
    assert told["prompts to train"] == [f"{report['n_train']:,}"]
    assert told["prompts to evaluate, unseen"] == [f"{report['n_eval']:,}"]
    assert f"{controls['outcomes']['excluding_zero']} of {controls['shuffles']}" in card
    frontier = pd.read_csv(folder / "frontier.csv")
    own = frontier[frontier["policy"] == "forest"]
    first = own.loc[own["lambda"].idxmin()]
    assert told["0"][:1] == [number(1000 * first["cost_usd"])]
    assert f"{number(first['quality_low'])} to {number(first['quality_high'])}" in card
    for name, error in report["policies"]["forest"]["ece"].items():
        assert told[name][0] == number(error)


def test_the_model_card_of_a_table_without_text_or_registry_is_written_too(pipeline: Pipeline) -> None:
    card = (pipeline.copy / "data" / "reports" / "textless" / "model_card.md").read_text(encoding="utf-8")
    assert "0 of the prompt's embedding" in card
    assert "`x_size`" in card
    assert "its owner's to say" in card


def test_the_model_card_goes_to_the_newest_run_of_this_very_forest(
    pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project = new_project(tmp_path / "project")
    shutil.copytree(pipeline.root / "data", project / "data")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    monkeypatch.chdir(project)
    card = Path("data/reports/synthetic/model_card.md")
    scores = json.loads(card.with_name("forest.json").read_text(encoding="utf-8"))["forest"]

    def told(policy: str, scores: dict[str, float]) -> tuple[str, str]:
        """A run of a training, and what the stage says then."""
        with tracking.run("train_forest", "synthetic", policy, 0, {}) as run_id:
            tracking.log_metrics(scores)
        model_card("synthetic", load_params())
        return run_id, capsys.readouterr().out

    assert "attached to no run: no run with stage='train_forest'" in told("forest-classifier", scores)[1]
    assert "attached to no run: none has the scores" in told("forest", {"quality_mae": 0.5})[1]
    told("forest", scores)
    own, said = told("forest", {name: value + 1e-13 for name, value in scores.items()})  # reports are rounded
    assert f"attached to run {own}" in said
    other, said = told("forest", scores | {"quality_mae": 0.5})
    assert f"attached to run {own}" in said
    folder = project / "mlartifacts"
    assert [path.relative_to(folder).as_posix() for path in folder.rglob("*.md") if other in path.parts] == []
    assert (folder / own / "artifacts" / card.name).read_bytes() == card.read_bytes()
    assert tracking.runs().set_index("run_id")["status"].eq("FINISHED").all()
