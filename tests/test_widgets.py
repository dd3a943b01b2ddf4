"""The widgets, driven by their traits as a browser would, and the figures that they leave in a notebook."""

from __future__ import annotations

import asyncio
import base64
import gc
import struct
import threading
import warnings
import weakref
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import ipywidgets
import numpy as np
import pytest
from matplotlib.figure import Figure

from routelab import (
    BanditRouter,
    EpsilonGreedyPolicy,
    KNNPolicy,
    LLMRequest,
    MLRouter,
    Objective,
    OnlineMLRouter,
    RoutelabError,
    simulated_providers,
)
from routelab.evaluation.curves import PolicyCurve, curve_of
from routelab.evaluation.frontier import resampled_means
from routelab.hull import upper_hull
from routelab.providers import ProviderError
from routelab.routers.online import RoutingResult
from routelab.tables.synthetic import World
from routelab.widgets import DecisionInspector, FrontierExplorer, LiveView, panel
from widget_notebook import notebook

VIEW = "application/vnd.jupyter.widget-view+json"
NAMES = ("lab/small", "lab/large")
WEIGHTS = np.array([0.0, 10.0, 50.0, 1000.0])


@pytest.fixture(scope="module")
def outcomes() -> tuple[np.ndarray, np.ndarray]:
    """Quality and cost of two providers on 400 prompts."""
    rng = np.random.default_rng(0)
    quality = np.clip(np.column_stack([rng.normal(0.5, 0.2, 400), rng.normal(0.8, 0.1, 400)]), 0.0, 1.0)
    return quality, np.column_stack([rng.gamma(2.0, 0.0005, 400), rng.gamma(2.0, 0.004, 400)])


@pytest.fixture(scope="module")
def curve(outcomes: tuple[np.ndarray, np.ndarray]) -> PolicyCurve:
    """The oracle of each trade-off: it moves prompt by prompt from the large provider to the small one."""
    quality, cost = outcomes
    best = [(quality - weight * cost).argmax(axis=1) for weight in WEIGHTS]
    return curve_of("oracle", WEIGHTS, [np.eye(2)[arms] for arms in best], quality, cost)


def explorer(curve: PolicyCurve, outcomes: tuple[np.ndarray, np.ndarray], **options: Any) -> FrontierExplorer:
    return FrontierExplorer(curve, NAMES, *outcomes, **options)


def size_of(png: bytes) -> tuple[int, int]:
    assert png.startswith(b"\x89PNG")
    return struct.unpack(">II", png[16:24])


def test_the_numbers_of_the_explorer_are_those_of_the_curve_at_every_setting(curve, outcomes) -> None:
    shown = explorer(curve, outcomes)
    for place, (cost, quality) in enumerate(curve.points):
        shown.slider.value = place
        assert f"Quality {quality:.3f} (95 % interval" in shown.told.value
        assert f"for {1e3 * cost:.2f} USD per 1,000 requests (" in shown.told.value
        for name, share in zip(NAMES, curve.shares[place], strict=True):
            assert f"{name[4:]} {share:.1%}" in shown.summary()
            assert f"{share:.1%}</span>" in shown.mix.value
    assert "only quality counts" in explorer(curve, outcomes, start=0.0).told.value
    assert "1 USD per 1,000 requests is worth 0.05 of quality" in explorer(curve, outcomes, start=49.0).told.value


def test_the_explorer_keeps_providers_of_the_same_last_name_apart(curve, outcomes) -> None:
    shown = FrontierExplorer(curve, ["openai/gpt-4", "azure/gpt-4"], *outcomes)
    assert {"openai/gpt-4", "azure/gpt-4"} <= {text.get_text() for text in shown._plane("").texts}
    assert "Asked: openai/gpt-4 " in shown.summary()
    assert ", azure/gpt-4 " in shown.summary()
    assert "azure/gpt-4" in shown.mix.value


