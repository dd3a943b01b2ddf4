"""One request to be routed, and the estimates for what its caller left out."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, Literal, Self

from routelab.errors import RoutelabError
from routelab.html import brief

UserTier = Literal["free", "premium"]

_REASONING = re.compile(
    r"\b(why|prove|proof|explain|derive|step by step|calculate|compute|solve|how many|how much|analy[sz]e|"
    r"compare|evaluate|reason|therefore|implement|algorithm|debug|optimi[sz]e)\b",
    re.IGNORECASE,
)
_LONG_PROMPT_WORDS = 400.0
_NO_TEXT = ("role", "type", "url", "data")  # fields of messages: words of the format, and images


def estimate_requires_reasoning(prompt: str) -> bool:
    """Whether ``prompt`` asks for derivation rather than recall, judged by its verbs.

    >>> estimate_requires_reasoning("Prove that 7 is prime, step by step.")
    True
    >>> estimate_requires_reasoning("Translate 'good morning' into French.")
    False
    """
    return _REASONING.search(prompt) is not None


def estimate_complexity(prompt: str) -> float:
    """Complexity of ``prompt`` in [0, 1]: half its length, a quarter word length, a quarter its asking for reasoning.

    A caller who knows better passes ``estimated_complexity``; learned policies use this only as one feature.

    >>> estimate_complexity("Hi!") < estimate_complexity("Prove the theorem of Pythagoras and explain each step.")
    True
    """
    words = prompt.split()
    if not words:
        return 0.0
    length = min(1.0, len(words) / _LONG_PROMPT_WORDS)
    word_length = min(1.0, len(prompt) / len(words) / 12.0)
    return 0.5 * math.sqrt(length) + 0.25 * word_length + 0.25 * estimate_requires_reasoning(prompt)


def is_finite(value: object) -> bool:
    """Whether ``value`` is a real number (of Python or numpy) that fits a finite float.

    >>> is_finite(3), is_finite("3"), is_finite(float("nan")), is_finite(10**400)
    (True, False, False, False)
    """
    try:
        return isinstance(value, Real) and math.isfinite(value)
    except OverflowError:
        return False


@dataclass(frozen=True, slots=True, repr=False)
class LLMRequest:
    """A request as a router sees it, before any provider answered.

    Args:
        prompt: text sent to the provider; empty only where ``features`` describe the request instead.
        estimated_complexity: in [0, 1]; estimated from the prompt when left out.
        requires_reasoning: estimated from the prompt when left out.
        time_of_day: hour in [0, 24); noon when left out, so that no clock is read.
        user_tier: "free" or "premium".
        unit_id: whoever is treated alike in an experiment (a user, a conversation).
        request_id: the caller's own name of the request.
        features: numbers of the caller's own (the ``x_…`` columns of a table, without the prefix).
        experiment: whose variant answers it; ``ABRouter`` fills it in.
        messages: the whole conversation in OpenAI's chat format; None sends the prompt as one user message.
        options: passed on to the provider, such as ``{"temperature": 0.0, "max_tokens": 200}``.
        reference: the right answer where it is known, for evaluators; no provider and no policy sees it.

    Raises:
        RoutelabError: a field is out of its range, or not of its type.

    >>> request = LLMRequest("Why is the sky blue?")
    >>> request.requires_reasoning
    True
    """

    prompt: str
    estimated_complexity: float | None = None
    requires_reasoning: bool | None = None
    time_of_day: float = 12.0
    user_tier: UserTier = "free"
    unit_id: str | None = None
    request_id: str | None = None
    features: Mapping[str, float] = field(default_factory=dict)
    experiment: str | None = field(default=None, repr=False)
    messages: Sequence[Mapping[str, Any]] | None = field(default=None, repr=False)
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    reference: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Check ranges and fill in what was left out."""
        if not isinstance(self.prompt, str):
            raise RoutelabError(f"LLMRequest.prompt must be text, got {self.prompt!r}; pass a str")
        if not isinstance(self.features, Mapping):
            raise RoutelabError(f"LLMRequest.features is {self.features!r}; give a mapping of names to numbers")
        if not self.prompt.strip() and not self.features:
            raise RoutelabError("LLMRequest.prompt is empty; give a prompt, or numbers in `features`")
        if self.estimated_complexity is None:
            object.__setattr__(self, "estimated_complexity", estimate_complexity(self.prompt))
        elif not (is_finite(self.estimated_complexity) and 0.0 <= self.estimated_complexity <= 1.0):
            raise RoutelabError(
                f"LLMRequest.estimated_complexity is {self.estimated_complexity!r}; give a number in [0, 1]"
            )
        if self.requires_reasoning is None:
            object.__setattr__(self, "requires_reasoning", estimate_requires_reasoning(self.prompt))
        if not (is_finite(self.time_of_day) and 0.0 <= self.time_of_day < 24.0):
            raise RoutelabError(f"LLMRequest.time_of_day is {self.time_of_day!r}; give an hour in [0, 24)")
        if self.user_tier not in ("free", "premium"):
            raise RoutelabError(f"LLMRequest.user_tier is {self.user_tier!r}; give 'free' or 'premium'")
        for name, value in self.features.items():
            if not is_finite(value):
                raise RoutelabError(f"LLMRequest.features[{name!r}] is {value!r}; give a finite number")
        if self.messages is not None:
            _check_messages(self.messages)
        if not isinstance(self.options, Mapping):
            raise RoutelabError(f"LLMRequest.options is {self.options!r}; give a mapping of names to values")
        if self.reference is not None and not isinstance(self.reference, str):
            raise RoutelabError(f"LLMRequest.reference must be text, got {self.reference!r}; pass a str")

    def __repr__(self) -> str:
        """The fields; of a long prompt both ends."""
        return brief(self)

    @classmethod
    def from_chat(cls, messages: Sequence[Mapping[str, Any]], **fields: Any) -> Self:
        """The request of a whole conversation; its prompt is the text of the last message of the user.

        Where that holds none, it is the last text of anybody, or else ``"[no text]"``, as of an image alone.

        Args:
            messages: in OpenAI's chat format; where a content has parts, those of type "text" count, a line each.
            fields: others of the request.

        Raises:
            RoutelabError: there is no message, or a field is wrong.

        >>> LLMRequest.from_chat([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]).prompt
        'Hi'
        """
        _check_messages(messages)
        own = [message for message in messages if message["role"] == "user"]
        texts = (_text(message.get("content")) for message in (*own[-1:], *reversed(messages)))
        prompt = next((text for text in texts if text.strip()), "[no text]")
        return cls(prompt, messages=messages, **fields)

    def texts(self) -> list[str]:
        """The prompt, and every text in the messages: of whatever role, and what tools were called with.

        >>> LLMRequest("Hi", messages=[{"role": "system", "content": "Be brief."}]).texts()
        ['Hi', 'Be brief.']
        """
        return [self.prompt, *_texts(self.messages)]


