"""A table in, a report out: split, featurize, fit every policy, score all of them on the same prompts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NoReturn

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from routelab.arrays import Floats
from routelab.benchmark.budgets import check_budgets, within_budgets
from routelab.benchmark.published import PUBLISHED, budget_rewards
from routelab.benchmark.runs import Run, run_policy, why_left_out
from routelab.benchmark.scores import Trial, curves, score
from routelab.errors import PolicyError, RoutelabError, TableError
from routelab.evaluation.bootstrap import resample_weights
from routelab.evaluation.crossfit import cross_fit
from routelab.evaluation.curves import complete_rows
from routelab.evaluation.split import Split, check_outcomes
from routelab.features import RequestFeaturizer
from routelab.policies import POLICIES
from routelab.policies.objective import cost_weight_sweep
from routelab.tables.io import ENDINGS, read_frame
from routelab.tables.schema import NUMBERS, PRICES, TEXTS
from routelab.tables.sources import load_source
from routelab.tables.table import PerformanceTable

RESAMPLES, PARTITIONS, FRACTION = 1000, 5, 0.7
#: Share of the prompts that train, in (0, 1); "split" for the table's own split; None for what suits the table.
TrainSplit = float | Literal["split"] | None


def parse_split(text: str | None) -> tuple[float | None, str | None]:
    """(share, column) of ``--train-split``, at most one of them: what is no number names a column.

    >>> parse_split("0.7"), parse_split("fold")
    ((0.7, None), (None, 'fold'))
    """
    if text is None:
        return None, None
    try:
        return float(text), None
    except ValueError:
        return None, text


def parse_budgets(text: str | None, option: str = "--budgets") -> list[float]:
    """Numbers of ``--budgets``, or whatever the option is called.

    Raises:
        RoutelabError: something else than finite numbers above 0 with commas between.

    >>> parse_budgets("2.93e-5, 0.001")
    [2.93e-05, 0.001]
    """
    try:
        budgets = [float(part) for part in (text or "").split(",") if part.strip()]
        for budget in budgets:
            if not 0.0 < budget < math.inf:
                raise ValueError(f"{budget:g} is no finite number above 0")
    except ValueError as error:
        raise RoutelabError(f"{option} {text!r}: {error}; give USD per request, as in 0.0001,0.002") from None
    return budgets


def read_table(name: str, column: str | None = None) -> PerformanceTable:
    """A registered source, or a file in the interchange format.

    Args:
        name: of the source, or path of the file.
        column: of the file that says "train" or "eval", where it is not called ``split``.

    Raises:
        SourceError: an unknown source, or its files cannot be had.
        TableError: a file that cannot be read, breaks the format, or lacks ``column``.
    """
    if Path(name).suffix not in ENDINGS and not Path(name).exists():
        table = load_source(name)
    elif column in (None, "split"):
        table = PerformanceTable.read(name)
    else:
        frame = read_frame(name)
        if column not in frame or column in (*TEXTS, *NUMBERS, *PRICES):
            raise TableError(
                f"{name}: there is no column {column!r} of its own that says 'train' or 'eval'; "
                f"name one, or give a fraction such as {FRACTION}"
            )
        frame = frame.drop(columns="split", errors="ignore").rename(columns={column: "split"})
        return PerformanceTable.from_frame(frame, origin=f"{name} ({column!r} as 'split')")
    if column is not None and (column != "split" or table.splits is None):
        raise TableError(f"{name}: there is no column {column!r}; give a fraction such as {FRACTION}")
    return table


def takes_own_split(table: PerformanceTable, train_split: TrainSplit, repeats: int) -> bool:
    """Whether ``splits_of`` gives the table's own split: it is asked for, or there is one and nothing else is."""
    return repeats == 1 and (train_split == "split" or (train_split is None and table.splits is not None))


def splits_of(
    table: PerformanceTable, train_split: TrainSplit, seed: int, repeats: int
) -> list[tuple[PerformanceTable, PerformanceTable]]:
    """(train, eval) of each repeat: the table's own split, or random ones with seeds ``seed``, ``seed`` + 1, …

    Raises:
        TableError: a side would be empty, a fraction is not in (0, 1), or the own split leaks.
        RoutelabError: several repeats of the one own split.
    """
    if train_split == "split" and repeats > 1:
        raise RoutelabError(f"{table.origin}: its own split is one split; give a fraction for {repeats} random ones")
    if takes_own_split(table, train_split, repeats):
        return [table.split()]
    fraction = FRACTION if train_split is None else float(train_split)
    return [table.split(fraction, seed=seed + repeat, column=None) for repeat in range(repeats)]


