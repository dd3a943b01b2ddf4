"""Off-policy evaluation: what other policies would have brought, from the log of the one that decided.

>>> import numpy as np
>>> log = LoggedData([0, 1, 1, 0], [0.2, 0.8, 0.6, 0.4], [0.5] * 4, ("small", "large"))
>>> float(estimate(snips(Rows.of(log.action, log.quality, log.propensity, fixed(log, "large"))).sum(axis=0)))
0.7
"""

from routelab.evaluation.ope.diagnostics import LowSampleWarning, Overlap, overlap, propensity_calibration
from routelab.evaluation.ope.estimators import (
    ESTIMATORS,
    TUNED,
    Rows,
    Terms,
    clipped_ips,
    dm,
    dr,
    dros,
    estimate,
    influence,
    ips,
    sndr,
    snips,
    switch_dr,
)
from routelab.evaluation.ope.evaluating import evaluate
from routelab.evaluation.ope.intervals import bernstein_interval, bootstrap_interval, resampled
from routelab.evaluation.ope.logged import LoggedData
from routelab.evaluation.ope.places import Place, places
from routelab.evaluation.ope.ranking import rank
from routelab.evaluation.ope.rewards import predicted_rewards
from routelab.evaluation.ope.targets import fixed, target_probabilities
from routelab.evaluation.ope.tuning import slope

__all__ = [
    "ESTIMATORS",
    "TUNED",
    "LoggedData",
    "LowSampleWarning",
    "Overlap",
    "Place",
    "Rows",
    "Terms",
    "bernstein_interval",
    "bootstrap_interval",
    "clipped_ips",
    "dm",
    "dr",
    "dros",
    "estimate",
    "evaluate",
    "fixed",
    "influence",
    "ips",
    "overlap",
    "places",
    "predicted_rewards",
    "propensity_calibration",
    "rank",
    "resampled",
    "slope",
    "sndr",
    "snips",
    "switch_dr",
    "target_probabilities",
]
