"""What a table's columns are called: all that are missing or unknown, and what they probably stand for."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

from routelab.errors import TableError

_SYNONYMS = {
    "prompt_id": "id ticket ticket_id request request_id question_id query_id item sample_id",
    "provider": "model model_name model_id llm llm_name",
    "prompt": "question input text query message instruction user_prompt",
    "quality": "score grade rating correct accuracy",
    "cost_usd": "usd cost price cost_in_usd total_cost",
}
_MEANT = {word: column for column, words in _SYNONYMS.items() for word in words.split()}


def check_headers(names: Sequence[str], known: Sequence[str], required: Mapping[str, str], origin: str) -> None:
    """Refuse a table that lacks columns or has others than the format knows.

    Args:
        names: of its columns.
        known: names of the format; those that start with ``x_`` are features and pass too.
        required: names that must be there, each with the remedy where it is not.
        origin: what an error calls the table.

    Raises:
        TableError: naming every missing and every unknown column, and as pandas code what they may have been meant for.

    >>> check_headers(["llm", "prompt", "colour"], ["provider", "prompt"], {"provider": ""}, "mine.csv")
    Traceback (most recent call last):
    routelab.errors.TableError: mine.csv: column 'provider' is missing, and 'llm' and 'colour' are unknown. Did you mean
    df.rename(columns={'llm': 'provider'})? As to 'colour': a feature of your own starts with x_; drop what is none.
    """
    missing = [name for name in required if name not in names]
    unknown = [name for name in names if name not in known and not (name.startswith("x_") and name != "x_")]
    if not missing and not unknown:
        return
    absent = [name for name in known if name not in names]
    meant = {name: target for name in unknown if (target := _probable(name, absent))}
    found = {target: name for name, target in reversed(meant.items())}  # of several, the first
    chosen = {name: target for name, target in meant.items() if found[target] == name}
    told = [_verdict(missing, unknown)]
    if chosen:
        told.append(f"Did you mean df.rename(columns={chosen})?")
    told += [f"{name!r} may be {target!r} too: keep one." for name, target in meant.items() if name not in chosen]
    told += [required[name] for name in missing if name not in found]
    if "prompt" in absent and "prompt" not in found and not any(name.startswith("x_") for name in names):
        told.append("The text of each request is called 'prompt'.")
    index = [name for name in unknown if name.startswith("Unnamed:")]
    told += [f"{name!r} is the index of a frame: write the file with index=False, or drop it." for name in index]
    if rest := [name for name in unknown if name not in meant and name not in index]:
        told.append(f"As to {_listed(rest)}: a feature of your own starts with x_; drop what is none.")
    raise TableError(f"{origin}: {' '.join(told)}")


def _probable(name: str, absent: Sequence[str]) -> str | None:
    """The absent column that ``name`` probably stands for: by case and spaces, a synonym, or a slip of the pen."""
    plain = name.strip().lower().replace(" ", "_").replace("-", "_")
    if plain in absent or _MEANT.get(plain) in absent:
        return plain if plain in absent else _MEANT[plain]
    return next(iter(difflib.get_close_matches(plain, absent, n=1, cutoff=0.7)), None)


def _verdict(missing: Sequence[str], unknown: Sequence[str]) -> str:
    named = [(names, word) for names, word in ((missing, "missing"), (unknown, "unknown")) if names]
    told = [f"{_listed(names)} {'is' if len(names) == 1 else 'are'} {word}" for names, word in named]
    return f"column{'s' if len(named[0][0]) > 1 else ''} {', and '.join(told)}."


def _listed(names: Sequence[str]) -> str:
    """Names in quotes, as a sentence lists them.

    >>> _listed(["a"]), _listed(["a", "b", "c"])
    ("'a'", "'a', 'b' and 'c'")
    """
    shown = [repr(name) for name in names]
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)
