from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from routelab.benchmark.budgets import cross_validated
from routelab.benchmark.harness import evaluate_table, parse_budgets
from routelab.benchmark.text import report_lines
from routelab.errors import RoutelabError
from routelab.evaluation.budget import TOLERANCE, against_singles, mixture_within
from routelab.evaluation.crossfit import Curve
from routelab.evaluation.split import Split
from routelab.features import RequestFeaturizer
from routelab.policies import POLICIES, MeansPolicy
from routelab.policies.base import Estimates, Features
from routelab.policies.outcomes import Outcomes
from tables import hard_and_easy, table_of, with_split


def constant(quality: list[float], cost: list[float], n: int = 50) -> Curve:
    return Curve(np.tile(quality, (n, 1)), np.tile(cost, (n, 1)))


def test_a_mixture_lies_on_the_hull_at_the_budget_and_takes_two_neighbours() -> None:
    """Costs that never vary need no margin: 2 % more than 2.5 is 2.55, 55 % of the way from 2 to 3."""
    settings = constant([0.5, 0.8, 0.6, 0.9, 1.0], [1.0, 2.0, 2.5, 3.0, 9.0])
    assert mixture_within(settings, 2.5, 10) == pytest.approx([0.0, 0.45, 0.0, 0.55, 0.0])
    assert mixture_within(settings, 1.0, 10) == pytest.approx([0.98, 0.02, 0.0, 0.0, 0.0])
    assert mixture_within(settings, 100.0, 10) == pytest.approx([0.0, 0.0, 0.0, 0.0, 1.0])


def test_the_margin_is_that_of_the_standard_errors_of_both_sides() -> None:
    cost = np.column_stack([np.ones(400), np.tile([1.0, 3.0], 200)])  # the dearer one: 2 ± 1
    settings = Curve(np.tile([0.5, 1.0], (400, 1)), cost)
    quantile = 2.0 + 2.326 * np.sqrt(1.0 / 400.0 + 1.0 / 100.0)
    assert mixture_within(settings, 1.5, 100)[1] == pytest.approx((1.02 * 1.5 - 1.0) / (quantile - 1.0))
    assert mixture_within(settings, 1.5, 1)[1] < mixture_within(settings, 1.5, 1_000_000)[1]


def test_where_the_margin_leaves_nothing_the_cheapest_answers_all() -> None:
    rng = np.random.default_rng(0)
    cost = rng.exponential([1.0, 5.0], (100, 2))
    shares = mixture_within(Curve(np.tile([0.5, 1.0], (100, 1)), cost), float(cost[:, 0].mean()), 100)
    assert shares.tolist() == [1.0, 0.0]


@pytest.mark.parametrize("budget", [0.999, 0.0, -1.0, float("nan")])
def test_a_budget_that_not_even_the_cheapest_provider_keeps_is_refused(budget: float) -> None:
    with pytest.raises(RoutelabError, match=r"a budget of \S+ USD per request is below the 1 that the cheapest"):
        mixture_within(constant([0.5, 0.9], [1.0, 2.0]), budget, 10)


def worlds(n: int, simulations: int) -> list[tuple[Curve, Curve]]:
    """Training and fresh outcomes of 16 settings of a knob; costs are skewed as those of ParetoBandit's providers."""
    rng = np.random.default_rng(0)

    def drawn() -> Curve:
        chance = np.linspace(0.0, 1.0, 16)
        length, mind = rng.lognormal(0.0, 0.6, n), rng.random(n)
        dear = mind[:, None] < chance
        cost = length[:, None] * np.where(dear, 30.0 * rng.lognormal(0.0, 0.5, n)[:, None], 1.0)
        quality = rng.random((n, 1)) < np.where(dear, 0.9, 0.6) + 0.1 * (1.0 - chance) * dear
        return Curve(quality.astype(float), cost)

    return [(drawn(), drawn()) for _ in range(simulations)]


def test_budgets_are_kept_on_fresh_prompts_as_without_the_margin_they_would_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    simulated = worlds(1500, 200)

    def kept() -> list[float]:
        shares = []
        for budget in (3.0, 8.0, 20.0, 35.0):
            chosen = [(mixture_within(train, budget, 1500), fresh) for train, fresh in simulated]
            costs = np.array([fresh.cost.mean(axis=0) @ shares for shares, fresh in chosen])
            assert costs.mean() > 0.7 * budget, "a margin that spends nothing proves nothing"
            shares.append(float((costs <= (1.0 + TOLERANCE) * budget).mean()))
        return shares

    assert min(kept()) >= 0.95
    monkeypatch.setattr("routelab.evaluation.budget._Z", 0.0)
    assert max(kept()) < 0.9


def test_the_single_hull_is_read_at_the_cost_that_was_realised_anew_in_each_resample() -> None:
    singles = Curve(np.array([[0.0, 1.0], [0.5, 0.5]]), np.array([[1.0, 3.0], [1.0, 3.0]]))
    outcomes = Curve(np.array([[1.0], [0.5]]), np.array([[2.0], [2.5]]))
    quality, cost, hull = against_singles(outcomes, singles, [np.array([[2.0, 0.0], [0.0, 2.0]])])
    assert quality[:, 0].tolist() == [0.75, 1.0, 0.5]
    assert cost[:, 0].tolist() == [2.25, 2.0, 2.5]
    assert hull[:, 0] == pytest.approx([0.25 + 0.5 * 1.25 / 2.0, 0.5, 0.5])


