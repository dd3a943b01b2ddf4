"""The section ``live`` of params.yaml: providers of one's own, and what the columns of other people's logs mean."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from routelab.params_sections import Positive, Section

_Price = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]


class LiveProvider(Section):
    """An OpenAI-compatible endpoint; its key is in the environment variable ``key_env`` (null: it needs none)."""

    name: Annotated[str, Field(min_length=1)]
    model: Annotated[str, Field(min_length=1)]
    base_url: Annotated[str, Field(pattern=r"^https?://")] | None  # null: OpenAI's
    key_env: str | None
    input_price: _Price | None = None  # USD per million tokens; null: the list price of the model
    output_price: _Price | None = None
    cached_price: _Price | None = None
    requests_per_minute: Positive | None = None
    tokens_per_minute: Positive | None = None
    concurrency: Positive | None = None
    timeout_s: Annotated[float, Field(gt=0.0, le=3600.0)] = 60.0
    max_tokens: Positive = 1024  # of an answer, where the request does not say


class LiveParams(Section):
    """Live providers, and the columns of a gateway's log: ours → theirs, dotted where they are nested."""

    providers: list[LiveProvider]
    gateway_columns: dict[str, str]

    @field_validator("providers")
    @classmethod
    def _names_differ(cls, providers: list[LiveProvider]) -> list[LiveProvider]:
        names = [provider.name for provider in providers]
        if len(set(names)) != len(names):
            raise ValueError("Input should be providers of different names")
        return providers
