"""What a request through ``OpenAIProvider`` takes of a processor, beside the openai SDK alone (``pytest -s``)."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from time import process_time

import openai
import pytest

from live import provider_at, streamed
from routelab import LLMRequest

SERVER = Path(__file__).resolve().parents[1] / "faulty_server.py"
REQUESTS, AT_ONCE, CHUNKS = 400, 8, 20
REQUEST = LLMRequest("Who was Ada Lovelace?")


@pytest.fixture
def url() -> Iterator[str]:
    """A server in a process of its own, a chunk a millisecond."""
    command = [sys.executable, str(SERVER), '{"chunk_s": 0.001}']
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.terminate()


async def microseconds(ask: Callable[[], Awaitable[object]]) -> float:
    """Processor time of one ``ask``."""

    async def many(count: int) -> None:
        for _ in range(count):
            await ask()

    await many(10)
    before = process_time()
    await asyncio.gather(*(many(REQUESTS // AT_ONCE) for _ in range(AT_ONCE)))
    return (process_time() - before) / REQUESTS * 1e6


def test_a_streamed_request_takes_less_than_half_of_what_the_sdk_alone_takes(url: str) -> None:
    async def measure() -> dict[str, float]:
        provider = provider_at(url)
        messages = [{"role": "user", "content": REQUEST.prompt}]
        async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:

            async def sdk() -> None:
                async for _ in await client.chat.completions.create(model="m", messages=messages, stream=True):
                    pass

            return {
                "provider, streamed": await microseconds(lambda: streamed(provider, REQUEST)),
                "provider, in one piece": await microseconds(lambda: provider.complete(REQUEST)),
                "SDK, streamed": await microseconds(sdk),
                "SDK, in one piece": await microseconds(
                    lambda: client.chat.completions.create(model="m", messages=messages)
                ),
            }

    taken = asyncio.run(measure())
    for name, value in taken.items():
        print(f"{name:24} {value:6.0f} µs a request" + f", {value / CHUNKS:4.0f} µs a chunk" * ("streamed" in name))
    assert taken["provider, streamed"] < 0.5 * taken["SDK, streamed"]
