from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from pathlib import Path

import pytest

from collecting import QUICK, Charging, prompts, run
from routelab import LLMRequest, ProviderPool, RoutelabError, SimulatedProvider, simulated_providers
from routelab.collecting import Collected, Patience, collect
from routelab.collecting.spending import Spending
from routelab.evaluators import JudgeEvaluator
from routelab.providers import Completion, ProviderError
from routelab.providers.breaker import Circuit


@pytest.mark.parametrize("cap", [0.0, 0.01, 0.0123, 0.05, 0.3])
def test_the_cap_holds_at_every_moment_and_room_that_is_freed_is_used(tmp_path: Path, cap: float) -> None:
    held = list[float]()

    class Watching(Charging):
        async def complete(self, request: LLMRequest) -> Completion:
            held.append(sum(p.charged + p.in_flight * 10.0 * p.cost for p in providers) + 10.0 * self.cost)
            return await super().complete(request)

    providers: list[Charging] = [Watching("a"), Watching("b", cost=0.0005)]
    collected = run(tmp_path, prompts(200), providers, cap_usd=cap)
    charged = sum(p.charged for p in providers)
    assert max(held, default=0.0) <= cap + 1e-12
    assert collected.spent_usd == pytest.approx(charged)
    assert collected.capped == (charged < 0.2999)
    if collected.capped:
        assert cap - charged < 0.01, "the worst case of one more request does not fit"


def test_raising_the_cap_goes_on_where_it_stopped(tmp_path: Path) -> None:
    providers = [Charging("a"), Charging("b")]
    first = run(tmp_path, prompts(20), providers, cap_usd=0.02)
    assert first.capped
    again = run(tmp_path, prompts(20), providers, cap_usd=0.02)
    assert (again.capped, again.missing) == (True, first.missing)
    assert run(tmp_path, prompts(20), providers, cap_usd=1.0).missing == 0
    assert all(set(p.asked.values()) == {1} for p in providers)


def test_a_failure_that_may_have_been_charged_counts_with_its_worst_case(tmp_path: Path) -> None:
    lost = Charging("a", lambda number: TimeoutError("no answer"))
    collected = run(tmp_path, prompts(1), [lost, Charging("b")])
    assert collected.spent_usd == pytest.approx(3 * 0.01 + 0.001)
    assert run(tmp_path, prompts(1), [lost, Charging("b")], cap_usd=0.06).capped
    assert lost.asked.total() == 5, "its last worst case fits no more"


def test_a_failure_that_surely_cost_nothing_is_not_counted(tmp_path: Path) -> None:
    closed = Charging("a", lambda number: ProviderError("connection refused", free=True))
    assert run(tmp_path, prompts(1), [closed, Charging("b")]).spent_usd == pytest.approx(0.001)


def test_a_failure_costs_what_its_provider_says(tmp_path: Path) -> None:
    told = Completion("", "a", 5, 0, 0.004, 0.1, error="empty choices")
    empty = Charging("a", lambda number: ProviderError("empty choices", told))
    busy = Charging("b", lambda number: ProviderError("busy", retry_after_s=0.001))
    assert run(tmp_path, prompts(1), [empty, busy]).spent_usd == pytest.approx(3 * 0.004)


def test_a_provider_that_cannot_bound_its_costs_is_refused_under_a_cap(tmp_path: Path) -> None:
    simulated = simulated_providers()
    assert all(isinstance(provider, SimulatedProvider) for provider in simulated)
    with pytest.raises(RoutelabError, match="has no worst_cost_usd"):
        asyncio.run(collect(prompts(2), simulated, journal=tmp_path / "j", cap_usd=1.0, progress=False))
    done = asyncio.run(collect(prompts(2), simulated, journal=tmp_path / "j", patience=QUICK, progress=False))
    assert done.missing == 0


def test_reservations_of_any_size_never_pass_the_cap_and_none_waits_for_ever() -> None:
    rng = random.Random(0)
    spending = Spending(cap_usd=10.0)
    most = 0.0

    async def ask() -> None:
        nonlocal most
        for _ in range(50):
            worst = rng.choice([0.1, 0.7, 3.3])
            if not await spending.reserve(worst):
                return
            most = max(most, spending.spent_usd + spending.reserved_usd)
            await asyncio.sleep(0)
            spending.settle(worst, worst * rng.random() * 0.1)

    async def work() -> None:
        async with asyncio.timeout(5.0):
            await asyncio.gather(*(ask() for _ in range(40)))

    asyncio.run(work())
    assert 9.0 < most <= 10.0
    assert spending.reserved_usd == 0.0


