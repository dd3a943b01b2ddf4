"""params.yaml as typed settings: every range is checked before a stage writes anything."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from routelab.errors import ParamsError

Share = Annotated[float, Field(gt=0.0, lt=1.0)]
Positive = Annotated[int, Field(ge=1)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Sized(_Section):
    """A number for the default run and one for ``size: full``."""

    small: Positive
    full: Positive


class FeatureParams(_Section):
    """The featurizer."""

    embedder: Literal["wordllama", "tfidf"] | None
    n_components: Positive | None


class ForestParams(_Section):
    """The RandomForest of ``ForestPolicy``."""

    n_estimators: Annotated[int, Field(ge=1, le=2000)]
    min_samples_leaf: Positive
    max_features: Annotated[float, Field(gt=0.0, le=1.0)] | Literal["sqrt"]


class ClassifierParams(_Section):
    """The classic variant, one forest of labels per trade-off."""

    n_estimators: Annotated[int, Field(ge=1, le=2000)]
    min_samples_leaf: Positive
    settings: Annotated[int, Field(ge=2, le=32)]


class BanditParams(_Section):
    """Bandit passes over the training split."""

    epsilon: Annotated[float, Field(ge=0.0, le=1.0)]
    prior: Annotated[float, Field(ge=1.0)]
    settings: Annotated[int, Field(ge=2, le=32)]
    seeds: Sized


class EvaluationParams(_Section):
    """Curves, cross-fitting and the bootstrap."""

    settings: Annotated[int, Field(ge=2, le=32)]
    partitions: Positive
    resamples: Sized


class Params(_Section):
    """All settings of the pipeline."""

    size: Literal["small", "full"]
    seed: Annotated[int, Field(ge=0)]
    sources: Annotated[list[str], Field(min_length=1)]
    synthetic_requests: Sized
    train_fraction: Share
    features: FeatureParams
    forest: ForestParams
    classifier: ClassifierParams
    bandit: BanditParams
    evaluation: EvaluationParams

    @model_validator(mode="after")
    def _sources_are_known(self) -> Self:
        from routelab.tables.sources import SOURCES

        tables = [name for name, source in SOURCES.items() if source.kind == "table"]
        unknown = [name for name in self.sources if name not in tables]
        if unknown or len(set(self.sources)) != len(self.sources):
            raise ValueError(f"sources must be different names out of {', '.join(tables)}; got {self.sources}")
        return self

    def sized(self, value: Sized) -> int:
        """The number for this run's ``size``."""
        return value.full if self.size == "full" else value.small


def load_params(path: str | Path = "params.yaml") -> Params:
    """Read and check the settings.

    Raises:
        ParamsError: the file is missing or no YAML, or a value is out of range; names the field and the value.
    """
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ParamsError(f"{path} is missing; run from the root of the project") from None
    except yaml.YAMLError as error:
        raise ParamsError(f"{path} is no YAML: {error}") from None
    try:
        return Params.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "the whole file"
        raise ParamsError(f"{path}: {field} is {first['input']!r}: {first['msg']}; change it and run again") from None
