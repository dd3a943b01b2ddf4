"""The data card of a table: where it comes from, what it holds, and what to mind."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import import_module

import numpy as np

from routelab.arrays import Floats
from routelab.cards.markdown import number, plain, share, table
from routelab.tables.registry import Source
from routelab.tables.table import PerformanceTable

_UNITS = {
    "prompt_id": "name of the prompt",
    "provider": "who answered",
    "prompt": "its text",
    "task": "label for reporting, never a feature",
    "split": "the source's own split",
    "quality": "in [0, 1]",
    "cost_usd": "USD",
    "latency_s": "seconds",
    "input_tokens": "tokens",
    "output_tokens": "tokens",
    "timestamp": "unix seconds; here days (UTC)",
}
_LARGEST = 12  # tasks that are listed
_SAME = 1e-3  # relative: a cost that prices explain


def data_card(data: PerformanceTable, source: Source | None = None) -> str:
    """The card of ``data`` as Markdown; ``source`` is its entry in the registry, None for a table of one's own.

    >>> import pandas as pd
    >>> frame = pd.DataFrame({"prompt_id": ["a", "a"], "provider": ["small", "large"], "prompt": ["Hi", "Hi"],
    ...                       "quality": [0.5, 1.0], "cost_usd": [0.001, 0.02]})
    >>> print(data_card(PerformanceTable.from_frame(frame, origin="mine.csv")).splitlines()[0])
    # Data card: mine.csv
    """
    name = data.origin if source is None else source.name
    parts = [f"# Data card: {plain(name)}", *_origin(data, source)]
    parts += ["## What it holds", _size(data), _columns(data), "## Providers", _providers(data)]
    parts += ["## Tasks", _tasks(data)] if data.tasks is not None else []
    parts += ["## What to mind", "\n".join(f"- {each}" for each in _problems(data))]
    return "\n\n".join(parts) + "\n"


def _origin(data: PerformanceTable, source: Source | None) -> Iterator[str]:
    if source is None:
        yield "A table of one's own: origin and licence are its owner's to say."
        return
    facts = [
        ("origin", source.origin),
        ("version", source.version or "–"),
        ("licence", source.licence),
        ("citation", source.citation),
        ("size", f"{number(source.bytes / 1e6)} MB in {len(source.files)} files" if source.files else "generated"),
        ("written by", f"`dvc repro collect@{source.name}`"),
    ]
    yield f"{source.title}."
    yield table(("", source.name), facts)
    reader = import_module(f"routelab.tables.readers.{source.reader.split(':')[0]}")
    yield "## How it was read"
    yield (reader.__doc__ or "").strip().replace("``", "`")
    if source.files:
        yield "## Files"
        yield table(("file", "bytes", "sha256"), [(f.path, f"{f.bytes:,}", f.sha256) for f in source.files])


def _size(data: PerformanceTable) -> str:
    seen = int(np.isfinite(data.cost).sum())
    sides = [] if data.splits is None else [f"{(data.splits == side).sum():,} to {side}" for side in ("train", "eval")]
    own = f", by the source's own split {' and '.join(sides)}" if sides else ""
    return f"{data.n:,} prompts{own} × {data.k} providers: {seen:,} of {data.n * data.k:,} outcomes."


def _columns(data: PerformanceTable) -> str:
    frame = data.to_frame()
    rows = []
    for name in frame.columns:
        column = frame[name]
        told = _day if name == "timestamp" else number
        numeric = column.dtype.kind == "f"
        spread = f"{told(column.min())} to {told(column.max())}" if numeric else f"{column.nunique():,} different"
        rows.append((f"`{name}`", _UNITS.get(name, "feature of the request"), share(column.isna().mean()), spread))
    return table(("column", "", "empty", "values"), rows)


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()


def _providers(data: PerformanceTable) -> str:
    rows = []
    for arm, name in enumerate(data.providers):
        quality, cost, latency = (each[:, arm] for each in (data.quality, data.cost, data.latency))
        prices = _prices(data.input_tokens[:, arm], data.output_tokens[:, arm], cost)
        rows.append(
            (
                name,
                share(np.isnan(quality).mean()),
                number(_mean(quality)),
                number(1000.0 * _mean(cost)),
                "–" if prices is None else " / ".join(map(number, prices)),
                number(_median(latency)),
            )
        )
    header = ("provider", "not graded", "mean quality", "USD per 1,000", "price", "median seconds")
    told = (
        "Price: USD per million input and output tokens, where the costs follow from tokens; else only costs are known."
    )
    return f"{table(header, rows)}\n\n{told}"


def _mean(values: Floats) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else float("nan")


def _median(values: Floats) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if known.size else float("nan")


def _prices(input_tokens: Floats, output_tokens: Floats, cost: Floats) -> tuple[float, float] | None:
    """USD per million tokens by least squares, where they explain nearly every cost."""
    known = np.isfinite(input_tokens) & np.isfinite(output_tokens) & (cost > 0.0)
    if known.sum() < 3:
        return None
    tokens = np.column_stack([input_tokens[known], output_tokens[known]])
    found, _, rank, _ = np.linalg.lstsq(tokens, cost[known], rcond=None)
    explained = np.abs(tokens @ found - cost[known]) <= _SAME * cost[known]
    return (float(1e6 * found[0]), float(1e6 * found[1])) if rank == 2 and explained.mean() > 0.99 else None


def _tasks(data: PerformanceTable) -> str:
    tasks = np.asarray(data.tasks, str)
    names, counts = np.unique(tasks, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    best = [_best(data, tasks == name) for name in names]
    rows = [(names[i] or "(none)", f"{counts[i]:,}", *best[i]) for i in order[:_LARGEST]]
    rest = "" if len(order) <= _LARGEST else f"\n\n{len(order) - _LARGEST} smaller tasks are not listed."
    return table(("task", "prompts", "best on average", "its mean quality"), rows) + rest


def _best(data: PerformanceTable, rows: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> tuple[str, str]:
    means = np.array([_mean(column) for column in data.quality[rows].T])
    if np.isnan(means).all():
        return "–", "–"
    arm = int(np.nanargmax(means))
    return data.providers[arm], number(float(means[arm]))


def _problems(data: PerformanceTable) -> Iterator[str]:
    """What the table itself shows that a reader of results should know."""
    missing = np.isnan(data.quality)
    whole = ~missing.any(axis=1)
    yield (
        f"{share(missing.mean())} of the outcomes are not graded; {share(whole.mean())} of the prompts are graded for "
        "every provider, and only those are evaluated on."
    )
    if whole.any():
        graded = data.quality[whole]
        same = np.ptp(graded, axis=1) == 0.0
        yield (f"On {share(same.mean())} of these, all providers are equally good: there only cost tells them apart.")
        values = np.unique(graded)
        yield (
            f"Quality takes {len(values)} values ({', '.join(map(number, values))})."
            if len(values) <= 5
            else f"Quality is graded, with {len(values):,} different values."
        )
    if data.prompts is None:
        yield "There is no text of the prompts: features are the table's own `x_…` columns."
    else:
        again = data.n - len(set(data.prompts))
        yield f"{again:,} prompts repeat the text of an earlier one; a random split keeps the same texts on one side."
    if not data.has_latency:
        yield "No latency is known."
    yield "Costs are those of the day of recording: prices change, and a router should be trained again when they do."
