from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from routelab import PerformanceTable
from routelab.collecting import read_prompts
from routelab.collecting.gateway import Column, read_gateway_log
from routelab.collecting.pricing import priced
from routelab.errors import ParamsError, RoutelabError, TableError
from routelab.params import load_params
from routelab.tables.answers import Answer, frame_of, prompt_id_of

TALK = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Why?"}]
COLUMNS = {
    "prompt": "request.prompt",
    "provider": "model",
    "input_tokens": "usage.prompt_tokens",
    "output_tokens": "usage.completion_tokens",
    "cost_usd": "cost",
    "latency_s": "latency_ms / 1000",
    "quality": "score / 10",
}


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif path.suffix == ".csv":
        told = [{k: json.dumps(v) if isinstance(v, list) else v for k, v in row.items()} for row in rows]
        pd.DataFrame(told).to_csv(path, index=False)
    else:
        pd.DataFrame(rows).to_parquet(path)
    return path


def entry(prompt: Any = "Hi", model: str = "small", **changed: Any) -> dict[str, Any]:
    usage = {"prompt_tokens": 10, "completion_tokens": 20}
    return {"request": {"prompt": prompt}, "model": model, "usage": usage, "cost": 0.01, "latency_ms": 250, **changed}


@pytest.mark.parametrize("ending", ["jsonl", "csv", "parquet"])
def test_prompts_are_read_from_every_kind_of_file(tmp_path: Path, ending: str) -> None:
    rows = [
        {"prompt_id": "a", "prompt": "2 + 2?", "task": "sums", "reference": "4", "messages": None},
        {"prompt_id": "b", "prompt": None, "task": "talk", "reference": None, "messages": TALK},
    ]
    read = read_prompts(write(tmp_path / f"p.{ending}", rows))
    first, second = read.requests
    assert (first.request_id, first.prompt, first.reference, first.messages) == ("a", "2 + 2?", "4", None)
    assert (second.request_id, second.prompt, second.reference, second.messages) == ("b", "Why?", None, TALK)
    assert read.tasks == ["sums", "talk"]


def test_a_prompt_without_a_name_always_gets_the_same(tmp_path: Path) -> None:
    short = read_prompts(write(tmp_path / "s.jsonl", [{"prompt": "B"}]))
    long = read_prompts(write(tmp_path / "l.csv", [{"prompt": "A"}, {"prompt": "B"}]))
    assert short.requests[0].request_id == long.requests[1].request_id == prompt_id_of("B")


def test_whole_numbers_serve_as_references_and_names(tmp_path: Path) -> None:
    read = read_prompts(write(tmp_path / "p.jsonl", [{"prompt_id": 7, "prompt": "Hi", "reference": 4}]))
    assert (read.requests[0].request_id, read.requests[0].reference) == ("7", "4")


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([{"prompt": "Hi", "promt_id": 1}], "column 'promt_id' is unknown"),
        ([{"task": "sums"}], "row 0: column 'prompt' is empty"),
        ([{"prompt": "Hi"}, {"prompt": " "}], "row 1: column 'prompt' holds ' '"),
        ([{"prompt": "Hi"}, {"prompt": "Hi"}], "rows 0 and 1 have the same prompt_id"),
        ([{"prompt": ["Hi"]}], "row 0: column 'prompt' holds"),
        ([{"prompt": "\ud83e"}], "row 0: column 'prompt' holds"),
        ([{"prompt": "Hi", "task": "a"}, {"prompt": "Ho"}], "row 1: column 'task' holds"),
        ([{"messages": "[{]"}], "row 0: column 'messages' holds no JSON"),
        ([{"messages": [{"content": "Hi"}]}], "row 0: column 'messages' must hold a list such as"),
        ([{"messages": [{"role": "system", "content": "Hi"}]}], "holds no text of the user"),
    ],
)
def test_a_bad_prompt_is_named(tmp_path: Path, rows: list[dict[str, Any]], told: str) -> None:
    with pytest.raises(TableError, match=r"p\.jsonl: ") as raised:
        read_prompts(write(tmp_path / "p.jsonl", rows))
    assert told in str(raised.value)


def test_a_gateways_log_becomes_a_table(tmp_path: Path) -> None:
    lines = [
        entry("Hi", "small", score=10),
        entry(TALK, "small", score=5),
        entry("Hi", "large", cost=0.2, latency_ms=1000),
        entry(TALK, "large", score=9.5),
    ]
    file = write(tmp_path / "log.jsonl", lines)
    table = PerformanceTable.from_frame(frame_of(read_gateway_log(file, COLUMNS), "log"))
    assert table.providers == ("small", "large")
    assert table.prompts is not None
    assert table.prompts.tolist() == ["Hi", "Why?"]
    assert table.prompt_ids.tolist() == [prompt_id_of("Hi"), prompt_id_of(TALK)]
    assert table.quality[:, 0].tolist() == [1.0, 0.5]
    assert table.latency.tolist() == [[0.25, 1.0], [0.25, 0.25]]
    assert table.cost.tolist() == [[0.01, 0.2], [0.01, 0.01]]


def test_the_columns_of_the_projects_params_fit_the_gateways_they_describe(tmp_path: Path) -> None:
    columns = load_params(Path(__file__).parents[1] / "params.yaml").live.gateway_columns
    answer = next(read_gateway_log(write(tmp_path / "l.jsonl", [entry(latency=0.5, score=0.9)]), columns))
    assert (answer.prompt, answer.provider, answer.latency_s, answer.quality) == ("Hi", "small", 0.5, 0.9)


