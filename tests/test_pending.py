from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routelab import BanditRouter, PerformanceDB, RequestFeaturizer, RoutelabError, ThompsonPolicy
from routelab.db_records import Outcome
from routelab.evaluators import Grade
from routelab.policies.base import Features
from routelab.providers import ProviderError
from routelab.routers.pending import Pending, PendingDecisions
from routing import EASY, Answering

PLAIN = RequestFeaturizer(embedder=None, providers=("a", "b")).fit([EASY])


class Remembering(ThompsonPolicy):
    """Thompson sampling that tells with which age each outcome came."""

    def update(
        self,
        x: Features,
        arm: int,
        reward: float,
        cost: float | None = None,
        *,
        age: int | None = None,
        se: float | None = None,
    ) -> None:
        super().update(x, arm, reward, cost, age=age, se=se)
        self.ages = [*getattr(self, "ages", []), age]


def bandit(db: PerformanceDB | None = None, horizon: int = 100_000, names: str = "ab") -> BanditRouter:
    providers = [Answering(name) for name in names]
    return BanditRouter(providers, policy=Remembering(), featurizer=PLAIN, db=db, horizon=horizon)


def learned(router: BanditRouter) -> list[list[float]]:
    expected = router.policy.predict(np.zeros((1, 1)))
    return [expected.quality[0].tolist(), expected.cost[0].tolist()]


def decided(number: int) -> Pending:
    return Pending(np.zeros(1, dtype=np.float32), "a", "r", number, 0, (0.5, 0.0), 0.0)


@given(st.integers(1, 5), st.lists(st.integers(0, 30), max_size=60))
def test_of_all_decisions_the_last_ones_are_remembered_and_every_other_was_settled_or_expired(
    horizon: int, moves: list[int]
) -> None:
    pending, settled = PendingDecisions(horizon), set[str]()
    for move in moves:
        if move < 20:
            pending.add(str(pending.count), decided(pending.count + 1))
        elif isinstance(pending.get(str(pending.count + 19 - move)), Pending):
            settled.add(str(pending.count + 19 - move))
            pending.settle(Outcome(str(pending.count + 19 - move), 1.0, 0.0, 0.0))
        kept = [pending.get(str(number)) is not None for number in range(pending.count)]
        assert kept == [number >= pending.count - horizon for number in range(pending.count)]
        assert pending.count == len(settled) + pending.waiting + pending.expired


@pytest.mark.parametrize("horizon", [0, -1, 1.5])
def test_a_horizon_that_remembers_nothing_is_refused(horizon: int) -> None:
    with pytest.raises(RoutelabError, match=rf"horizon is {horizon}; give the number of decisions to remember"):
        bandit(horizon=horizon)


def test_an_outcome_that_comes_too_late_is_recorded_and_not_learned(db: PerformanceDB) -> None:
    router = bandit(db, horizon=3)
    ids = [router.decide(EASY).decision_id for _ in range(5)]
    before = learned(router)
    for _ in range(2):  # the same again is no error
        router.record_outcome(ids[0], quality=1.0, cost_usd=0.1)
    with pytest.raises(RoutelabError, match=f"'{ids[0]}' has another outcome already"):
        router.record_outcome(ids[0], quality=0.0, cost_usd=0.1)
    assert learned(router) == before
    assert (router.expired, router.pending.waiting, db.count()) == (2, 3, (5, 1))
    router.record_outcome(ids[2], quality=1.0, cost_usd=0.1)
    assert learned(router) != before


def test_without_a_log_nobody_knows_an_expired_decision(db: PerformanceDB) -> None:
    router = bandit(horizon=1)
    first = router.decide(EASY).decision_id
    router.decide(EASY)
    with pytest.raises(RoutelabError, match=f"'{first}' is unknown: the router remembers its last 1 decisions; give"):
        router.record_outcome(first, quality=1.0, cost_usd=0.0)
    with pytest.raises(RoutelabError, match=r"is unknown, or older than the last 1"):
        router.grade(first, 1.0)


def test_after_a_restart_outcomes_of_earlier_decisions_are_recorded_and_not_learned(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'log.db'}"
    with PerformanceDB(url) as db:
        early, late = (bandit(db).decide(EASY).decision_id for _ in range(2))
    with PerformanceDB(url) as db:
        router = bandit(db)
        before = learned(router)
        for _ in range(2):
            router.record_outcome(early, quality=0.5, cost_usd=0.1)
        assert learned(router) == before
        assert db.count() == (2, 1)
        for unknown, quality in ((early, 0.6), ("nobody", 0.5)):
            with pytest.raises(RoutelabError, match=f"{unknown}"):
                router.record_outcome(unknown, quality=quality, cost_usd=0.1)
        router.record_outcome(late, quality=0.5, cost_usd=0.1)
        assert db.count() == (2, 2)


def test_the_age_of_an_outcome_counts_the_decisions_since_its_own() -> None:
    router = bandit()
    ids = [router.decide(EASY).decision_id for _ in range(4)]
    for decision_id in (ids[3], ids[0], ids[2]):
        router.record_outcome(decision_id, quality=1.0, cost_usd=0.0)
    router.decide(EASY)
    router.record_outcome(ids[1], quality=1.0, cost_usd=0.0)
    assert isinstance(router.policy, Remembering)
    assert router.policy.ages == [0, 3, 1, 3]


