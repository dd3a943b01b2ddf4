"""RouterArena: 809 queries of 23 data sets × 2 providers: score, tokens, USD.

One METEOR score is −0.033; it counts as 0, for quality lies in [0, 1].
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from routelab.tables.io import read_json_lines


def read(files: Sequence[Path]) -> pd.DataFrame:
    """Tidy rows of both providers; ``task`` is the data set, the start of ``global_index``."""
    return pd.DataFrame(
        {
            "prompt_id": record["global_index"],
            "provider": record["llm_selected"],
            "quality": max(0.0, record["evaluation_result"]["score"]),
            "cost_usd": record["evaluation_result"]["inference_cost"],
            "prompt": record["question"],
            "task": re.split(r"[_-]", record["global_index"])[0],
            "input_tokens": record["token_usage"]["input_tokens"],
            "output_tokens": record["token_usage"]["output_tokens"],
        }
        for file in files
        for record in read_json_lines(file)
    )
