from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import mlflow
import openai
import pytest
from mlflow.entities import AssessmentSource, SpanType

from faulty_server import faulty_server_in_thread
from routelab import PerformanceTable, RoutelabError
from routelab.collecting.pricing import priced
from routelab.errors import TableError
from routelab.tables.answers import Answer, frame_of
from routelab.tracking.traces import Assessment, read_traces

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")  # MLflow's own models

SCORE = Assessment("score", scale=5)
HUMAN = AssessmentSource("HUMAN", "ann")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A store of its own; tests use experiments of their own."""
    folder = tmp_path_factory.mktemp("traces")
    before = (mlflow.get_tracking_uri(), os.environ.get("MLFLOW_TRACKING_URI"))
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder / 'mlflow.db'}"
    os.environ["MLFLOW_ENABLE_ASYNC_TRACE_LOGGING"] = "false"  # what was traced is there
    mlflow.set_tracking_uri(os.environ["MLFLOW_TRACKING_URI"])
    yield folder
    mlflow.openai.autolog(disable=True)
    del os.environ["MLFLOW_TRACKING_URI"], os.environ["MLFLOW_ENABLE_ASYNC_TRACE_LOGGING"]
    mlflow.set_tracking_uri(before[0])
    if before[1] is not None:
        os.environ["MLFLOW_TRACKING_URI"] = before[1]


def call(
    model: str | None,
    prompt: object,
    tokens: tuple[int, int] | None = (1000, 100),
    cost: float | None = None,
    inside: bool = False,
) -> str:
    """Trace a call by hand; returns the id of its span."""
    with mlflow.start_span("call", span_type=SpanType.CHAT_MODEL if inside else SpanType.LLM) as span:
        span.set_inputs(prompt)
        if model is not None:
            span.set_attribute("mlflow.llm.model", model)
        if tokens is not None:
            span.set_attribute("mlflow.chat.tokenUsage", {"input_tokens": tokens[0], "output_tokens": tokens[1]})
        if cost is not None:
            span.set_attribute("mlflow.llm.cost", {"total_cost": cost})
        if not inside:
            call(model, prompt, tokens, inside=True)
    return span.span_id


def grade(value: object, name: str = "score", **fields: object) -> None:
    """Assess the trace that ended last."""
    trace = mlflow.get_last_active_trace_id()
    mlflow.log_feedback(trace_id=trace, name=name, value=value, **fields)  # type: ignore[arg-type]


def answers(experiment: str, assessment: Assessment = SCORE) -> list[Answer]:
    return list(read_traces(experiment, assessment))


def test_calls_that_were_traced_automatically_become_a_table(store: Path) -> None:
    mlflow.set_experiment("automatic")
    mlflow.openai.autolog()
    with faulty_server_in_thread() as server, openai.OpenAI(base_url=server.url, api_key="none") as client:
        for model, score in (("gpt-4o-mini", 3), ("gpt-4o", 5)):
            for stream in (False, True):
                asked = [{"role": "system", "content": "Be short."}, {"role": "user", "content": f"Hi {stream}"}]
                options = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
                reply = client.chat.completions.create(model=model, messages=asked, **options)  # type: ignore[call-overload]
                if stream:
                    list(reply)
                grade(score)
    mlflow.openai.autolog(disable=True)
    found = answers("automatic")
    assert [(a.provider, a.quality) for a in found] == [("gpt-4o-mini", 0.6)] * 2 + [("gpt-4o", 1.0)] * 2
    table = PerformanceTable.from_frame(frame_of(found, "traces"))
    assert table.prompts is not None
    assert table.prompts.tolist() == ["Hi False", "Hi True"]
    assert (table.quality == [[0.6, 1.0], [0.6, 1.0]]).all()
    assert (table.output_tokens == 20).all()
    assert (table.cost > 0.0).all()
    assert (table.latency > 0.0).all()


def test_only_the_outermost_span_of_a_call_counts_and_costs_come_from_the_trace_or_the_list(store: Path) -> None:
    mlflow.set_experiment("by hand")
    call("gpt-4o-mini", {"prompt": "Hi"})
    grade(True)
    call("own-model", {"input": "Hi"}, cost=0.02)
    grade(2)
    call("own-model", {"messages": [{"role": "user", "content": "Ho"}]}, cost=0.04)
    found = list(priced(answers("by hand"), "traces"))
    assert [(a.provider, a.prompt if isinstance(a.prompt, str) else a.prompt[0]["content"]) for a in found] == [
        ("gpt-4o-mini", "Hi"),
        ("own-model", "Hi"),
        ("own-model", "Ho"),
    ]
    assert [a.quality for a in found] == [1.0, 0.4, None]
    assert [a.cost_usd for a in found] == pytest.approx([1000 * 0.15e-6 + 100 * 0.6e-6, 0.02, 0.04])
    assert all(a.latency_s is not None and 0.0 <= a.latency_s < 5.0 for a in found)


def test_a_grade_of_a_trace_with_several_calls_is_none_of_theirs(store: Path) -> None:
    mlflow.set_experiment("agents")
    with mlflow.start_span("agent"):
        first = call("a", {"prompt": "Plan"}, cost=0.1)
        call("b", {"prompt": "Do"}, cost=0.1)
    grade(5)
    grade(4, span_id=first)
    assert [(a.provider, a.quality) for a in answers("agents")] == [("a", 0.8), ("b", None)]


def test_people_overrule_judges_and_a_grade_that_was_replaced_does_not_count(store: Path) -> None:
    mlflow.set_experiment("several")
    call("a", {"prompt": "Hi"}, cost=0.1)
    grade(1)
    grade(4, source=HUMAN)
    grade(5, source=HUMAN)
    call("a", {"prompt": "Ho"}, cost=0.1)
    grade(1)
    mlflow.override_feedback(
        trace_id=str(mlflow.get_last_active_trace_id()),
        assessment_id=mlflow.get_trace(str(mlflow.get_last_active_trace_id())).info.assessments[0].assessment_id,
        value=3,
    )
    assert [a.quality for a in answers("several")] == [0.9, 0.6]


def test_a_failed_call_is_no_answer(store: Path) -> None:
    mlflow.set_experiment("failures")
    call("a", {"prompt": "Hi"}, cost=0.1)
    grade(1)
    with mlflow.start_span("call", span_type=SpanType.LLM) as span:
        span.set_inputs({"prompt": "Hi"})
        span.set_status("ERROR")
    assert len(answers("failures")) == 1


def test_pages_are_read_to_the_last(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("routelab.tracking.traces._PAGE", 2)
    mlflow.set_experiment("pages")
    for i in range(5):
        call("a", {"prompt": f"Question {i}"}, cost=0.1)
    grade(5)
    assert [a.prompt for a in answers("pages")] == [f"Question {i}" for i in range(5)]


@pytest.mark.parametrize(
    ("value", "told"),
    [(7, "its assessment 'score' is 7; a grade is"), (-1, "is -1"), ("great", "is 'great'"), (float("nan"), "is nan")],
)
def test_a_grade_out_of_its_scale_is_named(store: Path, value: object, told: str) -> None:
    mlflow.set_experiment(f"scale {value}")
    call("a", {"prompt": "Hi"}, cost=0.1)
    grade(value)
    with pytest.raises(TableError, match=r"MLflow trace tr-\w+, span 'call': ") as raised:
        answers(f"scale {value}")
    assert told in str(raised.value)
    assert "--scale" in str(raised.value)


def test_what_a_span_lacks_is_named(store: Path) -> None:
    for name, model, prompt, told in (
        ("no prompt", "a", {"question": "Hi"}, "its inputs hold no messages, input, prompt"),
        ("no model", None, {"prompt": "Hi"}, "it names no model"),
        ("empty", "a", {"messages": []}, "holds no text of the user"),
    ):
        mlflow.set_experiment(name)
        call(model, prompt, cost=0.1)
        with pytest.raises(TableError, match=told):
            answers(name)


def test_an_unknown_experiment_or_assessment_is_told_with_those_there_are(store: Path) -> None:
    mlflow.set_experiment("named")
    call("a", {"prompt": "Hi"}, cost=0.1)
    grade(1, name="helpful")
    with pytest.raises(RoutelabError, match=r"has no experiment 'namde'; it has .*named"):
        answers("namde")
    with pytest.raises(TableError, match="no answer has an assessment 'score'; they have helpful"):
        answers("named")
    with pytest.raises(RoutelabError, match="the scale of 'score' is 0"):
        Assessment("score", scale=0)
