"""The proxy, asked by OpenAI's own client on a real server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from proxying import ASKED, WORDS, Speaking, async_client, bandit, client, error_of, send
from routelab import MLRouter, Objective, PerformanceDB, RoutelabError, simulated_providers
from routelab.providers import Circuit, DeadlineError, Price, ProviderError, ProviderPool
from routelab.proxy import create_app, serve_in_thread
from routelab.routers import Router


@pytest.fixture
def router(db: PerformanceDB) -> Router:
    return bandit(Speaking(), db=db)


@pytest.fixture
def url(router: Router) -> Iterator[str]:
    with serve_in_thread(create_app(router)) as served:
        yield served.url


def test_a_whole_answer_tells_who_decided_what_and_at_which_price(url: str, db: PerformanceDB) -> None:
    with client(url) as asking:
        raw = asking.chat.completions.with_raw_response.create(model="routelab", messages=ASKED)
    answer = raw.parse()
    assert answer.choices[0].message.content == "".join(WORDS)
    assert answer.choices[0].finish_reason == "stop"
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (10, 5, 15)
    assert answer.usage.prompt_tokens_details.cached_tokens == 4
    logged = db.log().iloc[0]
    assert raw.headers["x-routelab-decision-id"] == logged["decision_id"]
    assert raw.headers["x-routelab-provider"] == logged["provider"] == "a"
    assert float(raw.headers["x-routelab-propensity"]) == logged["propensity"] == 1.0
    assert raw.headers["x-routelab-router"] == "routelab"
    assert raw.headers["x-routelab-policy"] == logged["policy"]
    assert float(raw.headers["x-routelab-cost-usd"]) == 2e-5


def test_a_streamed_answer_comes_word_by_word_and_ends_with_reason_and_usage(url: str, db: PerformanceDB) -> None:
    with client(url) as asking:
        raw = asking.chat.completions.with_raw_response.create(
            model="routelab", messages=ASKED, stream=True, stream_options={"include_usage": True}
        )
        chunks = list(raw.parse())
    assert raw.headers["x-routelab-decision-id"] == db.log()["decision_id"].item()
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].delta.content for chunk in chunks[:-2]] == list(WORDS)
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage.total_tokens == 15
    with client(url) as asking:
        told = list(asking.chat.completions.create(model="routelab", messages=ASKED, stream=True))
    assert [chunk.usage for chunk in told] == [None] * 6


def test_many_ask_at_once(url: str, db: PerformanceDB) -> None:
    async def words(asking: openai.AsyncOpenAI) -> str:
        stream = await asking.chat.completions.create(model="routelab", messages=ASKED, stream=True)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    async def work() -> list[str]:
        async with async_client(url) as asking:
            whole = asking.chat.completions.create(model="routelab", messages=ASKED)
            *streamed, answer = await asyncio.gather(*(words(asking) for _ in range(30)), whole)
            return [*streamed, answer.choices[0].message.content]

    assert asyncio.run(work()) == ["".join(WORDS)] * 31
    assert db.count()[0] == 31


def test_the_models_are_routers_trade_offs_and_providers(router: Router) -> None:
    cautious = MLRouter(simulated_providers())
    with serve_in_thread(create_app(router, routers={"cautious": cautious})) as served, client(served.url) as asking:
        listed = [model.id for model in asking.models.list()]
        assert listed[:6] == [f"{name}{end}" for name in ("routelab", "cautious") for end in ("", ":quality", ":cheap")]
        assert listed[6:] == ["a", *cautious.pool.names]
        raw = asking.chat.completions.with_raw_response.create(model="cautious", messages=ASKED)
        assert raw.headers["x-routelab-router"] == "cautious"
        assert cautious.pending.get(raw.headers["x-routelab-decision-id"]) is not None


def test_the_trade_off_of_a_request_decides_who_answers(db: PerformanceDB) -> None:
    cheap, dear = Speaking("cheap"), Speaking("dear", price=Price(100.0, 200.0))
    router = bandit(cheap, dear, db=db, objective=Objective(cost_weight=1.0))
    models = ("routelab", "routelab:cheap", "routelab:quality", "routelab:cost_weight=20,min_quality=0.25")
    with serve_in_thread(create_app(router)) as served, client(served.url) as asking:
        for model in models:
            asking.chat.completions.create(model=model, messages=ASKED)
        list(asking.chat.completions.create(model="routelab:cost_weight=7", messages=ASKED, stream=True))
    logged = db.log()
    assert [told["cost_weight"] for told in logged["objective"]] == [1.0, 1e9, 0.0, 20.0, 7.0]
    assert [told["min_quality"] for told in logged["objective"]] == [None, None, None, 0.25, None]
    assert logged["provider"][1] == "cheap"


def test_a_provider_asked_for_by_name_answers_and_nothing_is_logged(db: PerformanceDB) -> None:
    one, two = Speaking("one"), Speaking("two")
    with serve_in_thread(create_app(bandit(one, two, db=db))) as served, client(served.url) as asking:
        raw = asking.chat.completions.with_raw_response.create(model="two", messages=ASKED)
        assert raw.headers["x-routelab-provider"] == "two"
        assert "x-routelab-decision-id" not in raw.headers
        told = list(asking.chat.completions.create(model="two", messages=ASKED, stream=True))
        assert "".join(chunk.choices[0].delta.content or "" for chunk in told) == "".join(WORDS)
    assert (len(one.asked), len(two.asked)) == (0, 2)
    assert db.count() == (0, 0)


def test_what_a_client_adds_reaches_the_provider(db: PerformanceDB) -> None:
    provider = Speaking()
    talk = [{"role": "system", "content": "Be brief."}, *ASKED, {"role": "assistant", "content": "Hm.", "name": "b"}]
    tools = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
    with serve_in_thread(create_app(bandit(provider, db=db))) as served, client(served.url) as asking:
        given = {"temperature": 0.5, "max_tokens": 7, "seed": 3, "tools": tools}
        asking.chat.completions.create(
            model="routelab", messages=talk, user="ann", **given, extra_body={"top_k": 4}, n=1
        )
        asking.chat.completions.create(model="routelab", messages=ASKED, extra_headers={"x-routelab-unit": "talk 7"})
    first, second = provider.asked
    assert first.options == given | {"user": "ann", "top_k": 4}
    assert first.messages == talk
    assert first.prompt == ASKED[0]["content"]
    assert [request.unit_id for request in (first, second)] == ["ann", "talk 7"]
    assert db.log()["unit_id"].tolist() == ["ann", "talk 7"]


def test_a_conversation_without_a_text_of_the_user_is_answered(db: PerformanceDB) -> None:
    image = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
    with serve_in_thread(create_app(bandit(Speaking(), db=db))) as served, client(served.url) as asking:
        for message in ({"role": "user", "content": [image]}, {"role": "system", "content": "Begin."}):
            answer = asking.chat.completions.create(model="routelab", messages=[message])
            assert answer.choices[0].message.content == "".join(WORDS)


@pytest.mark.parametrize(
    ("error", "raised", "code"),
    [
        (ProviderError("a is down"), openai.InternalServerError, "providers_failed"),
        (ProviderError("slow down", retry_after_s=2.5), openai.RateLimitError, "rate_limited"),
        (ProviderError("prompt too long", refused=True), openai.BadRequestError, "refused_by_provider"),
        (DeadlineError("no answer within 2 s"), openai.InternalServerError, "deadline_exceeded"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_failure_is_one_of_openais_errors(
    error: ProviderError, raised: type[openai.APIStatusError], code: str, stream: bool
) -> None:
    with (
        serve_in_thread(create_app(bandit(Speaking(error=error)))) as served,
        client(served.url) as asking,
        pytest.raises(raised, match=str(error)) as told,
    ):
        asking.chat.completions.create(model="a", messages=ASKED, stream=stream)
    status = {"providers_failed": 502, "rate_limited": 429, "refused_by_provider": 400, "deadline_exceeded": 504}
    assert told.value.status_code == status[code]
    assert told.value.code == code
    assert told.value.response.headers.get("retry-after") == ("3" if code == "rate_limited" else None)


def test_clients_are_told_when_to_come_back_where_all_providers_kept_failing() -> None:
    circuit = Circuit(failures=1, cooldown_s=20.0)
    router = MLRouter(ProviderPool([Speaking(error=ProviderError("a is down"))], circuit=circuit), retry_share=0.0)
    with serve_in_thread(create_app(router)) as served:
        answers = [send(served.url, "/v1/chat/completions", {"model": "routelab", "messages": ASKED}) for _ in range(2)]
    for answer in answers:
        assert error_of(answer)[:2] == (503, "providers_failing")
        assert 9 < int(answer[1]["retry-after"]) <= 20


def test_bad_requests_are_told_what_is_wrong(url: str) -> None:
    with client(url) as asking:
        with pytest.raises(openai.NotFoundError, match="no model 'gpt'; there are routelab, routelab:quality,"):
            asking.chat.completions.create(model="gpt", messages=ASKED)
        for more, told in (
            ({"n": 2}, "n: Input should be 1"),
            ({"temperature": 1e9}, "temperature: Input should be less than or equal to 2"),
            ({"max_tokens": -1}, "max_tokens: Input should be greater than or equal to 1"),
            ({"messages": []}, "messages: List should have at least 1 item"),
            ({"messages": [{"role": "robot", "content": "Hi"}]}, r"messages.0.role: Input should be 'system'"),
            ({"model": "routelab:fast"}, "after the colon give quality, cheap, cost_weight=…"),
            ({"model": "routelab:cost_weight=nan"}, "cost_weight is nan; give a finite number"),
            ({"model": "routelab:"}, "after the colon"),
        ):
            with pytest.raises(openai.BadRequestError, match=told):
                asking.chat.completions.create(**{"model": "routelab", "messages": ASKED} | more)
    assert send(url, "/v1/nothing", method="GET")[0] == 404
    assert send(url, "/v1/chat/completions", method="GET")[0] == 405


def test_a_stream_that_breaks_off_says_so(db: PerformanceDB) -> None:
    router = bandit(Speaking(breaks_after=3), db=db)
    with serve_in_thread(create_app(router)) as served, client(served.url) as asking:
        came = []
        answer = asking.chat.completions.create(model="a", messages=ASKED, stream=True)
        with pytest.raises(openai.APIError, match="a broke off"):
            came.extend(chunk.choices[0].delta.content for chunk in answer)
        assert came == list(WORDS[:3])
        assert (
            b"[DONE]"
            not in send(served.url, "/v1/chat/completions", {"model": "a", "messages": ASKED, "stream": True})[2]
        )


def test_a_router_needs_a_name_of_its_own(router: Router) -> None:
    for name in ("a", "b:c", "", "routelab"):
        with pytest.raises(RoutelabError, match=f"no router can be called '{name}'"):
            create_app(router, routers={name: router})


def test_a_decision_is_on_disk_when_its_id_is_told(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'log.db'}"
    with (
        PerformanceDB(store) as db,
        PerformanceDB(store) as reader,
        serve_in_thread(create_app(bandit(Speaking(), db=db))) as served,
        client(served.url) as asking,
    ):
        for asked in (1, 2):
            with asking.chat.completions.with_streaming_response.create(
                model="routelab", messages=ASKED, stream=True
            ) as raw:
                assert raw.headers["x-routelab-decision-id"] in set(reader.log()["decision_id"])
                assert reader.count()[0] == asked
