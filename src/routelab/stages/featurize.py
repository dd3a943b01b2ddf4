"""Stage ``featurize``: a table becomes features and outcomes of a training and an evaluation split."""

from __future__ import annotations

from routelab.evaluation.split import Split, check_outcomes
from routelab.features import RequestFeaturizer
from routelab.params import Params
from routelab.stages.common import collected, features, stage
from routelab.tables.table import PerformanceTable


def featurize(source: str, params: Params) -> None:
    """Split a table, fit the featurizer on the training prompts and transform both sides."""
    train, held = PerformanceTable.read(collected(source)).split(params.train_fraction, seed=params.seed)
    for name, side in (("training", train), ("evaluation", held)):
        check_outcomes(side, f"{collected(source)}, {name} split")
    featurizer = RequestFeaturizer(params.features.embedder, params.features.n_components, seed=params.seed)
    featurizer.fit(train)
    splits = {"train": Split.of(train, featurizer), "eval": Split.of(held, featurizer)}
    featurizer.save(features(source) / "featurizer")
    for name, split in splits.items():
        split.write(features(source) / f"{name}.npz")
    print(f"{source}: {train.n} training, {held.n} evaluation prompts × {len(featurizer.feature_names_)} features")


if __name__ == "__main__":
    stage(featurize)
