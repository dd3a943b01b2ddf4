"""Widgets for notebooks: a trade-off to slide along, a decision to look into, a run to watch.

Each works by mouse and keyboard, and leaves a figure and its numbers in a notebook that is only read.
"""

from routelab.widgets.explorer import FrontierExplorer
from routelab.widgets.inspector import DecisionInspector
from routelab.widgets.live import LiveView

__all__ = ["DecisionInspector", "FrontierExplorer", "LiveView"]
