"""MLflow traces as answers: what applications that are traced anyway asked of which model, and how it was assessed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from routelab.errors import RoutelabError, TableError
from routelab.request import is_finite
from routelab.tables.answers import Answer, text_of
from routelab.tracking.store import store_errors, use_store

if TYPE_CHECKING:
    from mlflow.entities import Span, Trace

_MODEL_SPANS = ("CHAT_MODEL", "LLM")
_PROMPTS = ("messages", "input", "prompt")  # of chat completions, of responses, and of hand-made spans
_WORDS = {"yes": 1.0, "no": 0.0, "true": 1.0, "false": 0.0, "pass": 1.0, "fail": 0.0}
_PAGE = 100  # traces in memory


@dataclass(frozen=True, slots=True)
class Assessment:
    """Which feedback is the grade.

    Args:
        name: of the feedback.
        scale: its best value, > 0; booleans, and words such as "yes", are 0 or 1 whatever it is.

    Raises:
        RoutelabError: the scale is no number > 0.
    """

    name: str
    scale: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what is no scale."""
        if not (is_finite(self.scale) and self.scale > 0.0):
            raise RoutelabError(f"the scale of {self.name!r} is {self.scale!r}; give the best value, a number > 0")

    def quality(self, value: Any) -> float:
        """``value`` in [0, 1].

        Raises:
            RoutelabError: it is none, or out of the scale.

        >>> Assessment("score", scale=5).quality(4), Assessment("correct").quality("yes")
        (0.8, 1.0)
        """
        if isinstance(value, bool):
            return float(value)
        if isinstance(value, str) and value.strip().lower() in _WORDS:
            return _WORDS[value.strip().lower()]
        if not (is_finite(value) and 0.0 <= value <= self.scale):
            raise RoutelabError(
                f"its assessment {self.name!r} is {value!r}; a grade is true or false, or a number from 0 to "
                f"{self.scale:g}: give another scale (--scale), or another assessment"
            )
        return float(value) / self.scale


def read_traces(experiment: str, assessment: Assessment) -> Iterator[Answer]:
    """The answers of models in the traces of an experiment, oldest first, read page by page.

    Each outermost span of type CHAT_MODEL or LLM that ended well is an answer: its model is the provider, its messages
    or input the prompt; tokens and cost are those that MLflow noted, the latency is the span's. Its grade is the valid
    feedback of that name on the span; where it is the only such span of its trace, also that on the trace. Where people
    gave some, theirs count alone; several are averaged.

    Raises:
        RoutelabError: there is no such experiment, or the store cannot be used.
        TableError: a span lacks its prompt or model, or its assessment is no grade: names the trace and the remedy; or
            no answer has that assessment.
    """
    import mlflow

    use_store()
    client, page, seen, graded = mlflow.MlflowClient(), "", set[str](), False
    with store_errors():
        found = client.get_experiment_by_name(experiment)
        if found is None:
            names = sorted(each.name for each in client.search_experiments())
            raise RoutelabError(f"MLflow has no experiment {experiment!r}; it has {', '.join(names)}")
    while page is not None:
        with store_errors():
            traces = client.search_traces(
                locations=[found.experiment_id],
                max_results=_PAGE,
                order_by=["timestamp_ms ASC"],
                page_token=page or None,
            )
        for trace in traces:
            seen |= {each.name for each in trace.info.assessments if _is_feedback(each)}
            for answer in _answers(trace, assessment):
                graded |= answer.quality is not None
                yield answer
        page = traces.token
    if not graded:
        has = f"they have {', '.join(sorted(seen))}" if seen else "they have none: mlflow.log_feedback grades a trace"
        raise TableError(f"MLflow experiment {experiment!r}: no answer has an assessment {assessment.name!r}; {has}")


def _answers(trace: Trace, assessment: Assessment) -> Iterator[Answer]:
    spans = _outermost(trace.data.spans)
    for span in spans:
        try:
            yield _answer(span, _grade(trace, span, assessment, alone=len(spans) == 1))
        except RoutelabError as error:
            raise TableError(f"MLflow trace {trace.info.trace_id}, span {span.name!r}: {error}") from None


def _outermost(spans: Sequence[Span]) -> list[Span]:
    """The spans of models that stand in no other's, and ended well."""
    parents = {span.span_id: span.parent_id for span in spans}
    models = {span.span_id for span in spans if span.span_type in _MODEL_SPANS}

    def inside(place: str | None) -> bool:
        return place is not None and (place in models or inside(parents.get(place)))

    own = (span for span in spans if span.span_id in models and not inside(span.parent_id))
    return [span for span in own if span.status.status_code == "OK"]


def _answer(span: Span, quality: float | None) -> Answer:
    inputs = span.inputs
    model = span.model_name or (inputs.get("model") if isinstance(inputs, Mapping) else None)
    if not isinstance(model, str):
        raise RoutelabError("it names no model; set its attribute 'mlflow.llm.model'")
    usage = span.get_attribute("mlflow.chat.tokenUsage") or {}
    took_ns = None if span.end_time_ns is None else span.end_time_ns - span.start_time_ns
    return Answer(
        prompt=_prompt(inputs),
        provider=model,
        quality=quality,
        cost_usd=(span.llm_cost or {}).get("total_cost"),
        input_tokens=usage.get("input_tokens"),
        output_tokens=usage.get("output_tokens"),
        latency_s=None if took_ns is None else took_ns / 1e9,
    )


def _prompt(inputs: Any) -> Any:
    """The prompt, or the conversation, of a span."""
    if isinstance(inputs, Mapping):
        inputs = next((inputs[name] for name in _PROMPTS if name in inputs), None)
    if inputs is None:
        raise RoutelabError(f"its inputs hold no {', '.join(_PROMPTS)}; trace one of them")
    text_of(inputs)
    return inputs


def _grade(trace: Trace, span: Span, assessment: Assessment, *, alone: bool) -> float | None:
    """The mean of the feedback that counts, or None."""
    places = (span.span_id, None, _root_id(trace)) if alone else (span.span_id,)
    feedback: list[Any] = [each for each in trace.info.assessments if _is_feedback(each)]
    told = [
        each for each in feedback if each.name == assessment.name and each.span_id in places and each.value is not None
    ]
    human = [each for each in told if each.source.source_type == "HUMAN"]
    return fmean(assessment.quality(each.value) for each in human or told) if told else None


def _root_id(trace: Trace) -> str | None:
    return next((span.span_id for span in trace.data.spans if span.parent_id is None), None)


def _is_feedback(assessment: Any) -> bool:
    """Whether it says what an answer is worth, and was not replaced since; expectations are no feedback."""
    from mlflow.entities import Feedback

    return isinstance(assessment, Feedback) and assessment.valid is not False
