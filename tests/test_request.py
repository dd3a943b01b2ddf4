"""A request refuses what means nothing, estimates what was left out, and turns into numbers of known meaning."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routelab import LLMRequest
from routelab.errors import RoutelabError
from routelab.lexical import LEXICAL_NAMES, lexical_counts
from routelab.request import REQUEST_NAMES, estimate_complexity, estimate_requires_reasoning, request_values

SHARES = [i for i, name in enumerate(LEXICAL_NAMES) if name.endswith("_share")]


def counts(text: str) -> dict[str, float]:
    return dict(zip(LEXICAL_NAMES, lexical_counts(text), strict=True))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prompt": ""}, "prompt is empty"),
        ({"prompt": " \n\t"}, "prompt is empty"),
        ({"prompt": None}, "must be text, got None"),
        ({"prompt": b"Hi"}, "must be text"),
        ({"prompt": "Hi", "estimated_complexity": 1.1}, r"estimated_complexity is 1.1; give a number in \[0, 1\]"),
        ({"prompt": "Hi", "estimated_complexity": math.nan}, "estimated_complexity is nan"),
        ({"prompt": "Hi", "time_of_day": 24.0}, r"time_of_day is 24.0; give an hour in \[0, 24\)"),
        ({"prompt": "Hi", "time_of_day": -0.5}, "time_of_day is -0.5"),
        ({"prompt": "Hi", "time_of_day": math.nan}, "time_of_day is nan"),
        ({"prompt": "Hi", "user_tier": "gold"}, "user_tier is 'gold'; give 'free' or 'premium'"),
        ({"prompt": "Hi", "features": {"age": math.nan}}, r"features\['age'\] is nan; give a finite number"),
        ({"prompt": "", "features": {"age": math.inf}}, r"features\['age'\] is inf"),
        ({"prompt": "Hi", "estimated_complexity": "3"}, r"estimated_complexity is '3'; give a number in \[0, 1\]"),
        ({"prompt": "Hi", "time_of_day": "3"}, r"time_of_day is '3'; give an hour in \[0, 24\)"),
        ({"prompt": "Hi", "time_of_day": None}, "time_of_day is None"),
        ({"prompt": "Hi", "features": {"a": "b"}}, r"features\['a'\] is 'b'; give a finite number"),
        ({"prompt": "Hi", "features": {"a": 10**400}}, r"features\['a'\] is 1000*; give a finite number"),
        ({"prompt": "Hi", "messages": "Hi"}, "messages is 'Hi'; give a list of at least one message"),
        ({"prompt": "Hi", "messages": []}, "give a list of at least one message"),
        ({"prompt": "Hi", "messages": [{"content": "Hi"}]}, r"messages\[0\] is {'content': 'Hi'}; give a mapping"),
        ({"prompt": "Hi", "messages": ["Hi"]}, r"messages\[0\] is 'Hi'; give a mapping with a role"),
        ({"prompt": "Hi", "options": [1]}, r"options is \[1\]; give a mapping"),
        ({"prompt": "Hi", "reference": 4}, "reference must be text, got 4; pass a str"),
        ({"prompt": "Hi", "features": [1.0]}, r"features is \[1.0\]; give a mapping of names to numbers"),
    ],
)
def test_a_request_refuses_what_means_nothing(arguments, message):
    with pytest.raises(RoutelabError, match=message):
        LLMRequest(**arguments)


def test_the_prompt_of_a_conversation_is_what_the_user_said_last():
    parts = [
        {"type": "text", "text": "What is"},
        {"type": "image_url", "image_url": {}},
        {"type": "text", "text": "it?"},
    ]
    messages = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Yes?"},
        {"role": "user", "content": parts},
        {"role": "tool", "content": "42"},
    ]
    request = LLMRequest.from_chat(messages, user_tier="premium", options={"temperature": 0.0})
    assert (request.prompt, request.messages, request.user_tier) == ("What is\nit?", messages, "premium")
    assert LLMRequest.from_chat(messages[:2]).prompt == "Hi"


@pytest.mark.parametrize("content", [None, "", " ", [], [{"type": "image_url"}], [{"type": "text", "text": 3}], 7])
def test_a_conversation_in_which_the_user_says_nothing_is_known_by_its_last_text(content):
    silent, brief = {"role": "user", "content": content}, {"role": "system", "content": "Be brief."}
    assert LLMRequest.from_chat([silent]).prompt == "[no text]"
    assert LLMRequest.from_chat([brief]).prompt == "Be brief."
    assert LLMRequest.from_chat([brief, silent]).prompt == "Be brief."
    talk = [brief, {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes?"}, silent]
    assert LLMRequest.from_chat(talk).prompt == "Yes?"


def test_numbers_of_the_callers_own_stand_in_for_a_prompt():
    assert LLMRequest("", features={"age": 3.0}).estimated_complexity == 0.0


def test_what_the_caller_says_is_not_overruled_by_the_estimate():
    request = LLMRequest("Prove it, step by step.", estimated_complexity=0.0, requires_reasoning=False)
    assert (request.estimated_complexity, request.requires_reasoning) == (0.0, False)


@given(st.text(max_size=300))
def test_estimated_complexity_is_a_share_whatever_the_text(text):
    assert 0.0 <= estimate_complexity(text) <= 1.0


def test_longer_and_reasoning_prompts_are_estimated_as_harder():
    short, long = "Say hello.", " ".join(["word"] * 300)
    assert estimate_complexity(short) < estimate_complexity(long)
    assert estimate_complexity(short) < estimate_complexity("Prove hello.")
    assert estimate_requires_reasoning("WHY is it so?")
    assert not estimate_requires_reasoning("A whyever and an explainer")


def test_request_values_are_what_their_names_say():
    request = LLMRequest("abc", estimated_complexity=0.4, requires_reasoning=True, time_of_day=18, user_tier="premium")
    values = dict(zip(REQUEST_NAMES, request_values(request), strict=True))
    assert values == pytest.approx(
        {
            "prompt_length": math.log(4),
            "estimated_complexity": 0.4,
            "requires_reasoning": 1.0,
            "hour_sin": -1.0,
            "hour_cos": 0.0,
            "user_tier": 1.0,
        }
    )


def test_midnight_is_near_the_minute_before_it():
    before, after = (request_values(LLMRequest("Hi", time_of_day=hour)) for hour in (23.99, 0.0))
    assert np.allclose(before, after, atol=0.003)


def test_lexical_counts_of_a_prompt_counted_by_hand():
    found = counts("Is 7 prime?\n1. Yes\nb) x = 3*4;\nÉ")
    assert found == pytest.approx(
        {
            "words": math.log1p(10),
            "sentences": math.log1p(2),  # "?" and "1."
            "lines": math.log1p(3),
            "word_length": math.log1p(32 / 10),
            "digit_share": 4 / 32,
            "upper_share": 3 / 32,
            "punctuation_share": 4 / 32,  # ? . ) ;
            "non_ascii_share": 1 / 32,
            "code_marks": math.log1p(1),  # ;
            "math_marks": math.log1p(2),  # = *
            "question_marks": math.log1p(1),
            "choice_marks": math.log1p(2),  # 1. and b)
        }
    )


@pytest.mark.parametrize(
    ("name", "more", "less"),
    [
        ("code_marks", "def f(): return 1", "a definition of returning"),
        ("math_marks", "3 - 4 = √2", "three less four"),
        ("choice_marks", "(A) red\n(B) blue\n", "A red or B blue"),
    ],
)
def test_marks_tell_their_kind_of_prompt_apart(name, more, less):
    assert counts(more)[name] > counts(less)[name] == 0.0


@given(st.text(max_size=200))
def test_lexical_counts_are_finite_and_shares_lie_between_0_and_1(text):
    values = np.array(lexical_counts(text))
    assert np.isfinite(values).all()
    assert (values >= 0.0).all()
    assert (values[SHARES] <= 1.0).all()
