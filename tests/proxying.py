"""What the tests of the proxy share: a provider that speaks word by word, and ways to ask."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

from openai import AsyncOpenAI, OpenAI

from routelab import BanditRouter, Completion, LLMRequest
from routelab.providers import Chunk, Price, ProviderError

ASKED = [{"role": "user", "content": "Why is the sky blue?"}]
PRICE = Price(1.0, 2.0)
WORDS = ("The ", "sky ", "scatters ", "blue ", "light.")


@dataclass
class Speaking:
    """Answers in five words, ``pause_s`` apart; does not grade itself.

    Attributes:
        error: raised instead of an answer.
        breaks_after: words after which the answer breaks off.
        asked: every request that came; left: requests whose asker left before the end.
    """

    name: str = "a"
    pause_s: float = 0.0
    error: ProviderError | None = None
    breaks_after: int | None = None
    price: Price = PRICE
    asked: list[LLMRequest] = field(default_factory=list)
    left: int = 0

    async def stream(self, request: LLMRequest) -> AsyncGenerator[Chunk | Completion, None]:
        self.asked.append(request)
        ended = False
        try:
            for number, word in enumerate(WORDS):
                await asyncio.sleep(self.pause_s)
                if self.error is not None:
                    raise self.error
                if number == self.breaks_after:
                    raise ProviderError(f"{self.name} broke off")
                yield Chunk(word)
            ended = True
            yield Completion("".join(WORDS), self.name, 10, 5, 2e-5, 0.1, cached_tokens=4)
        except ProviderError:
            ended = True
            raise
        finally:
            self.left += not ended

    async def complete(self, request: LLMRequest) -> Completion:
        async for piece in self.stream(request):
            if isinstance(piece, Completion):
                return piece
        raise AssertionError("a stream ends with a completion")


def client(url: str, key: str = "unused") -> OpenAI:
    return OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, timeout=10)


def async_client(url: str, key: str = "unused") -> AsyncOpenAI:
    return AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, timeout=10)


def bandit(*providers: Speaking, **settings: Any) -> BanditRouter:
    return BanditRouter(providers, epsilon=0.0, **settings)


def send(
    url: str, path: str, body: Any = None, *, method: str = "POST", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the answer to ``body``: bytes as they are, anything else as JSON."""
    connection = HTTPConnection(urlsplit(url).netloc, timeout=10)
    content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    named = {"content-type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        connection.request(method, path, content, named)
        response = connection.getresponse()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
    finally:
        connection.close()


def error_of(answer: tuple[int, dict[str, str], bytes]) -> tuple[int, str, str]:
    """Status, code and message of an error, which must be in OpenAI's format."""
    told = json.loads(answer[2])["error"]
    assert set(told) == {"message", "type", "param", "code"}
    return answer[0], told["code"], told["message"]
