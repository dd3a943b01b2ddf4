"""An answer is read the same however it is cut, and whatever a server sends is an answer or a failure."""

from __future__ import annotations

import itertools
import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import chat_answers
from routelab.providers import ProviderError
from routelab.providers.openai_answers import Answer, Tokens, same_model

TEXT = "Ada Lovelace — mathématicienne 😀 — wrote it"
EVENTS = b"".join(chat_answers.events("m", TEXT, (7, 5, 3), 6))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = ("model", "choices", "usage", "error")
BODIES = st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS, JSON))
CHOICES = st.lists(
    st.fixed_dictionaries({}, optional=dict.fromkeys(("index", "delta", "message", "finish_reason"), JSON))
)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = [0, *sorted(place % len(data) for place in places), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(ends)]


@given(st.lists(st.integers(0, 10_000), max_size=30))
def test_a_stream_is_read_the_same_wherever_it_is_cut(places: list[int]) -> None:
    answer = Answer("m")
    pieces = [answer.feed(part) for part in cut(EVENTS, places)]
    assert "".join(text for text, _, _ in pieces) == answer.text == TEXT
    assert b"".join(events for _, events, _ in pieces) == EVENTS
    assert (answer.tokens, answer.choices, answer.ended) == (Tokens(7, 5, 3), True, True)


@given(st.lists(st.integers(0, 10_000), max_size=10))
def test_comments_and_other_line_ends_change_nothing(places: list[int]) -> None:
    answer, wire = Answer("m"), b": OPENROUTER PROCESSING\r\n\r\nevent: x\r\n" + EVENTS.replace(b"\n", b"\r\n")
    for part in cut(wire, places):
        answer.feed(part)
    assert (answer.text, answer.tokens, answer.ended) == (TEXT, Tokens(7, 5, 3), True)


def test_a_role_alone_is_nothing_of_the_answer_but_a_tool_call_is() -> None:
    def told(delta: dict[str, Any]) -> bool:
        return Answer("m").feed(chat_answers.event(json.dumps({"choices": [{"delta": delta}]}).encode()))[2]

    assert not told({"role": "assistant", "content": ""})
    assert told({"tool_calls": [{"id": "1"}]})
    assert told({"reasoning_content": "Hm"})


def test_only_the_first_of_several_choices_is_the_text() -> None:
    answer = Answer("m")
    choices = [{"index": i, "message": {"content": f"answer {i}"}} for i in (1, 0)]
    answer.read(json.dumps({"choices": choices}).encode())
    assert answer.text == "answer 0"


@given(
    st.binary()
    | (JSON | BODIES | BODIES.flatmap(lambda body: CHOICES.map(lambda c: body | {"choices": c}))).map(
        lambda body: json.dumps(body).encode()
    )
)
def test_whatever_a_server_sends_is_an_answer_or_a_failure(body: bytes) -> None:
    answer, stream = Answer("m"), Answer("m")
    with suppress(ProviderError):
        answer.read(body)
    with suppress(ProviderError):
        stream.feed(b"data: " + body + b"\n\n")
    for tokens in (answer.tokens, stream.tokens):
        assert tokens is None or 0 <= tokens.cached <= tokens.input < 2**53 > tokens.output >= 0


def test_json_that_is_nested_beyond_all_measure_is_a_failure() -> None:
    with pytest.raises(ProviderError, match="broken JSON"):
        Answer("m").read(b"[" * 1_000_000)


@pytest.mark.parametrize(
    ("asked", "answered", "same"),
    [
        ("gpt-4o", "gpt-4o", True),
        ("gpt-4o", "gpt-4o-2024-08-06", True),
        ("gpt-4", "gpt-4-0613", True),
        ("claude-x", "claude-x-20250219", True),
        ("openai/gpt-4o", "openai/gpt-4o-2024-08-06", True),
        ("small", "small:latest", True),
        ("small-latest", "small-2025", True),
        ("Small", "small", True),
        ("gpt-4o", "gpt-4o-mini", False),
        ("gpt-4o", "gpt-4o-mini-2024-07-18", False),
        ("gpt-4o-2024-08-06", "gpt-4o-2024-11-20", False),
        ("gpt-4o", "gpt-4", False),
    ],
)
def test_a_dated_snapshot_is_the_model_itself(asked: str, answered: str, same: bool) -> None:
    assert same_model(asked, answered) is same
