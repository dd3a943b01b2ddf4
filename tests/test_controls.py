from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from pipeline import SETTINGS, new_project
from routelab.evaluation.crossfit import cross_fit
from routelab.evaluation.curves import policy_curve
from routelab.evaluation.split import Split
from routelab.features import RequestFeaturizer
from routelab.params import load_params
from routelab.policies import ForestPolicy
from routelab.policies.objective import cost_weight_sweep
from routelab.stages.common import features, models, reports
from routelab.stages.controls import controls
from tables import hard_and_easy, table_of

SHUFFLES = 4
CONTROLS = {
    name: {"small": number, "full": number}
    for name, number in (("shuffles", SHUFFLES), ("prompts", 300), ("resamples", 200))
}
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")  # MLflow's own models


def test_where_nothing_can_be_learned_nothing_is_captured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = new_project(tmp_path / "project")
    monkeypatch.chdir(project)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (project / "params.yaml").write_text(yaml.safe_dump(SETTINGS | {"controls": CONTROLS}))
    params = load_params()
    sides = table_of(hard_and_easy(1000, noise=0.4)).split()
    featurizer = RequestFeaturizer().fit(sides[0])
    train, held = (Split.of(side, featurizer) for side in sides)
    for name, split in (("train", train), ("eval", held)):
        split.write(features("t") / f"{name}.npz")
    forest = ForestPolicy(**params.forest.model_dump()).fit(
        train.X, train.quality, train.cost, providers=train.providers
    )
    forest.save(models("t") / "forest")
    curve = policy_curve("forest", forest, held.X, held.quality, held.cost, cost_weight_sweep(train.cost))
    untouched = cross_fit({"forest": curve.outcomes}, held.quality, held.cost, np.random.default_rng(0), 100)
    assert untouched.hull_gap_captured("forest").low > 0.1, "there is something to learn before the shuffles"

    controls("t", params)
    report = json.loads((reports("t") / "controls.json").read_text(encoding="utf-8"))
    assert list(report) == ["table", "shuffles", "n_train", "n_eval", "outcomes", "features"]
    assert (report["shuffles"], report["n_train"], report["n_eval"]) == (SHUFFLES, 300, len(held.X))
    for name in ("outcomes", "features"):
        found = report[name]
        assert len(found["intervals"]) == SHUFFLES
        estimates = [each["estimate"] for each in found["intervals"]]
        assert found["mean"] == pytest.approx(np.mean(estimates))
        assert found["standard_error"] == pytest.approx(np.std(estimates, ddof=1) / np.sqrt(SHUFFLES))
        assert found["excluding_zero"] == sum(e["low"] > 0 or e["high"] < 0 for e in found["intervals"])
        assert -0.1 < found["mean"] < 0.03
    assert len({each["estimate"] for each in report["features"]["intervals"]}) == SHUFFLES, "each is another one"
