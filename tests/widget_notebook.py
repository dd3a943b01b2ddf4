"""A small notebook with all three widgets."""

from __future__ import annotations

import nbformat

_CELLS = """
import asyncio
import numpy as np
from routelab import EpsilonGreedyPolicy, LLMRequest, OnlineMLRouter, KNNPolicy, PerformanceDB, simulated_providers
from routelab.evaluation.curves import policy_curve
from routelab.tables.synthetic import World
from routelab.widgets import DecisionInspector, FrontierExplorer, LiveView
world = World().generate(300, seed=0)
policy, db = EpsilonGreedyPolicy(0.1, KNNPolicy()), PerformanceDB('sqlite://')
router = OnlineMLRouter(simulated_providers(0), policy, db=db, retrain_after=None)
X = router.featurizer.transform(world.table.requests())
quality, cost, names = world.expected_quality, world.expected_cost, world.table.providers
router.policy.fit(X, quality, cost, providers=names)
curve = policy_curve("nearest", router.policy.base, X, quality, cost, np.array([0.0, 10.0, 50.0, 1000.0]))
---
explorer = FrontierExplorer(curve, names, quality, cost, prompts=world.table.prompts, start=10.0)
explorer
---
inspector = DecisionInspector(router.explain, "Say hello.")
inspector
---
with LiveView(names) as view:
    for request in view.track(world.table.requests()[:n_live]):
        view.add(await router.route_and_learn(request))
        await asyncio.sleep(pause_s)
"""


def notebook(n_live: int = 60, pause_s: float = 0.0) -> nbformat.NotebookNode:
    """It; ``n_live`` requests are routed live, with ``pause_s`` seconds after each."""
    start = f"n_live, pause_s = {n_live}, {pause_s}"
    cells = [nbformat.v4.new_code_cell(cell.strip()) for cell in (start + _CELLS).split("---")]
    return nbformat.v4.new_notebook(cells=cells)
