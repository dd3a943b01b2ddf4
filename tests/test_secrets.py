"""A key, of whatever form, is found nowhere after every fault there is: no text, no traceback, no log, no store."""

from __future__ import annotations

import asyncio
import io
import logging
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from faults import BEHAVIOURS
from faulty_server import DNS_URL, FaultyServer, refused_url
from live import answered, failure, provider_at
from routelab import LLMRequest, MLRouter, PerformanceDB, RoutelabError
from routelab.providers import Completion, ProviderError
from routelab.providers.keys import read_key
from routelab.redaction import redacted
from routing import Answering

FAULTS = [name for name in BEHAVIOURS if name not in ("ok", "dated-model", "no-usage")]
REQUEST = LLMRequest("Who was Ada Lovelace?")


@pytest.fixture(params=["sk-canary-0123456789abcdef", "k1ngfisher.over/the+Thames=="])
def key(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A key in the environment variable CANARY."""
    monkeypatch.setenv("CANARY", request.param)
    return str(request.param)


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """All that anybody logs, at the most talkative, with all that a record holds."""
    kept, root = io.StringIO(), logging.getLogger()
    handler, level = logging.StreamHandler(kept), root.level
    handler.addFilter(lambda record: bool(kept.write(f"{record.__dict__}\n")) or True)
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield kept
    root.removeHandler(handler)
    root.setLevel(level)


def shown(error: BaseException) -> str:
    """Everything that a notebook or a crash report can show of ``error``: the locals of each of its frames, too."""
    told = traceback.TracebackException.from_exception(error, capture_locals=True)
    seen = [error, error.__context__, error.__cause__, getattr(error, "completion", None), error.args]
    return "".join(told.format()) + repr(seen)


async def unanswered(router: MLRouter) -> ProviderError:
    """The error that a request to ``router`` brings."""
    try:
        await router.complete(REQUEST, deadline_s=0.15)
    except ProviderError as error:
        return error
    raise AssertionError("an answer came")


@pytest.mark.parametrize("stream", [False, True])
def test_a_failure_shows_no_key(key: str, log: io.StringIO, stream: bool) -> None:
    async def ask() -> list[str]:
        texts = []
        async with FaultyServer() as server, FaultyServer(tls=True) as signed:
            urls = [refused_url(), DNS_URL, server.tls_url, signed.url]
            for url, behaviour in [*((server.url, fault) for fault in FAULTS), *((url, "ok") for url in urls)]:
                server.behaviour = behaviour
                provider = provider_at(url, key_env="CANARY", timeout_s=0.1)
                texts += [shown(await failure(provider, REQUEST, stream=stream)), repr(provider), repr(vars(provider))]
            assert server.asked[0].headers["authorization"] == f"Bearer {key}"  # it was there to be found
            assert any("[key]" in text for text in texts)
        return texts

    texts = [*asyncio.run(ask()), log.getvalue()]
    assert "asyncio" in texts[-1]
    assert not [text for text in texts if key in text or "Bearer sk" in text or "k1ngfisher" in text]


def test_a_broken_answer_that_quotes_the_key_shows_none(key: str) -> None:
    async def ask() -> str:
        async with FaultyServer("malformed") as server:
            server.text = lambda asked: asked.headers["authorization"]
            return shown(await failure(provider_at(server.url, key_env="CANARY"), REQUEST, stream=False))

    assert key not in asyncio.run(ask())


@pytest.mark.parametrize("stream", [False, True])
def test_a_cancelled_request_shows_no_key(key: str, stream: bool) -> None:
    async def ask() -> str:
        async with FaultyServer("hang") as server:
            provider = provider_at(server.url, key_env="CANARY")
            task = asyncio.create_task(answered(provider, REQUEST, stream=stream))
            while not server.in_flight:
                await asyncio.sleep(0.001)
            task.cancel()
            try:
                await task
            except asyncio.CancelledError as cancelled:
                return shown(cancelled)
            raise AssertionError("an answer came")

    assert key not in asyncio.run(ask())


def test_what_a_router_keeps_and_logs_of_failures_holds_no_key(key: str, log: io.StringIO, tmp_path: Path) -> None:
    async def ask() -> list[str]:
        texts = []
        async with FaultyServer() as server:
            with PerformanceDB(f"sqlite:///{tmp_path}/log.db") as db:
                for server.behaviour in FAULTS:
                    router = MLRouter([provider_at(server.url, key_env="CANARY", timeout_s=0.1)], db=db)
                    texts += [shown(await unanswered(router)), repr(router), repr(vars(router))]
                texts.append(db.log().to_csv())
                assert db.count()[1] >= len(FAULTS)
        return texts

    texts = [*asyncio.run(ask()), log.getvalue()]
    kept = [path.read_bytes() for path in tmp_path.iterdir()]
    assert not [text for text in texts if key in text]
    assert not [content for content in kept if key.encode() in content]


def test_a_variable_that_holds_no_single_key_is_named_without_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("two k1ngfishers", "k1ngfisher\u00e9", "k1ng\nfisher"):
        monkeypatch.setenv("CANARY", value)
        with pytest.raises(RoutelabError, match="CANARY holds more than a key") as raised:
            provider_at("http://127.0.0.1:1/v1", key_env="CANARY")
        assert "k1ng" not in str(raised.value)
    monkeypatch.setenv("CANARY", "  k1ngfisher\n")
    assert read_key("CANARY") == "k1ngfisher"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("cannot reach https://me:hunter2@host/v1", "cannot reach https://[key]@host/v1"),
        ("GET /v1?api_key=hunter2&x=1", "GET /v1?api_key=[key]&x=1"),
        ("Incorrect API key provided: hunter2", "Incorrect API key provided: [key]"),
        ("0123456789abcdef0123456789abcdef was refused", "[key] was refused"),
        ('{"x-api-key": "hunter2"}', '{"x-api-key": [key]"}'),
        ("no such model: gpt-4o-2024-08-06", "no such model: gpt-4o-2024-08-06"),
    ],
)
def test_keys_of_unusual_places_are_cut_from_what_is_logged(text: str, kept: str) -> None:
    assert redacted(text, "Hi") == kept


def test_no_message_of_a_conversation_gets_into_the_log(db: PerformanceDB) -> None:
    class Quoting(Answering):
        async def complete(self, request: LLMRequest) -> Completion:
            raise ProviderError("'Never name Project K' or 'margin is 31 per cent.' for \"Ada Lovelace\"}' to 'Go on'")

    parts = [{"type": "text", "text": "Our margin is 31 per cent."}]
    called = {"type": "function", "function": {"name": "pay", "arguments": '{"to": "Ada Lovelace"}'}}
    said = [
        {"role": "system", "content": "Never name Project Kingfisher."},
        {"role": "user", "content": parts},
        {"role": "assistant", "content": None, "tool_calls": [called]},
        {"role": "user", "content": "Go on"},
    ]
    with pytest.raises(ProviderError):
        asyncio.run(MLRouter([Quoting("x")], db=db).complete(LLMRequest.from_chat(said)))
    assert db.log()["error"][0] == "'[prompt]' or '[prompt]' for[prompt]' to '[prompt]'"


def test_a_key_of_the_environment_is_cut_wherever_it_stands(key: str) -> None:
    read_key("CANARY")
    assert key not in redacted(f"before{key}after", "Hi")
    assert "k1ngfisher" not in redacted("x" * 1990 + key, "x" * 1990)  # at the end of what is read