def test_of_40_providers_the_explorer_names_the_frontiers_and_the_most_asked_and_its_legend_hides_none() -> None:
    rng = np.random.default_rng(0)
    quality, cost = rng.random((50, 40)), rng.random((50, 40)) * 1e-2
    quality[:, 7], cost[:, 7] = 1.0, 0.02  # on the frontier and never asked
    asked = np.eye(40)[[3, 4]]
    curve = curve_of("toy", np.array([0.0, 9.0]), [asked[[0]], asked[[1]]], quality, cost)
    ax = FrontierExplorer(curve, [f"lab/model-{arm}" for arm in range(40)], quality, cost)._plane("")
    told = {text.get_text() for text in ax.texts}
    frontier = upper_hull(cost.mean(axis=0), quality.mean(axis=0))
    assert told == {f"model-{arm}" for arm in (3, 4, *frontier)}
    assert 7 in frontier
    assert ax.get_legend() is None
    (legend,) = ax.figure.legends
    ax.figure.canvas.draw()
    assert legend.get_window_extent().y1 < ax.get_window_extent().y0


def test_the_explorer_tells_costs_of_a_fraction_of_a_cent(outcomes) -> None:
    quality, cost = outcomes[0], np.full((400, 2), 4.3e-7)
    curve = curve_of("toy", np.zeros(1), [np.array([[1.0, 0.0]])], quality, cost)
    assert "for 0.00043 USD per 1,000 requests (0.00043 to 0.00043)" in explorer(curve, (quality, cost)).summary()
    free = curve_of("toy", np.zeros(1), [np.array([[1.0, 0.0]])], quality, 0.0 * cost)
    assert "for 0 USD per 1,000 requests (0 to 0)" in explorer(free, (quality, 0.0 * cost)).summary()


def test_the_bands_cover_the_truth_as_often_as_they_say() -> None:
    """Prompts drawn anew 200 times: 95 % intervals hold the true mean 91 to 98 times of 100 (sd of the count 1.5)."""
    rng, held = np.random.default_rng(1), 0
    for _ in range(200):
        quality, cost = rng.beta(4.0, 2.0, (100, 2)), rng.gamma(2.0, 0.001, (100, 2))
        curve = curve_of("mean", np.zeros(1), [np.array([[1.0, 0.0]])], quality, cost)
        means = resampled_means(curve.outcomes, 200, rng)
        low, high = np.quantile(means.quality[:, 0], [0.025, 0.975])
        held += low <= 4.0 / 6.0 <= high
    assert 182 <= held <= 196


def test_moving_the_slider_moves_the_mark_to_where_the_setting_is_drawn(curve, outcomes) -> None:
    shown = explorer(curve, outcomes)
    marks = set()
    for place in range(len(WEIGHTS)):
        shown.slider.value = place
        marks.add(shown.mark.value)
    assert len(marks) == len(WEIGHTS)
    cheapest, dearest = shown._places[-1][0], shown._places[0][0]
    assert cheapest[0] < dearest[0]  # to the left
    assert cheapest[1] > dearest[1]  # and below
    for (x, y), left, right, low, high in shown._places:
        assert left[0] <= x <= right[0]
        assert high[1] <= y <= low[1]
        assert 0.0 < x < 720.0
        assert 0.0 < y < 450.0


def test_a_move_of_the_slider_draws_no_figure(curve, outcomes, monkeypatch) -> None:
    shown = explorer(curve, outcomes, prompts=["why?"] * 400)
    monkeypatch.setattr(Figure, "savefig", lambda *_, **__: pytest.fail("drawn anew"))
    for place in range(len(WEIGHTS)):
        shown.slider.value = place


def test_examples_are_prompts_that_change_provider_and_are_escaped(curve, outcomes) -> None:
    prompts = [f"<script>alert({row})</script> " + "long " * 100 for row in range(400)]
    shown = explorer(curve, outcomes, prompts=prompts, start=10.0)
    arms = curve.probabilities.argmax(axis=2)
    moved = np.flatnonzero(arms[1] != arms[2])
    assert f"Were 1 USD worth more (λ = 50), {len(moved)} of 400 prompts" in shown.examples.value
    assert all(f"alert({row})" in shown.examples.value for row in moved[:3])
    assert "large → small" in shown.examples.value
    assert "<script" not in shown.examples.value
    assert "long " * 30 not in shown.examples.value
    shown.slider.value = 0
    assert "Were 1 USD worth less, no prompt would change provider" in shown.examples.value


