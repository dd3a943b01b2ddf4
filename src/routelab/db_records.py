"""What the performance log holds: decisions, and the outcomes that join them later."""

from __future__ import annotations

import math
import operator
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routelab.errors import DatabaseError

# DESIGN §5 allows a quadrature error of 1e-4 in each probability; a wrong arm or a stale vector is far off.
_PROBABILITY_TOLERANCE = 1e-3
# What a router records of a call that its caller gave up; nobody answered, and nobody failed.
CANCELLED = "cancelled by the caller"
_SHA256 = re.compile(r"[0-9a-f]{64}")

#: Ends the policy's name where the choice was made among the providers that had not failed yet: no policy drew it.
AFTER_FAILURE = " after failure"


def new_decision_id(rng: np.random.Generator | None = None) -> str:
    """A fresh uuid4 in hex, drawn from ``rng`` where the same seed must give the same ids.

    >>> len(new_decision_id()), new_decision_id(np.random.default_rng(0))
    (32, '5f82c2d9cfeb4fa3a1d7d982f8bd1045')
    """
    return uuid.UUID(bytes=rng.bytes(16), version=4).hex if rng else uuid.uuid4().hex


def _refuse(record: object, name: str, remedy: str) -> DatabaseError:
    return DatabaseError(f"{type(record).__name__}.{name} is {getattr(record, name)!r}; {remedy}")


def is_text(value: object) -> bool:
    """Whether ``value`` is text that a store can hold: without NUL characters and lone surrogates."""
    return isinstance(value, str) and "\0" not in value and value.encode("utf-8", "ignore").decode() == value


def check_text(record: object, *names: str) -> None:
    """Refuse text that a store cannot hold, so that no row gets stuck in the queue."""
    for name in names:
        value = getattr(record, name)
        if not is_text(value):
            raise _refuse(record, name, "give a str without NUL characters or lone surrogates")


