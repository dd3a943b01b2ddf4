"""From a grade to what is learned: quality, standard error and cost of grading go to log, policy and total."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from judging import Judge, failing
from routelab import (
    ABRouter,
    ABTest,
    BudgetPacer,
    JudgeEvaluator,
    LLMRequest,
    Objective,
    OnlineMLRouter,
    PerformanceDB,
    RoutelabError,
)
from routelab.evaluators import ExactEvaluator, FirstOf, Grade
from routelab.policies import LinTSPolicy
from routelab.policies.linear_arms import LEVEL_PRECISION, NOISE
from routelab.providers import Completion, DeadlineError
from routelab.routers.gate import Observed, judge
from routing import EASY, Answering


def online(db: PerformanceDB, grader: object, **others: object) -> OnlineMLRouter:
    providers = [Answering("a", None), Answering("b", None)]
    return OnlineMLRouter(providers, LinTSPolicy(), db=db, grader=grader, retrain_after=None, **others)  # type: ignore[arg-type]


def weight(router: OnlineMLRouter) -> float:
    """Certain outcomes that all that was learned is worth."""
    assert isinstance(router.policy, LinTSPolicy)
    return float((router.policy.arms_.precision[:, 0, 0] - LEVEL_PRECISION).sum())


def worth(se: float) -> float:
    """The same of one outcome, by the noise that is believed before any."""
    return NOISE / (NOISE + se**2)


def test_a_judges_grade_is_logged_and_learned_with_its_standard_error_and_cost(db: PerformanceDB) -> None:
    router = online(db, JudgeEvaluator(Judge(["Score: 4", "Score: 8", failing(0.002)])))
    result = asyncio.run(router.route_and_learn(EASY))
    assert result.quality == pytest.approx(0.6)
    row = db.log().iloc[0]
    assert row["quality"] == result.quality
    assert row["quality_se"] == pytest.approx(np.sqrt(0.13 / 2 / 2))
    assert row["grading_cost_usd"] == router.grading_cost_usd == pytest.approx(0.004)
    assert row["cost_usd"] == 0.001
    assert weight(router) == pytest.approx(worth(row["quality_se"]))


def test_an_exact_grade_counts_in_full_and_costs_nothing(db: PerformanceDB) -> None:
    router = online(db, FirstOf(ExactEvaluator(), JudgeEvaluator(Judge(["Score: 4"]))))
    result = asyncio.run(router.route_and_learn(LLMRequest("Say nothing.", reference="")))
    assert (result.quality, router.grading_cost_usd, weight(router)) == (1.0, 0.0, pytest.approx(1.0))
    assert db.log()["quality_se"].tolist() == [0.0]


def test_one_request_may_have_a_trade_off_and_a_deadline_of_its_own(db: PerformanceDB) -> None:
    router = online(db, lambda *_: 1.0)
    asyncio.run(router.route_and_learn(EASY, objective=Objective(cost_weight=3.0), deadline_s=5.0))
    assert db.log()["objective"][0]["cost_weight"] == 3.0
    silent = OnlineMLRouter([Answering("a", fails="hangs")], LinTSPolicy(), db=db)
    test = ABTest("t", ("one", "two"), (0.5, 0.5), "s")
    for hanging in (silent, ABRouter(test, {"one": silent, "two": silent}, db)):
        with pytest.raises(DeadlineError, match=r"no answer within 0\.01 s"):
            asyncio.run(hanging.route_and_learn(LLMRequest("Hi", unit_id="u"), deadline_s=0.01))


def test_a_judge_without_a_verdict_leaves_the_answer_waiting(db: PerformanceDB) -> None:
    router = online(db, JudgeEvaluator(Judge(["no idea"])))
    result = asyncio.run(router.route_and_learn(EASY))
    assert (result.quality, db.count(), router.pending.waiting) == (None, (1, 1), 1)
    router.grade(result.decision.decision_id, Grade(0.5, se=0.1, cost_usd=0.01))
    assert (db.count(), router.pending.waiting, router.grading_cost_usd) == ((1, 1), 0, 0.01)


def test_a_function_may_give_a_grade(db: PerformanceDB) -> None:
    async def grader(request: LLMRequest, completion: Completion) -> Grade:
        return Grade(0.5, se=0.2, cost_usd=0.01)

    router = online(db, grader)
    assert asyncio.run(router.route_and_learn(EASY)).quality == 0.5
    assert db.log()[["quality_se", "grading_cost_usd"]].iloc[0].tolist() == [0.2, 0.01]


def test_the_same_grade_again_changes_nothing_and_another_is_refused(db: PerformanceDB) -> None:
    router = online(db, None)
    decision_id = asyncio.run(router.route_and_learn(EASY)).decision.decision_id
    for _ in range(2):
        router.grade(decision_id, Grade(0.5, se=0.2, cost_usd=0.01))
    assert (router.grading_cost_usd, db.count()) == (0.01, (1, 1))
    with pytest.raises(RoutelabError, match="has another outcome already"):
        router.grade(decision_id, Grade(0.5, se=0.3, cost_usd=0.01))


def test_an_outcome_of_ones_own_may_have_a_standard_error(db: PerformanceDB) -> None:
    router = online(db, None)
    told = {"quality": 0.5, "cost_usd": 0.001, "quality_se": 0.5, "grading_cost_usd": 0.02}
    router.record_outcome(router.decide(EASY).decision_id, **told)  # type: ignore[arg-type]
    assert weight(router) == pytest.approx(worth(0.5))
    assert router.grading_cost_usd == 0.02


def test_a_budget_is_for_answers_not_for_grading(db: PerformanceDB) -> None:
    spent = []
    for cost in (0.0, 10.0):
        pacer = BudgetPacer(budget=0.002)
        router = online(db, lambda *_, cost=cost: Grade(0.5, cost_usd=cost), pacer=pacer)
        for _ in range(20):
            asyncio.run(router.route_and_learn(EASY))
        spent.append(pacer.objective().cost_weight)
        assert router.grading_cost_usd == pytest.approx(20 * cost)
    assert spent[0] == spent[1]


def test_the_gate_lets_a_challenger_learn_uncertain_outcomes_as_such() -> None:
    rng = np.random.default_rng(0)
    verdicts = []
    for se in (None, 0.5):
        held = [
            Observed(n, str(n), "ab"[n % 2], rng.normal(size=2), float(n % 3 == 0), 0.001, (0.5, 0.001), se)
            for n in range(40)
        ]
        challenger = LinTSPolicy().add_provider("a").add_provider("b")
        verdicts.append((judge(challenger, held), challenger.arms_.precision[0, 0, 0]))
    assert verdicts[1][1] < 0.5 * verdicts[0][1]


def test_a_retrained_bandit_remembers_how_sure_the_grades_were(db: PerformanceDB) -> None:
    router = online(db, lambda *_: Grade(0.5, se=0.5))

    async def work() -> None:
        for number in range(40):
            await router.route_and_learn(LLMRequest(f"What is {number} squared?"))
        await router.train()

    asyncio.run(work())
    assert router.policy_version == 1
    assert weight(router) < 10.0
