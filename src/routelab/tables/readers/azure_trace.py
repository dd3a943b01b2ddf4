"""Azure's LLM inference trace of 2023-11-16: 28,185 real arrivals in one hour with their token counts. No quality."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd


def read(files: Sequence[Path]) -> pd.DataFrame:
    """One row per request in order of arrival.

    Columns: ``workload`` ("code", "conv"), ``timestamp`` (UTC), ``arrival_s`` (seconds since the first of all),
    ``input_tokens``, ``output_tokens``.
    """
    rows = pd.concat([pd.read_csv(file).assign(workload=file.stem.rsplit("_", 1)[1]) for file in files])
    trace = pd.DataFrame(
        {
            "workload": rows["workload"],
            "timestamp": pd.to_datetime(rows["TIMESTAMP"], utc=True),
            "input_tokens": rows["ContextTokens"],
            "output_tokens": rows["GeneratedTokens"],
        }
    ).sort_values("timestamp", kind="stable", ignore_index=True)
    arrival = (trace["timestamp"] - trace["timestamp"].iloc[0]).dt.total_seconds()
    trace.insert(2, "arrival_s", arrival)
    return trace
