"""Whatever a server does wrong becomes one sentence, in bounded time, with what it cost."""

from __future__ import annotations

import asyncio
from time import perf_counter

import pytest

from faults import BEHAVIOURS
from faulty_server import DNS_URL, FaultyServer, refused_url
from live import PRICE, failure, provider_at
from routelab import LLMRequest, OpenAIProvider
from routelab.providers import Chunk, ProviderError
from routelab.providers.openai_faults import _retry_after_s

REQUEST = LLMRequest("Who was Ada Lovelace?")
SENTENCES = {  # behaviour → what is said of it, in one piece and streamed
    "429": "rate limited (429): no answer to 'Who was Ada Lovelace?' for Bearer none",
    "429-seconds": "rate limited (429), asks to wait 3 s: no answer",
    "429-date": "rate limited (429), asks to wait ",
    "500": "failed (500): no answer",
    "503": "failed (503): no answer",
    "400": "refused the request (400): no answer",
    "401": "refused the key (401): no answer",
    "404": "knows no such model or address (404): no answer",
    "422": "refused the request (422): no answer",
    "redirect": "points to another address (307), which is not followed",
    "reset": "connection reset",
    "reset-mid": "the answer broke off",
    "close-mid": "the answer broke off",
    "hang": "no answer within 0.2 s",
    "hang-mid": "no answer within 0.2 s",
    "drip": "no answer within 0.2 s",
    "malformed": "answered with broken JSON, or with no object",
    "truncated": ("answered with broken JSON, or with no object", "the answer broke off"),
    "cut": ("answered with broken JSON, or with no object", "the answer broke off"),
    "empty": "answered without choices",
    "wrong-model": "answered by model 'another-model' instead of 'm'",
    "error-event": ("failed (500): no answer", "failed: no answer"),
    "huge": "answered with more than 10 MB",
    "huge-error": "answered with more than 10 MB",
    "not-http": "answered with no HTTP",
}
FREE = {name for name in SENTENCES if name[0] == "4"} | {"redirect"}  # surely not charged
HALF = ("reset-mid", "close-mid", "hang-mid", "malformed", "truncated", "cut", "error-event")  # of a stream comes


async def broken_off(provider: OpenAIProvider) -> tuple[list[Chunk], ProviderError]:
    """The chunks that come before a stream breaks off, and why it does."""
    chunks = list[Chunk]()
    try:
        async for piece in provider.stream(REQUEST):
            assert isinstance(piece, Chunk)
            chunks.append(piece)
    except ProviderError as error:
        return chunks, error
    raise AssertionError("the stream ended")


def test_every_behaviour_of_the_server_is_covered() -> None:
    assert set(SENTENCES) | {"ok", "dated-model", "no-usage"} == set(BEHAVIOURS)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("behaviour", SENTENCES)
