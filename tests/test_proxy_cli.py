"""``routelab proxy`` as a process: what it serves, what it keeps, how it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from openai import OpenAI

from proxying import ASKED, WORDS, client, error_of, send
from routelab import (
    ForestPolicy,
    LLMRequest,
    Objective,
    PerformanceDB,
    PerformanceTable,
    RequestFeaturizer,
    load_source,
    recommend,
)
from routelab.cli import run
from routelab.db_records import CANCELLED
from routelab.proxy_cli import saved_policy
from routelab.routers.settings import Settings
from routing import requests

# Simulated providers answer at once; this one takes its time.
SLOW = """
from proxying import Speaking, bandit
from routelab import PerformanceDB
from routelab.proxy import create_app, serve
router = bandit(Speaking(pause_s=0.2), db=PerformanceDB("sqlite:///routelab.db"))
serve(create_app(router), "127.0.0.1", 0, drain_s={drain_s})
"""
RNG = np.random.default_rng(0)
STREAMED = {"model": "routelab", "messages": ASKED, "stream": True}
PROXY = "import sys; from routelab.cli import run; sys.argv[0] = 'routelab'; run()"


@contextmanager
def program(
    folder: Path, code: str, *arguments: str, environment: Mapping[str, str] | None = None
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A Python program that serves, and its address; what it says goes to ``said.txt``."""
    said = folder / "said.txt"
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    with said.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": path} | dict(environment or {}),
            stdout=out,
            stderr=out,
            text=True,
        )
    try:
        end = time.monotonic() + 60.0
        while not (found := re.search(r"running on (http://\S+)", said.read_text())):
            assert process.poll() is None, said.read_text()
            assert time.monotonic() < end
            time.sleep(0.02)
        yield process, found[1]
    finally:
        process.kill()
        process.wait()


