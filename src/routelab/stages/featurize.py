"""Stage ``featurize``: a table becomes features and outcomes of a training and an evaluation split."""

from __future__ import annotations

import numpy as np

from routelab.errors import TableError
from routelab.evaluation.curves import complete_rows
from routelab.features import RequestFeaturizer
from routelab.params import Params
from routelab.stages.common import Split, collected, features, stage
from routelab.tables.table import PerformanceTable


def _split_of(table: PerformanceTable, featurizer: RequestFeaturizer) -> Split:
    return Split(
        X=featurizer.transform(table),
        quality=table.quality,
        cost=table.cost,
        latency=table.latency,
        tasks=np.full(table.n, "") if table.tasks is None else table.tasks.astype(str),
        providers=table.providers,
    )


def check_outcomes(split: PerformanceTable, name: str) -> None:
    """Refuse outcomes that nothing can be learned or scored on; ``name`` is what errors call the split.

    Raises:
        TableError: a provider without any outcome, or providers that all cost the same.
    """
    known = np.isfinite(split.quality) & np.isfinite(split.cost)
    unseen = [provider for arm, provider in enumerate(split.providers) if not known[:, arm].any()]
    if unseen:
        raise TableError(
            f"{name}: no prompt has both quality and cost of {', '.join(map(repr, unseen))}; "
            "bring some, or leave that provider out of the table"
        )
    complete = complete_rows(split.quality, split.cost)
    prices = split.cost[complete].mean(axis=0) if complete.any() else np.nanmean(split.cost, axis=0)
    if np.ptp(prices) <= 1e-9 * prices.max():
        raise TableError(
            f"{name}: every provider costs {prices[0]:.6g} USD on average (column 'cost_usd'); "
            "a cost-quality curve needs two costs"
        )


def featurize(source: str, params: Params) -> None:
    """Split a table, fit the featurizer on the training prompts and transform both sides."""
    train, held = PerformanceTable.read(collected(source)).split(params.train_fraction, seed=params.seed)
    for name, side in (("training", train), ("evaluation", held)):
        check_outcomes(side, f"{collected(source)}, {name} split")
    featurizer = RequestFeaturizer(params.features.embedder, params.features.n_components, seed=params.seed)
    featurizer.fit(train)
    splits = {"train": _split_of(train, featurizer), "eval": _split_of(held, featurizer)}
    featurizer.save(features(source) / "featurizer")
    for name, split in splits.items():
        split.write(features(source) / f"{name}.npz")
    print(f"{source}: {train.n} training, {held.n} evaluation prompts × {len(featurizer.feature_names_)} features")


if __name__ == "__main__":
    stage(featurize)
