"""PlugInPolicy: estimates of score and cost, each tuned on its own, plugged into score − λ·cost."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from routelab.policies.base import Floats
from routelab.policies.baselines.knn import BLOCK, KNNPolicy
from routelab.policies.baselines.scaling import column_groups

GRID = 2 ** np.arange(1, 10)
# Prompts on which the numbers of neighbours are compared.
_JUDGES = 2000
_SAME = 1.0 - 1e-5


class PlugInPolicy(KNNPolicy):
    """CARROT with its kNN regressors: separate numbers of neighbours for quality, cost and latency.

    Each is the one of 2, 4, …, 512 with the smallest squared error when training prompts are predicted from the
    others (leave-one-out, identical prompts left out too; up to 2,000 prompts, seeded), each column scaled by its
    variance. Where every quality was observed, it is judged less the prompt's mean: only differences between
    providers decide, and by cross-validation on training prompts this routed better (BFCL 0.01 instead of −0.06,
    elsewhere equal). The paper's other regressor is a fine-tuned RoBERTa; its linear counterpart on fixed embeddings is
    ``RidgePolicy``. Reference: Somerstep et al., *CARROT: A Cost Aware Rate Optimal Router*, 2025, arXiv:2502.03261.

    Args:
        seed: of the draw of prompts on which the numbers of neighbours are compared.

    Attributes:
        neighbors_: (2k,) or (3k,) neighbours chosen for the columns of quality, cost and latency.

    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 2))
    >>> policy = PlugInPolicy().fit(X, rng.random((200, 2)), (X > 0.0) + 1.0)
    >>> bool(policy.neighbors_[0] > policy.neighbors_[2])
    True
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def _neighbors(self, k: int) -> NDArray[np.intp]:
        targets = self.targets_.copy()
        if k > 1 and not np.isnan(targets[:, :k]).any():
            targets[:, :k] -= targets[:, :k].mean(axis=1, keepdims=True)
        errors = self._errors(targets)
        blocks = np.split(errors, errors.shape[1] // k, axis=1)
        return np.concatenate([np.full(k, GRID[block.sum(axis=1).argmin()]) for block in blocks])

    def _errors(self, judged: Floats) -> Floats:
        """Squared leave-one-out error (grid, columns) of each number of neighbours, over the variance."""
        errors = np.zeros((len(GRID), judged.shape[1]))
        rng = np.random.default_rng(self.seed)
        for rows, columns in column_groups(judged, np.zeros(judged.shape[1], dtype=np.intp)):
            units, targets = self.units_[rows], judged[np.ix_(rows, columns)]
            judges = rng.permutation(len(rows))[:_JUDGES]
            steps = np.minimum(GRID, len(rows))
            for start in range(0, len(judges), BLOCK):
                block = judges[start : start + BLOCK]
                similarity = units[block] @ units.T
                similarity[similarity > _SAME] = -np.inf
                nearest = np.argpartition(similarity, -steps[-1], axis=1)[:, -steps[-1] :]
                order = np.argsort(-np.take_along_axis(similarity, nearest, axis=1), axis=1, kind="stable")
                found = targets[np.take_along_axis(nearest, order, axis=1)].cumsum(axis=1)
                means = found[:, steps - 1] / steps[:, None]
                errors[:, columns] += ((means - targets[block, None]) ** 2).sum(axis=0)
            errors[:, columns] /= np.maximum(targets.var(axis=0), 1e-18) * len(judges)
        return errors
