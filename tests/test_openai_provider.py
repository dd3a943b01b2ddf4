"""A provider behind an OpenAI-compatible endpoint answers, counts tokens and money, and keeps its connections."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import aclosing

import pytest

import chat_answers as answers
from faulty_server import FaultyServer
from live import PRICE, answered, provider_at, streamed
from routelab import LLMRequest, OpenAIProvider, RoutelabError
from routelab.params_live import LiveProvider
from routelab.providers import Limits, Price
from routelab.providers.base import Repriceable, Streaming

REQUEST = LLMRequest("Who was Ada Lovelace?")


@pytest.mark.parametrize("stream", [False, True])
def test_tokens_are_the_servers_and_cost_what_the_price_says(stream: bool) -> None:
    async def ask() -> None:
        async with FaultyServer() as server:
            server.usage = lambda asked: (100, 20, 40)
            completion = await answered(provider_at(server.url), REQUEST, stream=stream)
        assert completion.text == " ".join(f"word{i}" for i in range(20))
        assert (completion.input_tokens, completion.output_tokens, completion.cached_tokens) == (100, 20, 40)
        assert completion.cost_usd == pytest.approx((60 * 1.0 + 40 * 0.5 + 20 * 2.0) / 1e6)
        assert completion.error is None
        assert (completion.first_token_s is None) is not stream
        if completion.body is not None:
            assert json.loads(completion.body)["choices"][0]["message"]["content"] == completion.text

    asyncio.run(ask())


def test_a_stream_brings_its_chunks_as_they_come_and_the_events_as_they_were_sent() -> None:
    async def ask() -> None:
        async with FaultyServer() as server:
            server.chunk_s = 0.005
            chunks, completion = await streamed(provider_at(server.url), REQUEST)
        assert len(chunks) > 10
        assert "".join(chunk.text for chunk in chunks) == completion.text
        events = b"".join(chunk.event for chunk in chunks).split(b"\n\n")
        assert events[-2:] == [b"data: [DONE]", b""]
        told = [json.loads(event.removeprefix(b"data: ")) for event in events[:-2]]
        assert "".join(c["delta"].get("content", "") for one in told for c in one["choices"]) == completion.text
        assert completion.first_token_s is not None
        assert 0.0 < completion.first_token_s < completion.latency_s - 10 * 0.005

    asyncio.run(ask())


def test_the_server_gets_the_conversation_and_the_options_the_requests_own_first() -> None:
    async def ask() -> None:
        async with FaultyServer() as server:
            provider = provider_at(server.url, options={"temperature": 0.5, "seed": 1}, max_tokens=77)
            await provider.complete(REQUEST)
            messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
            own = {"temperature": 0.0, "max_completion_tokens": 5, "model": "dear", "stream": False}
            await streamed(provider, LLMRequest("Hi", messages=messages, options=own))
        first, second = (asked.body for asked in server.asked)
        asked = {"model": "m", "messages": [{"role": "user", "content": REQUEST.prompt}], "max_tokens": 77}
        assert first == asked | {"temperature": 0.5, "seed": 1}
        assert second == {
            "model": "m",
            "messages": messages,
            "temperature": 0.0,
            "seed": 1,
            "max_completion_tokens": 5,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        assert {asked.path for asked in server.asked} == {"/v1/chat/completions"}

    asyncio.run(ask())


@pytest.mark.parametrize("stream", [False, True])
def test_connections_are_kept_between_requests_until_they_are_closed(stream: bool) -> None:
    async def ask() -> None:
        async with FaultyServer() as server:
            provider = provider_at(server.url)
            for _ in range(5):
                await answered(provider, REQUEST, stream=stream)
            assert (server.accepted, server.open) == (1, 1)
            await provider.close()
            await asyncio.sleep(0.01)
            assert server.open == 0
            await answered(provider, REQUEST, stream=stream)
            assert server.accepted == 2

    asyncio.run(ask())


def test_one_provider_serves_several_event_loops_one_after_the_other() -> None:
    port = 0
    provider: OpenAIProvider | None = None

    async def ask() -> None:
        nonlocal port, provider
        async with FaultyServer(port=port) as server:
            port = server.port
            provider = provider or provider_at(server.url)
            assert (await provider.complete(REQUEST)).error is None
            assert (await streamed(provider, REQUEST))[1].error is None

    for _ in range(3):
        asyncio.run(ask())


def test_a_dated_snapshot_is_the_model_that_was_asked_and_an_alias_is_too() -> None:
    async def ask() -> None:
        async with FaultyServer("dated-model") as server:
            assert (await provider_at(server.url).complete(REQUEST)).error is None
            server.behaviour = "wrong-model"
            assert (await provider_at(server.url, alias="another-model").complete(REQUEST)).error is None

    asyncio.run(ask())


@pytest.mark.parametrize("stream", [False, True])
def test_tokens_that_the_server_does_not_tell_are_estimated_and_that_is_said_once(
    stream: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def ask() -> None:
        async with FaultyServer("no-usage") as server:
            provider = provider_at(server.url)
            server.text = lambda asked: "x" * 40
            completions = [await answered(provider, REQUEST, stream=stream) for _ in range(2)]
        assert [(c.input_tokens, c.output_tokens) for c in completions] == [(len(REQUEST.prompt) // 4, 10)] * 2
        assert completions[0].cost_usd == PRICE.cost_usd(len(REQUEST.prompt) // 4, 10)

    with caplog.at_level(logging.WARNING):
        asyncio.run(ask())
    assert [record.message for record in caplog.records] == [
        "provider 'a' does not tell its tokens: they, and so its costs, are estimated"
    ]


def test_a_new_price_counts_from_the_next_answer_on() -> None:
    async def ask() -> None:
        async with FaultyServer() as server:
            server.usage = lambda asked: (1000, 1000, 0)
            provider = provider_at(server.url)
            assert (await provider.complete(REQUEST)).cost_usd == pytest.approx(0.003)
            provider.set_price(Price(10.0, 20.0))
            assert (await provider.complete(REQUEST)).cost_usd == pytest.approx(0.03)
            assert provider.price == Price(10.0, 20.0)

    asyncio.run(ask())


def test_a_stream_is_whole_when_its_last_event_came_though_the_server_does_not_end_it() -> None:
    events = answers.events("m", "Hi there", (5, 20, 0), 2)

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answers.head("200 OK", kind="text/event-stream") + b"".join(map(answers.frame, events)))
        await reader.read()  # until the client has gone
        writer.close()
        gone.set()

    async def ask() -> None:
        async with await asyncio.start_server(hang, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            provider = OpenAIProvider(
                "a", model="m", base_url=f"http://127.0.0.1:{port}/v1", key_env=None, price=PRICE, timeout_s=30.0
            )
            async with asyncio.timeout(5.0):
                chunks, completion = await streamed(provider, REQUEST)
                await gone.wait()  # its connection is not kept
            assert chunks[-1].event.endswith(b"data: [DONE]\n\n")
            assert (completion.text, completion.output_tokens, completion.error) == ("Hi there", 20, None)

    gone = asyncio.Event()
    asyncio.run(ask())


@pytest.mark.parametrize("stream", [False, True])
def test_a_cancelled_request_closes_its_connection(stream: bool) -> None:
    async def ask() -> None:
        async with FaultyServer("hang-mid") as server:
            task = asyncio.create_task(answered(provider_at(server.url), REQUEST, stream=stream))
            while not server.in_flight:
                await asyncio.sleep(0.001)
            await asyncio.sleep(0.02)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.sleep(0.02)
            assert (server.open, server.in_flight, server.aborted) == (0, 0, 1)

    asyncio.run(ask())


def test_a_stream_that_is_closed_early_closes_its_connection() -> None:
    async def ask() -> None:
        async with FaultyServer() as server:
            server.chunk_s = 0.01
            async with aclosing(provider_at(server.url).stream(REQUEST)) as pieces:
                async for _ in pieces:
                    break
            await asyncio.sleep(0.02)
            assert (server.open, server.aborted) == (0, 1)

    asyncio.run(ask())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"base_url": "ftp://x/v1"}, "base_url must be http"),
        ({"base_url": "http://user:hunter2@x/v1"}, "without a user, a query or a key"),
        ({"base_url": "http://x/v1?api_key=hunter2"}, "without a user, a query or a key"),
        ({"timeout_s": 0.0}, "timeout_s is 0.0; give seconds > 0"),
        ({"max_tokens": 0}, "max_tokens is 0; give a whole number ≥ 1"),
        ({"key_env": "ROUTELAB_NO_SUCH_KEY"}, "ROUTELAB_NO_SUCH_KEY holds no key; set it"),
    ],
)
def test_a_provider_refuses_what_cannot_be_asked(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(RoutelabError, match=message) as raised:
        provider_at(**({"url": "http://127.0.0.1/v1"} | arguments))
    assert "hunter2" not in str(raised.value)


def test_a_section_of_the_parameters_makes_its_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    section = LiveProvider(
        name="small",
        model="m",
        base_url="http://127.0.0.1:1/v1",
        key_env=None,
        input_price=1.0,
        output_price=2.0,
        requests_per_minute=500,
        timeout_s=5.0,
        max_tokens=10,
    )
    provider = section.provider()
    assert isinstance(provider, Streaming)
    assert isinstance(provider, Repriceable)
    assert (provider.name, provider.price, provider.timeout_s) == ("small", Price(1.0, 2.0), 5.0)
    assert provider.limits == Limits(requests_per_minute=500)
    with pytest.raises(ValueError, match="both input_price and output_price, or neither"):
        LiveProvider(name="small", model="m", base_url=None, key_env=None, input_price=1.0)
