"""Figures: each function draws one picture on one Axes and titles it with the finding."""

from routelab.plots.decision import mark_setting, plot_decision
from routelab.plots.experiments import plot_sequence
from routelab.plots.frontier import HULL, plot_frontier
from routelab.plots.learning import plot_adaptation, plot_budgets, plot_regret
from routelab.plots.live import plot_live
from routelab.plots.off_policy import plot_estimators
from routelab.plots.picture import places, png, svg
from routelab.plots.recommendation import plot_recommendation
from routelab.plots.shares import plot_importance, plot_shares
from routelab.plots.theme import PALETTE, new_axes, save_figure, theme

__all__ = [
    "HULL",
    "PALETTE",
    "mark_setting",
    "new_axes",
    "places",
    "plot_adaptation",
    "plot_budgets",
    "plot_decision",
    "plot_estimators",
    "plot_frontier",
    "plot_importance",
    "plot_live",
    "plot_recommendation",
    "plot_regret",
    "plot_sequence",
    "plot_shares",
    "png",
    "save_figure",
    "svg",
    "theme",
]
