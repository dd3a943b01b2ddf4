"""Figures: each function draws one picture on one Axes and titles it with the finding."""

from routelab.plots.experiments import plot_sequence
from routelab.plots.frontier import HULL, plot_frontier
from routelab.plots.learning import plot_adaptation, plot_budgets, plot_regret
from routelab.plots.live import plot_live
from routelab.plots.off_policy import plot_estimators
from routelab.plots.recommendation import plot_recommendation
from routelab.plots.shares import plot_importance, plot_shares
from routelab.plots.theme import PALETTE, new_axes, save_figure, theme

__all__ = [
    "HULL",
    "PALETTE",
    "new_axes",
    "plot_adaptation",
    "plot_budgets",
    "plot_estimators",
    "plot_frontier",
    "plot_importance",
    "plot_live",
    "plot_recommendation",
    "plot_regret",
    "plot_sequence",
    "plot_shares",
    "save_figure",
    "theme",
]
