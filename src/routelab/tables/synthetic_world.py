"""What a simulated provider does with a request: the one model behind the synthetic table and the live providers."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, expit, ndtr

from routelab.errors import RoutelabError
from routelab.tables.fits import CODE, CONVERSATION, LATENCY, LatencyFit, tokens_at
from routelab.tables.synthetic_text import TASKS, Traits

Floats = NDArray[np.float64]

TIMEOUT_S = 60.0
"""Seconds after which a request that got no first token is given up."""

CONCENTRATION = 20.0
"""Spread of the observed quality: Beta(m·c, (1−m)·c) around its mean m has variance m·(1−m)/(c+1)."""

LENGTH_CORRELATION = 0.5
"""How far the length of an answer follows the complexity of its request (Gaussian copula)."""

CODE_TASK = TASKS.index("code")
_COMPLEXITY_MEAN, _COMPLEXITY_SD = (
    0.52,
    0.20,
)  # of the requests of `synthetic`, so that the copula keeps the fit
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(32)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()


@dataclass(frozen=True, slots=True)
class ProviderProfile:
    """One provider of the synthetic world.

    Args:
        name: of the provider.
        input_price: USD per million input tokens.
        output_price: USD per million output tokens.
        skill: for each of ``TASKS``, the log-odds of its expected quality at complexity 0 without reasoning.
        complexity_slope: log-odds lost from complexity 0 to 1.
        reasoning_slope: log-odds lost where reasoning is needed.
        latency: fitted time to first token, time per further token, and failure rate.
        verbosity: output tokens relative to the fitted workload.
        capacity: requests in flight at which the latency has doubled.

    Raises:
        RoutelabError: a number out of its range.
    """

    name: str
    input_price: float
    output_price: float
    skill: tuple[float, ...]
    complexity_slope: float
    reasoning_slope: float
    latency: LatencyFit
    verbosity: float = 1.0
    capacity: float = 15.0

    def __post_init__(self) -> None:
        """Refuse what has no meaning."""
        if len(self.skill) != len(TASKS):
            raise RoutelabError(f"provider {self.name!r} has {len(self.skill)} skills; give one for each of {TASKS}")
        if min(self.input_price, self.output_price) < 0.0 or min(self.verbosity, self.capacity) <= 0.0:
            raise RoutelabError(f"{self!r}: prices must be ≥ 0, verbosity and capacity > 0")


DEFAULT_PROVIDERS: tuple[ProviderProfile, ...] = (
    #                            USD in, out   chat  summ  code math  extr  tran  slopes: complexity, reasoning
    ProviderProfile("nano", 0.06, 0.24, (2.4, 2.3, 0.8, 0.6, 3.9, 1.6), 3.2, 1.3, LATENCY["fireworks_7b"]),
    ProviderProfile("mini", 0.25, 1.00, (2.6, 2.7, 1.4, 1.4, 3.7, 2.4), 2.6, 1.0, LATENCY["together_13b"]),
    ProviderProfile("coder", 0.50, 1.50, (1.8, 1.7, 4.0, 2.4, 2.6, 0.8), 2.4, 0.8, LATENCY["groq_70b"], 0.9),
    ProviderProfile("large", 1.20, 4.80, (3.8, 3.8, 2.2, 2.2, 2.9, 3.9), 2.2, 0.7, LATENCY["anyscale_70b"], 1.1),
    ProviderProfile("frontier", 3.0, 15.0, (3.5, 2.9, 3.0, 4.0, 2.6, 3.0), 1.4, 0.2, LATENCY["perplexity_70b"], 1.2),
)  # fmt: skip
"""Cheap and small to dear and large, and a specialist for code; prices and skills are made up, latency is fitted."""


@dataclass(frozen=True, slots=True)
class Requests:
    """n requests as they truly are; arrays (n,).

    Args:
        task: index into ``TASKS``.
        complexity: in [0, 1].
        reasoning: whether reasoning is needed.
        input_tokens: whole numbers ≥ 1.
    """

    task: NDArray[np.intp]
    complexity: Floats
    reasoning: NDArray[np.bool_]
    input_tokens: Floats

    @classmethod
    def of(cls, traits: list[Traits]) -> Requests:
        """Stack the traits of n prompts."""
        return cls(
            np.array([t.task for t in traits], dtype=np.intp),
            np.array([t.complexity for t in traits], dtype=np.float64),
            np.array([t.reasoning for t in traits], dtype=np.bool_),
            np.array([t.input_tokens for t in traits], dtype=np.float64),
        )


@dataclass(frozen=True, slots=True)
class Conditions:
    """What events did to one provider at the time of each request; scalars or arrays (n,).

    Args:
        shift: added to the expected quality.
        price_factor: on both prices.
        outage: whether every request fails.
    """

    shift: Floats | float = 0.0
    price_factor: Floats | float = 1.0
    outage: NDArray[np.bool_] | bool = False


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What n requests came to, drawn or expected; arrays (n,): quality in [0, 1], USD, seconds, tokens."""

    quality: Floats
    cost: Floats
    latency: Floats
    output_tokens: Floats
    failed: Floats


