"""How the MLflow UI shows the project's runs: saved views of their columns and charts, and a text on how to read them.

MLflow keeps a view as a tag of the experiment, ``mlflow.sharedViewState.<key>``; it is in the menu "Views", and
``…/runs?viewStateShareKey=<key>`` opens it. The names in a view are those of MLflow 3.17's own pages.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from typing import Any

START = "policies"  # the view that ``routelab ui`` opens
UI_ADDRESS = "routelab.ui"  # tag of the experiment: where ``routelab ui`` serves it now

_NOTE = """\
The greater **hull_gap_captured**, the better the policy: 0 is the best mixture of fixed providers, 1 is an oracle.

The button at the top right opens a view; it is called *Views*, or as the view that is open:

- **Policies compared**: every policy on prompts that none of them saw, per source, the best first. *quality* and
  *cost_usd* are those where quality alone counts; `_low` and `_high` bound 95 % intervals. The oracle, the ceiling, is
  left out; the filter brings it back. Under the charts, *Differences* sets runs beside each other;
  `routelab.tracking.compare(a, b)` says how surely two of them differ.
- **Training**: settings, figures and the model of each trained policy.
- **Learning online**: what policies earned while prices, providers and feedback changed under them.

The tag `dvc_experiment` is the name in `dvc exp show`; `routelab.tracking.origin(run)` tells the command that repeats a
run.
"""


@cache
def experiment_tags() -> dict[str, str]:
    """Tags of the experiment: its kind (so that the UI opens on runs), how to read it, and its views."""
    gap, bounds = "hull_gap_captured", ["hull_gap_captured_low", "hull_gap_captured_high"]
    views = {
        START: _view(
            "Policies compared",
            "tags.stage = 'evaluate' AND tags.policy != 'oracle'",
            [gap, *bounds, "cost_save", "quality", "cost_usd"],
            [_card("BAR", gap), _scatter("cost_usd", "quality"), _card("BAR", "cost_save"), _differences()],
            best_first=True,
        ),
        "training": _view(
            "Training",
            "tags.stage LIKE 'train%'",
            ["best_quality", "regret_per_request", "quality_mae", "cost_mae_usd"],
            [_card("LINE", "quality", over="cost_usd"), _card("BAR", "best_quality"), _card("LINE", "regret")],
        ),
        "online": _view(
            "Learning online",
            "tags.stage LIKE 'replay%'",
            ["reward", "recent_reward", "recent_reward_low", "recent_reward_high", "cost_over_budget"],
            [_card("BAR", "reward"), _card("BAR", "recent_reward"), _card("BAR", "cost_over_budget")],
        ),
    }
    return {
        "mlflow.experimentKind": "custom_model_development",
        "mlflow.experiment.primaryMetric.name": gap,
        "mlflow.note.content": _NOTE,
        **{f"mlflow.sharedViewState.{key}": view for key, view in views.items()},
    }


def _view(
    name: str, runs: str, metrics: Sequence[str], charts: Sequence[dict[str, Any]], *, best_first: bool = False
) -> str:
    """A saved view: which runs, which columns, and the charts above those that MLflow adds for every metric.

    The newest run stands first; with ``best_first``, that of the greatest first metric, under its source.
    """
    columns = [f"metrics.`{metric}`" for metric in metrics] + [
        f"tags.`{tag}`" for tag in ("source", "dvc_experiment", "git_commit")
    ]
    name_column = "attributes.`Run Name`"
    by_source = {"aggregateFunction": "average", "groupByKeys": [{"mode": "tag", "groupByData": "source"}]}
    ours, rest = ("routelab", name, True), ("rest", "Model metrics", False)
    state = {
        "searchFilter": runs,
        "orderByKey": columns[0] if best_first else "attributes.start_time",
        "groupBy": by_source if best_first else None,
        "useGroupedValuesInCharts": False,
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": columns,
        "columnOrder": [name_column, *columns],  # MLflow's own is by name
        "columnWidths": {name_column: 300, columns[0]: 150},  # no name is cut
        "runsHiddenMode": "FIRST_20_RUNS",
        "isAccordionReordered": True,  # keeps our section first
        "compareRunCharts": list(charts),
        "compareRunSections": [
            {"uuid": key, "name": title, "display": shown, "isReordered": True, "deleted": False, "isGenerated": False}
            for key, title, shown in (ours, rest)
        ],
    }
    return json.dumps({"name": name, "createdAt": 0, "updatedAt": 0, "state": json.dumps(state)})


def _card(kind: str, metric: str, over: str | None = None) -> dict[str, Any]:
    """A chart of one metric; of a ``LINE``, by step or over another metric."""
    along = {"xAxisKey": "metric", "selectedXAxisMetricKey": over, "useGlobalXaxisKey": False} if over else {}
    line = {"lineSmoothness": 0, "scaleType": "linear", "xAxisScaleType": "linear", "range": {}, "xAxisKey": "step"}
    return _placed(kind, metric) | {"metricKey": metric} | (line | along if kind == "LINE" else {})


def _scatter(x: str, y: str) -> dict[str, Any]:
    axes = {axis: {"key": key, "type": "METRIC"} for axis, key in (("xaxis", x), ("yaxis", y))}
    return _placed("SCATTER", y) | axes


def _differences() -> dict[str, Any]:
    """A table of the metrics in which the visible runs differ, each less that of the first."""
    shown = {"showChangeFromBaseline": True, "showDifferencesOnly": True, "baselineColumnUuid": ""}
    return _placed("DIFFERENCE", "runs") | {"chartName": "Differences", "compareGroups": ["Model metrics"]} | shown


def _placed(kind: str, metric: str) -> dict[str, Any]:
    card = {"uuid": f"{kind} {metric}", "type": kind, "metricSectionId": "routelab"}
    return card | {"runsCountToCompare": 20, "deleted": False, "isGenerated": False}