def test_examples_come_from_the_nearest_setting_that_changes_any(curve, outcomes) -> None:
    twice = curve_of("oracle", np.array([0.0, 10.0, 11.0, 50.0]), curve.probabilities[[0, 1, 1, 2]], *outcomes)
    shown = explorer(twice, outcomes, prompts=["why?"] * 400, start=10.0)
    assert "worth more (λ = 50)" in shown.examples.value


def test_a_hostile_name_is_escaped_everywhere(curve, outcomes) -> None:
    name = "<img src=x onerror=alert(1)>"
    shown = FrontierExplorer(replace(curve, name=name), [name, "b"], *outcomes, prompts=["hi"] * 400)
    view = LiveView([name])
    view.note(name)
    view.add(ProviderError(name))
    view._draw()
    widgets = [shown.told, shown.mix, shown.mark, shown.examples, view.told, view.shares, view.news]
    assert not [each.value for each in widgets if "<img" in each.value]
    inspector = DecisionInspector(lambda _: (_ for _ in ()).throw(ValueError(name)))
    assert "<img" not in inspector.told.value


def test_an_explorer_refuses_what_does_not_belong_to_its_curve(curve, outcomes) -> None:
    quality, cost = outcomes
    for wrong, told in (
        ((NAMES, quality[:9], cost), "quality 9 × 2"),
        ((NAMES[:1], quality, cost), "providers 400 × 1"),
    ):
        with pytest.raises(RoutelabError, match=told):
            FrontierExplorer(curve, *wrong)
    with pytest.raises(RoutelabError, match="prompts 1 × 2"):
        explorer(curve, outcomes, prompts=["one"])


def test_a_rendered_notebook_has_the_figure_and_the_words(curve, outcomes) -> None:
    shown = explorer(curve, outcomes, start=50.0)
    bundle, metadata = shown._repr_mimebundle_()
    assert metadata["image/png"]["alt"] == bundle["text/plain"] == shown.summary()
    assert set(bundle) == {"text/plain", "image/png", VIEW}
    assert "λ = 50" in bundle["text/plain"]
    first = base64.b64decode(bundle["image/png"])
    assert size_of(first) == (792, 495)
    assert base64.b64decode(shown._repr_mimebundle_()[0]["image/png"]) == first
    shown.slider.value = 0
    assert base64.b64decode(shown._repr_mimebundle_()[0]["image/png"]) != first


@pytest.fixture(scope="module")
def router() -> MLRouter:
    """A router over the synthetic world whose dear providers are worth their price on hard prompts only."""
    router = MLRouter(simulated_providers(0), KNNPolicy(), objective=Objective(30.0))
    data = World().generate(400, seed=0)
    X = router.featurizer.transform(data.table.requests())
    router.policy.fit(X, data.expected_quality, data.expected_cost, providers=data.table.providers)
    return router


def test_the_inspector_says_what_the_router_says_of_whatever_is_typed(router) -> None:
    shown = DecisionInspector(router.explain, "Say hello.")
    for prompt in ("Say hello.", "Prove that 7 is prime, step by step, and explain why.", "def f(x): return x"):
        shown.prompt.value = prompt
        told = router.explain(LLMRequest(prompt))
        assert shown.summary() == str(told)
        assert shown.told.value.count(told._repr_html_()) == 1
        assert shown.complexity.value == pytest.approx(LLMRequest(prompt).estimated_complexity)
    shown.tier.value, shown.estimated.value, shown.complexity.value = "premium", False, 0.9
    request = LLMRequest("def f(x): return x", user_tier="premium", estimated_complexity=0.9)
    assert shown.summary() == str(router.explain(request))
    assert size_of(base64.b64decode(shown._repr_mimebundle_()[0]["image/png"]))[0] == 990


def test_the_inspector_routes_and_learns_nothing() -> None:
    router = BanditRouter(simulated_providers(0))
    state = router.rng.bit_generator.state
    shown = DecisionInspector(router.explain)
    shown.prompt.value = "another"
    assert router.last_decision is None
    assert router.rng.bit_generator.state == state
    assert "propensity" in shown.told.value


