"""What all stages share: paths, files of arrays, reports, and one way to start and to fail."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from routelab.errors import RoutelabError
from routelab.evaluation.curves import PolicyCurve
from routelab.evaluation.split import Split
from routelab.files import read_arrays, rounded, write_arrays, write_bytes, write_json, written
from routelab.params import Params, load_params
from routelab.policies.base import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "DATA",
    "Split",
    "collected",
    "drawn",
    "features",
    "guarded",
    "models",
    "point_metrics",
    "progress",
    "read_arrays",
    "read_curve",
    "read_splits",
    "reports",
    "rounded",
    "stage",
    "write_arrays",
    "write_bytes",
    "write_curve",
    "write_json",
    "written",
]
DATA = Path("data")
T = TypeVar("T")


def collected(source: str) -> Path:
    """The collected table of ``source``."""
    return DATA / "collected" / f"{source}.parquet"


def features(source: str) -> Path:
    """Folder of the featurizer and of both splits' features."""
    return DATA / "features" / source


def models(source: str) -> Path:
    """Folder of the fitted policies."""
    return DATA / "models" / source


def reports(source: str) -> Path:
    """Folder of metrics, figures and tables."""
    return DATA / "reports" / source


def drawn(ax: Axes) -> bytes:
    """The figure of ``ax`` as PNG, rendered before any output is written."""
    from routelab.plots import save_figure

    with tempfile.TemporaryDirectory() as folder:
        return save_figure(ax, Path(folder) / "figure.png").read_bytes()


def read_splits(source: str) -> tuple[Split, Split]:
    """Training and evaluation split of ``source``."""
    return Split.read(features(source) / "train.npz"), Split.read(features(source) / "eval.npz")


def write_curve(path: Path, cost_weights: Floats, probabilities: Floats) -> None:
    """Write the action probabilities (s, n, k) or (s, 1, k) of a policy on the evaluation split."""
    write_arrays(path, cost_weights=cost_weights, probabilities=probabilities.astype(np.float64))


def read_curve(path: Path, split: Split) -> PolicyCurve:
    """Curve of the policy whose probabilities ``write_curve`` wrote, named after the file.

    Raises:
        RoutelabError: the file is missing or damaged.
    """
    return split.read_curve(path)


def point_metrics(curve: PolicyCurve, tasks: NDArray[np.str_]) -> dict[str, Floats]:
    """Series over λ for MLflow: λ, cost, quality, and quality per task."""
    series = {"lambda": curve.cost_weights, "cost_usd": curve.points[:, 0], "quality": curve.points[:, 1]}
    for task in np.unique(tasks):
        if task:
            series[f"quality/{task}"] = curve.outcomes.quality[tasks == task].mean(axis=0)
    return series


def progress(items: Iterable[T], what: str, total: int | None = None) -> Iterable[T]:
    """``items`` with a bar on a terminal's stderr, and none elsewhere."""
    return tqdm(items, what, total, leave=False, disable=None)


def guarded(work: Callable[[Params], None]) -> None:
    """Run ``work(params)`` on one BLAS thread.

    A ``RoutelabError`` or ``OSError`` ends the process with one line on stderr; nothing else is written then.
    """
    try:
        with threadpool_limits(limits=1):
            work(load_params())
    except (RoutelabError, OSError) as error:
        sys.exit(f"routelab: {error}")


def stage(work: Callable[[str, Params], None]) -> None:
    """Run ``work(source, params)``, guarded, for the source on the command line."""
    parser = argparse.ArgumentParser(description=work.__doc__)
    parser.add_argument("source", help="name of the source, one of params.yaml: sources")
    source: str = parser.parse_args().source
    guarded(lambda params: work(source, params))
