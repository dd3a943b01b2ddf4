"""The figures of a replay are what their definitions say."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from routelab.benchmark.replay_scores import best_static, phase_summaries, reaction, seed_scores, summary, t_interval
from routelab.evaluation.replay import Replay
from routelab.evaluation.stream import Event, Phase, Stream


def told(arms, quality, cost, **changes) -> tuple[Stream, Replay]:
    """A stream of two providers and a pass through it; one unit of regret per step."""
    arms, rows = np.array(arms), np.arange(len(arms))
    stream = Stream(np.zeros((len(arms), 1)), quality, cost, ("old", "new"), **changes)
    ones = np.ones(len(arms))
    run = Replay(arms, quality[rows, arms], cost[rows, arms], ones.cumsum(), ones.cumsum(), 2.0, None, ((3, "old"),))
    return stream, run


def test_figures_are_of_the_scored_steps_and_of_each_phase():
    quality, cost = np.tile([0.5, 1.0], (6, 1)), np.tile([1.0, 4.0], (6, 1))
    phases = (Phase("first", 0, 3), Phase("second", 3, 4))
    stream, run = told([1, 1, 0, 0, 1, 0], quality, cost, start=2, phases=phases)
    scores = seed_scores(stream, run, budget=2.0, seed=7)
    assert scores["seed"] == 7
    assert (scores["reward"], scores["cost"], scores["cost_over_budget"]) == (0.625, 1.75, 0.875)
    assert (scores["regret"], scores["cost_weight"], scores["drifts"]) == (4.0, 2.0, [[1, "old"]])
    assert scores["shares"] == {"old": 0.75, "new": 0.25}
    first, second = scores["phases"]
    assert (first["phase"], first["reward"], first["cost"], first["regret"]) == (
        "first",
        pytest.approx(2 / 3),
        2.0,
        3.0,
    )
    assert (second["phase"], second["reward"], second["regret"]) == ("second", 0.5, 1.0)
    assert second["shares"] == {"old": 1.0, "new": 0.0}
    assert first["best_static"] == pytest.approx(0.5 + 0.5 / 3)
    assert scores["reaction"] == {"first": None, "second": None}  # phases of fewer than 50 decisions
    assert seed_scores(stream, run, budget=None, seed=7)["cost_over_budget"] is None


def test_the_best_static_mixture_lies_on_the_hull_at_the_budget():
    quality, cost = np.array([[0.5, 0.6, 1.0]]), np.array([[1.0, 2.0, 3.0]])
    budgets = (0.5, 1.0, 2.0, 3.0, 9.0)
    assert [best_static(quality, cost, budget) for budget in budgets] == [0.5, 0.5, 0.75, 1.0, 1.0]
    assert best_static(quality, cost, None, cost_weight=0.0) == 1.0
    assert best_static(quality, cost, None, cost_weight=0.3) == 0.5
    away = np.array([[0.5, np.nan, 1.0]])
    assert best_static(away, cost, None) == 1.0


def test_a_reaction_is_when_the_last_fifty_rewards_regain_95_percent():
    phase = Phase("after", 0, 150)
    quality = np.tile([0.2, 1.0], (200, 1))
    arms = np.repeat([1, 0, 1], [50, 30, 120])  # a phase from step 50: 30 bad choices, then good ones
    stream, run = told(arms, quality, np.ones((200, 2)), start=50)
    # the mean of 50 with b bad ones is 1 − 0.8·b/50 ≥ 0.95 from b = 3 on: 77 choices after the change
    assert reaction(stream, run, phase, level=1.0) == 77
    assert reaction(stream, run, phase, level=0.5) == 50
    assert reaction(stream, run, phase, level=1.2) is None


def test_a_new_provider_is_adopted_when_a_third_of_the_last_fifty_choose_it():
    quality, cost = np.ones((160, 2)), np.ones((160, 2))
    arms = np.zeros(160, dtype=int)
    arms[60 + 10 :: 2] = 1  # from the 11th decision on, every other
    stream, run = told(arms, quality, cost, start=60, events=(Event(60, "add", "new", 1.0),))
    # 17 of 50 are more than a third: the 17th choice is decision 11 + 2·16
    assert reaction(stream, run, Phase("all", 0, 100), level=1.0) == 43
    rare, run = told(np.zeros(160, dtype=int), quality, cost, start=60, events=stream.events)
    assert reaction(rare, run, Phase("all", 0, 100), level=1.0) is None


def test_intervals_over_seeds_are_students():
    values = [0.5, 0.7, 0.9, 0.4]
    interval = t_interval(values)
    low, high = stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    assert interval == pytest.approx({"mean": 0.625, "low": low, "high": high})
    assert t_interval([0.5]) == {"mean": 0.5, "low": None, "high": None}
    assert t_interval([None, None]) == {"mean": None, "low": None, "high": None}


def test_summaries_average_over_seeds_and_tell_how_many_react():
    def row(reward: float, steps: int | None) -> dict:
        figures = {"reward": reward, "cost": 1.0, "cost_over_budget": None, "regret": 2.0}
        shares = {"old": reward, "new": 1.0 - reward}
        phase = {"phase": "all", **figures, "shares": shares, "best_static": 1.0, "reaction": steps}
        return {**figures, "phases": [phase]}

    rows = [row(0.2, 60), row(0.4, None), row(0.6, 80)]
    assert set(summary(rows)) == {"reward", "cost", "cost_over_budget", "regret"}
    assert summary(rows)["reward"]["mean"] == pytest.approx(0.4)
    assert summary(rows)["cost_over_budget"] == {"mean": None, "low": None, "high": None}
    (phase,) = phase_summaries(rows)
    assert phase["name"] == "all"
    assert phase["shares"] == pytest.approx({"old": 0.4, "new": 0.6})
    assert phase["reaction"] == {"median": 80.0, "reached": pytest.approx(2 / 3)}
    assert phase_summaries(rows[1:])[0]["reaction"] == {"median": None, "reached": 0.5}