def test_a_fault_is_one_sentence_in_bounded_time(behaviour: str, stream: bool) -> None:
    async def ask() -> None:
        async with FaultyServer(behaviour) as server:
            provider, started = (
                provider_at(server.url, timeout_s=0.2 if "no answer w" in sentence else 5.0),
                perf_counter(),
            )
            error = await failure(provider, REQUEST, stream=stream)
            assert perf_counter() - started < 2.0
            assert str(error).startswith(sentence)
            assert "\n" not in str(error)
            assert error.__context__ is None
            assert error.refused == (behaviour in ("400", "422"))
            assert error.free == (behaviour in FREE)
            assert len(server.asked) == 1  # nothing is asked again, nor elsewhere
            completion = error.completion
            assert completion is not None
            assert completion.error == str(error)
            charged = behaviour in ("empty", "wrong-model") or (stream and behaviour in HALF)
            assert (completion.cost_usd > 0.0) == charged

    told = SENTENCES[behaviour]
    sentence = told if isinstance(told, str) else told[stream]
    asyncio.run(ask())


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("where", "sentence"),
    [
        ("closed", "connection refused"),
        ("nowhere", "no such host"),
        ("plain", "TLS failure"),
        ("self-signed", "TLS failure"),
    ],
)
def test_a_server_that_cannot_be_reached_is_told_apart(where: str, sentence: str, stream: bool) -> None:
    async def ask() -> None:
        async with FaultyServer() as plain, FaultyServer(tls=True) as signed:
            urls = {"closed": refused_url(), "nowhere": DNS_URL, "plain": plain.tls_url, "self-signed": signed.url}
            error = await failure(provider_at(urls[where], timeout_s=5.0), REQUEST, stream=stream)
            assert str(error) == sentence
            assert error.free
            assert error.completion is not None
            assert error.completion.cost_usd == 0.0
            assert not signed.asked

    asyncio.run(ask())


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("behaviour", "least", "most"), [("429", None, None), ("429-seconds", 3.0, 3.0), ("429-date", 1.0, 3.0)]
)
def test_the_wait_that_a_provider_asks_for_is_told(
    behaviour: str, least: float | None, most: float | None, stream: bool
) -> None:
    async def ask() -> None:
        async with FaultyServer(behaviour) as server:
            wait = (await failure(provider_at(server.url), REQUEST, stream=stream)).retry_after_s
        assert (wait is None) if least is None or most is None else (wait is not None and least <= wait <= most)

    asyncio.run(ask())


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
        ({"retry-after-ms": "nan", "retry-after": "9"}, 9.0),
        ({"retry-after": "-5"}, 0.0),
        *(
            ({"retry-after": value}, None)
            for value in (
                "Fri, 31 Dec 9999 23:59:59 -1200",
                "Fri, 31 Feb 2026 10:00:00 GMT",
                "1e400",
                "soon",
            )
        ),
    ],
)
def test_a_wait_that_means_nothing_is_none(headers: dict[str, str], wait_s: float | None) -> None:
    assert _retry_after_s(headers) == wait_s


@pytest.mark.parametrize("behaviour", sorted(set(SENTENCES) - set(HALF) - {"drip", "wrong-model"}))
def test_a_fault_before_the_answer_comes_before_the_first_chunk(behaviour: str) -> None:
    async def ask() -> None:
        async with FaultyServer(behaviour) as server:
            with pytest.raises(ProviderError):
                await anext(provider_at(server.url, timeout_s=0.2).stream(REQUEST))

    asyncio.run(ask())


@pytest.mark.parametrize("behaviour", HALF)
def test_a_stream_that_breaks_off_costs_what_came(behaviour: str) -> None:
    async def ask() -> None:
        async with FaultyServer(behaviour) as server:
            server.chunk_s = 0.001
            chunks, error = await broken_off(provider_at(server.url, timeout_s=0.3))
        completion = error.completion
        assert completion is not None
        assert completion.text == "".join(chunk.text for chunk in chunks) != ""
        expected = PRICE.cost_usd(len(REQUEST.prompt) // 4, -(-len(completion.text) // 4))
        assert completion.cost_usd == pytest.approx(expected)
        assert completion.first_token_s is not None

    asyncio.run(ask())


def test_what_cannot_be_sent_is_the_requests_fault() -> None:
    async def ask() -> None:
        async with FaultyServer() as server:
            for request in (LLMRequest("\ud800"), LLMRequest("Hi", options={"x": float("nan")})):
                for stream in (False, True):
                    error = await failure(provider_at(server.url), request, stream=stream)
                    assert error.refused
                    assert "cannot be written as JSON" in str(error)
            assert not server.asked

    asyncio.run(ask())


@pytest.mark.parametrize(("spared", "said"), [("other.invalid", None), ("nobody.invalid", "no such host")])
def test_the_proxy_of_the_environment_is_asked_but_for_hosts_that_it_spares(
    monkeypatch: pytest.MonkeyPatch, spared: str, said: str | None
) -> None:
    async def ask() -> None:
        async with FaultyServer() as server:
            monkeypatch.setenv("http_proxy", server.url.removesuffix("/v1"))
            monkeypatch.setenv("no_proxy", spared)
            provider = provider_at(DNS_URL)
            if said is None:
                await provider.complete(REQUEST)
                assert server.asked[0].path == f"{DNS_URL}/chat/completions"
            else:
                assert str(await failure(provider, REQUEST, stream=False)) == said

    asyncio.run(ask())
