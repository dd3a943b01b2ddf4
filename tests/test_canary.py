"""A key is nowhere in what MLflow keeps of a router that meets every fault."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from faults import BEHAVIOURS
from faulty_server import DNS_URL, FaultyServer, refused_url
from live import provider_at
from routelab import LLMRequest, OnlineMLRouter, OpenAIProvider, PerformanceDB, ThompsonPolicy, tracking
from routelab.providers import ProviderError

KEY = "k1ngfisher.over/the+Thames=="


async def route_through_all_faults(db: PerformanceDB) -> list[str]:
    """The kinds of the events that MLflow was told of."""
    told: list[str] = []

    def listen(kind: str, values: dict[str, object]) -> None:
        tracking.log_event(kind, values)
        told.append(kind)

    def quoting(request: LLMRequest, _: object) -> float:
        raise LookupError(os.environ["CANARY"])

    async with FaultyServer() as server:
        urls = [server.url, server.tls_url, refused_url(), DNS_URL]
        providers: list[OpenAIProvider] = [provider_at(url, key_env="CANARY", timeout_s=0.1) for url in urls]
        attempts = [
            *((providers[0], behaviour) for behaviour in BEHAVIOURS),
            *((other, "ok") for other in providers[1:]),
        ]
        for provider, server.behaviour in attempts:
            router = OnlineMLRouter([provider], ThompsonPolicy(), db=db, grader=quoting, on_event=listen)
            try:
                await router.route_and_learn(LLMRequest("Who was Ada Lovelace?"), deadline_s=0.15)
            except ProviderError:
                told.append("failed")
    return told


@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")  # MLflow's own models
def test_what_mlflow_keeps_of_all_faults_holds_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY", KEY)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dvc.yaml").touch()
    with PerformanceDB(f"sqlite:///{tmp_path}/log.db") as db:
        settings = {"provider": repr(provider_at("http://127.0.0.1:1/v1", key_env="CANARY")), "key_env": "CANARY"}
        with tracking.run("live", "canary", "thompson", 0, settings):
            told = asyncio.run(route_through_all_faults(db))
            tracking.log_metrics({"decisions": float(db.count()[0])})
    assert told.count("grading failed") >= 2
    assert told.count("failed") >= 20
    kept = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert b"grading failed/a/decisions" in b"".join(kept.values())  # it was told something
    assert not [path for path, content in kept.items() if KEY.encode() in content]
