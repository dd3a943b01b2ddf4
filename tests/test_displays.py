"""What results show of themselves: in a line, as text and as HTML; hostile names and prompts get through to nowhere."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from time import process_time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routelab import (
    ABRouter,
    ABTest,
    BanditRouter,
    BudgetPacer,
    Completion,
    Estimates,
    FixedPolicy,
    LLMRequest,
    MLRouter,
    Objective,
    OnlineMLRouter,
    OpenAIProvider,
    PerformanceDB,
    PerformanceTable,
    ProviderPool,
    RandomPolicy,
    RequestFeaturizer,
    ShadowRouter,
    ThompsonPolicy,
    simulated_providers,
)
from routelab.abtest.shadow_report import ShadowReport
from routelab.evaluation.curves import policy_curve
from routelab.evaluation.frontier import Candidates
from routelab.evaluation.replay import replay
from routelab.evaluation.split import Split
from routelab.html import Card, short
from routelab.providers import Price
from routelab.routers import RoutingResult
from routelab.routers.training import TrainingReport
from routing import Answering
from tables import hard_and_easy, table_of

FEATURIZER = RequestFeaturizer(None).fit([LLMRequest("?")])
HOSTILE = ("<script>alert(1)</script>", "\"><img src=x onerror='x'>", "a\nb\x1b[31m\u202e", "$x^2$ & co", "n" * 5000)
TAGS = {"div", "strong", "table", "tr", "td", "th"}
TITLES_AND_STYLES = {"class", "style"}


def results(name: str, prompt: str) -> Iterator[Any]:
    """One of everything that shows itself, of a provider called ``name`` and a user's text ``prompt``."""
    pool = ProviderPool([Answering(name), Answering(f"other {name}")])
    router = BanditRouter(pool, featurizer=FEATURIZER, policy=ThompsonPolicy(), pacer=BudgetPacer(budget=0.001))
    decision = router.decide(LLMRequest(prompt + "?"))
    said = Completion(prompt, name, 1, 1, 0.1, 0.2, 0.5)
    yield from (pool, router, decision, RoutingResult(decision, said, None), RoutingResult(decision, said, 0.5))
    yield RoutingResult(decision, replace(said, error=prompt + "?"), 0.0)
    yield router.explain(LLMRequest(prompt + "?"))
    names = (name, f"other {name}")
    frame = hard_and_easy(6).replace({"provider": {"small": names[0], "large": names[1]}})
    table = PerformanceTable.from_frame(frame, origin=prompt)
    yield from (table, table.take([0]))
    X, rng = table.features.astype(np.float32), np.random.default_rng(0)
    policy = FixedPolicy().fit(X, table.quality, table.cost, providers=names)
    curve = policy_curve(name, policy, X, table.quality, table.cost, np.linspace(0.0, 9.0, 7))
    yield from (policy.predict(X), curve)
    settings = (curve.cost_weights, curve.outcomes)
    yield Candidates.of({name: settings}).and_providers(names, table.quality, table.cost)
    run = replay(
        ThompsonPolicy().add_provider(names[0]).add_provider(names[1]), X, table.quality, table.cost, Objective(), rng
    )
    yield from (run, replace(run, drifts=((3, name),)))
    yield Split(X, table.quality, table.cost, None, np.full(6, prompt), names)
    yield ShadowReport(name, 10, 0.5, 0, float("nan"), float("nan"), 0.3)


def everything() -> Iterator[Any]:
    """What needs no hostile names, or is costly."""
    providers = simulated_providers()
    db = PerformanceDB("sqlite://")
    yield from (MLRouter(providers), OnlineMLRouter(providers, db=db), MLRouter(providers, RandomPolicy(), db=db))
    yield TrainingReport(10, 5, 0.1, 0.001, None, None, None)
    yield Estimates(np.full((3, 2), np.nan), np.ones((3, 2)))
    test = ABTest("t", ("a", "<b>"), (0.5, 0.5), "salt")
    yield ABRouter(test, {name: MLRouter(providers) for name in ("a", "<b>")}, db)
    yield ShadowRouter(MLRouter(providers), {"<i>": MLRouter(providers)}, PerformanceDB("sqlite://"))
    yield Card("nothing")