def test_what_is_learned_does_not_depend_on_the_order_of_feedback() -> None:
    ends = []
    for order in permutations(range(4)):
        router = bandit()
        ids = [router.decide(EASY).decision_id for _ in range(4)]
        for position in order:
            router.record_outcome(ids[position], quality=position / 4, cost_usd=0.1)
        ends.append(learned(router))
    assert np.allclose(ends, ends[0])


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"quality": 1.2}, r"Outcome.quality is 1.2; give a finite number in \[0, 1\]"),
        ({"quality": -0.1}, "Outcome.quality is -0.1"),
        ({"cost_usd": float("nan")}, "Outcome.cost_usd is nan"),
        ({"latency_s": -1.0}, "Outcome.latency_s is -1.0"),
    ],
)
def test_a_refused_outcome_leaves_no_trace_and_can_be_mended(
    db: PerformanceDB, bad: dict[str, float], message: str
) -> None:
    router = bandit(db)
    decision_id, before = router.decide(EASY).decision_id, learned(router)
    good = {"quality": 0.5, "cost_usd": 0.1}
    with pytest.raises(RoutelabError, match=message):
        router.record_outcome(decision_id, **(good | bad))  # type: ignore[arg-type]
    assert (learned(router), db.count(), router.pending.waiting) == (before, (1, 0), 1)
    router.record_outcome(decision_id, **good)  # type: ignore[arg-type]
    assert (learned(router) != before, db.count(), router.pending.waiting) == (True, (1, 1), 0)


def test_a_feature_that_is_not_finite_is_refused_before_anything_is_decided(db: PerformanceDB) -> None:
    featurizer = RequestFeaturizer(embedder=None).fit([replace(EASY, features={"size": 1.0})])
    router = BanditRouter([Answering("a"), Answering("b")], policy=ThompsonPolicy(), featurizer=featurizer, db=db)
    with pytest.raises(RoutelabError, match="features\\['size'\\] is nan"):
        replace(EASY, features={"size": float("nan")})
    with pytest.raises(RoutelabError, match="feature 'x_size' of the request is not finite as float32"):
        router.decide(replace(EASY, features={"size": 1e300}))
    assert (router.pending.count, db.count()) == (0, (0, 0))


def test_a_long_stream_without_feedback_keeps_the_last_decisions_only() -> None:
    router = bandit(horizon=50)
    for _ in range(2_000):
        router.decide(EASY)
    assert (router.pending.waiting, router.expired, len(router.pending._entries)) == (50, 1_950, 50)


def test_an_answer_whose_decision_expired_meanwhile_is_still_the_answer(db: PerformanceDB) -> None:
    class Slow(Answering):
        async def complete(self, request: object) -> object:  # type: ignore[override]
            await asyncio.sleep(0.01)
            return await super().complete(request)  # type: ignore[arg-type]

    for quality, recorded in ((0.5, 3), (None, 3)):
        router = BanditRouter([Slow("a", quality), Slow("b", quality)], featurizer=PLAIN, horizon=1, db=db)

        async def work(asked: BanditRouter) -> list[object]:
            return list(await asyncio.gather(*(asked.complete(EASY) for _ in range(3))))

        before = db.count()[1]
        assert len(asyncio.run(work(router))) == 3
        assert db.count()[1] - before == recorded


def test_an_answer_is_on_disk_before_its_grade_and_graded_once_after_a_restart(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/log.db"

    def restarted(db: PerformanceDB) -> BanditRouter:
        return BanditRouter([Answering("a", None), Answering("b", fails="raises")], featurizer=PLAIN, db=db)

    with PerformanceDB(url) as db:
        router = restarted(db)
        graded, open_, forgotten = (asyncio.run(router.complete(EASY))[0].decision_id for _ in range(3))
        router.grade(graded, 0.5)
        undecided = router.decide(EASY).decision_id
    with PerformanceDB(url) as db:
        assert db.log().set_index("decision_id").loc[[open_, forgotten], "cost_usd"].tolist() == [0.001, 0.001]
        router = restarted(db)
        for _ in range(2):
            router.grade(open_, Grade(0.75, se=0.1, cost_usd=0.01))
            router.grade(graded, 0.5)
        for decision_id in (open_, graded):
            with pytest.raises(RoutelabError, match="has another outcome already; the first one stays"):
                router.grade(decision_id, 0.6)
        for unknown in ("nobody", undecided):
            with pytest.raises(RoutelabError, match=r"is unknown, or older than the last .* and without an answer in"):
                router.grade(unknown, 0.6)
        log = db.log().set_index("decision_id")
        told = ["quality", "quality_se", "grading_cost_usd", "cost_usd", "latency_s"]
        assert log.loc[open_, told].tolist() == [0.75, 0.1, 0.01, 0.001, 0.2]
        assert log.loc[graded, "quality"] == 0.5
        assert np.isnan(log.loc[forgotten, "quality"])
        assert learned(router) == learned(restarted(db))  # a restart forgets the features


def test_what_failed_gets_no_grade_later(db: PerformanceDB) -> None:
    router = BanditRouter([Answering("b", fails="raises")], featurizer=PLAIN, horizon=1, db=db)
    for _ in range(2):
        with pytest.raises(ProviderError):
            asyncio.run(router.complete(EASY))
    failed = str(db.log()["decision_id"][0])
    with pytest.raises(RoutelabError, match="has another outcome already"):
        router.grade(failed, 0.9)
    assert db.log()["quality"].eq(0.0).all()


def test_an_answer_that_the_router_brought_is_not_recorded_otherwise(db: PerformanceDB) -> None:
    router = BanditRouter([Answering("a", None)], featurizer=PLAIN, db=db)
    decision_id = asyncio.run(router.complete(EASY))[0].decision_id
    with pytest.raises(RoutelabError, match="has another outcome already"):
        router.record_outcome(decision_id, quality=0.5, cost_usd=7.0)
    assert db.log()[["cost_usd", "quality"]].fillna(-1.0).to_numpy().tolist() == [[0.001, -1.0]]
    before = learned(router)
    router.grade(decision_id, 0.5)
    assert learned(router) != before
