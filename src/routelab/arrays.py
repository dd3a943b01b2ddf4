"""Arrays as arguments (the one check that all share) and as files (the same arrays, the same bytes)."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from routelab.errors import RoutelabError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Floats = NDArray[np.float64]
Rows = TypeVar("Rows", bound="DataclassInstance")


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


def observed_mean(values: Floats) -> Floats:
    """Mean (k,) of what is known in each column of ``values`` (n, k); NaN where nothing is.

    >>> observed_mean(np.array([[1.0, np.nan], [0.0, np.nan]]))
    array([0.5, nan])
    """
    seen = np.isfinite(values)
    count = np.count_nonzero(seen, axis=0)
    sums = np.ones(len(values)) @ np.where(seen, values, 0.0)  # faster than a sum along long columns
    means: Floats = np.divide(sums, count, out=np.full(count.shape, np.nan), where=count > 0)
    return means


def take_rows(data: Rows, rows: Any) -> Rows:
    """A dataclass with these rows (a mask, places or a slice) of each of its arrays."""
    values = {field.name: getattr(data, field.name) for field in fields(data)}
    return replace(data, **{name: value[rows] for name, value in values.items() if isinstance(value, np.ndarray)})


def pack(arrays: Mapping[str, NDArray[Any]], *, compressed: bool = False) -> bytes:
    """Named arrays as an ``.npz`` archive without pickle; the same arrays give the same bytes on every Python.

    ``np.savez`` forces headers for huge files, which patch releases of Python write differently.

    >>> list(np.load(io.BytesIO(pack({"x": np.arange(3)}))))
    ['x']
    """
    method = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in arrays.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, np.asanyarray(array), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), content.getvalue(), method)
    return buffer.getvalue()
