"""What the widgets share: a box that leaves a figure behind and goes when its cell runs again, and escaped HTML."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from html import escape
from typing import Any

import ipywidgets
from IPython import get_ipython

from routelab.html import short

_BLUE = "#0173b2"  # 4.5 : 1 against white and 3.8 : 1 against JupyterLab's dark ground
# the handle of a slider shows no focus of its own
_FOCUS = f"<style>.routelab-panel .noUi-handle:focus-visible{{outline:3px solid {_BLUE};outline-offset:2px}}</style>"
_CELLS: dict[str, tuple[str, list[Panel]]] = {}  # notebook cell → its last execution, and what that made


class Panel(ipywidgets.VBox):
    """A column of widgets, shown with a figure and plain text for whoever reads the notebook without a kernel.

    The widgets that an earlier run of the same cell made are closed, so that running it again leaks nothing.
    """

    def __init__(self, *children: ipywidgets.Widget) -> None:
        super().__init__((*children, ipywidgets.HTML(_FOCUS, layout={"display": "none"})))
        self.add_class("routelab-panel")
        cell, run = _execution()
        last, panels = _CELLS.get(cell, (run, []))
        if last != run:
            for panel in panels:
                panel.close()
            panels = []
        if cell:
            _CELLS[cell] = run, [*panels, self]

    def summary(self) -> str:
        """What the panel shows now, in plain words."""
        raise NotImplementedError

    def figure(self) -> bytes | None:
        """What the panel shows now as PNG, or None where there is nothing to draw."""
        raise NotImplementedError

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """The live widget, and for other readers its figure, with its text in place of what cannot be seen."""
        told, figure = self.summary(), self.figure()
        bundle: dict[str, Any] = super()._repr_mimebundle_(**options) | {"text/plain": told}
        if figure is None:
            return bundle, {}
        return bundle | {"image/png": base64.b64encode(figure).decode("ascii")}, {"image/png": {"alt": told}}

    def close(self) -> None:
        """Close the panel with everything in it."""
        for widget in list(_members(self)):
            ipywidgets.Widget.close(widget)


def _members(widget: ipywidgets.Widget) -> Iterator[ipywidgets.Widget]:
    """A widget, its layout and style, and the same of its children."""
    yield from (widget, widget.layout)
    if hasattr(widget, "style"):
        yield widget.style
    for child in getattr(widget, "children", ()):
        yield from _members(child)


def _execution() -> tuple[str, str]:
    """The notebook cell that runs now, and this run of it; empty outside of a notebook."""
    parent: dict[str, Any] = getattr(get_ipython(), "get_parent", dict)()
    return parent.get("metadata", {}).get("cellId", ""), parent.get("header", {}).get("msg_id", "")


def text(value: object, limit: int = 140) -> str:
    """``value`` in one line of at most ``limit`` characters, safe as HTML.

    >>> text("<b>\\nbold"), text("one two three", 8)
    ('&lt;b&gt; bold', 'one two…')
    """
    return escape(short(value, limit))


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """An HTML table of cells that are HTML already: the first column to the left, the others to the right."""
    cell = "<{0} style='text-align:{1};padding:1px 10px 1px 0;white-space:nowrap'>{2}</{0}>".format
    lines = [("th", header), *(("td", row) for row in rows)]
    told = (
        "".join(cell(tag, "right" if place else "left", one) for place, one in enumerate(row)) for tag, row in lines
    )
    style = "border-collapse:collapse;line-height:1.5;font-variant-numeric:tabular-nums"
    return f"<table style='{style}'>{''.join(f'<tr>{row}</tr>' for row in told)}</table>"


def bar(share: float) -> str:
    """A bar of at most 120 pixels for a share in [0, 1], with the share in percent."""
    filled = f"<div style='width:{120.0 * share:.0f}px;height:0.8em;background:{_BLUE}'></div>"
    style = "display:inline-block;width:120px;border:1px solid var(--jp-border-color1,#888);vertical-align:middle"
    return f"<div style='{style}'>{filled}</div> <span style='display:inline-block;width:3.6em'>{share:.1%}</span>"


def spoken(html: str) -> str:
    """HTML that a screen reader reads out when it changes."""
    return f"<div role='status' aria-live='polite' style='line-height:1.5'>{html}</div>"
