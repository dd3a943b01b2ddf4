"""The winner of a test becomes the model that serves, and one call brings the old one back."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline import new_project
from routelab import FixedPolicy, LLMRequest, RequestFeaturizer, tracking
from routelab.errors import RoutelabError

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")  # MLflow's own models


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A project whose store holds two logged policies, by the provider that each always plays."""
    project = new_project(tmp_path_factory.mktemp("promotion") / "project")
    featurizer = RequestFeaturizer(embedder=None).fit([LLMRequest("Hi")])
    featurizer.save(project / "featurizer")
    X, uris = np.zeros((1, len(featurizer.feature_names_))), {}
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of MLflow, about how it uses pandas
        patch.setenv("MLFLOW_TRACKING_URI", "")
        patch.chdir(project)
        for name, quality in (("nano", [[0.9, 0.5]]), ("large", [[0.5, 0.9]])):
            policy = FixedPolicy().fit(X, np.array(quality), np.full((1, 2), 0.01), providers=("nano", "large"))
            policy.save(project / name)
            with tracking.run("train", "try", name, 0, {}):
                uris[name] = tracking.log_policy(name, "featurizer", pd.DataFrame({"prompt": ["Hi"]}))
    return project, uris


@pytest.fixture
def uris(models: tuple[Path, dict[str, str]], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    monkeypatch.chdir(models[0])
    return models[1]


def serving(name: str, alias: str) -> str:
    """The provider that the model behind ``alias`` answers by."""
    import mlflow

    model = mlflow.pyfunc.load_model(f"models:/{name}@{alias}")
    return str(model.predict(pd.DataFrame({"prompt": ["Hi"]}))["provider"].item())


def test_the_winner_serves_the_loser_waits_and_one_call_rolls_back(uris: dict[str, str]) -> None:
    assert tracking.promote(uris["large"], uris["nano"]) == {"champion": 1, "challenger": 2}
    assert (serving("routelab", "champion"), serving("routelab", "challenger")) == ("large", "nano")
    assert tracking.rollback() == {"champion": 2, "challenger": 1}
    assert (serving("routelab", "champion"), serving("routelab", "challenger")) == ("nano", "large")
    assert tracking.rollback() == {"champion": 1, "challenger": 2}  # and back again


def test_a_model_is_registered_once_however_it_is_named(uris: dict[str, str]) -> None:
    import mlflow

    runs = tracking.runs(stage="train").set_index("policy")["run_id"]
    first = tracking.promote(f"runs:/{runs['nano']}/policy", uris["large"], name="again")
    assert tracking.promote(uris["large"], uris["nano"], name="again") == {
        "champion": first["challenger"],
        "challenger": first["champion"],
    }
    assert len(mlflow.MlflowClient().search_model_versions("name='again'")) == 2


@pytest.mark.parametrize("stranger", ["models:/m-123", "runs:/0123456789abcdef/policy"])
def test_what_is_no_model_moves_no_alias(uris: dict[str, str], stranger: str) -> None:
    import mlflow

    tracking.promote(uris["large"], uris["nano"], name="kept")
    for winner, loser in ((stranger, uris["large"]), (uris["nano"], stranger)):
        with pytest.raises(RoutelabError, match=f"'{stranger}' is no logged model .*; give the URI that log_policy"):
            tracking.promote(winner, loser, name="kept")
    with pytest.raises(RoutelabError, match="are the same model; give the winner and another as the loser"):
        tracking.promote(uris["nano"], uris["nano"], name="kept")
    assert mlflow.MlflowClient().get_registered_model("kept").aliases == {"champion": 1, "challenger": 2}


@pytest.mark.parametrize(
    ("stranger", "shown"),
    [
        ("no model", "no model"),
        ("http://user:canary@127.0.0.1:1/x", "http"),
        ("s3://bucket/canary", "s3"),
        ("/tmp", "/tmp"),
        (None, None),
        (7, 7),
    ],
)
def test_what_is_no_uri_of_a_model_is_refused_without_looking_for_it(
    uris: dict[str, str], stranger: object, shown: object
) -> None:
    for pair in ((stranger, uris["large"]), (uris["nano"], stranger)):
        with pytest.raises(RoutelabError, match=f"^{shown!r} … is no logged model; give the URI that log") as caught:
            tracking.promote(*pair)  # type: ignore[arg-type]
        assert "canary" not in str(caught.value)


def test_without_a_promotion_there_is_nothing_to_roll_back(uris: dict[str, str]) -> None:
    with pytest.raises(RoutelabError, match="model 'never' has no champion beside a challenger; promote"):
        tracking.rollback("never")


def test_a_store_that_fails_half_way_leaves_the_old_champion(
    uris: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    tracking.promote(uris["nano"], uris["large"], name="frail")
    set_alias = mlflow.MlflowClient.set_registered_model_alias

    def failing(client: mlflow.MlflowClient, name: str, alias: str, version: str) -> None:
        if alias == "champion":
            raise mlflow.exceptions.MlflowException("the disk is full")
        set_alias(client, name, alias, version)

    with monkeypatch.context() as patch:
        patch.setattr(mlflow.MlflowClient, "set_registered_model_alias", failing)
        with pytest.raises(RoutelabError, match=r"MLflow store .*: the disk is full"):
            tracking.promote(uris["large"], uris["nano"], name="frail")
    assert serving("frail", "champion") == "nano"
    tracking.promote(uris["large"], uris["nano"], name="frail")
    assert serving("frail", "champion") == "large"
