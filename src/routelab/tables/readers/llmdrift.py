"""LLMDrift: the same queries to GPT-3.5 and GPT-4 as they were in March and in June 2023: real drift.

A prompt is a query at a date (``prime-0@2023-03``), so each query's text appears twice; a random split keeps the two
together. ``timestamp`` is the release date of the snapshot that answered (the authors sent all queries in July 2023,
to both): in its order March comes before June.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

_SNAPSHOTS = {  # model → provider, period, release date
    "openaichat/gpt-3.5-turbo-0301": ("gpt-3.5", "2023-03", "2023-03-01"),
    "openaichat/gpt-4-0314": ("gpt-4", "2023-03", "2023-03-14"),
    "openaichat/gpt-3.5-turbo-0613": ("gpt-3.5", "2023-06", "2023-06-13"),
    "openaichat/gpt-4-0613": ("gpt-4", "2023-06", "2023-06-13"),
}
_VERDICT = r"(?is).*\[(yes|no)\]"
_BOXED = r"(?s).*boxed\{\s*(\d+)\s*\}"


def read(files: Sequence[Path]) -> pd.DataFrame:
    """Tidy rows of 1,550 queries × 2 dates × 2 providers, March first; ``task`` is the data set."""
    tidy = pd.concat([_tidy(pd.read_csv(file)) for file in files])
    return tidy.sort_values("period", kind="stable").drop(columns="period")


def _tidy(rows: pd.DataFrame) -> pd.DataFrame:
    snapshot = pd.DataFrame(rows["model"].map(_SNAPSHOTS).tolist(), columns=["provider", "period", "release"])
    task = rows["dataset"].replace("composite", "prime")  # the right answer is in the data set's name
    return snapshot[["provider", "period"]].assign(
        prompt_id=task + "-" + rows["id"].astype(str) + "@" + snapshot["period"],
        task=task,
        prompt=rows["query"],
        quality=_grade(rows),
        cost_usd=rows["cost"],
        output_tokens=rows["answer_token"],
        latency_s=rows["latency"],
        timestamp=pd.to_datetime(snapshot["release"], utc=True),
    )


def _grade(rows: pd.DataFrame) -> pd.Series[float]:
    """1 where the last verdict (or boxed number) of the answer is the reference's, or the code ran as it came."""
    if "Directly Usable" in rows:
        return rows["Directly Usable"].astype(float)
    if rows["dataset"].iloc[0] == "prime":
        given, right = rows["answer"].str.extract(_VERDICT)[0].str.lower(), rows["ref_answer"].str.lower()
    else:
        given, right = rows["answer"].str.extract(_BOXED)[0], rows["ref_answer"].str.extract(_BOXED)[0]
    return given.eq(right).astype(float)
