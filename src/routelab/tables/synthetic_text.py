"""Prompts of the synthetic world: written from traits, and read back into the same traits.

A prompt is an opening, a question of one task family about one topic, perhaps a wish for reasoning, and up
to five requirements; its last line says how much material is attached. Topics run from easy to hard, so the
words carry task and difficulty, and ``read_prompt`` recovers what ``write_prompt`` put in.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routelab.tables.synthetic_families import FAMILIES

TASKS: tuple[str, ...] = tuple(FAMILIES)
"""Names of the task families; elsewhere a task is an index into this."""

MAX_REQUIREMENTS = 5

_OPENINGS = (
    "",
    "Hi! ",
    "Hello. ",
    "Good morning. ",
    "Quick one: ",
    "For work: ",
    "Please help. ",
    "I'm stuck. ",
)
_REASONING = (
    "Reason step by step.",
    "Explain why, not only what.",
    "Justify each step and compare the alternatives.",
    "Show the whole derivation.",
)
_PLAIN = ("", "A short answer is enough.", "Just the result, please.", "No need to go deep.")
_ATTACHED = re.compile(r"\[attached: (\d+) tokens\]$")
_TOPICS = [
    (topic, task, rank / (len(family.topics) - 1))
    for task, family in enumerate(FAMILIES.values())
    for rank, topic in enumerate(family.topics)
]
_CUES = [re.compile(family.cues, re.IGNORECASE) for family in FAMILIES.values()]


@dataclass(frozen=True, slots=True)
class Traits:
    """What a prompt says.

    Args:
        task: index into ``TASKS``.
        complexity: in [0, 1]; 0.05 + 0.65·(place of the topic, 0 to 1) + 0.06·(number of requirements).
        reasoning: whether it asks for reasoning.
        input_tokens: of the text and what is attached.
    """

    task: int
    complexity: float
    reasoning: bool
    input_tokens: int


def text_tokens(text: str) -> int:
    """Tokens of ``text``, at four characters each, rounded up.

    >>> text_tokens("Hello")
    2
    """
    return -(-len(text) // 4)


def write_prompt(
    task: int,
    topic: int,
    requirements: NDArray[np.intp],
    reasoning: bool,
    style: NDArray[np.int64],
    tokens: int,
) -> str:
    """The prompt with these traits, and material attached to make it ``tokens`` long, give or take one.

    Args:
        task: index into ``TASKS``.
        topic: index into the family's topics, from easy to hard.
        requirements: which of the family's requirements to add, in this order.
        reasoning: whether the prompt asks for reasoning.
        style: three whole numbers ≥ 0 that choose the opening, the question and the closing wish.
        tokens: input tokens wanted; where the text alone is longer, nothing is attached.

    >>> print(write_prompt(2, 8, np.array([0]), True, np.array([1, 0, 0]), 500))
    Hi! Write a Python function for a binary search. Reason step by step. Add type hints.
    [attached: 473 tokens]
    """
    family = FAMILIES[TASKS[task]]
    wishes = _REASONING if reasoning else _PLAIN
    ask = family.asks[style[1] % len(family.asks)].format(family.topics[topic])
    parts = (
        _OPENINGS[style[0] % len(_OPENINGS)] + ask,
        wishes[style[2] % len(wishes)],
        *(family.requirements[i] for i in requirements),
    )
    text = " ".join(part for part in parts if part)
    marker = "\n[attached: {} tokens]"
    attached = tokens - text_tokens(text + marker.format(tokens))
    return text + marker.format(attached) if attached > 0 else text


def read_prompt(prompt: str, *, complexity: float, reasoning: bool) -> Traits:
    """The traits of ``prompt``: exact where ``write_prompt`` wrote it.

    Any other prompt gets the first task whose cues it shows, else chat, and the ``complexity`` and
    ``reasoning`` that the caller estimated.

    >>> read_prompt("Translate this into French: the cat sleeps.", complexity=0.2, reasoning=False)
    Traits(task=5, complexity=0.2, reasoning=False, input_tokens=11)
    """
    attached = _ATTACHED.search(prompt)
    tokens = text_tokens(prompt) + (int(attached[1]) if attached else 0)
    found = [(len(topic), task, place) for topic, task, place in _TOPICS if topic in prompt]
    if not found:
        task = next((t for t, cue in enumerate(_CUES) if t and cue.search(prompt)), 0)
        return Traits(task, complexity, reasoning, tokens)
    _, task, place = max(found)
    requirements = sum(phrase in prompt for phrase in FAMILIES[TASKS[task]].requirements)
    asks_reasoning = any(wish in prompt for wish in _REASONING)
    return Traits(task, 0.05 + 0.65 * place + 0.06 * requirements, asks_reasoning, tokens)
