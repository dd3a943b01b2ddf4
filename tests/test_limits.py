"""Limits of a provider hold in every minute, and its circuit opens, waits and closes as it says."""

from __future__ import annotations

import asyncio
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routelab.errors import RoutelabError
from routelab.providers import Circuit, Completion, Limits, ProviderError, ProviderPool, Unavailable
from routelab.providers.breaker import Breaker
from routelab.providers.limits import Window
from routing import EASY, Answering

ASKS = st.lists(st.tuples(st.floats(0.0, 40.0), st.integers(1, 9)), min_size=1, max_size=60)


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@given(asks=ASKS, limit=st.integers(9, 30))
def test_whoever_waits_as_told_never_uses_more_than_the_limit_in_any_minute(
    asks: list[tuple[float, int]], limit: int
) -> None:
    window, now, used = Window(limit), 0.0, list[tuple[float, int]]()
    for pause, amount in asks:
        now += pause
        now += window.wait_s(amount, now)
        assert window.wait_s(amount, now) <= 1e-9  # and as told is long enough
        window.use(amount, now)
        used.append((now, amount))
    for end, _ in used:
        assert sum(amount for at, amount in used if end - 60.0 + 1e-6 < at <= end) <= limit


@given(asks=ASKS)
def test_nobody_waits_longer_than_a_minute_after_the_last_use(asks: list[tuple[float, int]]) -> None:
    window, now = Window(5), 0.0
    for pause, amount in asks:
        now += pause
        window.use(amount, now)
        assert window.wait_s(100, now) <= 60.0 + 1e-6


def test_what_was_used_less_than_estimated_is_given_back_while_it_still_counts() -> None:
    window = Window(100)
    early, late = window.use(60, now=0.0), window.use(40, now=50.0)
    assert window.wait_s(20, now=50.0) == 10.0
    window.correct(late, 10, now=51.0)
    assert window.wait_s(20, now=51.0) == 0.0
    window.correct(early, 1000, now=60.0)  # its minute is over
    assert window.wait_s(90, now=60.0) == 0.0
    assert window.wait_s(91, now=60.0) == 50.0


