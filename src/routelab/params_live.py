"""The section ``live`` of params.yaml: providers of one's own, and what the columns of other people's logs mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field, field_validator, model_validator

from routelab.params_sections import Positive, Section

if TYPE_CHECKING:
    from routelab.providers import OpenAIProvider

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
    alias: str | None = None  # what answers call the model, where they do not repeat its name

    @model_validator(mode="after")
    def _price_is_whole(self) -> Self:
        if (self.input_price is None) != (self.output_price is None) or (
            self.cached_price is not None and self.input_price is None
        ):
            raise ValueError("Input should be both input_price and output_price, or neither")
        return self

    def provider(self) -> OpenAIProvider:
        """The provider, with its limits.

        Raises:
            RoutelabError: the variable holds no key, no list price is known, or ``routelab[live]`` is not installed.
        """
        from routelab.providers import Limits, OpenAIProvider, Price

        priced = None
        if self.input_price is not None and self.output_price is not None:
            priced = Price(self.input_price, self.output_price, self.cached_price)
        return OpenAIProvider(
            self.name,
            model=self.model,
            base_url=self.base_url,
            key_env=self.key_env,
            price=priced,
            timeout_s=self.timeout_s,
            max_tokens=self.max_tokens,
            alias=self.alias,
            limits=Limits(self.requests_per_minute, self.tokens_per_minute, self.concurrency),
        )


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
