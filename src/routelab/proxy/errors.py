"""Errors of every kind in OpenAI's format, so that its clients raise their own classes."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from routelab.errors import DatabaseError, RoutelabError
from routelab.providers import DeadlineError, FailingError, ProviderError

if TYPE_CHECKING:
    from fastapi import FastAPI, Request

_log = logging.getLogger(__name__)
_TYPES = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}


class ApiError(Exception):
    """What a client is told in place of an answer.

    Args:
        status: of HTTP, 4xx or 5xx.
        message: what is wrong and what to do; never holds a key.
        code: for programs.
        retry_after_s: seconds after which to try again, where that may help.
    """

    def __init__(self, status: int, message: str, code: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.retry_after_s = retry_after_s

    def body(self) -> dict[str, Any]:
        """The error as OpenAI writes it.

        >>> ApiError(404, "there is no model 'x'", "model_not_found").body()["error"]["code"]
        'model_not_found'
        """
        kind = _TYPES.get(self.status, "server_error" if self.status >= 500 else "invalid_request_error")
        return {"error": {"message": str(self), "type": kind, "param": None, "code": self.code}}

    def headers(self) -> dict[str, str]:
        """``Retry-After`` in whole seconds, where there is one."""
        if self.retry_after_s is None:
            return {}
        return {"retry-after": str(max(1, math.ceil(self.retry_after_s)))}


def of_provider(error: ProviderError) -> ApiError:
    """What a client is told when no provider answered.

    400 where the request itself is at fault, 504 where the time was up, 503 where all providers are left alone since
    they kept failing, 429 where one has reached its limits or asks to wait, else 502.
    """
    if error.refused:
        return ApiError(400, str(error), "refused_by_provider")
    if isinstance(error, DeadlineError):
        return ApiError(504, str(error), "deadline_exceeded")
    if isinstance(error, FailingError):
        return ApiError(503, str(error), "providers_failing", retry_after_s=error.retry_after_s or 0.0)
    if error.retry_after_s is not None:
        return ApiError(429, str(error), "rate_limited", retry_after_s=error.retry_after_s)
    return ApiError(502, str(error), "providers_failed")


def of_log(error: DatabaseError) -> ApiError:
    """What a client is told when the log fails: not the error, which names its address and is logged."""
    _log.error("the log failed", exc_info=error)
    return ApiError(503, "the log of the proxy fails at present; try again", "log_unavailable", retry_after_s=1.0)


def _respond(error: ApiError) -> JSONResponse:
    return JSONResponse(error.body(), error.status, error.headers())


def _where(error: Mapping[str, Any]) -> str:
    place = ".".join(str(part) for part in error["loc"][1:]) or "the body"
    return f"{place}: {error['msg']}"


def install(app: FastAPI) -> None:
    """Answer every exception of ``app`` in OpenAI's format; none says more than its own message."""

    @app.exception_handler(ApiError)
    async def told(_: Request, error: ApiError) -> JSONResponse:
        return _respond(error)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        return _respond(ApiError(400, "; ".join(map(_where, error.errors()[:3])), "invalid_body"))

    @app.exception_handler(ProviderError)
    async def unanswered(_: Request, error: ProviderError) -> JSONResponse:
        return _respond(of_provider(error))

    @app.exception_handler(DatabaseError)
    async def unlogged(_: Request, error: DatabaseError) -> JSONResponse:
        return _respond(of_log(error))

    @app.exception_handler(RoutelabError)
    async def refused(_: Request, error: RoutelabError) -> JSONResponse:
        return _respond(ApiError(400, str(error), "invalid_request"))

    @app.exception_handler(HTTPException)
    async def of_http(_: Request, error: HTTPException) -> JSONResponse:
        code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "http_error")
        response = _respond(ApiError(error.status_code, str(error.detail), code))
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(Exception)
    async def failed(_: Request, error: Exception) -> JSONResponse:
        return _respond(ApiError(500, f"the proxy failed ({type(error).__name__}); its log says more", "internal"))
