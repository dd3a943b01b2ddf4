"""A small table of which the right figures are known: a cheap provider fails on hard prompts, a dear one does not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from routelab.tables.table import PerformanceTable


def hard_and_easy(n: int = 300, *, noise: float = 0.0, seed: int = 0) -> pd.DataFrame:
    """The column ``x_hard`` tells whom to ask; with ``noise``, an outcome is a coin's toss with that probability."""
    rng = np.random.default_rng(seed)
    hard = rng.random(n) < 0.4
    quality = np.column_stack([~hard, np.ones(n)])
    quality = np.where(rng.random((n, 2)) < noise, rng.random((n, 2)) < 0.5, quality).astype(float)
    rows = np.repeat(np.arange(n), 2)
    return pd.DataFrame(
        {
            "prompt_id": [f"p{row}" for row in rows],
            "provider": np.tile(["small", "large"], n),
            "quality": quality.ravel(),
            "cost_usd": np.tile([0.001, 0.01], n),
            "x_hard": hard[rows].astype(float),
            "x_estimated_complexity": rng.random(n)[rows],
        }
    )


def table_of(frame: pd.DataFrame) -> PerformanceTable:
    return PerformanceTable.from_frame(frame, origin="t.csv")


def with_split(frame: pd.DataFrame, train: int, column: str = "split") -> pd.DataFrame:
    """The first ``train`` prompts train."""
    place = frame["prompt_id"].str.removeprefix("p").astype(int)
    return frame.assign(**{column: np.where(place < train, "train", "eval")})


def write_csv(frame: pd.DataFrame, path: Path) -> str:
    frame.to_csv(path, index=False)
    return str(path)
