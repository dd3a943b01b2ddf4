"""Stage ``model_card``: what the other stages found of the forest, on one page for people."""

from __future__ import annotations

import io
import json
from typing import Any

import pandas as pd

from routelab import tracking
from routelab.cards.model_card import Found, forest_card
from routelab.errors import RoutelabError
from routelab.features import RequestFeaturizer
from routelab.params import Params
from routelab.stages.common import features, reports, rounded, stage, write_bytes, written


def _report(source: str, name: str, writer: str) -> Any:
    """The report that stage ``writer`` wrote."""
    path = written(reports(source) / f"{name}.json")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RoutelabError(f"{path} is damaged ({error}); run `dvc repro -f {writer}@{source}`") from None


def _attach(source: str, scores: dict[str, float]) -> str:
    """Attach the card to the run that trained the forest, the newest with its ``scores``; tells what came of it."""
    try:
        known = tracking.runs(stage="train_forest", source=source, policy="forest").to_dict("records")
    except RoutelabError as error:
        return f"attached to no run: {error}"
    trained = next(
        (str(row["run_id"]) for row in known if rounded({name: row.get(name) for name in scores}) == scores), None
    )
    if trained is None:
        return f"attached to no run: none has the scores of this forest; run `dvc repro -f train_forest@{source}`"
    tracking.attach(trained, reports(source) / "model_card.md")
    return f"attached to run {trained}"


def model_card(source: str, params: Params) -> None:
    """Write the model card of the forest from what the other stages wrote, and attach it to the forest's run."""
    featurizer = RequestFeaturizer.load(features(source) / "featurizer")
    evaluation = _report(source, "evaluation", "evaluate")
    trained = _report(source, "forest", "train_forest")
    controls = _report(source, "controls", "controls")
    frontier = io.BytesIO(written(reports(source) / "frontier.csv").read_bytes())
    settings = params.forest.model_dump() | {"embedder": params.features.embedder, "seed": params.seed}
    try:
        found = Found(
            source=source,
            evaluation=evaluation,
            forest=trained["forest"],
            controls=controls,
            frontier=pd.read_csv(frontier),
            features=featurizer.feature_names_,
            settings=settings,
        )
        card = forest_card(found)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        told = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise RoutelabError(f"a report in {reports(source)} is damaged ({told}); run `dvc repro -f`") from None
    tracking.check_store()
    write_bytes(reports(source) / "model_card.md", card.encode())
    print(f"{source}: {reports(source) / 'model_card.md'}, {_attach(source, trained['forest'])}")


if __name__ == "__main__":
    stage(model_card)
