"""The synthetic world: requests that arrive over days, what every provider makes of them, and the truth behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from routelab.errors import RoutelabError
from routelab.tables.fits import CODE, CONVERSATION, TRACE_HOUR, TrafficFit, tokens_at
from routelab.tables.synthetic_events import Event, check_events, conditions
from routelab.tables.synthetic_families import FAMILIES
from routelab.tables.synthetic_text import MAX_REQUIREMENTS, TASKS, read_prompt, write_prompt
from routelab.tables.synthetic_world import (
    CODE_TASK,
    DEFAULT_PROVIDERS,
    Floats,
    Outcomes,
    ProviderProfile,
    Requests,
    draw,
    expected,
    named_rng,
)
from routelab.tables.table import PerformanceTable

if TYPE_CHECKING:
    from routelab.policies.objective import Objective

START = 1_704_067_200.0
"""Unix time of the first midnight of the world: Monday 2024-01-01, 00:00 UTC."""

# Assumptions, not fitted: no source says how these are spread.
_MIX = {"chat": 0.30, "summarise": 0.17, "maths": 0.18, "extraction": 0.18, "translation": 0.17}
_REASONING = {
    "chat": 0.2,
    "summarise": 0.15,
    "code": 0.5,
    "maths": 0.8,
    "extraction": 0.1,
    "translation": 0.1,
}
_PREMIUM_SHARE = 0.3
_CODE_SWING, _CODE_PEAK = 0.8, 14.0
_CONVERSATION_SWING, _CONVERSATION_PEAK = 0.5, 19.0
_COMPLEXITY_NOISE = 0.1
_REASONING_NOISE = 0.1


@dataclass(frozen=True, slots=True)
class SyntheticData:
    """A table drawn from the world, and the truth behind it.

    Args:
        table: n requests × k providers as they were observed.
        expected_quality: (n, k) expectation of ``table.quality``, in [0, 1].
        expected_cost: (n, k) expectation of ``table.cost``, USD.
        expected_latency: (n, k) expectation of ``table.latency``, seconds.
        complexity: (n,) true complexity, of which the table shows a noisy view.
        reasoning: (n,) true need for reasoning, of which the table shows a noisy view.
    """

    table: PerformanceTable
    expected_quality: Floats
    expected_cost: Floats
    expected_latency: Floats
    complexity: Floats
    reasoning: NDArray[np.bool_]

    def optimal_arm(self, objective: Objective) -> NDArray[np.intp]:
        """The arm (n,) that is best in expectation under ``objective``; the first of equals."""
        scores = objective.scores(self.expected_quality, self.expected_cost, self.expected_latency)
        return np.asarray(scores.argmax(axis=1))


@dataclass(frozen=True, slots=True)
class World:
    """A world of requests and providers, in which everything is known.

    Arrivals are a thinned sample of a Poisson process whose rate is that of ``azure_trace``, swings over the
    day, and varies from minute to minute by a Gamma factor with the fitted ``burst``. The load that a request
    meets is what the unthinned traffic, shared equally, keeps in flight: Poisson with mean rate × unloaded
    service time (M/G/∞).

    Args:
        providers: at least two, names distinct.
        events: drift, price changes and outages.
        days: length of the recording; the share of traffic recorded follows from it.

    Raises:
        RoutelabError: fewer than two providers, names that repeat, an event of an unknown provider, or ``days``
            not above 0.

    >>> data = World().generate(n_requests=100, seed=1)
    >>> data.table.providers, data.expected_quality.shape
    (('nano', 'mini', 'coder', 'large', 'frontier'), (100, 5))
    """

    providers: tuple[ProviderProfile, ...] = DEFAULT_PROVIDERS
    events: tuple[Event, ...] = ()
    days: float = 7.0

    def __post_init__(self) -> None:
        """Refuse a world that cannot be."""
        names = [provider.name for provider in self.providers]
        if len(names) < 2 or len(set(names)) < len(names):
            raise RoutelabError(f"World.providers has names {names}; give two or more, each name once")
        if not (np.isfinite(self.days) and self.days > 0.0):
            raise RoutelabError(f"World.days is {self.days!r}; give a finite number above 0")
        check_events(self.events, names)

    def generate(self, n_requests: int = 3000, *, seed: int = 0) -> SyntheticData:
        """Draw ``n_requests`` in order of arrival; same arguments, same bytes.

        Raises:
            RoutelabError: ``n_requests`` is below 1.
        """
        if n_requests < 1:
            raise RoutelabError(f"n_requests is {n_requests!r}; give at least 1")
        rng = named_rng(seed, "requests")
        hours, conversation, code = _arrivals(n_requests, self.days, rng)
        tasks = _tasks(code / (code + conversation), rng)
        premium = rng.random(n_requests) < _PREMIUM_SHARE
        prompts = _prompts(tasks, premium, rng)
        requests = Requests.of([read_prompt(p, complexity=0.0, reasoning=False) for p in prompts])

        load, drawn, truth = [], [], []
        for provider in self.providers:
            own = named_rng(seed, "outcomes", provider.name)
            busy = conversation * _service_s(provider, CONVERSATION) + code * _service_s(provider, CODE)
            load.append(own.poisson(busy / len(self.providers)).astype(np.float64))
            now = conditions(self.events, provider.name, hours)
            drawn.append(draw(provider, requests, load[-1], now, own))
            truth.append(expected(provider, requests, load[-1], now))

        blur = rng.normal(scale=_COMPLEXITY_NOISE, size=n_requests)
        misread = rng.random(n_requests) < _REASONING_NOISE
        shown = {
            "prompt": prompts,
            "task": np.array(TASKS, dtype=object)[tasks],
            "timestamp": START + hours * 3600.0,
            "x_estimated_complexity": np.clip(requests.complexity + blur, 0.0, 1.0),
            "x_requires_reasoning": (requests.reasoning ^ misread).astype(np.float64),
            # Rounded down, so that no writer's rounding makes it 24.
            "x_time_of_day": np.floor(hours % 24.0 * 1e3) / 1e3,
            "x_user_tier": premium.astype(np.float64),
            **{f"x_load_{p.name}": column for p, column in zip(self.providers, load, strict=True)},
        }
        return SyntheticData(
            PerformanceTable.from_frame(_frame(shown, requests, self.providers, drawn), origin="synthetic"),
            np.column_stack([outcome.quality for outcome in truth]),
            np.column_stack([outcome.cost for outcome in truth]),
            np.column_stack([outcome.latency for outcome in truth]),
            requests.complexity,
            requests.reasoning,
        )


def _arrivals(n: int, days: float, rng: np.random.Generator) -> tuple[Floats, Floats, Floats]:
    """Hours (n,) of the arrivals, in order, and the rates (n,) per second of both workloads at that minute.

    Given their number, the arrivals of a Poisson process are independent draws from its normalised rate.
    """
    edges = np.arange(np.ceil(days * 1440.0) + 1.0) / 60.0
    conversation = _rate(CONVERSATION, edges[:-1], _CONVERSATION_SWING, _CONVERSATION_PEAK, rng)
    code = _rate(CODE, edges[:-1], _CODE_SWING, _CODE_PEAK, rng)
    mass = np.concatenate([[0.0], np.cumsum(conversation + code)])
    hours = np.interp(np.sort(rng.random(n)) * mass[-1], mass, edges)
    minute = np.minimum((hours * 60.0).astype(np.intp), len(code) - 1)
    return hours, conversation[minute], code[minute]


def _rate(fit: TrafficFit, hours: Floats, swing: float, peak: float, rng: np.random.Generator) -> Floats:
    """Requests per second in each minute: the trace's rate at the trace's hour, a cosine over the day, and bursts."""
    day = 1.0 + swing * np.cos(2.0 * np.pi * (hours - peak) / 24.0)
    then = 1.0 + swing * np.cos(2.0 * np.pi * (TRACE_HOUR - peak) / 24.0)
    return np.asarray(fit.rate * day / then * rng.gamma(1.0 / fit.burst, fit.burst, size=len(hours)))


def _tasks(code_share: Floats, rng: np.random.Generator) -> NDArray[np.intp]:
    """Task (n,) of each request: code as often as the trace has it in that minute, else by the mix."""
    others = rng.choice([TASKS.index(t) for t in _MIX], size=len(code_share), p=list(_MIX.values()))
    return np.where(rng.random(len(code_share)) < code_share, CODE_TASK, others)


def _prompts(tasks: NDArray[np.intp], premium: NDArray[np.bool_], rng: np.random.Generator) -> list[str]:
    """Write the prompts (n,): premium users ask about harder topics, harder topics need reasoning more often."""
    n = len(tasks)
    place = rng.random(n) ** (1.0 / (1.0 + 0.6 * premium))
    topics = (place * np.array([len(f.topics) for f in FAMILIES.values()])[tasks]).astype(np.intp)
    need = np.array([_REASONING[t] for t in TASKS])[tasks] * (0.5 + place)
    reasoning = rng.random(n) < need
    wanted = rng.binomial(MAX_REQUIREMENTS, 0.4, size=n)
    order = rng.random((n, min(len(f.requirements) for f in FAMILIES.values()))).argsort(axis=1)
    style = rng.integers(0, 1000, size=(n, 3))
    level = rng.random(n)
    tokens = np.where(
        tasks == CODE_TASK, tokens_at(level, CODE.context), tokens_at(level, CONVERSATION.context)
    ).astype(np.intp)
    return [
        write_prompt(tasks[i], topics[i], order[i, : wanted[i]], bool(reasoning[i]), style[i], int(tokens[i]))
        for i in range(n)
    ]


def _service_s(provider: ProviderProfile, workload: TrafficFit) -> float:
    """Expected seconds of one request of ``workload`` at an idle provider."""
    tokens = provider.verbosity * float(tokens_at(np.linspace(0.0005, 0.9995, 1000), workload.generated).mean())
    return provider.latency.ttft_mean + (tokens - 1.0) * provider.latency.gap_mean


def _frame(
    shown: dict[str, object],
    requests: Requests,
    providers: tuple[ProviderProfile, ...],
    drawn: list[Outcomes],
) -> pd.DataFrame:
    """The tidy frame, prompt by prompt: columns of a request (n,) repeated for its k providers."""
    n, k = len(requests.task), len(providers)
    per_request = {
        "prompt_id": [f"synthetic-{i:06d}" for i in range(1, n + 1)],
        "input_tokens": requests.input_tokens,
        **shown,
    }
    columns: dict[str, object] = {name: np.repeat(np.asarray(v), k) for name, v in per_request.items()}
    return pd.DataFrame(
        {
            **columns,
            "provider": np.tile(np.array([p.name for p in providers], dtype=object), n),
            "quality": np.column_stack([d.quality for d in drawn]).ravel(),
            "cost_usd": np.column_stack([d.cost for d in drawn]).ravel(),
            "latency_s": np.column_stack([d.latency for d in drawn]).ravel(),
            "output_tokens": np.column_stack([d.output_tokens for d in drawn]).ravel(),
        }
    )
