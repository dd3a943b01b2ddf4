"""ParetoBandit: 1,785 + 1,824 public benchmark prompts × 3 providers, quality from a judge, cost in USD.

The authors learn on ``val`` and evaluate on ``test_holdout``; no prompt is in both. That is the table's own split.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from routelab.tables.io import read_json_lines

_SPLITS = {"val": "train", "test_holdout": "eval"}


def read(files: Sequence[Path]) -> pd.DataFrame:
    """Tidy rows of both files; ``task`` is the benchmark, ``split`` the authors' own."""
    return pd.DataFrame(
        {
            "prompt_id": f"{file.stem}-{number}",
            "provider": provider,
            "quality": outcome["reward"],
            "cost_usd": outcome["cost"],
            "prompt": record["prompt"],
            "task": record["source"],
            "split": _SPLITS[file.stem],
        }
        for file in files
        for number, record in enumerate(read_json_lines(file))
        for provider, outcome in record["arms"].items()
    )
