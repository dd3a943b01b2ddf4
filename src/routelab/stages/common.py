"""What all stages share: paths, files of arrays, reports, and one way to start and to fail."""

from __future__ import annotations

import argparse
import io
import json
import math
import os
import sys
import tempfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from routelab.errors import RoutelabError
from routelab.evaluation.curves import PolicyCurve, complete_rows, curve_of
from routelab.params import Params, load_params
from routelab.policies.base import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DATA = Path("data")


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


def written(path: Path) -> Path:
    """``path``, where a stage has written it.

    Raises:
        RoutelabError: it is missing.
    """
    if not path.exists():
        raise RoutelabError(f"{path} is missing; run `dvc repro` at the root of the project, which writes it")
    return path


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = path.with_name(f".{path.name}.part")
    staging.write_bytes(content)
    os.replace(staging, path)


def write_arrays(path: Path, **arrays: NDArray[Any]) -> None:
    """Write named arrays as ``.npz`` without pickle; the same arrays give the same bytes."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    write_bytes(path, buffer.getvalue())


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays that ``write_arrays`` wrote, by name.

    Raises:
        RoutelabError: the file is missing or damaged.
    """
    content = io.BytesIO(written(path).read_bytes())
    try:
        with np.load(content, allow_pickle=False) as held:
            return dict(held)
    except (ValueError, EOFError, BadZipFile, zlib.error) as error:
        raise RoutelabError(f"{path} is damaged ({error}); remove it and run `dvc repro`") from None


def rounded(value: Any) -> Any:
    """Numbers of a report with 9 significant digits, so that the last bits of a sum do not show."""
    if isinstance(value, Mapping):
        return {str(name): rounded(item) for name, item in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [rounded(item) for item in value]
    if isinstance(value, (float, np.floating)):
        return float(f"{value:.9g}") if math.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value


def write_json(path: Path, report: Mapping[str, Any]) -> None:
    """Write a report as JSON with 9 significant digits."""
    write_bytes(path, (json.dumps(rounded(report), indent=1, ensure_ascii=False) + "\n").encode())


def drawn(ax: Axes) -> bytes:
    """The figure of ``ax`` as PNG, rendered before any output is written."""
    from routelab.plots import save_figure

    with tempfile.TemporaryDirectory() as folder:
        return save_figure(ax, Path(folder) / "figure.png").read_bytes()


@dataclass(frozen=True, slots=True)
class Split:
    """One side of a table as arrays: n prompts, k providers.

    Args:
        X: (n, p) float32 features.
        quality: (n, k) in [0, 1]; cost: (n, k) USD; latency: (n, k) seconds or None.
        tasks: (n,) labels, "" where the table has none.
        providers: names (k,).
    """

    X: NDArray[np.float32]
    quality: Floats
    cost: Floats
    latency: Floats | None
    tasks: NDArray[np.str_]
    providers: tuple[str, ...]

    def rows(self, mask: NDArray[np.bool_]) -> Split:
        """The prompts of ``mask`` (n,)."""
        latency = None if self.latency is None else self.latency[mask]
        return Split(self.X[mask], self.quality[mask], self.cost[mask], latency, self.tasks[mask], self.providers)

    def complete(self, name: str) -> Split:
        """The prompts for which every provider's quality and cost are known; ``name`` is what errors call the split.

        Raises:
            RoutelabError: there is no such prompt.
        """
        mask = complete_rows(self.quality, self.cost)
        if not mask.any():
            raise RoutelabError(
                f"{name}: no prompt has both quality and cost of all {len(self.providers)} providers; "
                "bring such prompts, or leave out the providers with few outcomes"
            )
        return self.rows(mask)

    def write(self, path: Path) -> None:
        """Write as ``.npz``."""
        latency = np.full(self.quality.shape, np.nan) if self.latency is None else self.latency
        write_arrays(
            path,
            X=self.X,
            quality=self.quality,
            cost=self.cost,
            latency=latency,
            tasks=self.tasks,
            providers=np.array(self.providers),
        )

    @classmethod
    def read(cls, path: Path) -> Split:
        """Read what ``write`` wrote.

        Raises:
            RoutelabError: the file is missing or damaged.
        """
        held = read_arrays(path)
        latency = None if np.isnan(held["latency"]).all(axis=0).any() else held["latency"]
        providers = tuple(held["providers"].tolist())
        return cls(held["X"], held["quality"], held["cost"], latency, held["tasks"], providers)


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
    held = read_arrays(path)
    return curve_of(path.stem, held["cost_weights"], held["probabilities"], split.quality, split.cost)


def point_metrics(curve: PolicyCurve, tasks: NDArray[np.str_]) -> dict[str, Floats]:
    """Series over λ for MLflow: λ, cost, quality, and quality per task."""
    series = {"lambda": curve.cost_weights, "cost_usd": curve.points[:, 0], "quality": curve.points[:, 1]}
    for task in np.unique(tasks):
        if task:
            series[f"quality/{task}"] = curve.outcomes.quality[tasks == task].mean(axis=0)
    return series


def stage(work: Callable[[str, Params], None]) -> None:
    """Run ``work(source, params)`` for the source on the command line, on one BLAS thread.

    A ``RoutelabError`` or ``OSError`` ends the process with one line on stderr; nothing else is written then.
    """
    parser = argparse.ArgumentParser(description=work.__doc__)
    parser.add_argument("source", help="name of the source, one of params.yaml: sources")
    try:
        with threadpool_limits(limits=1):
            work(parser.parse_args().source, load_params())
    except (RoutelabError, OSError) as error:
        sys.exit(f"routelab: {error}")
