"""Whatever two of three providers do wrong, every request is answered, and the log holds every attempt."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from faulty_server import DNS_URL, FaultyServer, refused_url
from routelab import EpsilonGreedyPolicy, LLMRequest, MLRouter, PerformanceDB
from routelab.policies import FixedPolicy
from routelab.providers import Circuit, Price, ProviderPool
from routelab.providers.openai_provider import OpenAIProvider

FAULTS = (
    "reset", "reset-mid", "close-mid", "hang", "hang-mid", "drip", "429", "429-seconds", "429-date", "500", "503",
    "401", "404", "malformed", "truncated", "cut", "empty", "wrong-model", "error-event", "huge", "huge-error",
    "redirect", "not-http", "refused", "tls", "unsigned", "dns",
)  # fmt: skip
# of a stream, after its first chunk: surely, or where that came before the rest
BREAKS_OFF = {"hang-mid", "cut"}
MAY_BREAK_OFF = BREAKS_OFF | {"reset-mid", "close-mid", "truncated", "error-event", "drip"}


def provider(name: str, url: str, timeout_s: float = 0.25) -> OpenAIProvider:
    return OpenAIProvider(name, model="m", base_url=url, key_env=None, price=Price(1.0, 2.0), timeout_s=timeout_s)


@asynccontextmanager
async def three(fault: str) -> AsyncIterator[list[OpenAIProvider]]:
    """Two providers with a fault, and a healthy one."""
    async with AsyncExitStack() as stack:
        urls = {"refused": refused_url(), "dns": DNS_URL}
        if fault not in urls:
            plain = fault in ("tls", "unsigned")
            server = await stack.enter_async_context(FaultyServer("ok" if plain else fault, tls=fault == "unsigned"))
            urls[fault] = server.tls_url if fault == "tls" else server.url
        healthy = await stack.enter_async_context(FaultyServer())
        providers = [provider(name, urls[fault]) for name in "ab"] + [provider("c", healthy.url, 30.0)]
        for one in providers:
            stack.push_async_callback(one.close)
        yield providers


def router_of(providers: list[OpenAIProvider], db: PerformanceDB, circuit: Circuit) -> MLRouter:
    """Explores, so that each provider is asked first again and again."""
    return MLRouter(ProviderPool(providers, circuit=circuit), EpsilonGreedyPolicy(0.9, FixedPolicy()), db=db)


async def answered(router: MLRouter, number: int, streamed: bool) -> str:
    """Who answered, or what came in the way after the first chunk."""
    request = LLMRequest(f"Question {number}", request_id=f"r{number}")
    if not streamed:
        decision, completion = await router.complete(request)
        assert completion.text
        return decision.provider.name
    stream = await router.stream(request)
    try:
        async for _ in stream.chunks:
            pass
    except RuntimeError as error:
        return f"broke off: {error}"
    return stream.decision.provider.name


async def flood(fault: str, db: PerformanceDB, n: int, circuit: Circuit, *, streamed: bool = False) -> list[str]:
    """``n`` requests at once, at most 50 at a time; nothing is left behind."""
    async with three(fault) as providers:
        router, room = router_of(providers, db, circuit), asyncio.Semaphore(50)

        async def one(number: int) -> str:
            async with room:
                return await answered(router, number, streamed)

        answers = await asyncio.gather(*(one(number) for number in range(n)))
        assert router.pool.load() == dict.fromkeys("abc", 0)
    assert len(asyncio.all_tasks()) == 1
    return answers


def check_log(db: PerformanceDB, n: int) -> None:
    """Every attempt is there, with its outcome where it failed (the answers wait for their grades)."""
    log = db.log()
    failed = log["error"].notna()
    assert set(log["request_id"]) == {f"r{number}" for number in range(n)}
    assert (log[~failed].groupby("request_id").size() == 1).all()
    assert set(log.loc[failed, "provider"]) <= {"a", "b"}
    assert (log.loc[failed, "quality"] == 0.0).all()
    assert (log.loc[~failed, "provider"] == "c").all()


@pytest.mark.parametrize("fault", FAULTS)
def test_every_request_is_answered_while_one_of_three_is_healthy(db: PerformanceDB, fault: str) -> None:
    n = 30
    answers = asyncio.run(flood(fault, db, n, Circuit(cooldown_s=0.05)))
    assert answers == ["c"] * n
    check_log(db, n)
    errors = db.log()["error"].dropna()
    assert len(errors) >= 5  # the fault was met
    assert not errors.str.contains("Error:").any()  # and told in words


@pytest.mark.parametrize("fault", FAULTS)
def test_a_stream_fails_over_until_its_first_chunk(db: PerformanceDB, fault: str) -> None:
    n = 15
    answers = asyncio.run(flood(fault, db, n, Circuit(cooldown_s=0.05), streamed=True))
    broken = [one for one in answers if one.startswith("broke off: ")]
    assert len(broken) + answers.count("c") == n
    assert bool(broken) >= (fault in BREAKS_OFF)
    assert bool(broken) <= (fault in MAY_BREAK_OFF)
    if not broken:
        check_log(db, n)
    assert db.log()["error"].notna().sum() >= max(len(broken), 1)
