"""The engine: a policy sees the outcome of its own choice only, when it is due, and every event in its step."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routelab import BudgetPacer, EpsilonGreedyPolicy, LinUCBPolicy, Objective, ThompsonPolicy
from routelab.drift import Drift
from routelab.errors import RoutelabError
from routelab.evaluation.crossfit import oracle_curve
from routelab.evaluation.regret import hindsight_price, regrets
from routelab.evaluation.replay import replay_stream
from routelab.evaluation.stream import NEVER, Event, Phase
from routelab.policies.objective import cost_weight_sweep
from streams import NAMES, Recorder, part, stream_of, with_arms


def rng(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


class Ledger(BudgetPacer):
    """A pacer that writes down what it is told."""

    def __init__(self, budget: float) -> None:
        super().__init__(budget)
        self.entries: list[float | str] = []

    def update(self, cost, **others):
        self.entries.append(cost)
        super().update(cost, **others)

    def forgive(self):
        self.entries.append("forgiven")
        super().forgive()


@pytest.mark.parametrize("make", [ThompsonPolicy, lambda: EpsilonGreedyPolicy(0.3), LinUCBPolicy])
@pytest.mark.parametrize("trade_off", [lambda: Objective(cost_weight=2.0), lambda: BudgetPacer(0.01)])
def test_outcomes_of_other_arms_may_be_anything_and_nothing_changes(make, trade_off):
    stream = stream_of(delay=np.arange(300) % 7)
    run = replay_stream(with_arms(make()), stream, trade_off(), rng())
    assert len(set(run.arms)) > 1
    rows = np.arange(300)
    for poison in (np.nan, 0.0, 1.0):
        quality, cost = np.full((300, 3), poison), np.full((300, 3), poison)
        quality[rows, run.arms], cost[rows, run.arms] = run.reward, run.cost
        spied = stream_of(quality=quality, cost=cost, delay=stream.delay)
        again = replay_stream(with_arms(make()), spied, trade_off(), rng())
        np.testing.assert_array_equal(again.arms, run.arms)


def test_a_policy_is_told_what_feedback_shows_and_scored_by_what_is_true():
    truth = stream_of(50)
    shown = 1.0 - truth.quality
    policy = with_arms(Recorder())
    run = replay_stream(policy, stream_of(50, shown=shown), Objective(), rng())
    assert [told[2] for told in policy.told] == [shown[row, arm] for row, arm in enumerate(run.arms)]
    np.testing.assert_array_equal(run.reward, truth.quality[np.arange(50), run.arms])


def test_feedback_arrives_after_its_delay_with_the_decisions_made_since():
    policy = with_arms(Recorder())
    run = replay_stream(policy, stream_of(6, delay=np.array([0, 3, 2, 1, NEVER, 5])), Objective(), rng())
    # prompts 1, 2 and 3 are all due after the decision on prompt 4 (steps count from 0); 4 never comes, 5 not in time
    assert [(told[0], told[4]) for told in policy.told] == [(0.0, 0), (1.0, 3), (2.0, 2), (3.0, 1)]
    assert [told[1] for told in policy.told] == [NAMES[arm] for arm in run.arms[:4]]
    assert (policy.clock_, policy.open_) == (6, 2)


def test_feedback_at_once_is_a_delay_of_none():
    run, same = (
        replay_stream(with_arms(LinUCBPolicy()), stream_of(delay=delay), BudgetPacer(0.01), rng())
        for delay in (None, np.zeros(300, dtype=int))
    )
    np.testing.assert_array_equal(run.arms, same.arms)


def test_a_pacer_learns_each_cost_at_once_and_forgives_at_the_first_scored_step():
    pacer = Ledger(0.01)
    stream = stream_of(40, start=15, delay=np.full(40, 30))
    run = replay_stream(with_arms(Recorder()), stream, pacer, rng())
    assert pacer.entries == [*run.cost[:15].tolist(), "forgiven", *run.cost[15:].tolist()]
    assert pacer.requests == 25


def test_a_budget_steers_the_choices():
    costs = [
        replay_stream(with_arms(LinUCBPolicy()), stream_of(3000), BudgetPacer(budget), rng()).cost.mean()
        for budget in (0.002, 0.03)
    ]
    np.testing.assert_allclose(costs, [0.002, 0.03], rtol=0.1)


def test_events_happen_before_the_choice_of_their_step_and_arms_keep_their_columns():
    events = (Event(60, "remove", "a"), Event(20, "add", "c", 0.1), Event(40, "reprice", "b", 0.5))
    stream = stream_of(100, events=events)
    assert stream.present == stream_of(5, events=(Event(4, "remove", "c"), Event(1, "add", "c"))).present == ("a", "b")
    policy = with_arms(Recorder(), ("a", "b"))
    run = replay_stream(policy, stream, Objective(), rng())
    assert policy.providers_ == ("b", "c")
    assert set(run.arms[:20]) <= {0, 1}
    assert 2 in run.arms[20:60]
    assert 0 in run.arms[:60]
    assert set(run.arms[60:]) == {1, 2}
    assert [told[:4] for told in policy.told] == [
        (float(row), NAMES[arm], stream.quality[row, arm], stream.cost[row, arm]) for row, arm in enumerate(run.arms)
    ]


def test_a_list_price_is_believed_until_a_cost_is_seen():
    stream = stream_of(2, events=(Event(1, "add", "c", 0.123),), delay=np.full(2, NEVER))
    policy = with_arms(ThompsonPolicy(), ("a", "b"))
    replay_stream(policy, stream, Objective(), rng())
    assert policy.predict(stream.X).cost[0].tolist() == [0.0, 0.0, 0.123]


def test_late_feedback_on_a_provider_that_has_gone_is_lost():
    stream = stream_of(40, events=(Event(20, "remove", "a"),), delay=np.full(40, 15))
    policy = with_arms(Recorder())
    run = replay_stream(policy, stream, Objective(), rng())
    expected = [row for row in range(25) if row + 15 < 20 or run.arms[row] != 0]
    assert 0 in run.arms[5:20]
    assert [told[0] for told in policy.told] == expected


class Alarm:
    """A detector that rings once, on the tenth outcome of one provider."""

    def __init__(self, provider: str) -> None:
        self.provider, self.residuals = provider, []

    def update(self, provider: str, residual: float) -> bool:
        if provider == self.provider:
            self.residuals.append(residual)
        seen = provider == self.provider and len(self.residuals) == 10
        return Drift(provider, before=0.1, after=-0.2, recent=5) if seen else None


def test_a_detected_drift_makes_the_policy_forget_that_arm_only():
    forgotten = []

    class Forgetful(LinUCBPolicy):
        def forget_provider(self, name, keep=0.1, shift=0.0):
            forgotten.append((name, round(shift, 9)))
            return super().forget_provider(name, keep, shift)

    alarm, stream = Alarm("b"), stream_of(200, delay=np.full(200, 4))
    run = replay_stream(with_arms(Forgetful()), stream, Objective(cost_weight=2.0), rng(), monitor=alarm)
    tenth = int(np.flatnonzero(run.arms == 1)[9])
    assert forgotten == [("b", -0.3)]
    assert run.drifts == ((tenth + 4, "b"),)
    assert np.abs(np.mean(alarm.residuals[50:])) < 0.1  # reward less what was expected, once that has been learned


def test_a_policy_that_only_chooses_is_told_nothing():
    policy = with_arms(Recorder())
    run = replay_stream(policy, stream_of(30), Objective(), rng(), learn=False)
    assert not hasattr(policy, "told")
    assert len(run.arms) == 30


def test_propensities_are_those_of_the_choices_when_asked_for():
    policy = with_arms(EpsilonGreedyPolicy(0.2, LinUCBPolicy()))
    run = replay_stream(policy, stream_of(50), Objective(), rng(), propensities=True)
    assert run.propensity is not None
    assert set(run.propensity.round(6)) <= {0.066667, 0.866667}
    assert replay_stream(policy, stream_of(5), Objective(), rng()).propensity is None


def test_a_stream_that_does_not_fit_is_refused():
    for changes in ({"cost": np.zeros((299, 3))}, {"shown": np.zeros((300, 2))}, {"delay": np.zeros(2, dtype=int)}):
        with pytest.raises(RoutelabError, match="give one row per prompt and one column per provider"):
            stream_of(**changes)
    for event in (Event(0, "add", "d"), Event(0, "burn", "a")):
        with pytest.raises(RoutelabError, match="is no event of a stream with the providers a, b, c"):
            stream_of(events=(event,))
    with pytest.raises(RoutelabError, match=r"the policy has the arms a, b, the stream a, b, c; add them"):
        replay_stream(with_arms(ThompsonPolicy(), ("a", "b")), stream_of(5), Objective(), rng())
    holes = part(5).quality
    holes[2] = np.nan
    with pytest.raises(RoutelabError, match=r"step 2: the policy chose '.', whose outcome is missing"):
        replay_stream(with_arms(ThompsonPolicy()), stream_of(5, quality=holes), Objective(), rng())


def test_the_scored_part_alone_keeps_its_events_and_phases():
    whole = stream_of(10, start=4, events=(Event(6, "add", "c", 0.1),), phases=(Phase("all", 0, 6),))
    alone = whole.scored()
    assert alone.X[:, 0].tolist() == [4, 5, 6, 7, 8, 9]
    assert (alone.events, alone.start, alone.phases) == ((Event(2, "add", "c", 0.1),), 0, whole.phases)
    with pytest.raises(RoutelabError, match="it cannot be left out"):
        stream_of(10, start=8, events=whole.events).scored()


def test_regret_counts_only_arms_that_are_there():
    utility = np.array([[0.2, np.nan], [0.5, 1.0], [0.6, np.nan], [0.1, 0.3]])  # the first adds up to more
    regret, fixed = regrets(utility, np.array([0, 0, 0, 1]))
    np.testing.assert_allclose(regret, [0.0, 0.5, 0.5, 0.5])
    np.testing.assert_allclose(fixed, [0.0, 0.5, 0.5, 0.5])  # the second arm, of mean .65, where it is there


def test_within_a_budget_regret_is_measured_at_the_price_of_the_scored_part():
    stream = stream_of(400, start=100)
    run = replay_stream(with_arms(LinUCBPolicy()), stream, BudgetPacer(0.01), rng())
    price = hindsight_price(stream.quality[100:], stream.cost[100:], 0.01)
    utility = stream.quality - price * stream.cost
    assert run.cost_weight == price > 0.0
    np.testing.assert_allclose(run.regret[-1], (utility.max(axis=1) - utility[np.arange(400), run.arms]).sum())


@given(st.integers(0, 10_000), st.floats(0.01, 1.0))
def test_the_price_in_hindsight_is_the_least_that_keeps_the_budget(seed, place):
    draws = np.random.default_rng(seed)
    quality, cost = draws.random((30, 3)), draws.random((30, 3)) * [0.1, 0.5, 1.0]
    cheapest, dearest = cost.min(axis=1).mean(), oracle_curve(quality, cost, [0.0]).cost.mean()
    budget = cheapest + place * 1.1 * (dearest - cheapest)
    price = hindsight_price(quality, cost, budget)

    def spent(weight: float) -> float:
        return float(oracle_curve(quality, cost, [weight]).cost.mean())

    if spent(0.0) <= budget:
        assert price == 0.0
    elif spent(price) <= budget:
        assert spent(price * (1 - 1e-3)) > budget
    else:
        assert price == cost_weight_sweep(cost)[-1]
    absent = np.full((30, 1), np.nan)
    holes = np.hstack([quality, absent]), np.hstack([cost, absent])
    assert hindsight_price(*holes, budget) == pytest.approx(price, rel=1e-2)


def test_what_is_learned_in_the_learning_part_helps_in_the_scored_part():
    longer = replay_stream(with_arms(LinUCBPolicy()), stream_of(300, start=200), Objective(cost_weight=2.0), rng())
    alone = replay_stream(
        with_arms(LinUCBPolicy()), stream_of(300, start=200).scored(), Objective(cost_weight=2.0), rng()
    )
    assert longer.regret[-1] - longer.regret[199] < alone.regret[-1]
