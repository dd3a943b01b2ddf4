"""params.yaml as typed settings: every range is checked before a stage writes anything."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from routelab.errors import ParamsError
from routelab.params_live import LiveParams
from routelab.params_sections import (
    ABTestParams,
    BanditParams,
    BenchmarkParams,
    ClassifierParams,
    ControlParams,
    DriftParams,
    EvaluationParams,
    FeatureParams,
    ForestParams,
    OffPolicyParams,
    ReplayParams,
    Requests,
    Section,
    Share,
    Sized,
    known_tables,
)

_Settings = TypeVar("_Settings", bound=BaseModel)


class Params(Section):
    """All settings of the pipeline."""

    size: Literal["small", "full"]
    seed: Annotated[int, Field(ge=0, lt=2**32)]  # what scikit-learn takes
    sources: Annotated[list[str], Field(min_length=1)]
    synthetic_requests: Requests
    train_fraction: Share
    features: FeatureParams
    forest: ForestParams
    classifier: ClassifierParams
    bandit: BanditParams
    replay: ReplayParams
    drift: DriftParams
    evaluation: EvaluationParams
    controls: ControlParams
    ab_test: ABTestParams
    off_policy: OffPolicyParams
    benchmark: BenchmarkParams
    live: LiveParams

    @field_validator("sources")
    @classmethod
    def _sources_are_known(cls, names: list[str]) -> list[str]:
        tables = known_tables()
        if not set(names) <= set(tables) or len(set(names)) != len(names):
            raise ValueError(f"Input should be different names out of {', '.join(tables)}")
        return names

    def sized(self, value: Sized) -> int:
        """The number for this run's ``size``."""
        return value.full if self.size == "full" else value.small

    def online_policies(self) -> list[str]:
        """Names of the policies that are replayed in this run."""
        return self.replay.policies.full if self.size == "full" else self.replay.policies.small


class _OnlyLive(BaseModel):
    """The section ``live``, whatever else the file holds."""

    model_config = ConfigDict(frozen=True, strict=True)

    live: LiveParams


def load_params(path: str | Path = "params.yaml") -> Params:
    """Read and check the settings.

    Raises:
        ParamsError: the file is missing or no YAML, or a value is out of range; names the field and the value.
    """
    return _checked(Params, Path(path))


def load_live(path: str | Path = "params.yaml") -> LiveParams:
    """Read and check the section ``live`` alone: the file may hold no other, and nothing heavy is imported.

    Raises:
        ParamsError: as ``load_params``.
    """
    return _checked(_OnlyLive, Path(path)).live


def _checked(model: type[_Settings], path: Path) -> _Settings:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ParamsError(f"{path} is missing; run from the root of the project") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ParamsError(f"{path} is no YAML: {' '.join(str(error).split())}; mend it and run again") from None
    try:
        return model.model_validate(content)
    except ValidationError as error:
        # a misspelt name comes before the one that is missing for it
        first = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
        field = _field(first["loc"], content)
        # a field with alternatives, such as a number or "sqrt", has an error for each
        told = " or ".join(each["msg"] for each in error.errors() if _field(each["loc"], content) == field)
        shown = field or "the file as a whole"
        if field and first["type"] != "missing":
            shown += f" is {first['input']!r}"
        raise ParamsError(f"{path}: {shown}: {told}; change it and run again") from None


def _field(place: tuple[int | str, ...], content: Any) -> str:
    """Dotted name of a field, without what pydantic adds for its alternatives."""
    names: list[str] = []
    for name in place:
        if names and not isinstance(content, dict):
            break
        names.append(str(name))
        content = content.get(name) if isinstance(content, dict) else None
    return ".".join(names)