@pytest.mark.parametrize("field", ["requests_per_minute", "tokens_per_minute", "concurrency"])
@pytest.mark.parametrize("value", [0, -1, float("nan"), "many"])
def test_a_limit_that_lets_nobody_through_is_refused(field: str, value: object) -> None:
    with pytest.raises(RoutelabError, match=rf"Limits\.{field} is .*; give a number ≥ 1, or None"):
        Limits(**{field: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("change", [{"failures": 0}, {"share": 0.0}, {"window": 0}, {"cooldown_s": 0.0}])
def test_a_circuit_that_makes_no_sense_is_refused(change: dict[str, float]) -> None:
    with pytest.raises(RoutelabError, match=rf"Circuit\.{next(iter(change))} is "):
        Circuit(**change)  # type: ignore[arg-type]


def fail(breaker: Breaker, times: int, now: float = 0.0, retry_after_s: float | None = None) -> None:
    for _ in range(times):
        probe = breaker.begin(now)
        breaker.failed(probe, now, retry_after_s)
        breaker.ended(probe)


def answer(breaker: Breaker, now: float = 0.0) -> None:
    probe = breaker.begin(now)
    breaker.answered(probe)
    breaker.ended(probe)


def test_a_circuit_opens_after_failures_in_a_row_or_a_share_of_them() -> None:
    breaker = Breaker(Circuit(failures=3), Random(0))
    for _ in range(9):
        fail(breaker, 2)
        answer(breaker)
    assert breaker.open_until is not None  # 14 of 20
    breaker = Breaker(Circuit(failures=3), Random(0))
    for _ in range(9):
        fail(breaker, 1)
        answer(breaker)
        answer(breaker)
    assert breaker.open_until is None
    fail(breaker, 3)
    assert "3 failures in a row" in breaker.unavailable(0.0).reason  # type: ignore[union-attr]


def test_a_cooldown_doubles_with_each_probe_that_fails_up_to_the_longest_and_starts_anew_after_an_answer() -> None:
    breaker, now, cooldowns = Breaker(Circuit(cooldown_s=1.0, longest_s=10.0), Random(0)), 0.0, []
    fail(breaker, 5)
    for _ in range(7):
        assert breaker.open_until is not None
        cooldowns.append(breaker.open_until - now)
        now = breaker.open_until
        fail(breaker, 1, now)
    for cooldown, longest in zip(cooldowns, [1, 2, 4, 8, 10, 10, 10], strict=True):
        assert longest / 2 <= cooldown <= longest
    assert len({round(cooldown, 6) for cooldown in cooldowns[4:]}) == 3  # jitter
    assert breaker.open_until is not None
    answer(breaker, breaker.open_until)
    assert breaker.open_until is None
    fail(breaker, 5, now=100.0)
    assert breaker.open_until - 100.0 <= 1.0


def test_one_probe_goes_at_a_time_and_one_that_is_given_up_makes_room_for_another() -> None:
    breaker = Breaker(Circuit(failures=1), Random(0))
    fail(breaker, 1)
    now = 2.0
    assert breaker.unavailable(now) is None
    assert breaker.begin(now)
    assert breaker.unavailable(now) == Unavailable("a probe is on its way", float("inf"), failing=True)
    assert not breaker.begin(now)
    breaker.ended(True)  # cancelled
    assert breaker.unavailable(now) is None
    assert breaker.open_until is not None


def test_what_began_before_a_circuit_opened_neither_closes_nor_prolongs_it() -> None:
    breaker = Breaker(Circuit(failures=1), Random(0))
    late = [breaker.begin(0.0) for _ in range(3)]
    fail(breaker, 1)
    until = breaker.open_until
    breaker.answered(late[0])
    breaker.failed(late[1], 0.1)
    assert breaker.open_until == until
    breaker.failed(late[2], 0.2, retry_after_s=30.0)  # but what the provider asks for holds
    assert breaker.open_until == 30.2


@pytest.mark.parametrize(("asked", "waited"), [(7.0, 7.0), (1e9, 3600.0)])
def test_a_provider_that_asks_to_be_left_alone_is_at_once_for_an_hour_at_most(asked: float, waited: float) -> None:
    breaker = Breaker(Circuit(), Random(0))
    fail(breaker, 1, now=10.0, retry_after_s=asked)
    assert breaker.open_until == 10.0 + waited


@pytest.mark.parametrize("asked", [0.0, -5.0, 1e-6])
def test_a_provider_that_asks_for_no_rest_is_left_alone_all_the_same_when_it_keeps_failing(asked: float) -> None:
    breaker = Breaker(Circuit(failures=3, cooldown_s=1.0), Random(0))
    for number in range(3):
        assert breaker.unavailable(float(number)) is None
        fail(breaker, 1, now=float(number), retry_after_s=asked)
    assert breaker.open_until is not None
    assert breaker.open_until >= 2.5


def test_a_probe_that_fails_lengthens_the_cooldown_whatever_the_provider_asks_for() -> None:
    breaker, now = Breaker(Circuit(failures=1, cooldown_s=1.0), Random(0)), 0.0
    for longest in (1.0, 2.0, 4.0, 8.0):
        fail(breaker, 1, now, retry_after_s=0.1)
        assert breaker.open_until is not None
        assert longest / 2 <= breaker.open_until - now <= longest
        now = breaker.open_until
    fail(breaker, 1, now, retry_after_s=30.0)
    assert breaker.open_until == now + 30.0


class Failing(Answering):
    """Raises what it is given."""

    def __init__(self, name: str, error: BaseException) -> None:
        super().__init__(name)
        self.error = error

    async def complete(self, request: object) -> Completion:
        raise self.error


@pytest.mark.parametrize(
    ("error", "why", "failures"),
    [
        (ProviderError("slow down", retry_after_s=3.0), "asked to be left alone for 3 s", 1),
        (ProviderError("no such parameter", refused=True), None, 0),
        (asyncio.CancelledError(), None, 0),
        (TimeoutError(), "left alone after 1 failures in a row", 1),
    ],
)
def test_the_pool_tells_failures_of_a_provider_from_those_of_a_request(
    error: BaseException, why: str | None, failures: int
) -> None:
    async def ask() -> None:
        with pytest.raises(type(error)):
            await pool.complete("a", EASY)

    pool = ProviderPool([Failing("a", error)], circuit=Circuit(failures=1), clock=Clock())
    asyncio.run(ask())
    told = pool.unavailable("a")
    assert (told and told.reason) == why
    assert (pool.health["a"].failures, pool.health["a"].in_flight) == (failures, 0)


def test_an_answer_that_says_it_is_an_error_counts_as_a_failure() -> None:
    pool = ProviderPool([Answering("a", fails="returns")], circuit=Circuit(failures=1), clock=Clock())
    asyncio.run(pool.complete("a", EASY))
    assert pool.health["a"].failures == 1
    assert pool.unavailable("a") is not None
