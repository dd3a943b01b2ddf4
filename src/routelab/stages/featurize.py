"""Stage ``featurize``: a table becomes features and outcomes of a training and an evaluation split."""

from __future__ import annotations

import numpy as np

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


def featurize(source: str, params: Params) -> None:
    """Split a table, fit the featurizer on the training prompts and transform both sides."""
    train, held = PerformanceTable.read(collected(source)).split(params.train_fraction, seed=params.seed)
    featurizer = RequestFeaturizer(params.features.embedder, params.features.n_components, seed=params.seed)
    featurizer.fit(train)
    splits = {"train": _split_of(train, featurizer), "eval": _split_of(held, featurizer)}
    featurizer.save(features(source) / "featurizer")
    for name, split in splits.items():
        split.write(features(source) / f"{name}.npz")
    print(f"{source}: {train.n} training, {held.n} evaluation prompts × {len(featurizer.feature_names_)} features")


if __name__ == "__main__":
    stage(featurize)
