"""LLMPerf leaderboard: 19 provider–model pairs × about 150 requests: latencies and failures. No prompts, no quality.

Error codes: null = answered; 429 and −1 = failed, nothing measured; −100 = answered, but with too few tokens.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd


def read(files: Sequence[Path]) -> pd.DataFrame:
    """One row per request, as measured with five requests at a time.

    Columns: ``provider``, ``model`` (size of Llama-2 chat: "7b", "13b", "70b"), ``ttft_s`` (time to first token),
    ``latency_s`` (end to end), both NaN where the request failed; ``input_tokens``, ``output_tokens``,
    ``error_code`` (0 = none).
    """
    rows = pd.concat(
        [
            _requests(file).assign(provider=provider, model=model)
            for file in files
            for provider, model in [file.stem.split("_")]
        ],
        ignore_index=True,
    )
    measured = rows["end_to_end_latency_s"] > 0.0
    return pd.DataFrame(
        {
            "provider": rows["provider"],
            "model": rows["model"],
            "ttft_s": rows["ttft_s"].where(measured, np.nan),
            "latency_s": rows["end_to_end_latency_s"].where(measured, np.nan),
            "input_tokens": rows["number_input_tokens"],
            "output_tokens": rows["number_output_tokens"].where(measured, 0),
            "error_code": rows["error_code"].fillna(0).astype(int),
        }
    )


def _requests(file: Path) -> pd.DataFrame:
    return pd.DataFrame(json.loads(file.read_text(encoding="utf-8")))
