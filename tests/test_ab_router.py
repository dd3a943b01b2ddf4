"""An A/B test that serves: who is exposed to what, and outcomes that join their variant however late they come."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from routelab import (
    ABRouter,
    ABTest,
    BanditRouter,
    LLMRequest,
    MLRouter,
    OnlineMLRouter,
    PerformanceDB,
    RoutelabError,
    ThompsonPolicy,
)
from routelab.errors import DatabaseError, ExperimentError
from routelab.performance_db import Exposure
from routelab.policies import Policy
from routelab.providers import Completion, ProviderError
from routelab.routers import Router
from routing import Answering, patient

TEST = ABTest("t", ("a", "b"), (0.4, 0.4), "s", holdout=0.2)
USERS = [f"user {i}" for i in range(50)]


tick = itertools.count(100.0).__next__  # a clock that never shows the same second twice


def bandit(**quality: float | None) -> BanditRouter:
    return BanditRouter([Answering(name, value) for name, value in quality.items()], clock=tick)


def ab_router(db: PerformanceDB, test: ABTest = TEST, **changes: object) -> ABRouter:
    routers = {"a": bandit(x=0.2), "b": bandit(x=0.9)}
    return ABRouter(test, **({"routers": routers, "db": db, "clock": tick} | changes))  # type: ignore[arg-type]


def ask(user: str, **fields: str) -> LLMRequest:
    return LLMRequest("Why is the sky blue?", unit_id=user, **fields)  # type: ignore[arg-type]


def serve(router: ABRouter, users: list[str]) -> None:
    for user in users:
        asyncio.run(router.complete(ask(user)))


def test_each_unit_is_served_by_its_variant_and_exposed_once(db: PerformanceDB) -> None:
    router = ab_router(db)
    serve(router, USERS * 2)
    exposed = db.exposures("t")
    assert dict(zip(exposed["unit"], exposed["variant"], strict=True)) == {
        user: TEST.assign(user) for user in USERS if TEST.assign(user)
    }
    frame = db.experiment("t")
    assert frame["unit"].tolist() == [user for user in USERS * 2 if TEST.assign(user)]
    assert frame["variant"].tolist() == [TEST.assign(unit) for unit in frame["unit"]]
    assert (frame["quality"] == np.where(frame["variant"] == "b", 0.9, 0.2)).all()
    assert frame["request_id"].is_unique
    assert list(frame.columns) == [
        *("unit", "variant", "exposed_at", "request_id", "decision_id", "decided_at", "observed_at"),
        *("quality", "cost_usd", "latency_s", "failed"),
    ]
    assert frame.dtypes[["quality", "cost_usd", "latency_s", "failed"]].tolist() == ["float64"] * 3 + ["bool"]


def test_units_held_out_are_served_by_the_default_and_are_no_part_of_the_test(db: PerformanceDB) -> None:
    held = [user for user in USERS if TEST.assign(user) is None]
    assert held
    router = ab_router(db, default=bandit(other=0.5))
    serve(router, held)
    log = db.log()
    assert set(log["provider"]) == {"other"}
    assert log["experiment"].isna().all()
    assert db.exposures().empty
    control = ab_router(db)
    assert control.default is control.routers["a"]
    assert control.router_of(ask(held[0])) is control.default


def test_an_outcome_joins_its_variant_days_later_and_from_another_process(tmp_path) -> None:  # type: ignore[no-untyped-def]
    url = f"sqlite:///{tmp_path / 'log.db'}"
    user = next(user for user in USERS if TEST.assign(user) == "b")
    with PerformanceDB(url) as db:
        router = ab_router(db)
        decisions = [router.decide(ask(user)).decision_id for _ in range(3)]
        assert db.experiment("t").empty  # nothing came of it yet
        assert len(db.exposures("t")) == 1
        router.record_outcome(decisions[1], quality=0.5, cost_usd=0.25, latency_s=3.0)
        learned = router.routers["b"].policy
        assert isinstance(learned, Policy)
        assert learned.predict(np.zeros((1, 1))).quality[0, 0] == pytest.approx(1.5 / 3.0)
    with PerformanceDB(url) as db:
        router = ab_router(db)  # knows none of the decisions
        router.record_outcome(decisions[0], quality=1.0, cost_usd=0.5)
        frame = db.experiment("t")
    assert frame["variant"].tolist() == ["b", "b"]
    assert frame["cost_usd"].tolist() == [0.5, 0.25]
    assert frame["latency_s"].isna().tolist() == [True, False]


def test_feedback_goes_to_the_router_that_decided_and_only_there(db: PerformanceDB) -> None:
    router = ab_router(db, routers={"a": bandit(x=None), "b": bandit(x=None)})
    user = next(user for user in USERS if TEST.assign(user) == "b")
    decision, _ = asyncio.run(router.complete(ask(user)))
    before = router.routers["a"].policy.predict(np.zeros((1, 1))).quality[0, 0]
    router.grade(decision.decision_id, 1.0)
    assert router.routers["a"].policy.predict(np.zeros((1, 1))).quality[0, 0] == before
    assert router.routers["b"].policy.predict(np.zeros((1, 1))).quality[0, 0] > before
    assert db.experiment("t")["quality"].tolist() == [1.0]


def test_an_outcome_twice_or_of_nobody_is_refused(db: PerformanceDB) -> None:
    router = ab_router(db)
    decision = router.decide(ask("user 1"))
    router.record_outcome(decision.decision_id, quality=0.5, cost_usd=0.0)
    router.record_outcome(decision.decision_id, quality=0.5, cost_usd=0.0)  # the same again
    with pytest.raises(RoutelabError, match="has another outcome already; the first one stays"):
        router.record_outcome(decision.decision_id, quality=0.6, cost_usd=0.0)
    with pytest.raises(DatabaseError, match="outcome of unknown decision_id 'nobody'"):
        router.record_outcome("nobody", quality=0.6, cost_usd=0.0)
    assert db.count() == (1, 1)


def test_a_provider_that_fails_and_its_substitute_are_one_request(db: PerformanceDB) -> None:
    failing = MLRouter(patient(Answering("y", 0.9), Answering("x", fails="raises")), clock=lambda: 5.0)  # asks x first
    down = [Answering("x", fails="raises"), Answering("y", fails="raises")]
    hopeless = BanditRouter(down, retry_share=0.0, clock=lambda: 5.0)
    router = ab_router(db, routers={"a": failing, "b": hopeless})
    rescued = next(user for user in USERS if TEST.assign(user) == "a")
    lost = next(user for user in USERS if TEST.assign(user) == "b")
    for _ in range(20):
        asyncio.run(router.complete(ask(rescued)))
    assert len(db.log()) == 40
    with pytest.raises(ProviderError, match="every provider failed"):
        asyncio.run(router.complete(ask(lost)))
    frame = db.experiment("t").set_index("unit")
    assert (len(frame.loc[[rescued]]), len(frame.loc[[lost]])) == (20, 1)
    assert frame.loc[lost, ["quality", "cost_usd", "latency_s", "failed"]].tolist() == [0.0, 0.002, 0.4, True]
    assert set(frame.loc[rescued, "quality"]) == {0.9}
    assert not frame.loc[rescued, "failed"].any()
    assert set(frame.loc[rescued, "cost_usd"]) == {0.002}


def test_a_request_whose_answer_waits_for_its_grade_did_not_fail(db: PerformanceDB) -> None:
    def rescued() -> MLRouter:
        return MLRouter(
            patient(Answering("y", None), Answering("x", fails="raises")), clock=lambda: 5.0
        )  # asks x first

    router = ab_router(db, routers={"a": rescued(), "b": rescued()})
    entered = [user for user in USERS if TEST.assign(user)]
    decisions = {user: asyncio.run(router.complete(ask(user)))[0] for user in entered}
    assert db.count() == (2 * len(entered), 2 * len(entered))
    assert db.experiment("t")["quality"].isna().all()
    router.grade(decisions[entered[3]].decision_id, 0.75)
    frame = db.experiment("t")
    assert sorted(frame["unit"]) == sorted(entered)
    assert (frame["cost_usd"] == 0.002).all()
    frame = frame[frame["quality"].notna()]
    assert frame[["unit", "quality", "cost_usd", "failed"]].to_numpy().tolist() == [[entered[3], 0.75, 0.002, False]]
    assert frame.dtypes[["observed_at", "quality", "failed"]].tolist() == ["float64", "float64", "bool"]


def test_a_request_that_its_caller_cancelled_counts_only_once_it_is_made_again(db: PerformanceDB) -> None:
    provider = Answering("x", 0.5, fails="hangs")
    routers = {name: BanditRouter([provider], clock=tick) for name in "ab"}
    router = ab_router(db, routers=routers)
    user, other = [user for user in USERS if TEST.assign(user) == "a"][:2]
    for unit in (user, other):
        with pytest.raises(TimeoutError):
            asyncio.run(asyncio.wait_for(router.complete(ask(unit, request_id=f"of {unit}")), 0.01))
    assert len(db.log()["error"].dropna()) == 2
    assert db.experiment("t").empty
    provider.fails = None
    asyncio.run(router.complete(ask(other, request_id=f"of {other}")))
    assert db.experiment("t")[["unit", "quality", "failed"]].to_numpy().tolist() == [[other, 0.5, False]]


def test_nobody_is_exposed_after_the_end_but_late_outcomes_still_join(db: PerformanceDB) -> None:
    now = [100.0]
    router = ab_router(db, replace(TEST, ends_at=110.0), clock=lambda: now[0], default=bandit(after=0.5))
    user, newcomer = [user for user in USERS if TEST.assign(user) == "a"][:2]
    decision = router.decide(ask(user))
    now[0] = 110.0
    assert router.decide(ask(user)).provider.name == "after"
    assert router.decide(ask(newcomer)).provider.name == "after"
    assert router.router_of(ask(newcomer)) is router.default
    with pytest.raises(ExperimentError, match="test 't' ended at 110; nobody is exposed after that"):
        router.expose(newcomer)
    router.record_outcome(decision.decision_id, quality=0.5, cost_usd=0.0)
    assert db.exposures()["unit"].tolist() == [user]
    assert db.experiment("t")["unit"].tolist() == [user]


def test_a_request_without_a_unit_is_refused(db: PerformanceDB) -> None:
    router = ab_router(db)
    for use in (router.decide, router.router_of, lambda request: asyncio.run(router.complete(request))):
        with pytest.raises(ExperimentError, match=r"no unit_id, which test 't' assigns by; name the user"):
            use(LLMRequest("Hi"))
    with pytest.raises(ExperimentError, match="unit_id is ''"):
        router.decide(LLMRequest("Hi", unit_id=""))
    assert db.count() == (0, 0)


def test_a_ramp_up_goes_on_with_the_same_log_and_what_moves_units_is_refused(db: PerformanceDB) -> None:
    small = replace(TEST, allocation=(0.2, 0.2), holdout=0.6)
    serve(ab_router(db, small), USERS)
    first = db.exposures("t").set_index("unit")["variant"]
    serve(ab_router(db, small.ramp((0.5, 0.5))), USERS)
    last = db.exposures("t").set_index("unit")["variant"]
    assert len(last) == len(USERS) > len(first) > 0
    assert last[first.index].equals(first)
    for moving in (replace(TEST, salt="r"), replace(TEST, allocation=(0.6, 0.2))):
        with pytest.raises(ExperimentError, match=r"was exposed to '.' and would now get .*; raise shares by"):
            ab_router(db, moving)
    serve(ab_router(db, replace(TEST, name="another", salt="r")), USERS)  # which has units of its own


@pytest.mark.parametrize(("horizon", "records"), [(100, 1), (2, 2)])
def test_a_unit_is_exposed_once_even_when_the_router_has_forgotten_it(
    db: PerformanceDB, monkeypatch: pytest.MonkeyPatch, horizon: int, records: int
) -> None:
    recorded = []
    record = db.record_exposure
    monkeypatch.setattr(db, "record_exposure", lambda exposure: (recorded.append(exposure), record(exposure)))
    serve(ab_router(db, horizon=horizon), USERS * 2)
    exposed = db.exposures("t")
    assert exposed["unit"].is_unique
    assert len(recorded) == records * len(exposed)
    assert exposed["exposed_at"].tolist() == [exposure.exposed_at for exposure in recorded[: len(exposed)]]


def test_tests_that_share_a_log_are_kept_apart(db: PerformanceDB) -> None:
    other = replace(TEST, name="other", holdout=0.0, allocation=(0.5, 0.5))
    for test in (TEST, other):
        serve(ab_router(db, test), USERS)
    serve(ab_router(db, default=bandit(x=0.5)), USERS[:5])
    assert len(db.experiment("other")) == len(db.exposures("other")) == len(USERS)
    assert [other.assign(unit) for unit in db.experiment("other")["unit"]] == db.experiment("other")["variant"].tolist()
    assert set(db.experiment("t")["variant"]) == {"a", "b"}
    assert set(db.exposures("t")["experiment"]) == {"t"}


def test_the_log_refuses_a_second_variant_of_a_unit(db: PerformanceDB) -> None:
    for variant, at in (("a", 1.0), ("a", 2.0), ("b", 3.0)):
        db.record_exposure(Exposure("t", "user 1", variant, at))
    db.record_exposure(Exposure("other", "user 1", "b", 4.0))
    with pytest.raises(DatabaseError, match="unit 'user 1' of experiment 't' was exposed to 'a', not to 'b'"):
        db.flush()
    db.record_exposure(Exposure("t", "user 1", "c", 5.0))
    with pytest.raises(DatabaseError, match="was exposed to 'a', not to 'c'; the first one stays"):
        db.flush()
    expected = {"experiment": ["t", "other"], "unit": ["user 1"] * 2, "variant": ["a", "b"], "exposed_at": [1.0, 4.0]}
    assert db.exposures().to_dict("list") == expected
    with pytest.raises(DatabaseError, match=r"nobody was exposed to experiment 'none', only to \['other', 't'\]"):
        db.experiment("none")
    with pytest.raises(DatabaseError, match=r"Exposure\.exposed_at is nan"):
        Exposure("t", "u", "a", float("nan"))
    with pytest.raises(DatabaseError, match=r"Exposure\.unit_id is None"):
        Exposure("t", None, "a", 1.0)  # type: ignore[arg-type]


def test_a_policy_is_a_variant_once_it_is_said_how_to_serve_it(db: PerformanceDB) -> None:
    policy = ThompsonPolicy().add_provider("x")

    def as_router(policy: Policy) -> Router:
        return MLRouter([Answering("x", 0.9)], policy)

    router = ab_router(db, routers={"a": bandit(x=0.2), "b": policy}, serve=as_router)
    assert router.routers["b"].policy is policy
    serve(router, USERS)
    assert set(db.experiment("t").query("variant == 'b'")["quality"]) == {0.9}
    with pytest.raises(ExperimentError, match="variant 'b' is a policy; give serve="):
        ab_router(db, routers={"a": bandit(x=0.2), "b": policy})


@pytest.mark.parametrize("given", [{"a": bandit(x=0.5)}, {"a": bandit(x=0.5), "c": bandit(x=0.5)}])
def test_a_variant_without_a_router_is_refused(db: PerformanceDB, given: dict[str, Router]) -> None:
    with pytest.raises(ExperimentError, match=r"test 't' has the variants a, b, there are routers for a.*; give one"):
        ab_router(db, routers=given)


def test_a_router_that_logs_elsewhere_is_refused(db: PerformanceDB) -> None:
    with PerformanceDB("sqlite://") as other:
        stranger = BanditRouter([Answering("x")], db=other)
        with pytest.raises(ExperimentError, match=r"the router of 'b' has another log, .*; give all of them one db"):
            ab_router(db, routers={"a": bandit(x=0.5), "b": stranger})


def test_online_routers_grade_retrain_and_are_compared_by_what_they_answered(db: PerformanceDB) -> None:
    def grader(value: float) -> Callable[[LLMRequest, Completion], float]:
        return lambda request, completion: value

    routers = {
        name: OnlineMLRouter([Answering("x", None)], ThompsonPolicy(), grader=grader(value), retrain_after=None, db=db)
        for name, value in (("a", 0.25), ("b", 0.75))
    }
    router = ab_router(db, routers=routers)
    results = [asyncio.run(router.route_and_learn(ask(user))) for user in USERS]
    assert router.last_decision is results[-1].decision
    means = db.experiment("t").groupby("variant")["quality"].mean()
    pd.testing.assert_series_equal(means, pd.Series({"a": 0.25, "b": 0.75}), check_names=False, check_index_type=False)
    mixed = ab_router(db, replace(TEST, name="mixed"), routers={"a": bandit(x=0.5), "b": routers["b"]})
    assert {asyncio.run(mixed.route_and_learn(ask(user))).quality for user in USERS} == {0.5, 0.75}


def test_requests_of_many_users_at_once_keep_their_variants(db: PerformanceDB) -> None:
    router = ab_router(db)

    async def crowd() -> None:
        await asyncio.gather(*(router.complete(ask(user)) for user in USERS * 4))

    asyncio.run(crowd())
    frame = db.experiment("t")
    assert frame["variant"].tolist() == [TEST.assign(unit) for unit in frame["unit"]]
    assert db.exposures("t")["unit"].is_unique