def named_rng(seed: int, *names: str) -> np.random.Generator:
    """A generator that depends on ``seed`` and ``names`` alone, so that one provider's draws never move another's.

    >>> named_rng(0, "nano").random() == named_rng(0, "nano").random() != named_rng(0, "mini").random()
    True
    """
    digest = hashlib.blake2b("\x1f".join((str(seed), *names)).encode(), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(digest, "big"))


def answered_quality(provider: ProviderProfile, requests: Requests, conditions: Conditions) -> Floats:
    """Expected quality (n,) of an answer that arrives.

    clip(σ(skill[task] − complexity_slope·complexity − reasoning_slope·reasoning) + shift, 0.01, 0.99)
    """
    logit = (
        np.asarray(provider.skill)[requests.task]
        - provider.complexity_slope * requests.complexity
        - provider.reasoning_slope * requests.reasoning
    )
    return np.asarray(np.clip(expit(logit) + conditions.shift, 0.01, 0.99))


def answer_tokens(provider: ProviderProfile, requests: Requests, noise: Floats) -> Floats:
    """Output tokens (…, n) at standard normal ``noise`` (…, n): fitted quantiles, longer for complex requests.

    verbosity · F⁻¹(Φ(ρ·z + √(1−ρ²)·noise)) with z the standardised complexity and F the workload's token counts.
    """
    z = (requests.complexity - _COMPLEXITY_MEAN) / _COMPLEXITY_SD
    probability = ndtr(LENGTH_CORRELATION * z + np.sqrt(1.0 - LENGTH_CORRELATION**2) * noise)
    conversation = tokens_at(probability, CONVERSATION.generated)
    tokens = np.where(requests.task == CODE_TASK, tokens_at(probability, CODE.generated), conversation)
    return np.asarray(np.maximum(1.0, provider.verbosity * tokens))


def price_usd(provider: ProviderProfile, requests: Requests, tokens: Floats, conditions: Conditions) -> Floats:
    """Cost (n,) in USD of answers with ``tokens`` output tokens."""
    usd = (requests.input_tokens * provider.input_price + tokens * provider.output_price) / 1e6
    return np.asarray(usd * conditions.price_factor)


def expected(provider: ProviderProfile, requests: Requests, load: Floats, conditions: Conditions) -> Outcomes:
    """The ground truth: expectations (n,) given the request, the load (n,) in flight, and the conditions.

    Where f is the failure rate (1 in an outage): quality and cost are (1 − f) times those of an answer, latency is
    (1 − f)·(ttft + (tokens − 1)·gap)·(1 + load/capacity) + f·TIMEOUT_S. The mean number of tokens is a
    32-point Gauss–Hermite sum over ``answer_tokens``. A rounding of tokens to whole numbers is left out.
    """
    fit = provider.latency
    failed = np.where(conditions.outage, 1.0, np.full(load.shape, fit.failure))
    tokens = _WEIGHTS @ answer_tokens(provider, requests, _NODES[:, None])
    seconds = (fit.ttft_mean + (tokens - 1.0) * fit.gap_mean) * (1.0 + load / provider.capacity)
    return Outcomes(
        quality=(1.0 - failed) * answered_quality(provider, requests, conditions),
        cost=(1.0 - failed) * price_usd(provider, requests, tokens, conditions),
        latency=(1.0 - failed) * seconds + failed * TIMEOUT_S,
        output_tokens=(1.0 - failed) * tokens,
        failed=failed,
    )


def draw(
    provider: ProviderProfile,
    requests: Requests,
    load: Floats,
    conditions: Conditions,
    rng: np.random.Generator,
) -> Outcomes:
    """Outcomes (n,) as they are observed; a failed request has quality 0, cost 0 and latency ``TIMEOUT_S``.

    Quality is drawn by inverting its Beta distribution, and every request takes five numbers from ``rng`` whatever
    the conditions: the same seed with and without an event differs only where the event is at work.
    """
    fit = provider.latency
    uniform = rng.random((2, len(load)))
    normal = rng.standard_normal((3, len(load)))
    failed = (uniform[0] < fit.failure) | np.asarray(conditions.outage)
    mean = answered_quality(provider, requests, conditions)
    quality = betaincinv(CONCENTRATION * mean, CONCENTRATION * (1.0 - mean), uniform[1])
    tokens = np.maximum(1.0, np.rint(answer_tokens(provider, requests, normal[0])))
    ttft = np.exp(fit.ttft_mu + fit.ttft_sigma * normal[1])
    gap = np.exp(fit.gap_mu + fit.gap_sigma * normal[2])
    seconds = (ttft + (tokens - 1.0) * gap) * (1.0 + load / provider.capacity)
    return Outcomes(
        quality=np.where(failed, 0.0, quality),
        cost=np.where(failed, 0.0, price_usd(provider, requests, tokens, conditions)),
        latency=np.where(failed, TIMEOUT_S, seconds),
        output_tokens=np.where(failed, 0.0, tokens),
        failed=failed.astype(np.float64),
    )
