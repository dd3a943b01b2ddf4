"""Matrices that change by one outer product at a time, and the drift of an inverse kept beside them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.blas import dger

Floats = NDArray[np.float64]


def add_outer(matrix: Floats, factor: float, rows: Floats, columns: Floats) -> None:
    """Add ``factor``·rows·columnsᵀ to a matrix (n, d), in place.

    >>> matrix = np.zeros((2, 2))
    >>> add_outer(matrix, 2.0, np.array([1.0, 2.0]), np.array([1.0, 0.0]))
    >>> matrix
    array([[2., 0.],
           [4., 0.]])
    """
    dger(factor, columns, rows, 1, 1, matrix.T, 0, 0, 1)  # increments of 1, and only the matrix is overwritten


def inverse(matrix: Floats) -> Floats:
    """Inverse of a symmetric matrix, exactly symmetric.

    >>> inverse(np.array([[2.0, 0.0], [0.0, 4.0]]))
    array([[0.5 , 0.  ],
           [0.  , 0.25]])
    """
    found = np.linalg.inv(matrix)
    return np.asarray((found + found.T) / 2.0, dtype=np.float64)


def inverse_error(matrix: Floats, kept: Floats, vector: Floats) -> float:
    """How far ``kept`` has drifted from the inverse: relative error of matrix·(kept·v) against v; NaN or inf if broken.

    >>> inverse_error(np.eye(2), 1.5 * np.eye(2), np.ones(2))
    0.5
    """
    return float(np.abs(matrix @ (kept @ vector) - vector).max() / np.abs(vector).max())
