"""The decision inspector: type a prompt and see where it would go, and why."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import ipywidgets
from traitlets import Bunch

from routelab import plots
from routelab.request import LLMRequest
from routelab.routers.explanation import Explanation
from routelab.widgets.panel import Panel, spoken, text

_DELAY_S = 0.25


class DecisionInspector(Panel):
    """A prompt to type, and what a router makes of it; nothing is routed, recorded or learned.

    It shows the provider that would be chosen, estimates with standard errors, utilities, propensities, and by how
    much each feature moved the decision. An error is one line in its place; the next request is explained again.

    Args:
        explain: a router's ``explain``, or any function from request to ``Explanation``.
        request: to begin with: a text, or a request whose further fields (own features, hour) are kept.

    >>> from routelab import BanditRouter, simulated_providers
    >>> inspector = DecisionInspector(BanditRouter(simulated_providers()).explain, "Why is the sky blue?")
    >>> inspector.prompt.value = " "
    >>> print(inspector.summary())
    LLMRequest.prompt is empty; give a prompt, or numbers in `features`
    """

    def __init__(
        self,
        explain: Callable[[LLMRequest], Explanation],
        request: LLMRequest | str = "Prove that the square root of two is irrational, and explain each step.",
    ) -> None:
        self._explain = explain
        self._request = LLMRequest(request) if isinstance(request, str) else request
        self._timer: asyncio.TimerHandle | None = None
        self.explanation: Explanation | None = None
        wide = {"description_width": "90px"}
        self.prompt = ipywidgets.Textarea(
            self._request.prompt,
            description="Prompt",
            tooltip="The request: whatever is typed is explained as you go",
            style=wide,
            layout={"width": "min(900px, 98%)", "height": "5em"},
        )
        self.tier = ipywidgets.Dropdown(
            options=["free", "premium"],
            value=self._request.user_tier,
            description="User tier",
            style=wide,
            layout={"width": "200px"},
        )
        self.estimated = ipywidgets.Checkbox(
            isinstance(request, str), description="estimate it from the prompt", indent=False, layout={"width": "auto"}
        )
        self.complexity = ipywidgets.FloatSlider(
            self._request.estimated_complexity,
            min=0.0,
            max=1.0,
            step=0.01,
            description="Complexity",
            tooltip="How hard the request is, from 0 to 1: arrow keys move it",
            style=wide,
            disabled=self.estimated.value,
        )
        self.told = ipywidgets.HTML()
        controls = ipywidgets.HBox(
            [self.tier, self.complexity, self.estimated], layout={"flex_flow": "row wrap", "align_items": "center"}
        )
        for widget in (self.prompt, self.tier, self.complexity, self.estimated):
            widget.observe(self._later, names="value")
        self._show()
        super().__init__(self.prompt, controls, self.told)

    def _later(self, change: Bunch) -> None:
        """Explain once nothing more is typed for a moment; at once where no event loop runs, as in a script."""
        if change.owner is self.complexity and self.estimated.value:
            return  # an estimate is shown, nobody moved the slider
        if self._timer is not None:
            self._timer.cancel()
        try:
            self._timer = asyncio.get_running_loop().call_later(_DELAY_S, self._show)
        except RuntimeError:
            self._show()

    def _show(self) -> None:
        """Explain the request of the controls; whatever goes wrong is told in its place."""
        self.complexity.disabled = self.estimated.value
        try:
            request = self._asked()
            self.explanation, self._wrong = self._explain(request), ""
        except Exception as error:  # of a policy of anybody's own: the widget must outlive it
            self.explanation, self._wrong = None, str(error) or type(error).__name__
            self.told.value = spoken(f"<b>Not explained.</b> {text(self._wrong, 300)}")
            return
        self.told.value = spoken(self.explanation._repr_html_())

    def _asked(self) -> LLMRequest:
        """The request as the controls have it."""
        tier, estimated = self.tier.value, self.estimated.value
        request = replace(
            self._request,
            prompt=self.prompt.value,
            user_tier=tier,
            messages=None,
            estimated_complexity=None if estimated else self.complexity.value,
            requires_reasoning=None if estimated else self._request.requires_reasoning,
        )
        if estimated:
            self.complexity.value = request.estimated_complexity
        return request

    def close(self) -> None:
        """Close the panel; what was still to be explained is not."""
        if self._timer is not None:
            self._timer.cancel()
        super().close()

    def summary(self) -> str:
        """The explanation, or what went wrong."""
        return self._wrong if self.explanation is None else str(self.explanation)

    def figure(self) -> bytes | None:
        """What is expected of each provider, as PNG; None where nothing is learned or something went wrong."""
        told = self.explanation
        if told is None or told.estimates is None:
            return None
        chosen, error = told.providers.index(told.choice), told.estimates.quality_se
        quality, se = told.estimates.quality[0], None if error is None else error[0]
        return plots.png(plots.plot_decision(told.providers, quality, told.utility, chosen, quality_se=se))