class Checker(HTMLParser):
    """Refuses every tag and attribute that no card is made of."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in TAGS
        assert {name for name, _ in attrs} <= TITLES_AND_STYLES

    def handle_decl(self, decl: str) -> None:
        raise AssertionError(decl)

    handle_pi = unknown_decl = handle_comment = handle_decl


def check(shown: Any) -> None:
    html, text, line = shown._repr_html_(), str(shown), repr(shown)
    Checker().feed(html)
    assert len(html) < 20_000
    assert len(text) < 5_000
    assert len(line) < 400
    assert line.isprintable()
    assert text.replace("\n", "").isprintable()


@given(st.text(min_size=1, max_size=80) | st.sampled_from(HOSTILE), st.text(max_size=80) | st.sampled_from(HOSTILE))
@settings(max_examples=15, deadline=None)
def test_no_name_and_no_prompt_gets_into_the_html_or_makes_it_long(name: str, prompt: str) -> None:
    if name.strip():
        for shown in results(name, prompt):
            check(shown)


def test_each_kind_of_result_shows_itself_before_anything_happened() -> None:
    for shown in everything():
        check(shown)


def test_a_huge_prompt_and_a_huge_answer_are_cut() -> None:
    huge = "<b>" * 4_000_000
    before = process_time()
    assert len(short(huge)) == 60
    assert len(repr(Completion(huge, "p", 1, 1, 0.1, 0.2))) < 400
    said = RoutingResult(
        next(x for x in results("a", "b") if type(x).__name__ == "RoutingDecision"),
        Completion(huge, "p", 1, 1, 0.1, 0.2),
        None,
    )
    check(said)
    assert process_time() - before < 5.0
    request = LLMRequest(huge[:100_000])
    assert repr(request).startswith("LLMRequest(prompt='<b><b>")
    assert len(repr(request)) < 500


def test_a_card_aligns_its_columns_and_leaves_out_empty_ones() -> None:
    card = Card("t", [("long name", "", "1"), ("b", "", "22")], ("arm", "se", "n"), ["a note"])
    assert str(card).splitlines() == ["t", "arm        n", "long name  1", "b          22", "a note"]
    html = card._repr_html_()
    assert html.count("<th") == 2
    assert html.count("text-align:right") == 3
    many = Card("t", [(str(row),) for row in range(40)])
    assert "… and 28 more" in str(many)
    assert many._repr_html_().count("<tr>") == 12


def test_a_table_tells_means_of_what_is_known_and_what_is_missing() -> None:
    frame = hard_and_easy(10)
    frame.loc[0, "quality"] = np.nan
    text = str(table_of(frame.drop(index=3)))
    assert text.splitlines()[0] == "10 prompts × 2 providers: small, large; 19 of 20 cells observed"
    assert re.search(r"^small .* 10\.0%$", text, re.MULTILINE)
    assert re.search(r"^large +1 +10 +10\.0% +10\.0%$", text, re.MULTILINE)
    assert "no split of its own" in text
    ungraded = str(table_of(frame.assign(quality=np.nan, split=["train"] * 14 + ["eval"] * 6)))
    assert "7 prompts to train on, 3 to evaluate on" in ungraded
    assert "100.0%" in ungraded


def test_a_decision_tells_the_choice_first_with_what_was_expected_of_each() -> None:
    router = BanditRouter(simulated_providers(), featurizer=FEATURIZER, objective=Objective(cost_weight=5.0))
    decision = router.decide(LLMRequest("Hi"))
    lines = str(decision).splitlines()
    assert lines[0].startswith(f"EpsilonGreedyPolicy chose {decision.provider.name} with probability 0.")
    assert lines[0].endswith("(objective: cost_weight 5)")
    assert lines[1].split()[:2] == ["provider", "quality"]
    assert lines[2].startswith(decision.provider.name)
    assert len(lines) == 2 + 5 + 1
    assert "1; 0 with an outcome" in str(router)


def test_showing_asks_no_provider_and_draws_nothing() -> None:
    class Silent(Answering):
        async def complete(self, request: LLMRequest) -> Completion:
            raise AssertionError("asked")

    pool = ProviderPool([Silent("a"), Silent("b")])
    router = BanditRouter(pool, featurizer=FEATURIZER, seed=1)
    state = router.rng.bit_generator.state
    for shown in (router, pool):
        check(shown)
    assert router.rng.bit_generator.state == state
    assert router.pending.count == 0


def test_no_display_holds_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY", "sk-canary-0123456789")
    provider = OpenAIProvider("gpt", model="m", base_url="http://127.0.0.1:9/v1", key_env="CANARY", price=Price(1, 2))
    router = BanditRouter([provider, Answering("b")], featurizer=FEATURIZER)
    for shown in (router, router.pool, router.decide(LLMRequest("Hi"))):
        for display in (repr(shown), str(shown), shown._repr_html_()):
            assert "canary" not in display


def test_an_answer_on_its_way_says_so_and_then_what_it_cost() -> None:
    router = BanditRouter(simulated_providers(), featurizer=FEATURIZER)

    async def work() -> None:
        answer = await router.stream(LLMRequest("Hi"))
        assert "on its way" in repr(answer)
        async for _ in answer.chunks:
            pass
        assert "USD per 1,000" in repr(answer)
        check(answer)

    asyncio.run(work())
