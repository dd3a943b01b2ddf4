"""Requests wait for providers whose limits are reached, and no longer than they must."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import replace

import pytest

from routelab import LLMRequest
from routelab.errors import RoutelabError
from routelab.providers import (
    Chunk,
    Circuit,
    Completion,
    FailingError,
    Limits,
    ProviderError,
    ProviderPool,
    Unavailable,
)
from routelab.providers.waiting import Queue
from routing import EASY, Answering
from test_limits import Clock, Failing


class Slow(Answering):
    """Answers after a while, and remembers how many it answered at once."""

    def __init__(self, name: str, seconds: float = 0.005) -> None:
        super().__init__(name)
        self.seconds, self.now, self.most = seconds, 0, 0

    async def complete(self, request: LLMRequest) -> Completion:
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(self.seconds)
        self.now -= 1
        return await super().complete(request)


def test_a_cap_holds_and_everybody_gets_through_in_the_order_of_coming() -> None:
    provider, order = Slow("a"), list[int]()
    pool = ProviderPool([provider], limits={"a": Limits(concurrency=3)})

    async def ask(number: int) -> None:
        await pool.wait(["a"])
        order.append(number)
        await pool.complete("a", EASY)

    async def crowd() -> None:
        await asyncio.gather(*(ask(number) for number in range(30)))

    asyncio.run(crowd())
    assert (provider.most, order) == (3, list(range(30)))


def test_the_first_provider_that_has_room_ends_the_wait() -> None:
    pool = ProviderPool([Slow("a", 10.0), Slow("b", 0.01)], limits=dict.fromkeys("ab", Limits(concurrency=1)))

    async def ask() -> float:
        begun = [asyncio.create_task(pool.complete(name, EASY)) for name in "ab"]
        await asyncio.sleep(0)
        start = asyncio.get_running_loop().time()
        await pool.wait(["a", "b"], timeout_s=5.0)
        for task in begun:
            task.cancel()
        return asyncio.get_running_loop().time() - start

    assert asyncio.run(ask()) < 1.0


def test_waiting_in_vain_says_why_for_each_and_when_to_come_back() -> None:
    clock = Clock()
    held = {"a": Limits(requests_per_minute=2), "b": Limits(tokens_per_minute=100), "c": Limits(concurrency=1)}
    pool = ProviderPool([Answering("a"), Answering("b"), Slow("c", 10.0), Answering("d")], limits=held, clock=clock)

    async def ask() -> None:
        for _ in range(2):
            await pool.complete("a", EASY)
        clock.now = 20.0
        await pool.complete("b", replace(EASY, prompt="x" * 400))
        task = asyncio.create_task(pool.complete("c", EASY))
        await asyncio.sleep(0)
        try:
            await pool.wait(["a", "b", "c"], 80, timeout_s=0.01)
        finally:
            task.cancel()

    with pytest.raises(ProviderError) as raised:
        asyncio.run(ask())
    assert str(raised.value) == (
        "no provider can be asked: a: 2 requests a minute reached, 40 s left; "
        "b: 100 tokens a minute reached, 60 s left; c: 1 of 1 requests in flight"
    )
    assert raised.value.retry_after_s == 40.0


def test_nobody_waits_for_what_comes_too_late() -> None:
    pool = ProviderPool([Answering("a")], limits={"a": Limits(requests_per_minute=1)})

    async def ask() -> float:
        await pool.complete("a", EASY)
        start = asyncio.get_running_loop().time()
        with pytest.raises(ProviderError, match="1 requests a minute reached"):
            await pool.wait(["a"], timeout_s=30.0)
        return asyncio.get_running_loop().time() - start

    assert asyncio.run(ask()) < 1.0


def test_one_who_gives_up_waiting_passes_the_room_on() -> None:
    room = {"a": Unavailable("full", float("inf"))}

    async def ask() -> None:
        queue = Queue()
        waiting = [asyncio.create_task(queue.wait("a", lambda: room, 5.0)) for _ in range(3)]
        await asyncio.sleep(0)
        room["a"] = None  # type: ignore[assignment]
        queue.wake()
        waiting[0].cancel()  # woken, and not run yet
        async with asyncio.timeout(0.5):  # less than the second after which everybody looks for himself
            await asyncio.gather(*waiting[1:])
        assert waiting[0].cancelled()

    asyncio.run(ask())


def test_a_newcomer_and_one_that_leaves_are_noticed_by_those_who_wait() -> None:
    pool = ProviderPool([Slow("a", 5.0)], limits={"a": Limits(concurrency=1)})

    async def ask() -> None:
        busy = asyncio.create_task(pool.complete("a", EASY))
        await asyncio.sleep(0)
        task = asyncio.create_task(pool.wait(["a", "b"], timeout_s=2.0))
        await asyncio.sleep(0.01)
        pool.add(Answering("b"))
        async with asyncio.timeout(0.5):
            await task
        pool.remove("a")
        busy.cancel()
        with pytest.raises(ProviderError, match="there is none left"):
            await pool.wait(["a"])

    asyncio.run(ask())


def test_tokens_are_estimated_when_a_request_begins_and_counted_when_it_is_answered() -> None:
    clock = Clock()
    pool = ProviderPool([Answering("a")], limits={"a": Limits(tokens_per_minute=1000)}, clock=clock)
    long = LLMRequest("x" * 2000, options={"max_tokens": 450})
    assert pool.tokens(long) == 950
    assert ProviderPool([Answering("a")]).tokens(long) == 0  # nobody counts

    async def ask() -> None:
        task = asyncio.create_task(pool.complete("a", long))
        await asyncio.sleep(0)
        await task

    asyncio.run(ask())  # it took 30
    assert pool.unavailable("a", 970) is None
    assert pool.unavailable("a", 971) == Unavailable("1000 tokens a minute reached", 60.0)


def test_a_provider_brings_its_limits_and_the_pool_may_set_others() -> None:
    provider = Answering("a")
    provider.limits = Limits(requests_per_minute=1)  # type: ignore[attr-defined]
    for pool, left in ((ProviderPool([provider]), False), (ProviderPool([provider], limits={"a": Limits()}), True)):
        asyncio.run(pool.complete("a", EASY))
        assert (pool.unavailable("a") is None) is left
    with pytest.raises(RoutelabError, match="the pool has no provider 'b'"):
        ProviderPool([provider], limits={"b": Limits()})


def test_clients_that_ask_again_at_once_get_a_fair_share() -> None:
    pool, answered = ProviderPool([Slow("a", 0.001)], limits={"a": Limits(concurrency=1)}), Counter[int]()

    async def client(number: int) -> None:
        while answered.total() < 60:
            await pool.wait(["a"], timeout_s=5.0)
            await pool.complete("a", EASY)
            answered[number] += 1

    async def crowd() -> None:
        await asyncio.gather(*map(client, range(3)))

    asyncio.run(crowd())
    assert max(answered.values()) - min(answered.values()) <= 1


def test_who_waits_for_another_provider_than_those_before_is_woken_by_its_answer() -> None:
    pool = ProviderPool([Slow("a", 10.0), Slow("b", 0.02)], limits=dict.fromkeys("ab", Limits(concurrency=1)))

    async def ask() -> None:
        tasks = [asyncio.create_task(pool.complete(name, EASY)) for name in "ab"]
        await asyncio.sleep(0)
        tasks.append(asyncio.create_task(pool.wait(["a"])))
        await asyncio.sleep(0)
        async with asyncio.timeout(0.5):  # less than the second after which everybody looks for himself
            await pool.wait(["b"])
        for task in tasks:
            task.cancel()

    asyncio.run(ask())


def test_one_who_needs_much_is_not_passed_by_those_who_need_little() -> None:
    clock, order = Clock(), list[int]()
    pool = ProviderPool([Answering("a")], limits={"a": Limits(tokens_per_minute=100)}, clock=clock)

    async def ask(tokens: int) -> None:
        await pool.wait(["a"], tokens)
        order.append(tokens)

    async def crowd() -> None:
        await pool.complete("a", EASY)  # 30 tokens
        waiting = [asyncio.create_task(ask(tokens)) for tokens in (90, 10)]
        await asyncio.sleep(0.01)
        assert order == []
        clock.now = 60.0
        pool.add(Answering("b"))  # which wakes
        await asyncio.gather(*waiting)

    asyncio.run(crowd())
    assert order == [90, 10]


def test_one_that_may_answer_any_moment_is_worth_waiting_for_though_another_takes_too_long() -> None:
    held = {"a": Limits(requests_per_minute=1), "b": Limits(concurrency=1)}
    pool = ProviderPool([Answering("a"), Slow("b", 0.02)], limits=held)

    async def ask() -> None:
        await pool.complete("a", EASY)
        busy = asyncio.create_task(pool.complete("b", EASY))
        await asyncio.sleep(0)
        await pool.wait(["a", "b"], timeout_s=5.0)
        await busy

    asyncio.run(ask())


def failing(name: str, retry_after_s: float | None = None) -> Failing:
    return Failing(name, ProviderError("down", retry_after_s=retry_after_s))


@pytest.mark.parametrize(
    ("providers", "for_failing", "waits"),
    [
        ([failing("a"), failing("b")], False, False),
        ([failing("a"), failing("b")], True, True),
        ([failing("a"), failing("b", 0.15)], False, True),
        ([failing("a"), Slow("b", 0.15)], False, True),
    ],
)
def test_nobody_waits_for_those_that_kept_failing_alone_unless_told_to(
    providers: list[Answering], for_failing: bool, waits: bool
) -> None:
    circuit, limits = Circuit(failures=1, cooldown_s=0.1), {"b": Limits(concurrency=1)}
    pool = ProviderPool(providers, circuit=circuit, limits=limits)

    async def ask() -> None:
        asked = [asyncio.create_task(pool.complete(name, EASY)) for name in "ab"]
        await asyncio.sleep(0.01)
        try:
            await pool.wait("ab", timeout_s=2.0, for_failing=for_failing)
        finally:
            await asyncio.gather(*asked, return_exceptions=True)

    if waits:
        asyncio.run(ask())
        return
    with pytest.raises(FailingError, match=r"a: left alone after 1 failures in a row, 0.* s left; b: ") as raised:
        asyncio.run(ask())
    assert 0.0 < raised.value.retry_after_s <= 0.1  # type: ignore[operator]


@pytest.mark.parametrize(("retry_after_s", "waits"), [(None, False), (0.2, True)])
def test_a_probe_is_waited_for_where_the_provider_asked_to_be_left_alone(
    retry_after_s: float | None, waits: bool
) -> None:
    clock = Clock()
    pool = ProviderPool([failing("a", retry_after_s)], circuit=Circuit(failures=1, cooldown_s=0.1), clock=clock)

    async def ask() -> None:
        await asyncio.gather(pool.complete("a", EASY), return_exceptions=True)
        clock.now = 1.0
        pool._providers["a"] = Slow("a", 0.05)
        probe = asyncio.create_task(pool.complete("a", EASY))
        await asyncio.sleep(0)
        try:
            await pool.wait("a", timeout_s=5.0)
        finally:
            await probe

    if waits:
        asyncio.run(ask())
    else:
        with pytest.raises(FailingError, match="a: a probe is on its way"):
            asyncio.run(ask())


class Broken(Answering):
    """Answers in two chunks, the second once ``rest`` is set, and then breaks off where it ``breaks``."""

    def __init__(self, name: str, *, breaks: bool) -> None:
        super().__init__(name, fails="raises")
        self.breaks, self.rest = breaks, asyncio.Event()

    async def stream(self, request: LLMRequest) -> AsyncGenerator[Chunk | Completion, None]:
        yield Chunk("Once")
        await self.rest.wait()
        yield Chunk(" upon a time")
        if self.breaks:
            raise ProviderError("broke off")
        yield Completion("Once upon a time", self.name, 1, 4, 0.001, 0.1)


@pytest.mark.parametrize("breaks", [False, True])
def test_a_probe_that_is_streamed_opens_the_way_at_its_first_chunk(breaks: bool) -> None:
    provider, clock = Broken("a", breaks=breaks), Clock()
    pool = ProviderPool([provider], circuit=Circuit(failures=2), clock=clock)

    async def ask() -> None:
        await asyncio.gather(*(pool.complete("a", EASY) for _ in range(2)), return_exceptions=True)
        clock.now = 5.0
        async with aclosing(pool.stream("a", EASY)) as probe:
            waiting = asyncio.create_task(pool.wait("a", for_failing=True))
            await anext(probe)
            async with asyncio.timeout(0.5):  # less than the second after which everybody looks for himself
                await waiting
            provider.rest.set()
            with suppress(ProviderError):
                async for _ in probe:
                    pass
        assert pool.unavailable("a") is None  # one failure, if any
        assert pool.health["a"].failures == 2 + breaks
        await asyncio.gather(pool.complete("a", EASY), return_exceptions=True)
        assert (pool.unavailable("a") is None) is not breaks

    asyncio.run(ask())


def test_a_probe_whose_stream_is_an_error_told_at_its_end_has_failed() -> None:
    pool = ProviderPool([Answering("a", fails="returns")], circuit=Circuit(failures=1), clock=(clock := Clock()))

    async def ask() -> None:
        await pool.complete("a", EASY)
        clock.now = 5.0
        async with aclosing(pool.stream("a", EASY)) as probe:
            await anext(probe)
            assert pool.unavailable("a") == Unavailable("a probe is on its way", float("inf"), failing=True)
            await anext(probe)
        assert "a probe that failed" in pool.unavailable("a").reason  # type: ignore[union-attr]

    asyncio.run(ask())