def test_several_answers_of_a_provider_to_a_prompt_are_averaged(tmp_path: Path) -> None:
    answers = [Answer("Hi", "a", q, c) for q, c in ((1.0, 0.1), (None, 0.2), (0.0, 0.6))] + [
        Answer("Hi", "b", 1.0, 0.1)
    ]
    frame = frame_of(answers, "log")
    assert frame["quality"].tolist() == [0.5, 1.0]
    assert frame["cost_usd"].tolist() == pytest.approx([0.3, 0.1])


@pytest.mark.parametrize(
    ("path", "line", "value"),
    [
        ("a.b", {"a": {"b": 1}}, 1),
        ("a.b", {"a.b": 2}, 2),
        ("usage.a.b", {"usage": {"a.b": 3}}, 3),
        ("a.1.b", {"a": [{}, {"b": 4}]}, 4),
        ("a.7.b", {"a": [{}]}, None),
        ("a.b", {"a": "text"}, None),
        ("a / 4", {"a": 2}, 0.5),
        ("a/1e3", {"a": 2}, 0.002),
        ("a / 4", {"a": "text"}, "text"),
    ],
)
def test_a_column_is_found_where_it_is_nested(path: str, line: dict[str, Any], value: object) -> None:
    assert Column.parse(path).of(line) == value


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda line: line[:-3], "line 2 is no JSON"),
        (lambda line: '{"model": "small"}', "line 2 lacks 'request.prompt' (our 'prompt')"),
        (lambda line: "[1, 2]", "line 2 lacks 'request.prompt' (our 'prompt')"),
        (lambda line: line.replace('"small"', "7"), "line 2 holds 7 at 'model' (our 'provider'); it must be a text"),
        (lambda line: line.replace("0.01", '"free"'), "line 2 holds 'free' at 'cost' (our 'cost_usd')"),
        (
            lambda line: line.replace("0.01", "-1"),
            "line 2 holds -1 at 'cost' (our 'cost_usd'); it must be a number ≥ 0",
        ),
        (lambda line: line.replace("0.01", "NaN"), "line 2 holds nan at 'cost'"),
        (lambda line: line.replace("0.01", "1" * 5000), "line 2 is no JSON"),
        (
            lambda line: line.replace('"score": 1', '"score": 40'),
            "line 2 holds 4.0 at 'score' (our 'quality'); scale it",
        ),
        (lambda line: line.replace('"Hi"', "[]"), "line 2 holds no prompt at 'request.prompt'"),
        (lambda line: "[" * 100_000, "line 2 is no JSON"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, change: Callable[[str], str], told: str) -> None:
    good = json.dumps(entry(score=1))
    (tmp_path / "log.jsonl").write_text(f"{good}\n{change(good)}\n")
    with pytest.raises(TableError, match=r"log\.jsonl: line 2") as raised:
        list(read_gateway_log(tmp_path / "log.jsonl", COLUMNS))
    assert told in str(raised.value)


def test_a_log_that_is_missing_or_empty_and_a_mapping_that_is_wrong_are_told(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="No such file"):
        list(read_gateway_log(tmp_path / "none.jsonl", COLUMNS))
    (tmp_path / "log.jsonl").write_text("\n")
    with pytest.raises(TableError, match="log: no answers"):
        frame_of(read_gateway_log(tmp_path / "log.jsonl", COLUMNS), "log")
    with pytest.raises(ParamsError, match="'cots' is unknown; name columns out of prompt, provider"):
        list(read_gateway_log(tmp_path / "log.jsonl", {**COLUMNS, "cots": "cost"}))
    with pytest.raises(ParamsError, match="'provider' is missing"):
        list(read_gateway_log(tmp_path / "log.jsonl", {"prompt": "p"}))


def test_costs_that_a_log_lacks_are_those_of_the_list() -> None:
    logged = [Answer("Hi", "gpt-4o-mini", 1.0, None, 1000, 100), Answer("Hi", "gpt-4o", 1.0, 0.5, 1000, 100)]
    assert [a.cost_usd for a in priced(logged, "log")] == pytest.approx([1000 * 0.15e-6 + 100 * 0.6e-6, 0.5])
    with pytest.raises(TableError, match=r"log: answers of 'mine' have no cost, and no list price .*'mine'"):
        list(priced([Answer("Hi", "mine", 1.0, None, 1000, 100)], "log"))
    with pytest.raises(TableError, match="has neither a cost nor tokens"):
        list(priced([Answer("Hi", "gpt-4o", 1.0)], "log"))


def test_a_log_is_read_as_a_stream(tmp_path: Path) -> None:
    import tracemalloc

    with (tmp_path / "log.jsonl").open("w") as file:
        line = json.dumps(entry("x" * 2000, score=3))
        file.writelines(f"{line}\n" for _ in range(10_000))
    tracemalloc.start()
    try:
        frame = frame_of(read_gateway_log(tmp_path / "log.jsonl", COLUMNS), "log")
        assert tracemalloc.get_traced_memory()[1] < 2e6
    finally:
        tracemalloc.stop()
    assert frame["quality"].tolist() == pytest.approx([0.3])


def test_a_conversation_of_something_else_is_no_prompt() -> None:
    for prompt in (7, ["Hi"], [{"role": "user", "content": None}]):
        with pytest.raises(RoutelabError, match="a prompt is"):
            frame_of([Answer(prompt, "a")], "log")  # type: ignore[arg-type]