def test_an_error_is_one_line_and_the_next_request_is_explained_again(router) -> None:
    broken: list[Exception] = []

    def explain(request: LLMRequest) -> Any:
        if broken:
            raise broken[0]
        return router.explain(request)

    shown = DecisionInspector(explain, "Say hello.")
    shown.prompt.value = "   "
    assert "Not explained.</b> LLMRequest.prompt is empty; give a prompt" in shown.told.value
    broken.append(KeyError("a policy\nof many\nlines"))
    shown.prompt.value = "Hi"
    assert "<br>" not in shown.told.value
    assert "\n" not in shown.told.value
    assert set(shown._repr_mimebundle_()[0]) == {"text/plain", VIEW}
    broken.clear()
    shown.prompt.value = "Hi there"
    assert shown.summary() == str(router.explain(LLMRequest("Hi there")))


def test_while_somebody_types_only_the_last_prompt_is_explained(router) -> None:
    asked: list[str] = []

    def explain(request: LLMRequest) -> Any:
        asked.append(request.prompt)
        return router.explain(request)

    async def type_on() -> None:
        for end in range(1, 12):
            shown.prompt.value = "How are you"[:end]
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.4)

    shown = DecisionInspector(explain, "first")
    asyncio.run(type_on())
    assert asked == ["first", "How are you"]


def test_own_features_of_a_request_are_kept(router) -> None:
    given = LLMRequest("Hi", features={"length": 7.0}, time_of_day=3.0, estimated_complexity=0.2)
    seen: list[LLMRequest] = []
    shown = DecisionInspector(lambda request: (seen.append(request), router.explain(LLMRequest("x")))[1], given)
    shown.prompt.value = "Hello"
    assert (seen[-1].features, seen[-1].time_of_day) == ({"length": 7.0}, 3.0)
    assert seen[-1].estimated_complexity == pytest.approx(0.2)


@pytest.fixture(scope="module")
def results() -> list[RoutingResult]:
    """What came of 300 requests, a provider of which refuses to answer for a while."""
    providers = simulated_providers(0)
    router = OnlineMLRouter(providers, EpsilonGreedyPolicy(1.0), seed=0)

    async def run() -> list[RoutingResult]:
        return [await router.route_and_learn(one) for one in World().generate(300, seed=1).table.requests()]

    return asyncio.run(run())


def test_the_live_view_counts_what_came(results) -> None:
    view = LiveView(["mini"])
    for one in results:
        view.add(one)
    view.add(ProviderError("every provider failed"))
    with view:
        pass
    grades = np.array([one.quality for one in results])
    spent = sum(one.completion.cost_usd for one in results)
    rescued = sum(one.decision.policy.endswith("after failure") for one in results)
    assert f"300 requests answered, {rescued:,} by another provider after a failure" in view.summary()
    assert "1 not answered" in view.summary()
    error = grades.std(ddof=1) / 300**0.5
    assert f"quality {grades.mean():.3f} ± {error:.3f}; {spent:.4g} USD spent" in view.summary()
    asked = [one.completion.provider for one in results]
    assert next(iter(view._tallies)) == "mini"
    assert set(view._tallies) == set(asked)
    for name in set(asked):
        assert f"{asked[-200:].count(name) / 200:.1%}</span>" in view.shares.value
        assert f">{asked.count(name)}</td>" in view.shares.value
    assert "not answered: every provider failed" in view.news.value
    assert size_of(view.figure())[0] == 1210


def test_the_live_view_draws_at_most_four_times_a_second(results) -> None:
    clock = SimpleNamespace(now=0.0)
    view = LiveView(clock=lambda: clock.now)
    drawn: list[float] = []
    view.told.observe(lambda _: drawn.append(clock.now), names="value")
    for place in range(2000):
        clock.now = place / 1000
        view.add(results[place % 300])
    assert len(drawn) == 7
    assert min(np.diff(drawn)) >= 0.25


def test_slow_drawing_gets_a_twentieth_of_the_time(results, monkeypatch) -> None:
    clock = SimpleNamespace(now=0.0)
    view = LiveView(clock=lambda: clock.now)
    shares, drawn = view._shares, []

    def slow() -> Any:
        clock.now += 0.1
        drawn.append(clock.now)
        return shares()

    monkeypatch.setattr(view, "_shares", slow)
    for _ in range(1000):
        clock.now += 0.01
        view.add(results[0])
    assert 3 <= len(drawn) <= 6


