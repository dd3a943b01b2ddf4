"""Figures: each function draws one picture on one Axes and titles it with the finding."""

from routelab.plots.benchmark import plot_benchmark
from routelab.plots.calibration import plot_calibration
from routelab.plots.differences import plot_difference
from routelab.plots.dominance import plot_dominance
from routelab.plots.experiments import plot_false_alarms, plot_sequence
from routelab.plots.frontier import HULL, plot_frontier
from routelab.plots.learning import plot_adaptation, plot_best_arm, plot_budgets, plot_regret
from routelab.plots.live import plot_live
from routelab.plots.off_policy import plot_estimators, plot_ranking
from routelab.plots.places import plot_places
from routelab.plots.runs import plot_run_frontier, plot_runs
from routelab.plots.shares import plot_importance, plot_shares
from routelab.plots.tables import plot_drift, plot_load, plot_tasks
from routelab.plots.theme import PALETTE, new_axes, save_figure, side_by_side, theme

__all__ = [
    "HULL",
    "PALETTE",
    "new_axes",
    "plot_adaptation",
    "plot_benchmark",
    "plot_best_arm",
    "plot_budgets",
    "plot_calibration",
    "plot_difference",
    "plot_dominance",
    "plot_drift",
    "plot_estimators",
    "plot_false_alarms",
    "plot_frontier",
    "plot_importance",
    "plot_live",
    "plot_load",
    "plot_places",
    "plot_ranking",
    "plot_regret",
    "plot_run_frontier",
    "plot_runs",
    "plot_sequence",
    "plot_shares",
    "plot_tasks",
    "save_figure",
    "side_by_side",
    "theme",
]