def check_number(record: object, name: str, low: float, high: float) -> float:
    """Field ``name`` as a float within [low, high]; infinities and NaN are refused."""
    value = getattr(record, name)
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not (math.isfinite(number) and low <= number <= high):
        raise _refuse(record, name, f"give a finite number in [{low:g}, {high:g}]")
    return number


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Decision:
    """One choice of a provider, with all that evaluating another policy on it needs.

    Args:
        decision_id: unique name of this decision, see :func:`new_decision_id`.
        request_id: name of the request; several decisions may share it (retries, full-information tables).
        decided_at: unix seconds.
        provider: the chosen arm, one of ``providers``.
        providers: names of the k arms there were.
        probabilities: (k,) probability of each arm under the policy; sums to 1.
        propensity: probability in (0, 1] of the chosen arm.
        features: (p,) what the policy saw; kept as float32.
        feature_set: names the features' meaning (a hash of their names); only equal sets may train together.
        policy: its name.
        policy_version: which fit of it.
        objective: the trade-off, any mapping that JSON can hold.
        unit_id: whoever is treated alike in an experiment.
        experiment: whose variant decided, None for none.
        prompt_sha256: 64 hex digits; of ``prompt`` when left out.
        prompt: the text; ``PerformanceDB(prompts=…)`` says what is kept of it, by default its hash only.

    Raises:
        DatabaseError: a field is out of its range, or lengths and probabilities disagree.

    >>> decision = Decision(
    ...     decision_id=new_decision_id(), request_id="r1", decided_at=0.0, feature_set="demo",
    ...     providers=("a", "b"), provider="a", probabilities=(0.9, 0.1), propensity=0.9,
    ...     features=np.zeros(3), policy="rule",
    ... )
    >>> decision.features.dtype
    dtype('float32')
    """

    decision_id: str
    request_id: str
    decided_at: float
    provider: str
    providers: tuple[str, ...]
    probabilities: Sequence[float] | NDArray[np.floating[Any]]
    propensity: float
    features: NDArray[np.floating[Any]]
    feature_set: str
    policy: str
    policy_version: str = ""
    objective: Mapping[str, Any] = field(default_factory=dict)
    unit_id: str | None = None
    prompt_sha256: str | None = None
    experiment: str | None = None
    prompt: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Check every field and bring numbers to one type."""
        check_text(self, "decision_id", "request_id", "provider", "feature_set", "policy", "policy_version")
        check_text(self, *(name for name in ("unit_id", "experiment") if getattr(self, name) is not None))
        if self.prompt_sha256 is not None and not _SHA256.fullmatch(self.prompt_sha256):
            raise _refuse(self, "prompt_sha256", "give 64 lower-case hex digits, never the text")
        if not isinstance(self.prompt, str | None):
            raise DatabaseError(f"Decision.prompt is of type {type(self.prompt).__name__}; give a str")
        object.__setattr__(self, "decided_at", check_number(self, "decided_at", -math.inf, math.inf))
        self._check_arms()
        with np.errstate(over="ignore"):  # a float64 beyond float32 becomes inf, which is refused below
            features = np.array(self.features, dtype=np.float32)
        if features.ndim != 1 or not np.isfinite(features).all():
            raise _refuse(self, "features", "give one row of finite float32 numbers, shape (p,)")
        object.__setattr__(self, "features", features)

    def _check_arms(self) -> None:
        object.__setattr__(self, "providers", tuple(self.providers))
        if self.provider not in self.providers or len(set(self.providers)) != len(self.providers):
            raise _refuse(self, "provider", f"give one of providers={self.providers}, which name each arm once")
        probabilities = tuple(float(value) for value in self.probabilities)
        object.__setattr__(self, "probabilities", probabilities)
        if len(probabilities) != len(self.providers):
            raise _refuse(self, "probabilities", f"give {len(self.providers)} numbers, one per provider")
        if min(probabilities) < 0.0 or not abs(sum(probabilities) - 1.0) <= _PROBABILITY_TOLERANCE:
            raise _refuse(self, "probabilities", "give numbers ≥ 0 that sum to 1")
        propensity = check_number(self, "propensity", 0.0, 1.0)
        chosen = probabilities[self.providers.index(self.provider)]
        if propensity == 0.0 or abs(propensity - chosen) > _PROBABILITY_TOLERANCE:
            raise _refuse(self, "propensity", f"give the probability in (0, 1] of the chosen arm, {chosen:g}")
        object.__setattr__(self, "propensity", propensity)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a decision: may be recorded much later, once.

    Args:
        decision_id: of the decision that it belongs to.
        quality: in [0, 1]; None or NaN where nobody graded the answer.
        cost_usd: ≥ 0, what was paid (0 for a call that failed before it cost anything).
        observed_at: unix seconds.
        latency_s: ≥ 0, seconds; None or NaN where unknown.
        input_tokens: ≥ 0, None where unknown.
        output_tokens: ≥ 0, None where unknown.
        error: what went wrong, None for an answer.
        quality_se: ≥ 0, standard error of ``quality`` as its grader states it; None where it states none.
        grading_cost_usd: ≥ 0, what grading the answer cost; not part of ``cost_usd``.
        first_token_s: ≥ 0, seconds until the first token; None where the answer was not streamed.
        cached_tokens: ≥ 0, of the input, those that came from the provider's prompt cache; None where unknown.

    Raises:
        DatabaseError: a field is out of its range.

    >>> Outcome("id", quality=1.2, cost_usd=0.0, observed_at=0.0)
    Traceback (most recent call last):
    ...
    routelab.errors.DatabaseError: Outcome.quality is 1.2; give a finite number in [0, 1]
    """

    decision_id: str
    quality: float | None
    cost_usd: float
    observed_at: float
    latency_s: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    error: str | None = None
    quality_se: float | None = None
    grading_cost_usd: float = 0.0
    first_token_s: float | None = None
    cached_tokens: int | None = None

    def __post_init__(self) -> None:
        """Check every field; NaN becomes None, numpy numbers become Python's."""
        check_text(self, "decision_id")
        if self.error is not None:
            check_text(self, "error")
        object.__setattr__(self, "observed_at", check_number(self, "observed_at", -math.inf, math.inf))
        for name in ("cost_usd", "grading_cost_usd"):
            object.__setattr__(self, name, check_number(self, name, 0.0, math.inf))
        for name in ("quality", "quality_se", "latency_s", "first_token_s"):
            value, high = getattr(self, name), 1.0 if name == "quality" else math.inf
            known = value is not None and value == value
            object.__setattr__(self, name, check_number(self, name, 0.0, high) if known else None)
        for name in ("input_tokens", "output_tokens", "cached_tokens"):
            if getattr(self, name) is not None:
                self._check_count(name)

    def _check_count(self, name: str) -> None:
        try:
            count = operator.index(getattr(self, name))
        except TypeError:
            count = -1
        if not 0 <= count < 2**53:
            raise _refuse(self, name, "give an int ≥ 0, or None where unknown")
        object.__setattr__(self, name, count)
