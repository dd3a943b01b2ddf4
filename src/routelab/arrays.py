"""The one check that numeric arguments share: a float array of the right number of axes, without NaN."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from routelab.errors import RoutelabError

Floats = NDArray[np.float64]


def float_array(name: str, values: ArrayLike, ndim: int, *, finite: bool = True) -> Floats:
    """``values`` as a float array with ``ndim`` axes, free of NaN (and, where ``finite``, of infinities).

    Raises:
        RoutelabError: not numbers, another number of axes, or a refused value; names argument and place.

    >>> float_array("cost", [1, 2], ndim=1)
    array([1., 2.])
    >>> float_array("cost", [[1.0, float("nan")]], ndim=2)
    Traceback (most recent call last):
    routelab.errors.RoutelabError: cost is nan at row 0, column 1; ...
    """
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise RoutelabError(f"{name} is not an array of numbers ({error}); give floats of equal row length") from None
    if array.ndim != ndim:
        raise RoutelabError(f"{name} has shape {array.shape}; give an array with {ndim} axes")
    refused = ~np.isfinite(array) if finite else np.isnan(array)
    if refused.any():
        place = tuple(int(i) for i in np.argwhere(refused)[0])
        where = ", ".join(f"{axis} {i}" for axis, i in zip(("row", "column"), place, strict=False))
        raise RoutelabError(f"{name} is {array[place]} at {where}; remove or fill such rows first")
    return array
