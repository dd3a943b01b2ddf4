"""RouterBench zero-shot (ARC-Challenge, MBPP, Winogrande) × 11 providers: right or wrong, USD per call.

14 ARC questions appear in two rows: one holds the grades of ten providers, the other sent the prompt twice (at twice
the cost) and holds the grade of the eleventh. They are merged: all grades, and the costs of the plain prompt. The
files' names say train and test, but RouterDC's division is not kept: this project splits by seed.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

_COST = "|total_cost"


def read(files: Sequence[Path]) -> pd.DataFrame:
    """Tidy rows of 3,164 prompts × 11 providers; ``task`` is the benchmark."""
    rows = pd.concat([pd.read_csv(file) for file in files], ignore_index=True)
    prompts = rows["prompt"].map(ast.literal_eval)
    plain_first = rows.assign(prompt=prompts.str[0]).iloc[prompts.str.len().argsort(kind="stable")]
    wide = plain_first.groupby("sample_id", sort=True).first()  # the first grade that is not empty
    providers = [str(column).removesuffix(_COST) for column in wide if str(column).endswith(_COST)]
    shared = wide[["prompt", "eval_name"]].rename(columns={"eval_name": "task"}).reset_index(names="prompt_id")
    return pd.concat(
        shared.assign(provider=p, quality=wide[p].to_numpy(), cost_usd=wide[p + _COST].to_numpy()) for p in providers
    )
