"""PerformanceTable: what each provider answered, cost and took on each prompt, as aligned matrices."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from routelab.errors import TableError
from routelab.html import Card, Shown
from routelab.request import LLMRequest
from routelab.tables.card import table_card
from routelab.tables.io import read_frame, write_frame
from routelab.tables.requests import load_columns, to_request
from routelab.tables.schema import LOAD, validate
from routelab.tables.splitting import own_split, random_split, same_texts

Floats = NDArray[np.float64]
Texts = NDArray[np.object_]
#: Column of the tidy frame → field of the table, for what is known per (prompt, provider).
_CELLS = {
    "quality": "quality",
    "cost_usd": "cost",
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "latency_s": "latency",
    "timestamp": "timestamp",
}
_LABELS = {"prompt": "prompts", "task": "tasks", "split": "splits"}


@dataclass(frozen=True, eq=False, repr=False)
class PerformanceTable(Shown):
    """n prompts × k providers; all arrays are aligned, nothing in them should be changed in place.

    Args:
        prompt_ids: (n,) unique names, in order of first appearance.
        providers: k names, in order of first appearance: the arms.
        quality: (n, k) in [0, 1], NaN = not graded.
        cost: (n, k) USD, NaN only where the row is absent.
        latency: (n, k) seconds, NaN = unknown.
        input_tokens: (n, k), NaN = unknown.
        output_tokens: (n, k), NaN = unknown.
        timestamp: (n, k) unix seconds, NaN = unknown.
        prompts: (n,) texts, or None.
        tasks: (n,) labels for reporting and stratifying, never a feature; or None.
        splits: (n,) "train" or "eval", or None.
        features: (n, p) the ``x_…`` columns.
        feature_names: p names, without ``x_``.
        origin: what errors call the table.

    >>> table = PerformanceTable.from_frame(pd.DataFrame({
    ...     "prompt_id": ["a", "a", "b"], "provider": ["small", "large", "small"],
    ...     "prompt": ["Hi", "Hi", "Why?"], "quality": [0.5, 1.0, 0.2], "cost_usd": [0.001, 0.02, 0.001]}))
    >>> table
    PerformanceTable(2 prompts × 2 providers: small, large; 3 of 4 cells observed)
    >>> table.quality
    array([[0.5, 1. ],
           [0.2, nan]])
    """

    prompt_ids: Texts
    providers: tuple[str, ...]
    quality: Floats
    cost: Floats
    latency: Floats
    input_tokens: Floats
    output_tokens: Floats
    timestamp: Floats
    prompts: Texts | None
    tasks: Texts | None
    splits: Texts | None
    features: Floats
    feature_names: tuple[str, ...]
    origin: str = "<frame>"

    @property
    def n(self) -> int:
        """Number of prompts."""
        return len(self.prompt_ids)

    @property
    def k(self) -> int:
        """Number of providers."""
        return len(self.providers)

    @property
    def has_latency(self) -> bool:
        """Whether any latency was observed."""
        return bool(np.isfinite(self.latency).any())

    def __len__(self) -> int:
        return self.n

    def _card(self) -> Card:
        return table_card(self)

    @classmethod
    def from_frame(cls, frame: pd.DataFrame, *, origin: str = "<frame>") -> Self:
        """A table from a tidy frame in the interchange format (one row per prompt and provider).

        Raises:
            TableError: the frame breaks the format; see :func:`routelab.tables.schema.validate`.
        """
        tidy = validate(frame, origin)
        row, prompt_ids = pd.factorize(tidy["prompt_id"])
        column, providers = pd.factorize(tidy["provider"])
        first = np.unique(row, return_index=True)[1]
        cells: dict[str, Any] = {}
        for name, field in _CELLS.items():
            cells[field] = np.full((len(prompt_ids), len(providers)), np.nan)
            if name in tidy:
                cells[field][row, column] = tidy[name].to_numpy(float)
        labels: dict[str, Any] = {f: tidy[c].to_numpy(object)[first] if c in tidy else None for c, f in _LABELS.items()}
        names = [str(c) for c in tidy.columns if str(c).startswith("x_")]
        return cls(
            prompt_ids=np.asarray(prompt_ids, object),
            providers=tuple(str(p) for p in providers),
            features=tidy[names].to_numpy(float)[first],
            feature_names=tuple(name.removeprefix("x_") for name in names),
            origin=origin,
            **cells,
            **labels,
        )

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """A table from a ``.parquet``, ``.csv`` or ``.jsonl`` file.

        Raises:
            TableError: no such file, not what its ending says, or against the interchange format.
        """
        return cls.from_frame(read_frame(path), origin=str(path))

    def to_frame(self) -> pd.DataFrame:
        """The tidy frame: a row per observed (prompt, provider), prompt by prompt; no empty columns."""
        row, column = np.nonzero(np.isfinite(self.cost))
        data: dict[str, Any] = {
            "prompt_id": self.prompt_ids[row],
            "provider": np.asarray(self.providers, object)[column],
        }
        for name, field in _CELLS.items():
            values = getattr(self, field)[row, column]
            if name in ("quality", "cost_usd") or np.isfinite(values).any():
                data[name] = values
        data |= {c: getattr(self, f)[row] for c, f in _LABELS.items() if getattr(self, f) is not None}
        data |= {f"x_{name}": self.features[row, j] for j, name in enumerate(self.feature_names)}
        return pd.DataFrame(data)

    def write(self, path: str | Path) -> None:
        """Write the tidy frame by ending, whole or not at all; equal tables give equal bytes.

        Raises:
            TableError: the ending is unknown.
        """
        write_frame(self.to_frame(), path)

    def requests(self) -> list[LLMRequest]:
        """The n requests as a router would have seen them, named by ``prompt_ids``."""
        prompts = self.prompts if self.prompts is not None else np.full(self.n, "", object)
        rows = zip(self.prompt_ids, prompts, self.features.tolist(), strict=True)
        return [to_request(i, text, dict(zip(self.feature_names, x, strict=True))) for i, text, x in rows]

    def load(self) -> Floats:
        """Load of each provider when the request arrived, (n, k) ≥ 0; 0 without ``x_load_`` columns."""
        padded = np.column_stack([self.features, np.zeros(self.n)])
        return padded[:, load_columns(self.providers, self.feature_names)]

    def take(self, rows: ArrayLike) -> Self:
        """The prompts at ``rows`` (indices, or a mask of length n), in that order.

        Raises:
            TableError: no prompt is left.
        """
        index = np.arange(self.n)[np.asarray(rows)]
        if not len(index):
            raise TableError(f"{self.origin}: the selection holds no prompt. Select at least one.")
        changed = {name: getattr(self, name)[index] for name in ("prompt_ids", "features", *_CELLS.values())}
        for name in _LABELS.values():
            changed[name] = None if getattr(self, name) is None else getattr(self, name)[index]
        return replace(self, **changed)

    def select_providers(self, names: Sequence[str]) -> Self:
        """The same prompts with these providers only, in this order; the loads of the others are dropped.

        Raises:
            TableError: an unknown provider, or fewer than two.
        """
        for name in names:
            if name not in self.providers:
                close = difflib.get_close_matches(name, self.providers, n=1)
                hint = f"Did you mean {close[0]!r}?" if close else f"It has {', '.join(self.providers)}."
                raise TableError(f"{self.origin}: no provider {name!r}. {hint}")
        if len(set(names)) < 2 or len(set(names)) < len(names):
            raise TableError(f"{self.origin}: got providers {list(names)}. Name two or more, each once.")
        columns = [self.providers.index(name) for name in names]
        dropped = {f"{LOAD}{p}".removeprefix("x_") for p in self.providers if p not in names}
        kept = [j for j, name in enumerate(self.feature_names) if name not in dropped]
        return replace(
            self,
            providers=tuple(names),
            features=self.features[:, kept],
            feature_names=tuple(self.feature_names[j] for j in kept),
            **{field: getattr(self, field)[:, columns] for field in _CELLS.values()},
        )

    def split(
        self, train_fraction: float = 0.7, *, seed: int = 0, column: Literal["split"] | None = "split"
    ) -> tuple[Self, Self]:
        """(train, eval): the table's own split, if it has one and ``column`` is not None; else a seeded one.

        A random split keeps the tasks' shares, and prompts that differ by case or white space only on the same side.

        Raises:
            TableError: a side would be empty, ``train_fraction`` is not in (0, 1), or the own split leaks.
        """
        if column is not None and self.splits is not None:
            train = own_split(self.splits, self.prompts, self.origin)
        elif 0.0 < train_fraction < 1.0:
            groups = same_texts(self.prompts) if self.prompts is not None else self.prompt_ids
            train = random_split(groups, self.tasks, train_fraction, np.random.default_rng(seed))
        else:
            raise TableError(f"{self.origin}: train_fraction is {train_fraction!r}. Give a number in (0, 1).")
        if train.all() or not train.any():
            side = "eval" if train.all() else "train"
            raise TableError(
                f"{self.origin}: the split leaves {side!r} empty. Bring more prompts, or another fraction."
            )
        return self.take(train), self.take(~train)