def test_events_of_a_router_are_shown_the_latest_first() -> None:
    view = LiveView()
    view.on_event("version", {"number": 1, "at": 0.0, "status": "served", "reason": "200 outcomes", "error": None})
    view.on_event("drift", {"provider": "mini", "before": 0.0, "after": -0.3})
    view._draw()
    drift, version = view.news.value.index("drift: mini"), view.news.value.index("version: served, 200 outcomes")
    assert drift < version
    for number in range(20):
        view.note(f"event {number}")
    view._draw()
    assert view.news.value.count("<div>") == 5


def test_the_button_ends_the_run_after_the_step_under_way(results) -> None:
    view, done = LiveView(), []
    with view:
        assert not view.button.disabled
        for step, one in zip(view.track(range(100)), results, strict=False):
            view.add(one)
            done.append(step)
            if step == 2:
                view.button.click()
    assert done == [0, 1, 2]
    assert view.stopped
    assert "<b>stopped</b> step 3 of 100" in view.told.value
    assert view.button.disabled


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (KeyboardInterrupt(), "interrupted"),
        (asyncio.CancelledError(), "interrupted"),
        (RoutelabError("no <db>"), "failed: no &lt;db&gt;"),
    ],
)
def test_a_run_that_is_interrupted_or_fails_says_so_and_the_error_goes_on(results, error, told) -> None:
    view = LiveView()
    view.add(results[0])
    with pytest.raises(type(error)), view:
        raise error
    assert f"<b>{told}</b>" in view.told.value
    assert "1 requests answered" in view.told.value
    assert view.button.disabled


@pytest.fixture
def in_a_cell(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Pretend that a notebook runs the cell ``cell`` for the ``run``-th time."""
    monkeypatch.setattr(panel, "_CELLS", {})

    def run(cell: str, number: int) -> None:
        parent = {"metadata": {"cellId": cell}, "header": {"msg_id": f"{cell} {number}"}}
        monkeypatch.setattr(panel, "get_ipython", lambda: SimpleNamespace(get_parent=lambda: parent))

    return run


def test_running_a_cell_again_leaves_no_widget_figure_or_thread_behind(
    in_a_cell, curve, outcomes, results, router, monkeypatch
) -> None:
    figures: weakref.WeakSet[Figure] = weakref.WeakSet()
    begin = Figure.__init__
    monkeypatch.setattr(Figure, "__init__", lambda self, *a, **k: (begin(self, *a, **k), figures.add(self))[0])

    def cell(number: int) -> tuple[int, int, int]:
        in_a_cell("a", number)
        view = LiveView()
        view.add(results[0])
        for shown in (explorer(curve, outcomes), DecisionInspector(router.explain), view):
            shown._repr_mimebundle_()
        del shown
        gc.collect()
        return len(ipywidgets.widgets.widget._instances), len(figures), threading.active_count()

    in_a_cell("b", 1)
    other = LiveView()
    widgets, left, threads = cell(1)
    assert left == 0
    assert [cell(2), cell(3)] == [(widgets, left, threads)] * 2
    assert other.comm is not None  # another cell's is left alone


def test_two_widgets_of_one_cell_live_side_by_side(in_a_cell) -> None:
    in_a_cell("a", 1)
    both = LiveView(), LiveView()
    assert all(view.comm is not None for view in both)
    in_a_cell("a", 2)
    LiveView()
    assert all(view.comm is None for view in both)


def test_a_notebook_leaves_figures_where_no_kernel_runs() -> None:
    from nbclient import NotebookClient
    from nbconvert import HTMLExporter

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ran = NotebookClient(notebook(), timeout=120, kernel_name="python3", store_widget_state=False).execute()
        page, _ = HTMLExporter().from_notebook_node(ran)
    outputs = [output for cell in ran.cells for output in cell.outputs]
    assert [set(output["data"]) for output in outputs] == [{"text/plain", "image/png", VIEW}] * 3
    for output, told in zip(
        outputs, ("nearest at λ = 10", "EpsilonGreedyPolicy chooses", "60 requests answered"), strict=True
    ):
        assert output["metadata"]["image/png"]["alt"].startswith(told)
        assert output["data"]["image/png"].replace("\n", "")[:2000] in page
    assert VIEW not in page
