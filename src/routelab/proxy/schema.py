"""What clients send: chat completions as OpenAI defines them, tolerant of fields that it adds, and feedback."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import from_json
from starlette.exceptions import HTTPException

from routelab.request import LLMRequest

_OURS = {"model", "messages", "stream", "stream_options", "n"}  # the other fields are the provider's
_Tokens = Annotated[int, Field(ge=1, le=10_000_000)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)


class Message(_Body):
    """One turn of a conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[dict[str, Any]] | None = None


class StreamOptions(_Body):
    """Of a streamed answer."""

    include_usage: bool | None = None


class ChatRequest(_Body):
    """A chat completion; fields that are not named here go to the provider as they are."""

    model: Annotated[str, Field(max_length=500)]
    messages: Annotated[list[Message], Field(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Literal[1] | None = None  # one provider answers, once
    user: Annotated[str, Field(max_length=500, pattern=r"^[^\x00]*$")] | None = None  # the log holds no NUL
    temperature: Annotated[float, Field(ge=0.0, le=2.0)] | None = None
    top_p: Annotated[float, Field(ge=0.0, le=1.0)] | None = None
    max_tokens: _Tokens | None = None
    max_completion_tokens: _Tokens | None = None

    @model_validator(mode="after")
    def _numbers_are_finite(self) -> ChatRequest:
        try:
            json.dumps(self.model_extra, allow_nan=False)
        except ValueError:
            raise ValueError("a number is too large for JSON; give a finite one") from None
        return self

    @property
    def usage_wanted(self) -> bool:
        """Whether the last event of a streamed answer is to tell the tokens."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)

    def request(self, unit_id: str | None) -> LLMRequest:
        """What the router sees; ``unit_id`` stands before ``user``."""
        sent = self.model_dump(exclude_unset=True)
        options = {name: value for name, value in sent.items() if name not in _OURS and value is not None}
        return LLMRequest.from_chat(sent["messages"], options=options, unit_id=unit_id or self.user)


class Feedback(BaseModel):
    """How good an answer was."""

    model_config = ConfigDict(extra="forbid", strict=True)
    decision_id: Annotated[str, Field(min_length=1, max_length=200)]
    quality: Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]


class _JsonRequest(Request):
    async def json(self) -> Any:
        """The body as strict JSON: valid UTF-8, no NaN, no lone surrogates, nested at most 200 deep."""
        try:
            return from_json(await self.body(), allow_inf_nan=False)
        except ValueError as error:
            raise HTTPException(400, f"the body is no JSON: {error}") from None


class JsonRoute(APIRoute):
    """A route whose body is strict JSON."""

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
        """The handler of FastAPI, given a request that parses strictly."""
        handle = super().get_route_handler()

        async def strictly(request: Request) -> Response:
            return await handle(_JsonRequest(request.scope, request.receive))

        return strictly
