"""Streamed answers: the next best until the first chunk, a recorded failure after it, nothing left behind."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator

import pytest

from routelab import BanditRouter, BudgetPacer, Completion, LLMRequest, MLRouter, PerformanceDB
from routelab.abtest.shadow import ShadowRouter
from routelab.providers import Chunk, DeadlineError, ProviderError
from routelab.routers import Streamed
from routing import Answering

SKY = LLMRequest("Hi, sky!")
WHAT_CAME = (2 * 1.0 + 2 * 2.0) / 1e6  # USD: the request, and "The sky ", at a token for four characters
WORDS = ("The ", "sky ", "scatters ", "blue ", "light.")


class Talking(Answering):
    """Streams ``WORDS``, or does something wrong before the chunk of this number."""

    def __init__(self, name: str, quality: float | None = 0.8, *, wrong: str | None = None, at: int = 0) -> None:
        super().__init__(name, quality)
        self.wrong, self.at, self.closed = wrong, at, 0

    async def stream(self, request: LLMRequest) -> AsyncIterator[Chunk | Completion]:
        try:
            for number, word in enumerate((*WORDS, None)):
                await asyncio.sleep(0)
                if self.wrong is not None and number == self.at:
                    await self.go_wrong()
                    return
                if word is not None:
                    yield Chunk(word)
            yield Completion("".join(WORDS), self.name, 10, 20, 0.001, 0.2, self.quality, None, 0.1, 4)
        finally:
            self.closed += 1

    async def go_wrong(self) -> None:
        if self.wrong == "hangs":
            await asyncio.sleep(60)
        if self.wrong == "tells":
            raise ProviderError("reset", Completion("The", self.name, 10, 2, 0.0005, 0.1, error="reset"))
        if self.wrong == "raises":
            raise ConnectionResetError("reset")


async def read(streamed: Streamed) -> str:
    return "".join([chunk.text async for chunk in streamed.chunks])


async def ask(router: MLRouter, **settings: float) -> tuple[Streamed, str]:
    streamed = await router.stream(SKY, **settings)
    return streamed, await read(streamed)


def test_a_streamed_answer_is_recorded_as_a_whole_one_is(db: PerformanceDB) -> None:
    router = MLRouter([Talking("a")], db=db)
    streamed, text = asyncio.run(ask(router))
    assert text == "".join(WORDS)
    assert streamed.completion is not None
    assert streamed.completion.text == text
    outcome = db.log().iloc[0]
    assert outcome["decision_id"] == streamed.decision.decision_id
    recorded = ["quality", "cost_usd", "latency_s", "first_token_s", "output_tokens", "cached_tokens"]
    assert outcome[recorded].tolist() == [0.8, 0.001, 0.2, 0.1, 20, 4]
    assert router.pool.load() == {"a": 0}


@pytest.mark.parametrize("wrong", ["raises", "tells", "ends", "hangs"])
def test_until_the_first_chunk_the_next_best_takes_over(db: PerformanceDB, wrong: str) -> None:
    router = MLRouter([Talking("a", wrong=wrong), Talking("b", 0.7)], db=db, deadline_s=1.0)
    streamed, text = asyncio.run(ask(router))
    assert (streamed.decision.provider.name, text) == ("b", "".join(WORDS))
    log = db.log()
    assert log["provider"].tolist() == ["a", "b"]
    assert log["quality"].tolist() == [0.0, 0.7]
    assert log["error"].notna().tolist() == [True, False]


@pytest.mark.parametrize(
    ("wrong", "error", "cost"),
    [
        ("raises", "ConnectionResetError: reset", WHAT_CAME),
        ("tells", "reset", 0.0005),
        ("ends", "the stream ended without a completion", WHAT_CAME),
    ],
)
def test_a_break_after_the_first_chunk_reaches_the_reader_and_costs_what_came(
    db: PerformanceDB, wrong: str, error: str, cost: float
) -> None:
    router = MLRouter([Talking("a", wrong=wrong, at=2), Talking("b")], db=db, pacer=BudgetPacer(0.01))
    read_before = list[str]()

    async def listen() -> None:
        async for chunk in (await router.stream(SKY)).chunks:
            read_before.append(chunk.text)

    with pytest.raises(ProviderError, match=error):
        asyncio.run(listen())
    assert read_before == ["The ", "sky "]
    outcome = db.log().iloc[0]
    assert (len(db.log()), outcome["quality"], outcome["error"]) == (1, 0.0, error)
    assert outcome["cost_usd"] == pytest.approx(cost)
    assert router.pacer is not None
    assert (router.pacer.requests, router.pacer.in_flight) == (1, 0)


def test_a_stream_that_stalls_is_cut_at_the_deadline(db: PerformanceDB) -> None:
    router = MLRouter([Talking("a", wrong="hangs", at=2)], db=db)
    with pytest.raises(DeadlineError, match=r"not all of the answer within 0\.0[45]"):
        asyncio.run(ask(router, deadline_s=0.05))
    assert router.pool.health["a"].failures == 1
    assert "not all of the answer" in db.log()["error"][0]


@pytest.mark.parametrize("how", ["closed", "dropped", "cancelled", "never read"])
def test_a_reader_who_leaves_early_stops_the_provider_and_is_recorded(db: PerformanceDB, how: str) -> None:
    provider = Talking("a", wrong="hangs", at=3)
    router = MLRouter([provider, Talking("b")], db=db)

    async def leave() -> None:
        streamed = await router.stream(SKY)
        if how == "cancelled":
            task = asyncio.create_task(read(streamed))
            await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        elif how != "never read":
            await anext(streamed.chunks)
        if how == "closed":
            await streamed.aclose()
        del streamed
        gc.collect()
        await asyncio.sleep(0.01)
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(leave())
    outcome = db.log().iloc[0]
    assert (outcome["error"], outcome["quality"]) == (
        "cancelled by the caller",
        pytest.approx(float("nan"), nan_ok=True),
    )
    assert 0.0 < outcome["cost_usd"] < 0.001
    assert provider.closed == 1
    assert (router.pool.load()["a"], router.pool.health["a"].failures) == (0, 0)


def test_cancelling_before_the_first_chunk_leaves_nothing_behind(db: PerformanceDB) -> None:
    provider = Talking("a", wrong="hangs")
    router = MLRouter([provider], db=db)

    async def leave() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(router.stream(SKY), 0.02)
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(leave())
    assert db.log()["error"].tolist() == ["cancelled by the caller"]
    assert (provider.closed, router.pool.load()) == (1, {"a": 0})


def test_a_provider_that_cannot_stream_answers_in_one_chunk(db: PerformanceDB) -> None:
    class Whole(Answering):
        async def complete(self, request: LLMRequest) -> Completion:
            return Completion("All at once.", self.name, 10, 20, 0.001, 0.2, 0.6)

    streamed, text = asyncio.run(ask(MLRouter([Whole("a")], db=db)))
    assert text == "All at once."
    assert streamed.completion is not None
    assert db.log()["quality"].tolist() == [0.6]


def test_a_streamed_answer_without_a_grade_waits_for_one(db: PerformanceDB) -> None:
    router = BanditRouter([Talking("a", None)], db=db)
    streamed, _ = asyncio.run(ask(router))  # type: ignore[arg-type]
    assert db.log()["quality"].isna().tolist() == [True]
    router.grade(streamed.decision.decision_id, 0.4)
    assert db.log()["quality"].tolist() == [0.4]


def test_routers_of_routers_stream_as_well(db: PerformanceDB) -> None:
    live = BanditRouter([Talking("a"), Talking("b")], seed=1)
    router = ShadowRouter(live, {"bold": BanditRouter([Talking("a"), Talking("b")], epsilon=0.9)}, db)
    streamed, text = asyncio.run(ask(router))  # type: ignore[arg-type]
    assert router.last_decision is streamed.decision
    assert (len(text) > 0, db.count(), len(db.shadows())) == (True, (1, 1), 1)
