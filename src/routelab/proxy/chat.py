"""POST /v1/chat/completions: routed, answered, and told in headers who decided what."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import Header, Response
from fastapi.responses import JSONResponse

from routelab.providers import Completion
from routelab.proxy.answering import Answer, begin, complete
from routelab.proxy.events import EventStream, usage
from routelab.proxy.grading import Grading
from routelab.proxy.metrics import Metrics
from routelab.proxy.models import Models
from routelab.proxy.schema import ChatRequest
from routelab.request import LLMRequest

Unit = Annotated[str | None, Header(alias="x-routelab-unit", max_length=500)]


@dataclass(frozen=True, slots=True)
class Chat:
    """Answers chat completions.

    Args:
        models: that clients may ask for.
        metrics: told of every answer.

    Attributes:
        grading: of the answers.
    """

    models: Models
    metrics: Metrics
    grading: Grading = field(default_factory=Grading)

    async def answer(self, body: ChatRequest, unit: Unit = None) -> Response:
        """The answer of the selected router or provider, whole or streamed."""
        selection = self.models.select(body.model)
        request = body.request(unit)
        if body.stream:
            answer = await begin(selection, request)
            frame = _frame(answer, "chat.completion.chunk")
            ended = partial(self._answered, request, answer)
            return EventStream(
                answer, frame, usage=body.usage_wanted, metrics=self.metrics, ended=ended, headers=_headers(answer)
            )
        answer = await complete(selection, request)
        completion = self._answered(request, answer)
        if completion.body is not None:
            return Response(completion.body, media_type="application/json", headers=_headers(answer))
        return JSONResponse(_frame(answer, "chat.completion") | _whole(completion), headers=_headers(answer))

    def _answered(self, request: LLMRequest, answer: Answer) -> Completion:
        """Count a whole answer, and have it graded."""
        assert answer.completion is not None
        self.metrics.answered(answer.selection.name, answer.completion)
        self.grading.begin(request, answer)
        return answer.completion


def _frame(answer: Answer, kind: str) -> dict[str, Any]:
    name = answer.provider if answer.decision is None else answer.decision.decision_id
    return {
        "id": f"chatcmpl-{name}",
        "object": kind,
        "created": int(answer.selection.router.clock()),
        "model": answer.provider,
    }


def _whole(completion: Completion) -> dict[str, Any]:
    message = {"role": "assistant", "content": completion.text, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    return {"choices": [choice], "usage": usage(completion)}


def _headers(answer: Answer) -> dict[str, str]:
    """What routelab tells of an answer; names are percent-encoded."""
    told = {"x-routelab-router": answer.selection.name, "x-routelab-provider": answer.provider}
    decision, completion = answer.decision, answer.completion
    if answer.selection.pool is not None:
        del told["x-routelab-router"]
    if decision is not None:
        told |= {
            "x-routelab-decision-id": decision.decision_id,
            "x-routelab-propensity": f"{decision.propensity:.6g}",
            "x-routelab-policy": decision.policy,
        }
    if completion is not None:
        told["x-routelab-cost-usd"] = f"{completion.cost_usd:.9g}"
    return {name: quote(value, safe=" :,=.+") for name, value in told.items()}