def _check_messages(messages: object) -> None:
    if not isinstance(messages, Sequence) or isinstance(messages, str | bytes) or not messages:
        raise RoutelabError(f"LLMRequest.messages is {messages!r}; give a list of at least one message")
    for number, message in enumerate(messages):
        if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
            raise RoutelabError(
                f"LLMRequest.messages[{number}] is {message!r}; give a mapping with a role and a content"
            )


def _text(content: object) -> str:
    """The text of a message, whose content is text or a list of parts."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, Sequence) else ()
    texts = [part.get("text") for part in parts if isinstance(part, Mapping) and part.get("type") == "text"]
    return "\n".join(text for text in texts if isinstance(text, str))


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from (text for name, part in value.items() if name not in _NO_TEXT for text in _texts(part))
    elif isinstance(value, Sequence):
        yield from (text for part in value for text in _texts(part))


REQUEST_NAMES: tuple[str, ...] = (
    "prompt_length",
    "estimated_complexity",
    "requires_reasoning",
    "hour_sin",
    "hour_cos",
    "user_tier",
)


def request_values(request: LLMRequest) -> tuple[float, ...]:
    """The ``REQUEST_NAMES`` of one request: log(1 + characters), [0, 1], 0/1, the hour on a circle, 0 free / 1 premium.

    >>> request_values(LLMRequest("Hi", estimated_complexity=0.5, time_of_day=6))[1:4]
    (0.5, 0.0, 1.0)
    """
    angle = 2.0 * math.pi * request.time_of_day / 24.0
    return (
        math.log1p(len(request.prompt)),
        float(request.estimated_complexity or 0.0),
        float(request.requires_reasoning or 0.0),
        math.sin(angle),
        math.cos(angle),
        float(request.user_tier == "premium"),
    )