def refused(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> str:
    """What the command ends with at once."""
    monkeypatch.setattr(sys, "argv", ["routelab", "proxy", "--port", "0", *arguments])
    with pytest.raises(SystemExit) as end:
        run()
    return str(end.value)


def log_of(folder: Path) -> pd.DataFrame:
    with PerformanceDB(f"sqlite:///{folder / 'routelab.db'}") as db:
        return db.log()


def ask_and_grade(asking: OpenAI, prompt: str) -> None:
    message = {"role": "user", "content": prompt}
    raw = asking.chat.completions.with_raw_response.create(model="routelab", messages=[message])  # type: ignore[list-item]
    graded = {"decision_id": raw.headers["x-routelab-decision-id"], "quality": 0.7}
    asking.post("/feedback", body=graded, cast_to=object)


def test_anybody_can_try_it_and_nothing_said_is_told(tmp_path: Path) -> None:
    arguments = ("proxy", "--simulated", "--router", "linucb", "--port", "0", "--cost-weight", "3", "--budget", "0.01")
    secret = "What only she knows"
    with program(tmp_path, PROXY, *arguments) as (process, url), client(url, key="sk-canary-0123456789") as asking:
        for _ in range(3):
            ask_and_grade(asking, secret)
        process.send_signal(signal.SIGTERM)
        process.wait(10)
    log = log_of(tmp_path)
    assert (len(log), set(log["policy"])) == (3, {"LinUCBPolicy"})
    assert log["quality"].notna().all()
    for told in (path.read_bytes() for path in tmp_path.iterdir()):
        assert secret.encode() not in told
        assert b"canary" not in told


def test_a_proxy_that_starts_again_has_learned_from_its_log(tmp_path: Path) -> None:
    arguments = ("proxy", "--simulated", "--port", "0")
    for _ in range(2):
        with program(tmp_path, PROXY, *arguments) as (process, url), client(url) as asking:
            for request in requests(25):
                ask_and_grade(asking, request.prompt)
            process.send_signal(signal.SIGTERM)
            process.wait(10)
    log = log_of(tmp_path)
    assert log["policy_version"].iloc[[0, -1]].tolist() == ["0", "1"]


def test_a_saved_policy_goes_on_from_where_it_was(tmp_path: Path) -> None:
    table = load_source("synthetic", n_requests=200, seed=0)
    featurizer = RequestFeaturizer(embedder=None).fit(table)
    forest = ForestPolicy(n_estimators=5).fit(
        featurizer.transform(table), table.quality, table.cost, providers=table.providers
    )
    forest.save(tmp_path / "forest")
    featurizer.save(tmp_path / "featurizer")
    arguments = ("proxy", "--simulated", "--port", "0", "--policy", "forest", "--featurizer", "featurizer")
    with program(tmp_path, PROXY, *arguments) as (_, url), client(url) as asking:
        raw = asking.chat.completions.with_raw_response.create(model="routelab", messages=ASKED)
    assert raw.headers["x-routelab-policy"] == "ForestPolicy"
    best = forest.select(featurizer.transform_one(LLMRequest(ASKED[0]["content"]), {}), Objective(), RNG).arm
    assert raw.headers["x-routelab-provider"] == forest.providers_[best]


def test_a_recommended_router_is_served_at_its_trade_off(tmp_path: Path) -> None:
    frame = load_source("synthetic", n_requests=400, seed=0).to_frame()
    advice = recommend(PerformanceTable.from_frame(frame.assign(provider="my " + frame["provider"])), tolerance=0.2)
    advice.save(tmp_path / "mine")
    settings: Settings = {}
    policy = saved_policy(tmp_path / "mine", None, settings)
    assert type(policy) is type(advice.fitted)
    assert settings["objective"] == advice.objective != Objective()
    arguments = ("proxy", "--simulated", "--port", "0", "--policy", "mine")
    with program(tmp_path, PROXY, *arguments) as (_, url), client(url) as asking:
        raw = asking.chat.completions.with_raw_response.create(model="routelab", messages=ASKED)
    x = advice.featurizer.transform_one(LLMRequest(ASKED[0]["content"]), {})
    best = advice.fitted.select(x, advice.objective, RNG).arm
    assert raw.headers["x-routelab-policy"] == type(advice.fitted).__name__
    assert raw.headers["x-routelab-provider"] == advice.fitted.providers_[best]


def test_other_machines_are_served_with_a_token_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ("--simulated", "--host", "0.0.0.0", "--router", "thompson")
    assert refused(monkeypatch, *arguments) == (
        "routelab: 0.0.0.0 can be reached from other machines; set ROUTELAB_PROXY_TOKEN, which clients must then bear"
    )
    token = {"ROUTELAB_PROXY_TOKEN": "s3cret"}
    with program(tmp_path, PROXY, "proxy", "--port", "0", *arguments, environment=token) as (_, url):
        url = url.replace("0.0.0.0", "127.0.0.1")
        assert send(url, "/v1/models", method="GET", host="anything.example")[0] == 401
        assert send(url, "/v1/models", method="GET", authorization="Bearer s3cret")[0] == 200
        assert "s3cret" not in (tmp_path / "said.txt").read_text()


def test_who_waits_for_silent_providers_is_told_when_the_deadline_is_over(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, and says nothing
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
        one = {"model": "m", "base_url": url, "key_env": None, "input_price": 1.0, "output_price": 2.0}
        params = {"live": {"providers": [{"name": name} | one for name in "ab"], "gateway_columns": {}}}
        (tmp_path / "params.yaml").write_text(json.dumps(params))
        arguments = ("proxy", "--port", "0", "--router", "thompson", "--deadline", "0.5")
        with program(tmp_path, PROXY, *arguments) as (_, url):
            status, code, message = error_of(
                send(url, "/v1/chat/completions", {"model": "routelab", "messages": ASKED})
            )
    assert (status, code) == (504, "deadline_exceeded")
    assert message.startswith("no answer within 0.5 s: every provider ")


def test_another_address_of_this_machine_is_served_by_its_name(tmp_path: Path) -> None:
    arguments = ("--simulated", "--host", "127.0.0.2", "--router", "thompson")
    with program(tmp_path, PROXY, "proxy", "--port", "0", *arguments) as (_, url):
        assert send(url, "/v1/models", method="GET")[0] == 200
        assert send(url, "/v1/models", method="GET", host="evil.example")[0] == 403


def test_what_cannot_be_served_ends_with_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for arguments, told in (
        ((), "params.yaml is missing"),
        (("--simulated", "--router", "knn"), "--router 'knn' does not learn online; give forest, "),
        (("--simulated", "--policy", "x"), "--policy and --featurizer belong together"),
        (("--simulated", "--policy", "x", "--featurizer", "y"), "x"),
        (("--simulated", "--db", "no URL"), "is no SQLAlchemy URL"),
        (("--simulated", "--deadline", "0"), "deadline_s is 0.0; give seconds > 0"),
    ):
        line = refused(monkeypatch, *arguments)
        assert line.startswith("routelab: ")
        assert told in line
        assert "\n" not in line


def test_what_is_in_flight_ends_before_the_proxy_does(tmp_path: Path) -> None:
    with program(tmp_path, SLOW.format(drain_s=10)) as (process, url), ThreadPoolExecutor(1) as threads:
        answer = threads.submit(send, url, "/v1/chat/completions", STREAMED)
        time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        assert all(word.encode() in answer.result()[2] for word in WORDS)
        assert answer.result()[2].endswith(b"data: [DONE]\n\n")
        process.wait(5)
    assert log_of(tmp_path)["decision_id"].tolist() == [answer.result()[1]["x-routelab-decision-id"]]


def test_what_takes_too_long_is_cancelled_when_the_proxy_ends(tmp_path: Path) -> None:
    with program(tmp_path, SLOW.format(drain_s=0)) as (process, url), ThreadPoolExecutor(1) as threads:
        answer = threads.submit(send, url, "/v1/chat/completions", STREAMED)
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        process.wait(5)
        assert answer.exception() is not None  # an answer that was cut does not look whole
    assert log_of(tmp_path)["error"].tolist() == [CANCELLED]
