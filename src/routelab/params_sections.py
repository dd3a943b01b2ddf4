"""The sections of params.yaml and their ranges."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

Share = Annotated[float, Field(gt=0.0, lt=1.0)]
Positive = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """A mapping that refuses names and types other than its own."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Sized(Section):
    """A number for the default run and one for ``size: full``."""

    small: Positive
    full: Positive


class Requests(Sized):
    """Prompts of the synthetic table, where both splits need some of every family, or of a negative control."""

    small: Annotated[int, Field(ge=100)]
    full: Annotated[int, Field(ge=100)]


class Resamples(Sized):
    """Draws of the bootstrap: fewer give no 95 % interval."""

    small: Annotated[int, Field(ge=50)]
    full: Annotated[int, Field(ge=50)]


class Shuffles(Sized):
    """Of a negative control: one alone has no standard error."""

    small: Annotated[int, Field(ge=2)]
    full: Annotated[int, Field(ge=2)]


class FeatureParams(Section):
    """The featurizer."""

    embedder: Literal["wordllama", "tfidf"] | None
    n_components: Annotated[int, Field(ge=1, le=256)] | None  # of the embedding's 256


class ForestParams(Section):
    """The RandomForest of ``ForestPolicy``."""

    n_estimators: Annotated[int, Field(ge=1, le=2000)]
    min_samples_leaf: Positive | Annotated[list[Positive], Field(min_length=1)]
    max_features: Annotated[float, Field(gt=0.0, le=1.0)] | Literal["sqrt"]
    random_splits: Annotated[float, Field(ge=0.0, le=1.0)]


class ClassifierParams(Section):
    """The classic variant, one forest of labels per trade-off."""

    n_estimators: Annotated[int, Field(ge=1, le=2000)]
    min_samples_leaf: Positive
    settings: Annotated[int, Field(ge=2, le=32)]


class BanditParams(Section):
    """Bandit passes over the training split."""

    epsilon: Annotated[float, Field(ge=0.0, le=1.0)]
    prior: Annotated[float, Field(ge=1.0, allow_inf_nan=False)]
    settings: Annotated[int, Field(ge=2, le=32)]
    seeds: Sized


def _online(names: list[str]) -> list[str]:
    from routelab.policies import ONLINE

    if not set(names) <= set(ONLINE) or len(set(names)) != len(names):
        raise ValueError(f"Input should be different names out of {', '.join(ONLINE)}")
    return names


class OnlinePolicies(Section):
    """Names for the default run and for ``size: full``."""

    small: Annotated[list[str], Field(min_length=1)]
    full: Annotated[list[str], Field(min_length=1)]

    _policies_learn_online = field_validator("small", "full")(_online)


class DriftParams(Section):
    """The real change of versions that policies learn through online; see scenario ``drift``."""

    table: str
    task: str | None  # null: the requests of all tasks
    policies: Annotated[list[str], Field(min_length=1)]
    seeds: Annotated[int, Field(ge=2)]  # one alone has no interval

    _policies_learn_online = field_validator("policies")(_online)


class ReplayParams(Section):
    """Scenarios that policies learn through online."""

    scenarios: Annotated[list[str], Field(min_length=1)]
    policies: OnlinePolicies
    seeds: Shuffles  # one alone has no interval
    budgets: dict[str, Annotated[list[Annotated[float, Field(gt=0.0, allow_inf_nan=False)]], Field(min_length=1)]]
    levels: Positive  # budgets of a source that has none of its own

    @field_validator("scenarios")
    @classmethod
    def _scenarios_are_known(cls, names: list[str]) -> list[str]:
        from routelab.evaluation.scenarios import SCENARIOS

        if not set(names) <= set(SCENARIOS) or len(set(names)) != len(names):
            raise ValueError(f"Input should be different names out of {', '.join(SCENARIOS)}")
        return names


class ABTestParams(Section):
    """Variants served to simulated units."""

    cost_weight: Annotated[float, Field(ge=0.0, allow_inf_nan=False)]  # λ of all variants
    units: Sized
    requests: Annotated[float, Field(ge=1.0, allow_inf_nan=False)]  # of a unit, on average
    runs: Sized  # simulated tests


class OffPolicyParams(Section):
    """Logs from which other policies are evaluated."""

    cost_weight: Annotated[float, Field(ge=0.0, allow_inf_nan=False)]  # λ of all policies
    exploration: Annotated[float, Field(gt=0.0, le=1.0)]  # share of decisions that are drawn uniformly
    decisions: Sized
    logs: Sized  # for the coverage of the intervals
    resamples: Resamples


class EvaluationParams(Section):
    """Curves, cross-fitting and the bootstrap."""

    settings: Annotated[int, Field(ge=2, le=32)]
    partitions: Positive
    resamples: Resamples


class ControlParams(Section):
    """Negative controls."""

    shuffles: Shuffles
    prompts: Requests  # that train at most, of those whose outcomes are shuffled
    resamples: Resamples


class BenchmarkRun(Section):
    """One table of the benchmark: a registered source, or a file in the interchange format."""

    table: str
    repeats: Positive  # random 70/30 splits; 1 takes the table's own split, if it has one

    @field_validator("table")
    @classmethod
    def _table_can_be_read(cls, name: str) -> str:
        from routelab.tables.io import ENDINGS

        if name not in known_tables() and Path(name).suffix not in ENDINGS:
            raise ValueError(f"Input should be one of {', '.join(known_tables())}, or a file ({', '.join(ENDINGS)})")
        return name


class BenchmarkParams(Section):
    """``routelab evaluate`` over all tables."""

    policies: list[str]  # [] for all
    resamples: Annotated[int, Field(ge=50)]
    runs: Annotated[list[BenchmarkRun], Field(min_length=1)]


def known_tables() -> list[str]:
    """Names of the registered tables."""
    from routelab.tables.sources import SOURCES

    return [name for name, source in SOURCES.items() if source.kind == "table"]