def split_of(frame: pd.DataFrame) -> Split:
    table = table_of(frame)
    return Split.of(table, RequestFeaturizer().fit(table))


class MemoryPolicy(MeansPolicy):
    """Knows by heart what it has seen, and nothing else."""

    def _fit(self, data: Outcomes) -> None:
        super()._fit(data)
        self.seen = {tuple(x): quality for x, quality in zip(data.X.tolist(), data.quality, strict=True)}

    def predict(self, X: Features) -> Estimates:
        unseen = np.full(len(self.providers_), 0.5)
        quality = np.array([self.seen.get(tuple(x), unseen) for x in X.tolist()])
        return Estimates(quality, super().predict(X).cost, None)


def test_a_prompt_is_rehearsed_by_policies_that_saw_neither_it_nor_its_like(monkeypatch: pytest.MonkeyPatch) -> None:
    """Outcomes are coin tosses: who has seen them reaches 3/4, who has not 1/2."""
    monkeypatch.setitem(POLICIES, "memory", MemoryPolicy)
    frame = hard_and_easy(400, noise=1.0)
    twice = pd.concat([frame, frame.assign(prompt_id="again-" + frame["prompt_id"])], ignore_index=True)
    train = split_of(twice)
    curve = cross_validated("memory", train, np.zeros(1), seed=0)
    assert curve.quality.shape == (800, 1)
    assert curve.quality.mean() == pytest.approx(0.5, abs=0.06)
    assert train.quality.max(axis=1).mean() > 0.7, "there is something to cheat for"


def test_prompts_that_lack_an_outcome_are_learned_from_but_not_rehearsed() -> None:
    frame = hard_and_easy(60)
    gone = frame["prompt_id"].isin(["p0", "p7"]) & (frame["provider"] == "small")
    curve = cross_validated("train-means", split_of(frame.assign(quality=frame["quality"].mask(gone))), np.ones(2), 0)
    assert curve.quality.shape == (58, 2)
    assert not np.isnan(np.hstack(curve)).any()


def test_the_report_tells_what_each_policy_reaches_within_each_budget() -> None:
    frame = with_split(hard_and_easy(600), train=400)
    chosen = {"policies": ["train-means", "ridge", "rule", "oracle"], "resamples": 60, "budgets": [0.002, 0.008]}
    report = evaluate_table(table_of(frame), "t", **chosen)
    rows = report["budgets"]
    assert [(row["budget"], row["policy"]) for row in rows] == [
        (budget, policy) for budget in (0.002, 0.008) for policy in ("train-means", "ridge")
    ]
    held = frame[frame["split"] == "eval"]
    easy = 1.0 - held.groupby("prompt_id")["x_hard"].first().mean()
    for row in rows:
        assert row["cost"] < 1.0201 * row["budget"]
        assert row["single_hull"] == pytest.approx(easy + (1.0 - easy) * (row["cost"] - 0.001) / 0.009)
        assert row["lead"]["estimate"] == pytest.approx(row["reward"] - row["single_hull"])
        assert row["published"] is None
    means, ridge, _, best = rows
    assert means["lead"]["estimate"] == pytest.approx(0.0)
    assert means["cost"] == pytest.approx(0.00204)
    assert ridge["lead"]["low"] > 0.02
    assert best["reward"] == 1.0
    told = next(line for line in report_lines(report) if line.startswith("0.008 ") and "ridge" in line).split()
    assert told[:5] == ["0.008", "ridge", "1.0000", "-", f"{best['lead']['estimate']:+.4f}"]
    assert told[-1] == f"{best['cost'] / 0.008:.1%}"


def test_the_mean_over_splits_is_told_and_others_figures_only_beside_the_split_they_are_of(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("routelab.benchmark.harness.budget_rewards", lambda name: {0.003: 0.77})
    frame = with_split(hard_and_easy(200, noise=0.3), train=140)
    settings = {"policies": ["train-means"], "resamples": 60, "budgets": [0.003]}

    def row(**more: object) -> dict[str, float]:
        return evaluate_table(table_of(frame), "t", **settings, **more)["budgets"][0]

    assert row()["published"] == 0.77
    told = evaluate_table(table_of(frame), "t", **settings)
    assert any("ours saw every outcome" in line for line in report_lines(told))
    assert not any("ours saw every outcome" in line for line in report_lines(told | {"budgets": [row(repeats=2)]}))
    alone, both = [row(seed=seed, train_split=0.7) for seed in (1, 2)], row(seed=1, repeats=2)
    for name in ("reward", "cost", "single_hull"):
        assert both[name] == pytest.approx(np.mean([each[name] for each in alone]))
    assert both["published"] is None


def test_what_no_budget_can_be_kept_or_chosen_for_is_refused_before_anything_is_fitted() -> None:
    frame = hard_and_easy(60)
    with pytest.raises(RoutelabError, match=r"a budget of 0.0005 USD per request is below the 0.001 that"):
        evaluate_table(table_of(frame), "t", budgets=[0.002, 0.0005])
    with pytest.raises(RoutelabError, match=r"9 training prompts have every outcome; budgets need 10 or more"):
        evaluate_table(table_of(with_split(frame, train=9)), "t", budgets=[0.002])
    for text in ("inf", "0.1,nan", "0", "-1"):
        with pytest.raises(RoutelabError, match=r"is no finite number above 0; give USD per request"):
            parse_budgets(text)
    with pytest.raises(RoutelabError, match=r"--budgets '0.1,much': could not convert string to float: 'much'; give"):
        parse_budgets("0.1,much")
