"""What a live request costs: list prices, and the most that it can cost before it is asked."""

from __future__ import annotations

import asyncio
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faulty_server import FaultyServer
from live import provider_at
from routelab import LLMRequest, OpenAIProvider, RoutelabError
from routelab.providers import Price
from routelab.providers.list_prices import list_price

NOWHERE = "http://127.0.0.1:1/v1"


def test_without_a_price_the_models_list_price_counts() -> None:
    assert list_price("gpt-4o") == list_price("gpt-4o", "https://api.openai.com/v1") == Price(2.5, 10.0, 1.25)
    assert OpenAIProvider("a", model="gpt-4o-2024-08-06", key_env=None).price == Price(2.5, 10.0, 1.25)


@pytest.mark.parametrize(("model", "url"), [("nobodys", "https://api.openai.com/v1"), ("gpt-4o", NOWHERE)])
def test_a_model_without_a_list_price_at_its_server_is_refused(model: str, url: str) -> None:
    message = f"no list price of model {model!r} at {url} is known; give its price"
    with pytest.raises(RoutelabError, match=re.escape(message)):
        OpenAIProvider("a", model=model, base_url=url, key_env=None)


@given(st.text(min_size=1).filter(str.strip), st.integers(1, 50), st.integers(1, 3))
def test_nothing_costs_more_than_its_worst_case(prompt: str, limit: int, n: int) -> None:
    """The most greedy tokenizer makes a token of every byte of the text, and a template some for every message."""
    provider = provider_at(NOWHERE)
    options = {"max_tokens": limit, "n": n}
    messages = [{"role": "system", "content": prompt}, {"role": "user", "content": [{"type": "text", "text": prompt}]}]
    tokens = 2 * (len(prompt.encode(errors="replace")) + 16)
    worst = provider.worst_cost_usd(LLMRequest("x", messages=messages, options=options))
    assert worst >= provider.price.cost_usd(tokens, n * limit)


def test_the_worst_case_counts_the_limit_that_is_sent_and_the_price_of_now() -> None:
    async def ask() -> None:
        async with FaultyServer() as server:
            provider = provider_at(server.url, options={"max_tokens": 30}, price=Price(0.0, 1e6))
            own = LLMRequest("Hi", options={"max_tokens": 7})
            for request, limit in ((LLMRequest("Hi"), 30), (own, 7)):
                assert provider.worst_cost_usd(request) == limit
                await provider.complete(request)
            assert [asked.body["max_tokens"] for asked in server.asked] == [30, 7]
            provider.set_price(Price(0.0, 2e6))
            assert provider.worst_cost_usd(own) == 14

    asyncio.run(ask())


def test_tools_count_in_the_worst_case_and_what_has_no_bound_is_refused() -> None:
    provider = provider_at(NOWHERE)
    plain, tools = LLMRequest("Hi"), LLMRequest("Hi", options={"tools": [{"description": "x" * 1000}]})
    assert provider.worst_cost_usd(tools) >= provider.worst_cost_usd(plain) + 1000 * 1e-6
    image = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://x/y.png"}}]}]
    with pytest.raises(RoutelabError, match="images, audio or files has no bound"):
        provider.worst_cost_usd(LLMRequest("Hi", messages=image))
    with pytest.raises(RoutelabError, match="must be whole numbers ≥ 1, got \\['many'\\]"):
        provider.worst_cost_usd(LLMRequest("Hi", options={"max_tokens": "many"}))
