"""Evaluators against a reference: tables of answers as models write them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routelab import Completion, LLMRequest, RoutelabError
from routelab.evaluators import (
    ChoiceEvaluator,
    ExactEvaluator,
    FirstOf,
    Grade,
    NumericEvaluator,
    QualityEvaluator,
    RegexEvaluator,
)
from routelab.evaluators.numeric import final_number

ANY = st.text() | st.text(alphabet="0123456789,.-/%$\\{}()ABCDabcd answeri:=*\n#boxed^e×")
EVALUATORS = [
    ExactEvaluator(),
    ChoiceEvaluator(),
    NumericEvaluator(),
    RegexEvaluator(r"(?i)answer:\s*+(\w+)"),
]
REFERENCES = ["Paris", "C", "42", "yes"]
PIECES = [
    *(
        "a",
        " ",
        "\n",
        "*",
        ".",
        "−",
        "the ",
        "(C",
        "C ",
        "A, ",
        "A) ",
        "option ",
        "answer ",
        "answer is ",
        "Answer: C or ",
    ),
    *("1", "1,", "111,", "1.", "1/", "1e", "1 x 10^", "####", "- ", "{", "\\boxed{", "\\frac{1"),
]


def answered(text: str) -> Completion:
    return Completion(text, "x", 10, 20, 0.001, 0.2)


def grade(evaluator: QualityEvaluator, answer: str, reference: str | None) -> Grade | None:
    return asyncio.run(evaluator.grade(LLMRequest("?", reference=reference), answered(answer)))


@pytest.mark.parametrize(
    ("answer", "reference", "right"),
    [
        ("Paris", "paris", True),
        ("  Paris.\n", "Paris", True),
        ("**Paris**", "Paris", True),
        ("The Eiffel  Tower", "eiffel tower", True),
        ("STRASSE", "straße", True),
        ("“To be, or not to be”", "To be or not to be", True),
        ("Paris, France", "Paris", False),
        ("It is Paris.", "Paris", False),
        ("", "Paris", False),
        ("...", "", False),
        ("+", "-", False),
        ("The", "a", False),
        ("café", "cafe", False),
    ],
)
def test_exact(answer: str, reference: str, right: bool) -> None:
    assert grade(ExactEvaluator(), answer, reference) == Grade(float(right))


def test_exact_counts_punctuation_and_articles_where_told() -> None:
    assert not ExactEvaluator(ignore_punctuation=False).is_right("Paris.", "Paris")
    assert not ExactEvaluator(ignore_articles=False).is_right("The Seine", "Seine")
    assert ExactEvaluator(ignore_punctuation=False, ignore_articles=False).is_right("the\tSEINE", "The Seine")


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("C", "C"),
        ("c", "C"),
        ("C.", "C"),
        ("(C)", "C"),
        ("**C**", "C"),
        ("[C]", "C"),
        ("`C`", "C"),
        ("C) Paris", "C"),
        ("C. Paris, because A. Dumas lived there", "C"),
        ("**C) Paris**", "C"),
        ("(C) Paris is the capital.", "C"),
        ("The answer is (C)", "C"),
        ("The answer is C because A is wrong.", "C"),
        ("The answer is A because it rains.", "A"),
        ("the answer is c.", "C"),
        ("Answer: C", "C"),
        ("**Answer:** C", "C"),
        ("**Answer: C**", "C"),
        ("Answer: **(C)** Paris", "C"),
        ("ANSWER: $C$", "C"),
        ("Final Answer: \\(\\text{C}\\)", "C"),
        (r"Thus $\boxed{C}$.", "C"),
        (r"$\boxed{\text{C}}$", "C"),
        (r"\boxed{\textbf{(C)}\ 42}", "C"),
        ("The correct answer is option C.", "C"),
        ("The correct option is **B**.", "B"),
        ("Option A is wrong. Option C is correct.", "C"),
        ("(A) is too small; B is the best choice.", "B"),
        ("I'd go with D, I think.", "D"),
        ("I would choose option D", "D"),
        ("The answer is A. Wait, that cannot be: the answer is C.", "C"),
        ("Let's check each.\n(A) no.\n(B) no.\n(C) yes.\nSo the answer is: (C)", "C"),
        ("A is wrong, B is wrong.\n\n**Answer: D) None of these**", "D"),
        ("My choice is J.", "J"),
        ("Answer: C, A is too small.", "C"),
        # several, or none
        ("The answer is A or C.", None),
        ("The answer is (A) and (C)", None),
        ("Answer: A, C", None),
        (r"\boxed{A, C}", None),
        ("A) Paris\nB) London\nC) Rome", None),
        ("Either (A) or (B).", None),
        ("It could be B, or perhaps C.", None),
        ("Paris", None),
        ("", None),
        ("I don't know.", None),
        ("A good question! I cannot tell.", None),
        ("The answer is a mystery.", None),
        ("The answer is I think unclear", None),
        ("The answer is Carbon", None),
        ("The answer is C-14 dating", None),
    ],
)
def test_choice(answer: str, letter: str | None) -> None:
    assert ChoiceEvaluator().chosen(answer) == letter
    assert grade(ChoiceEvaluator(), answer, "(C)") == Grade(float(letter == "C"))


def test_choice_has_the_letters_it_is_given() -> None:
    assert ChoiceEvaluator("AB").chosen("The answer is C. Or B.") == "B"
    assert ChoiceEvaluator("abcdefghijklmnop").chosen("Answer: P") == "P"


@pytest.mark.parametrize(
    ("answer", "reference", "right"),
    [
        ("42", "42", True),
        ("It is 42.", "42", True),
        ("42.0", "42", True),
        ("The answer is 42. I checked it in 3 ways.", "42", True),
        ("3 + 4 = 7\n#### 7", "7", True),
        ("First 12, then 30: 12 + 30 = 42", "42", True),
        ("Answer: 6 * 7 = 42 apples", "42", True),
        ("**Answer:** $1,234.50 per year", "1234.5", True),
        ("1,234,567", "1234567", True),
        (r"so $\boxed{1{,}234}$ holds; 5 more", "1234", False),
        (r"so $\boxed{-17}$ holds for 5 of them", "-17", True),
        (r"\boxed{\frac{3}{4}}", "0.75", True),
        (r"$-\dfrac{1}{2}$", "-1/2", True),
        ("It is 3/4 of it", "0.75", True),
        ("x = 1/3", "0.333333333", True),
        ("x = 0.33", "1/3", False),
        ("6.02e23", "6.02 × 10^23", True),
        (r"6.02 \times 10^{23}", "6.02e23", True),
        ("1.6 x 10^-19 C", "1.6e-19", True),
        ("about 50%", "50", True),
        ("about 50%", "0.5", True),
        ("about 0.5", "50%", True),
        ("50", r"50\%", True),
        ("12%", "13%", False),
        ("−5 °C", "-5", True),
        ("-$5", "-5", True),
        ("from 3-5 apples", "5", True),
        (".5", "0.5", True),
        ("- 5 apples\n- 7 pears", "7", True),
        ("43", "42", False),
        ("forty-two", "42", False),
        ("", "42", False),
        ("1/0", "42", False),
        ("1e9999", "1.7976931348623157e308", False),
        ("GPT4 says no", "4", False),
    ],
)
def test_numeric(answer: str, reference: str, right: bool) -> None:
    assert grade(NumericEvaluator(), answer, reference) == Grade(float(right))


def test_numeric_tolerances_are_relative_or_absolute_whichever_is_wider() -> None:
    assert NumericEvaluator(rel=0.01).is_right("1009", "1000")
    assert not NumericEvaluator(rel=0.01).is_right("1011", "1000")
    assert NumericEvaluator(rel=0.0, abs=0.5).is_right("0.4", "0")
    assert not NumericEvaluator(rel=0.0, abs=0.5).is_right("0.6", "0")


@pytest.mark.parametrize(
    ("pattern", "answer", "reference", "quality"),
    [
        (r"(?i)final:\s*(\w+)", "Final: YES", "yes", 1.0),
        (r"(?i)final:\s*(\w+)", "final: no. Final: yes", "yes", 1.0),
        (r"(?i)final:\s*(\w+)", "final: no", "yes", 0.0),
        (r"(?i)final:\s*(\w+)", "who knows", "yes", 0.0),
        (r"(?i)final:\s*(\w+)?", "final:", "yes", 0.0),
        (r"(?i)final:\s*(\w+)", "Final: yes", None, None),
        (r"^\{.*\}$", '{"a": 1}', None, 1.0),
        (r"^\{.*\}$", "a", None, 0.0),
    ],
)
def test_regex(pattern: str, answer: str, reference: str | None, quality: float | None) -> None:
    assert grade(RegexEvaluator(pattern), answer, reference) == (None if quality is None else Grade(quality))


def test_regex_searches_the_end_of_a_long_answer_and_takes_no_cut_for_a_beginning() -> None:
    assert grade(RegexEvaluator("b$", longest=3), "a" * 10 + "b", None) == Grade(1.0)
    assert grade(RegexEvaluator("a.*b", longest=3), "a" + "c" * 10 + "b", None) == Grade(0.0)
    assert grade(RegexEvaluator("^c", longest=3), "a" + "c" * 10, None) == Grade(0.0)


@pytest.mark.parametrize("evaluator", EVALUATORS, ids=lambda one: type(one).__name__)
def test_without_a_reference_there_is_no_grade(evaluator: QualityEvaluator) -> None:
    assert grade(evaluator, "Answer: 42", None) is None


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: ChoiceEvaluator("AA"), "letters is 'AA'"),
        (lambda: ChoiceEvaluator("").chosen("A"), "letters is ''"),
        (lambda: ChoiceEvaluator("AB").is_right("A", "C"), "reference 'C' is no choice; give one letter of AB"),
        (lambda: NumericEvaluator(rel=-1.0), "rel is -1.0; give a tolerance ≥ 0"),
        (lambda: NumericEvaluator().is_right("4", "four"), "reference 'four' holds no number"),
        (lambda: RegexEvaluator("("), "which is no pattern: missing"),
        (lambda: RegexEvaluator("(a)(b)"), "has several groups"),
        (lambda: RegexEvaluator("a", longest=0), "longest is 0"),
    ],
)
def test_what_cannot_be_is_refused(make: Callable[[], object], told: str) -> None:
    with pytest.raises(RoutelabError, match=re.escape(told)):
        make()


@pytest.mark.parametrize(("evaluator", "reference"), list(zip(EVALUATORS, REFERENCES, strict=True)))
def test_any_answer_gets_a_grade(evaluator: QualityEvaluator, reference: str) -> None:
    @settings(max_examples=300, deadline=None)
    @given(ANY)
    def check(answer: str) -> None:
        found = grade(evaluator, answer, reference)
        assert found is not None
        assert found.quality in (0.0, 1.0)

    check()


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_is_read_as_it_was_written(value: float) -> None:
    for text in (repr(value), f"The answer is {value!r}.", rf"\boxed{{{value!r}}}", f"#### {value!r}"):
        assert final_number(text) == (pytest.approx(value, rel=1e-12, abs=1e-320), False)


@given(st.sampled_from("ABCDEFGHIJ"), st.text(alphabet="xyz .,\n", max_size=30))
def test_a_stated_choice_is_found_in_any_text_without_letters(letter: str, around: str) -> None:
    for stated in (f"The answer is ({letter})", rf"\boxed{{{letter}}}", f"Answer: **{letter}**"):
        assert ChoiceEvaluator().chosen(f"{around}\n{stated}\n{around}") == letter


@pytest.mark.parametrize("piece", PIECES)
def test_a_long_answer_of_one_piece_repeated_is_graded(piece: str) -> None:  # for hours, were it not in linear time
    for evaluator, reference in zip(EVALUATORS, REFERENCES, strict=True):
        assert grade(evaluator, piece * (200_000 // len(piece)), reference) is not None


def test_the_first_evaluator_that_can_grade_does() -> None:
    evaluator = FirstOf(ExactEvaluator(), RegexEvaluator("maybe"))
    assert grade(evaluator, "maybe", "yes") == Grade(0.0)
    assert grade(evaluator, "maybe", None) == Grade(1.0)
    assert grade(FirstOf(ExactEvaluator()), "maybe", None) is None
