"""The live view: what an online run does while it does it."""

from __future__ import annotations

import time
from array import array
from asyncio import CancelledError
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import ipywidgets
import numpy as np
import pandas as pd
from IPython import get_ipython
from IPython.display import DisplayHandle, display

from routelab import plots
from routelab.db_records import AFTER_FAILURE
from routelab.routers.online import RoutingResult
from routelab.widgets.panel import Panel, bar, spoken, table, text
from routelab.widgets.tally import Tally

_PAUSE_S = 0.25  # between two drawings
_SHARE = 0.05  # of the time that may go into drawing
_EVENTS = 5  # that are shown
_MARKED = 4  # of them in the figure
_RECENT = 200  # requests of the share now
_WINDOW, _WINDOWS = 50, 40  # requests of a point of the small curves, and its points
_POINTS = 20  # of the figure: more only zigzag

Step = TypeVar("Step")


class LiveView(Panel):
    """Who is asked, what that is worth, what it costs and what fails, while requests are routed.

    Used as a context it shows itself at once, and leaves the figure of the whole run at its end, however that came.
    It is drawn at most four times a second; what came since the last time is drawn with the next result or at the end.

    Args:
        providers: names, in the order in which they are shown; others are added as they answer.
        clock: seconds, for the pace of drawing.

    Attributes:
        title: what the run showed, for the figure; None tells who answered most.
        stopped: whether the button was pressed: ``track`` gives no further step then.

    >>> import asyncio
    >>> from routelab import EpsilonGreedyPolicy, LLMRequest, OnlineMLRouter, simulated_providers
    >>> router = OnlineMLRouter(simulated_providers(), EpsilonGreedyPolicy(0.1))
    >>> view = LiveView(router.pool.names)
    >>> for request in view.track([LLMRequest("Hi"), LLMRequest("Hello")]):
    ...     view.add(asyncio.run(router.route_and_learn(request)))
    >>> view.summary().split(",")[0]
    '2 requests answered'
    """

    def __init__(self, providers: Sequence[str] = (), *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._next = clock, clock()
        self._tallies = {name: Tally(place) for place, name in enumerate(providers)}
        self._arms = array("H")  # of the answered requests
        self._rescued = self._lost = 0
        self._progress, self._state = "", "ready"
        self._events: deque[tuple[int, str]] = deque(maxlen=_EVENTS)
        self._handle: DisplayHandle | None = None
        self.title: str | None = None
        self.stopped = False
        self.button = ipywidgets.Button(
            description="Stop", icon="stop", tooltip="End the run after the requests under way", disabled=True
        )
        self.button.on_click(self._press)
        self.told, self.shares, self.news = (ipywidgets.HTML() for _ in range(3))
        self._draw()
        super().__init__(self.button, self.told, self.shares, self.news)

    def add(self, came: RoutingResult | BaseException) -> None:
        """Count what came of one request: its result, or the error that ``route_and_learn`` raised."""
        if isinstance(came, BaseException):
            self._lost += 1
            if self._lost <= _EVENTS:  # the count tells of the others
                self.note(f"not answered: {came}")
        else:
            answer = came.completion
            tally = self._tallies.setdefault(answer.provider, Tally(len(self._tallies)))
            tally.add(came.quality, answer.cost_usd)
            self._arms.append(tally.place)
            self._rescued += came.decision.policy.endswith(AFTER_FAILURE)
        if self._clock() >= self._next:
            self._draw()

    def note(self, told: str) -> None:
        """Say what happened; the figure marks it, too."""
        self._events.append((len(self._arms), told))

    def on_event(self, kind: str, values: Mapping[str, Any]) -> None:
        """Note an event of an ``OnlineMLRouter``, which takes this method as its ``on_event``."""
        said = [str(values[name]) for name in ("provider", "status", "reason", "error") if values.get(name)]
        said = [one for one in said if kind not in one]  # the reason of a drift is the drift
        self.note(f"{kind}: {', '.join(said)}")

    def track(self, steps: Sequence[Step]) -> Iterator[Step]:
        """The ``steps`` one by one, counting them, until all are done or the button is pressed."""
        for place, step in enumerate(steps):
            if self.stopped:
                return
            self._progress = f"step {place + 1:,} of {len(steps):,}"
            yield step

    def __enter__(self) -> Self:
        """Show the view."""
        self.button.disabled, self._state = False, "running"
        self._draw()
        if get_ipython() is not None:
            self._handle = display(self, display_id=True)
            get_ipython().events.register("post_execute", self._settle)  # after each message of a widget, too
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """Show the whole run, whether it ended, was stopped or failed; an error goes on."""
        if kind is None:
            self._state = "stopped" if self.stopped else "done"
        else:
            interrupted = issubclass(kind, KeyboardInterrupt | CancelledError)
            self._state = "interrupted" if interrupted else f"failed: {error}"
        self.button.disabled = True
        self._draw()
        if self._handle is not None:
            get_ipython().events.unregister("post_execute", self._settle)
            self._handle.update(self)

    def _settle(self) -> None:
        """Tell the notebook that a widget's message was dealt with: the widget holds the next one back until then.

        ipykernel 7.4 does so itself, but not for a message that comes while a cell awaits.
        """
        shell = get_ipython()
        parent = shell.get_parent()
        if parent.get("header", {}).get("msg_type") == "comm_msg":
            shell.kernel.session.send(shell.kernel.iopub_socket, "status", {"execution_state": "idle"}, parent=parent)

    def _press(self, _: object) -> None:
        self.stopped, self._state, self.button.disabled = True, "stopping", True  # drawn with the next result

    def _draw(self) -> None:
        """Bring texts and bars up to now, and set when to do so again."""
        began = self._clock()
        status = f"<b>{text(self._state)}</b> {text(self._progress)}"
        self.told.value = f"{spoken(status)}<div>{text(self.summary(), 300)}</div>"
        recent, windows = self._shares()
        rows = [
            [text(name, 40), bar(float(recent[tally.place])), _curve(windows[:, tally.place]), *tally.told()]
            for name, tally in self._tallies.items()
        ]
        header = ["provider", f"share of the last {_RECENT}", "over time", "requests", "quality ± SE", "USD per 1,000"]
        self.shares.value = table(header, rows)
        self.news.value = "".join(f"<div>after {at:,}: {text(told)}</div>" for at, told in reversed(self._events))
        now = self._clock()
        self._next = now + max(_PAUSE_S, (now - began) / _SHARE)

    def _shares(self) -> tuple[Any, Any]:
        """Share of each provider in the latest requests (k,), and in the latest windows of them (w, k)."""
        size, done = len(self._tallies), len(self._arms) // _WINDOW * _WINDOW
        recent = np.bincount(self._arms[-_RECENT:], minlength=size) / max(1, len(self._arms[-_RECENT:]))
        windows = np.array(self._arms[max(0, done - _WINDOW * _WINDOWS) : done], dtype=int).reshape(-1, _WINDOW)
        return recent, (windows[:, :, None] == np.arange(size)).mean(axis=1)

    def summary(self) -> str:
        """What the run came to so far, in one line."""
        every = Tally(0)
        for tally in self._tallies.values():
            every.merge(tally)
        worth = f"quality {every.quality()}" if every.grades else "no grade yet"
        answered, failed = f"{len(self._arms):,} requests answered", f"{self._lost:,} not answered"
        rescued = f"{self._rescued:,} by another provider after a failure"
        return f"{answered}, {rescued}; {failed}; {worth}; {every.cost:.4g} USD spent"

    def figure(self) -> bytes | None:
        """Who was asked over the whole run, as PNG; None before the first answer."""
        if not self._arms:
            return None
        served = pd.DataFrame(
            {"provider": pd.Categorical.from_codes(np.array(self._arms, dtype=int), pd.Index(list(self._tallies)))}
        )
        events = dict(list(self._events)[-_MARKED:])
        window = max(10, len(self._arms) // _POINTS)
        most = served["provider"].mode()[0]
        title = f"{most} answered {np.mean(served['provider'] == most):.0%} of {len(served):,} requests"
        return plots.png(plots.plot_live(served, events, window=min(window, len(served)), title=self.title or title))


def _curve(shares: Any) -> str:
    """A small curve of shares in [0, 1], the latest to the right."""
    if len(shares) < 2:
        return ""
    places = np.linspace(0.0, 100.0, len(shares))
    points = " ".join(f"{x:.1f},{18.0 - 16.0 * share:.1f}" for x, share in zip(places, shares, strict=True))
    line = f"<polyline points='{points}' fill='none' stroke='currentColor' stroke-width='1.5'/>"
    return f"<svg width='100' height='20' style='vertical-align:middle' aria-hidden='true'>{line}</svg>"
