"""Features made smaller and of one scale, fitted on training requests: a PCA of the embedding, and standardisation."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from routelab.errors import RoutelabError

Matrix = NDArray[np.float32]
COMPONENTS = 25  # what a linear bandit can learn from some thousand outcomes


def principal_components(vectors: NDArray[np.floating[Any]], n_components: int, seed: int) -> tuple[Matrix, Matrix]:
    """Mean (p,) and leading components (n_components, p) of training vectors (n, p).

    Raises:
        RoutelabError: there are not that many.
    """
    from sklearn.decomposition import PCA

    most = min(vectors.shape)
    if not 1 <= n_components <= most:
        raise RoutelabError(
            f"RequestFeaturizer.n_components is {n_components}; with {len(vectors)} training prompts and "
            f"{vectors.shape[1]} dimensions give a number from 1 to {most}, or None"
        )
    pca = PCA(n_components, svd_solver="full", random_state=seed).fit(vectors.astype(np.float64))
    return pca.mean_.astype(np.float32), pca.components_.astype(np.float32)


def column_scaling(raw: Matrix, together: int) -> Matrix:
    """Centre and factor of each column, (2, p); a column that does not vary gets the factor 0.

    Args:
        raw: (n, p) training features.
        together: first of the columns that share one factor, that of the widest of them.

    >>> column_scaling(np.array([[0.0, 5.0, 1.0, 0.0], [2.0, 5.0, 3.0, 8.0]], dtype=np.float32), together=2)
    array([[1.  , 5.  , 2.  , 4.  ],
           [1.  , 0.  , 0.25, 0.25]], dtype=float32)
    """
    spread = raw.std(axis=0, dtype=np.float64)
    if together < len(spread):
        spread[together:] = spread[together:].max()
    factor = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 1e-6)
    return np.stack([raw.mean(axis=0, dtype=np.float64), factor]).astype(np.float32)


def reduce_columns(X: NDArray[np.floating[Any]], n_components: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights (p, c) and offset (c,): X·weights + offset are the leading components of the standardised columns.

    The first component has unit variance, and the others theirs relative to it; c is at most ``n_components``.

    >>> X = np.array([[0.0, 0.0], [1.0, 10.0], [2.0, 20.0]])
    >>> weights, offset = reduce_columns(X, 1)
    >>> np.abs(X @ weights + offset).round(3).ravel()
    array([1.225, 0.   , 1.225])
    """
    centre, factor = column_scaling(np.asarray(X, dtype=np.float32), X.shape[1])
    standard = (X - centre) * factor
    mean, components = principal_components(standard, min(n_components, *standard.shape), seed=0)
    widest = float(np.sqrt(np.mean(((standard - mean) @ components[0]) ** 2))) or 1.0
    weights = (factor[:, None] * components.T / widest).astype(np.float64)
    return weights, -(centre @ weights) - mean @ components.T.astype(np.float64) / widest