def evaluate_table(
    table: PerformanceTable,
    name: str,
    *,
    policies: Sequence[str] = (),
    train_split: TrainSplit = None,
    seed: int = 0,
    repeats: int = 1,
    resamples: int = RESAMPLES,
    partitions: int = PARTITIONS,
    budgets: Sequence[float] = (),
) -> dict[str, Any]:
    """Fit policies on the training prompts, score them on the others; the mean of every figure over splits.

    Intervals are of a paired bootstrap over the prompts of the whole table: one draw serves all policies and all
    splits, so that evaluation prompts which several splits share are drawn alike in each.

    Args:
        table: to split.
        name: what the report calls it.
        policies: names out of ``POLICIES``; all when empty.
        train_split: share of the prompts that train, in (0, 1); "split" for the table's own split; None for the own
            one, if it has any and there is one repeat, else 0.7.
        seed: of everything random.
        repeats: random splits, with seeds ``seed``, ``seed`` + 1, …
        resamples: of the bootstrap.
        partitions: of the cross-fit.
        budgets: USD per request, within which policies whose trade-off is λ are told as well (see ``within_budgets``).

    Returns:
        ``table``, ``split``, ``repeats``, ``n_train`` and ``n_eval`` (of one split), ``n_eval_incomplete``,
        ``providers`` (their number), ``single_hull_aiq``, ``oracle_aiq``, ``policies`` (see ``score`` and ``curves``),
        ``left_out`` (policy → reason), ``published`` figures where there are some, and ``budgets`` if any were given.

    Raises:
        PolicyError: an unknown policy.
        RoutelabError: a table on which nothing can be learned or scored, or a budget below the cheapest provider.
    """
    names = list(dict.fromkeys(policies)) or list(POLICIES)
    unknown = [each for each in names if each not in POLICIES]
    if unknown:
        raise PolicyError(f"no policy {', '.join(map(repr, unknown))}; known are {', '.join(POLICIES)}")
    reasons = {each: why_left_out(each, table.k, table.n) for each in names}
    left_out = {each: reason for each, reason in reasons.items() if reason is not None}
    sides = splits_of(table, train_split, seed, repeats)
    for train_table, held_table in sides:
        check_outcomes(train_table, f"{table.origin}, training split")
        check_outcomes(held_table, f"{table.origin}, evaluation split")
        check_budgets(budgets, train_table.quality, train_table.cost)
    own = takes_own_split(table, train_split, repeats)
    with threadpool_limits(limits=1), tqdm(total=len(sides) * (len(names) - len(left_out)), disable=None) as bar:
        done = [_run_all(*each, names, seed + repeat, left_out, bar) for repeat, each in enumerate(sides)]
        trials = []
        for repeat, (train, held, runs) in enumerate(done):
            rows = _rows(table, sides[repeat][1])
            kept = {each: run for each, run in runs.items() if each not in left_out}
            fitted = cross_fit(
                {each: run.outcomes for each, run in kept.items()},
                held.quality,
                held.cost,
                np.random.default_rng(seed + repeat),
                n_partitions=partitions,
                cost_weights=cost_weight_sweep(train.cost),
                weights=_drawn(table, rows, resamples, seed),
            )
            trials.append(Trial(train, held, kept, fitted))
        report = score(trials)
        if budgets:
            drawn = [_drawn(table, _rows(table, held_table), resamples, seed) for _, held_table in sides]
            report["budgets"] = within_budgets(trials, budgets, seed, drawn, budget_rewards(name) if own else {})
    for each, scores in report["policies"].items():
        scores |= curves(trials, each)
    head = {
        "table": name,
        "split": "own" if own else f"{FRACTION if train_split is None else train_split:g}",
        "repeats": repeats,
        "n_train": len(trials[0].train.X),
        "n_eval": len(trials[0].held.X),
        "n_eval_incomplete": sides[0][1].n - len(trials[0].held.X),
        "providers": table.k,
    }
    told = {"published": PUBLISHED[name]} if name in PUBLISHED else {}
    return head | report | {"left_out": left_out} | told


def _run_all(
    train_table: PerformanceTable,
    held_table: PerformanceTable,
    names: Sequence[str],
    seed: int,
    left_out: dict[str, str],
    bar: tqdm[NoReturn],
) -> tuple[Split, Split, dict[str, Run]]:
    """Training and complete evaluation prompts with their features, and the runs; adds to ``left_out`` what failed."""
    featurizer = RequestFeaturizer(seed=seed).fit(train_table)
    train, everything = (Split.of(side, featurizer) for side in (train_table, held_table))
    held = everything.complete(f"{held_table.origin}, evaluation split")
    runs: dict[str, Run] = {}
    for name in names:
        if name not in left_out:
            bar.set_postfix_str(name)
            try:
                runs[name] = run_policy(name, train, held, seed)
            except RoutelabError as error:
                left_out[name] = str(error)
            bar.update()
    return train, held, runs


def _drawn(table: PerformanceTable, rows: NDArray[np.intp], resamples: int, seed: int) -> Iterator[Floats]:
    """How often each resample of the table's prompts draws those in ``rows``: the same resamples for all splits."""
    return (drawn[:, rows] for drawn in resample_weights(table.n, resamples, np.random.default_rng([seed, 1])))


def _rows(table: PerformanceTable, held: PerformanceTable) -> NDArray[np.intp]:
    """Places in ``table`` of the evaluation prompts that have every outcome."""
    place = {prompt: row for row, prompt in enumerate(table.prompt_ids)}
    complete = complete_rows(held.quality, held.cost)
    return np.array([place[prompt] for prompt in held.prompt_ids[complete]], dtype=np.intp)
