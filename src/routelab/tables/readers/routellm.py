"""RouteLLM's MMLU and GSM8K: GPT-4-1106 against Mixtral-8x7B, right or wrong.

The prompts that the authors found in their training data are dropped, as in their ``evals/benchmarks.py``. The files
hold no tokens: cost = list price × tokens estimated at four characters each. Prices: RouterArena's
``model_cost/cost.json`` (commit 4714a9a). For MMLU, whose answers are not in the files, one answer is one token (the
letter that its prompts ask for).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from routelab.tables.io import read_json_lines

#: USD per million tokens, input and output.
PRICES = {"gpt-4-1106-preview": (10.0, 30.0), "mistralai/Mixtral-8x7B-Instruct-v0.1": (0.6, 0.6)}
_CHARACTERS_PER_TOKEN = 4
_MMLU_OUTPUT_TOKENS = 1.0


def read_mmlu(files: Sequence[Path]) -> pd.DataFrame:
    """Tidy rows of the 57 subjects; ``task`` is the subject."""
    subjects = [_subject(file) for file in files if file.suffix == ".csv"]
    wide = decontaminated(pd.concat(subjects, ignore_index=True), files)
    rows = [
        answers(wide, provider).assign(quality=wide[provider].astype(float), output_tokens=_MMLU_OUTPUT_TOKENS)
        for provider in PRICES
    ]
    return priced(pd.concat(rows, ignore_index=True))


def read_gsm8k(files: Sequence[Path]) -> pd.DataFrame:
    """Tidy rows of the 1,319 − 12 problems; output tokens are estimated from the answers in the file."""
    responses = next(file for file in files if file.suffix == ".csv")
    wide = decontaminated(_named(pd.read_csv(responses), "gsm8k"), files)
    rows = [
        answers(wide, provider).assign(
            quality=wide[provider].astype(float), output_tokens=estimated_tokens(wide[f"{provider}_response"])
        )
        for provider in PRICES
    ]
    return priced(pd.concat(rows, ignore_index=True))


def estimated_tokens(texts: pd.Series[str]) -> pd.Series[float]:
    """Tokens of each text, at four characters each and at least one.

    >>> estimated_tokens(pd.Series(["", "Four letters"])).tolist()
    [1.0, 3.0]
    """
    return (texts.str.len() / _CHARACTERS_PER_TOKEN).apply(math.ceil).clip(lower=1).astype(float)


def contaminated(files: Sequence[Path]) -> list[str]:
    """The evaluation prompts that the authors drop."""
    listed = next(file for file in files if file.name == "contaminated_prompts.jsonl")
    return [row["eval_prompt"] for row in read_json_lines(listed)]


def decontaminated(wide: pd.DataFrame, files: Sequence[Path]) -> pd.DataFrame:
    """``wide`` without the contaminated prompts."""
    return wide[~wide["prompt"].isin(contaminated(files))]


def answers(wide: pd.DataFrame, provider: str) -> pd.DataFrame:
    """The columns that one provider's rows share with the other's, and the estimated input tokens."""
    shared = wide[["prompt_id", "prompt", "task"]]
    return shared.assign(provider=provider, input_tokens=estimated_tokens(wide["prompt"]))


def priced(tidy: pd.DataFrame) -> pd.DataFrame:
    """``tidy`` with the list prices, from which the table fills ``cost_usd``."""
    prices = [tidy["provider"].map({name: price[side] for name, price in PRICES.items()}) for side in (0, 1)]
    return tidy.assign(input_price_per_mtok=prices[0], output_price_per_mtok=prices[1])


def _subject(file: Path) -> pd.DataFrame:
    return _named(pd.read_csv(file), file.stem.removeprefix("mmlu_"))


def _named(wide: pd.DataFrame, task: str) -> pd.DataFrame:
    return wide.assign(task=task, prompt_id=[f"{task}-{number}" for number in range(len(wide))])