def test_one_request_at_a_time_spends_the_same(tmp_path: Path) -> None:
    wide, narrow = ([Charging("a"), Charging("b")] for _ in range(2))
    one = run(tmp_path / "1", prompts(20), wide, cap_usd=0.03)
    other = run(tmp_path / "2", prompts(20), narrow, cap_usd=0.03, patience=Patience(1))
    assert one.spent_usd == pytest.approx(other.spent_usd)


class Judge(Charging):
    """Gives every answer 8 of 10."""

    async def complete(self, request: LLMRequest) -> Completion:
        return replace(await super().complete(request), text='{"score": 8}')


def test_a_judges_votes_are_paid_and_its_cost_is_not_that_of_the_answers(tmp_path: Path) -> None:
    judge = Judge("judge", cost=0.002)
    collected = run(tmp_path, prompts(5), [Charging("a"), Charging("b")], evaluator=JudgeEvaluator(judge))
    assert judge.asked.total() == 5 * 2 * 3
    assert collected.frame["quality"].tolist() == pytest.approx([0.8] * 10)
    assert collected.frame["cost_usd"].tolist() == [0.001] * 10
    assert collected.spent_usd == pytest.approx(10 * 0.001 + 30 * 0.002)


def test_a_cap_holds_for_answers_and_votes_together_and_no_answer_goes_ungraded(tmp_path: Path) -> None:
    judge, providers = Judge("judge", cost=0.002), [Charging("a"), Charging("b")]
    evaluator = JudgeEvaluator(judge)
    spent = list[float]()
    for cap in (0.05, 0.1, 0.3, 5.0):
        collected = run(tmp_path, prompts(20), providers, evaluator=evaluator, cap_usd=cap)
        spent.append(judge.charged + sum(p.charged for p in providers))
        assert spent[-1] <= cap
        assert collected.spent_usd == pytest.approx(spent[-1])
        assert collected.capped == (cap < 5.0)
        assert collected.frame["quality"].notna().all()
    assert spent == sorted(spent)
    assert collected.missing == 0


@pytest.mark.parametrize("refused", [False, True])
def test_a_judge_that_fails_grades_nothing_for_ever_and_the_next_run_asks_again(tmp_path: Path, refused: bool) -> None:
    def dead(number: int) -> Exception:
        return ProviderError("not found", refused=True) if refused else ConnectionError("refused")

    providers, judge = [Charging("a"), Charging("b")], Judge("judge", dead)
    pool = ProviderPool(providers, circuit=Circuit(cooldown_s=0.01))
    patience = Patience(2, 2, 0.001, give_up_s=0.2)
    collected = run(tmp_path, prompts(500), pool, evaluator=JudgeEvaluator(judge), patience=patience)
    assert list(collected.given_up) == ["judge"]
    assert "its judge gave no grade" in next(iter(collected.failed.values()))
    assert (collected.missing, collected.ungraded) == (1000, 0)
    asked = sum(p.asked.total() for p in providers)
    assert 0 < asked < 100
    assert collected.spent_usd >= asked * 0.001
    again = run(tmp_path, prompts(500), providers, evaluator=JudgeEvaluator(Judge("judge")))
    assert (again.missing, again.ungraded) == (0, 0)
    assert again.spent_usd == pytest.approx(collected.spent_usd + 1000 * 0.001 + 3000 * 0.001)


def test_a_judge_that_cannot_be_used_at_all_ends_the_run(tmp_path: Path) -> None:
    keyless = Judge("judge", lambda number: RoutelabError("A_KEY is not set; export it"))
    with pytest.raises(RoutelabError, match="A_KEY is not set"):
        run(tmp_path, prompts(5), [Charging("a"), Charging("b")], evaluator=JudgeEvaluator(keyless))


def test_replies_of_a_judge_that_hold_no_score_leave_answers_that_are_counted_as_ungraded(tmp_path: Path) -> None:
    mumbling = JudgeEvaluator(Charging("judge"))
    collected = run(tmp_path, prompts(5), [Charging("a"), Charging("b")], evaluator=mumbling)
    assert (collected.missing, collected.ungraded) == (0, 10)


