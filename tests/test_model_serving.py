"""The logged model behind ``mlflow models serve``: routing decisions over HTTP."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import pandas as pd
import pytest

from pipeline import environment, new_project
from routelab import ForestPolicy, LLMRequest, Objective, RequestFeaturizer, load_source, tracking

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")  # MLflow's own models

PROMPTS = ["Translate 'cheese' into French.", "Prove that the square root of two is irrational, step by step."]


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, ForestPolicy, RequestFeaturizer]:
    """A project, the URI of the forest in its store, and the same forest here."""
    project = new_project(tmp_path_factory.mktemp("serving") / "project")
    table = load_source("synthetic", n_requests=300, seed=0)
    featurizer = RequestFeaturizer(n_components=8).fit(table)
    forest = ForestPolicy(n_estimators=10).fit(
        featurizer.transform(table), table.quality, table.cost, providers=table.providers
    )
    forest.save(project / "forest")
    featurizer.save(project / "featurizer")
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of MLflow, about how it uses pandas
        patch.setenv("MLFLOW_TRACKING_URI", "")
        patch.chdir(project)
        example = pd.DataFrame({"prompt": PROMPTS, "user_tier": ["free", None]})
        with tracking.run("train", "synthetic", "forest", 0, {}):
            uri = tracking.log_policy("forest", "featurizer", example)
    return project, uri, forest, featurizer


@pytest.fixture(scope="module")
def address(logged: tuple[Path, str, Any, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the real command serves the model, without the sources of this repository at hand."""
    project, uri, _, _ = logged
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", uri, "--env-manager", "local"]
    told = tmp_path_factory.mktemp("log") / "server.log"
    store = environment(MLFLOW_TRACKING_URI=f"sqlite:///{project / 'mlflow.db'}", MLFLOW_DISABLE_TELEMETRY="true")
    store.pop("PYTHONPATH", None)
    with told.open("wb") as log:
        server = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port), "--workers", "1"],
            cwd=project,
            env=store,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        for _ in range(600):
            assert server.poll() is None, told.read_text()
            try:
                with urlopen(f"http://127.0.0.1:{port}/ping", timeout=5):
                    break
            except (URLError, ConnectionError, TimeoutError):
                time.sleep(0.1)
        else:
            pytest.fail(told.read_text())
        yield f"http://127.0.0.1:{port}/invocations"
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(10)


def ask(address: str, body: Any) -> list[dict[str, Any]]:
    request = Request(address, json.dumps(body).encode(), {"content-type": "application/json"})
    with urlopen(request, timeout=30) as response:
        predictions: list[dict[str, Any]] = json.load(response)["predictions"]
    return predictions


def best(logged: tuple[Path, str, ForestPolicy, RequestFeaturizer], cost_weight: float) -> list[str]:
    _, _, forest, featurizer = logged
    X = featurizer.transform([LLMRequest(prompt) for prompt in PROMPTS])
    arms = forest.action_probabilities(X, Objective(cost_weight=cost_weight)).argmax(axis=1)
    return [forest.providers_[arm] for arm in arms]


def test_the_served_model_decides_as_the_policy_does(address: str, logged: tuple[Path, str, Any, Any]) -> None:
    answers = ask(address, {"dataframe_records": [{"prompt": prompt} for prompt in PROMPTS]})
    assert [answer["provider"] for answer in answers] == best(logged, 0.0)
    for answer in answers:
        assert answer["probability"] == 1.0
        assert 0.0 <= answer["quality"] <= 1.0
        assert answer["cost_usd"] > 0.0


def test_a_request_says_what_cost_weighs(address: str, logged: tuple[Path, str, Any, Any]) -> None:
    records = [{"prompt": prompt, "user_tier": "premium"} for prompt in PROMPTS]
    for weight in (0.0, 5, 1e6):
        answers = ask(address, {"dataframe_records": records, "params": {"cost_weight": weight}})
        X = logged[3].transform([LLMRequest(prompt, user_tier="premium") for prompt in PROMPTS])
        arms = logged[2].action_probabilities(X, Objective(cost_weight=weight)).argmax(axis=1)
        assert [answer["provider"] for answer in answers] == [logged[2].providers_[arm] for arm in arms]
    assert {answer["provider"] for answer in answers} != set(best(logged, 0.0))


def test_what_is_no_request_is_refused_and_the_server_lives_on(
    address: str, logged: tuple[Path, str, Any, Any]
) -> None:
    for body, told in (
        ({"dataframe_records": [{"prompt": ""}]}, "prompt is empty"),
        ({"dataframe_records": [{"prompt": "Hi"}], "params": {"cost_weight": -1.0}}, "cost_weight is -1.0"),
        ({"dataframe_records": [{"prompt": "Hi", "user_tier": "gold"}]}, "give 'free' or 'premium'"),
    ):
        with pytest.raises(HTTPError) as refused:
            ask(address, body)
        assert refused.value.code == 400
        assert told in refused.value.read().decode()
    assert ask(address, {"dataframe_records": [{"prompt": PROMPTS[0]}]})[0]["provider"] == best(logged, 0.0)[0]