class Moody(Judge):
    """Mumbles, without a score, until it is told not to."""

    mumbles = True

    async def complete(self, request: LLMRequest) -> Completion:
        return replace(await super().complete(request), text="hm" if self.mumbles else '{"score": 8}')


def test_what_a_judge_gave_no_score_is_judged_again_by_the_next_run_and_not_asked_again(tmp_path: Path) -> None:
    providers, judge = [Charging("a"), Charging("b")], Moody("judge")

    def again() -> Collected:
        return run(tmp_path, prompts(5), providers, evaluator=JudgeEvaluator(judge))

    assert [again().ungraded for _ in range(2)] == [10, 10]
    judge.mumbles = False
    graded = again()
    assert (graded.missing, graded.ungraded, graded.failed) == (0, 0, {})
    assert graded.frame["quality"].tolist() == pytest.approx([0.8] * 10)
    assert [p.asked.total() for p in (*providers, judge)] == [5, 5, 3 * 30]
    assert graded.spent_usd == pytest.approx(0.1) == pytest.approx(sum(p.charged for p in (*providers, judge)))
    settled = again()
    assert judge.asked.total() == 3 * 30
    assert settled.frame.equals(graded.frame)
    assert settled.spent_usd == pytest.approx(0.1)


def test_a_cap_holds_for_what_is_judged_again(tmp_path: Path) -> None:
    providers, judge = [Charging("a"), Charging("b")], Moody("judge", cost=0.002)
    everybody, evaluator = [*providers, judge], JudgeEvaluator(judge)
    assert run(tmp_path, prompts(5), providers, evaluator=evaluator, cap_usd=1.0).ungraded == 10
    judge.mumbles = False
    left = list[int]()
    one_by_one = Patience(concurrency=1)
    for cap in (0.075, 0.12, 1.0):
        collected = run(tmp_path, prompts(5), providers, evaluator=evaluator, cap_usd=cap, patience=one_by_one)
        left.append(collected.ungraded)
        assert collected.capped == (cap < 1.0)
        assert collected.spent_usd == pytest.approx(sum(p.charged for p in everybody))
        assert collected.spent_usd <= cap
        assert collected.missing == 0
    assert left[0] == 10 > left[1] > left[2] == 0


def test_a_judge_that_fails_when_it_judges_again_leaves_the_answers_as_they_are(tmp_path: Path) -> None:
    providers, judge = [Charging("a"), Charging("b")], Moody("judge")
    first = run(tmp_path, prompts(5), providers, evaluator=JudgeEvaluator(judge))
    judge.fault, judge.mumbles = (lambda number: ProviderError("busy (503)", free=True)), False
    failed = run(tmp_path, prompts(5), providers, evaluator=JudgeEvaluator(judge))
    assert failed.frame.equals(first.frame)
    judge.fault = lambda number: None
    assert run(tmp_path, prompts(5), providers, evaluator=JudgeEvaluator(judge)).ungraded == 0
    assert [p.asked.total() for p in providers] == [5, 5]


def test_a_provider_whose_answers_cost_more_than_their_worst_case_is_asked_no_more_under_a_cap(tmp_path: Path) -> None:
    class Overcharging(Charging):
        def worst_cost_usd(self, request: LLMRequest) -> float:
            return 0.1 * self.cost

    providers = [Overcharging("a"), Charging("b")]
    collected = run(tmp_path, prompts(50), providers, cap_usd=2.0)
    assert "an answer cost 0.001 USD, its worst case was 0.0001: it keeps to no max_tokens" in collected.given_up["a"]
    assert 1 <= providers[0].asked.total() <= 8, "what was in flight"
    assert collected.frame["provider"].tolist().count("b") == 50
    assert run(tmp_path / "free", prompts(50), providers).missing == 0


def test_a_judge_that_cannot_bound_its_costs_is_refused_under_a_cap(tmp_path: Path) -> None:
    unbounded = simulated_providers()[0]
    with pytest.raises(RoutelabError, match=f"provider '{unbounded.name}' has no worst_cost_usd"):
        run(tmp_path, prompts(2), [Charging("a"), Charging("b")], evaluator=JudgeEvaluator(unbounded), cap_usd=1.0)
