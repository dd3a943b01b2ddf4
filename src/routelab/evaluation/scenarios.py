"""Scenarios: how the two sides of a split table become a stream; none of them knows a policy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from routelab.arrays import Floats
from routelab.errors import RoutelabError
from routelab.evaluation.split import Split
from routelab.evaluation.stream import NEVER, Event, Phase, Stream

Rng = np.random.Generator
_WINDOWS = (200, 600)  # decisions after a change of versions; the two windows


def build(name: str, train: Split, held: Split, rng: Rng, **settings: Any) -> Stream:
    """The stream of a scenario: the learning part ``train``, then the scored part ``held``, each in a random order.

    Args:
        name: one of ``SCENARIOS``.
        train: prompts with every outcome.
        held: likewise, of the same providers; for ``drift`` those after the change (see ``cut_at_date``).
        rng: shuffles, and draws what a scenario leaves to chance.
        settings: of the scenario, instead of the keyword defaults of its function.

    Raises:
        RoutelabError: no such scenario, setting or provider, a setting out of range, or too few prompts.

    >>> two = np.zeros((2, 2))
    >>> part = Split(two.astype("f4"), two, two, None, np.array(["", ""]), ("small", "large"))
    >>> build("new-provider", part, part, np.random.default_rng(0), provider="large").events
    (Event(step=2, action='add', provider='large', number=0.0),)
    """
    if name not in SCENARIOS:
        raise RoutelabError(f"no scenario {name!r}; known are {', '.join(SCENARIOS)}")
    known = SCENARIOS[name].__kwdefaults__ or {}
    for key in settings.keys() - known.keys():
        offer = ", ".join(f"{key}={value}" for key, value in known.items()) or "none"
        raise RoutelabError(f"scenario {name!r} has no setting {key!r}; its settings and their defaults: {offer}")
    return SCENARIOS[name](_shuffled(train, rng), _shuffled(held, rng), rng, **settings)


def stationary(train: Split, held: Split, rng: Rng) -> Stream:
    """``budget``: nothing changes; one phase."""
    return Stream(
        X=np.vstack([train.X, held.X]).astype(np.float64),
        quality=np.vstack([train.quality, held.quality]),
        cost=np.vstack([train.cost, held.cost]),
        providers=train.providers,
        start=len(train.X),
        phases=(Phase("all", 0, len(held.X)),),
    )


def price_cut(
    train: Split, held: Split, rng: Rng, *, provider: str | None = None, factor: float = 0.1, announced: bool = True
) -> Stream:
    """``price-cut``: in the second third ``provider`` (the dearest) costs ``factor`` times as much, then as before.

    Announced, the policy is told both changes of the list price.
    """
    stream = _in_thirds(stationary(train, held, rng), ("before", "cut", "after"))
    arm = _arm(train, provider, int(train.cost.mean(axis=0).argmax()))
    _check("price-cut", "factor", factor, 1e-6, np.inf)
    if not isinstance(announced, bool):
        raise RoutelabError(f"scenario 'price-cut': setting 'announced' is {announced!r}; give true or false")
    begin, end = _steps(stream, 1)
    cost = stream.cost.copy()
    cost[begin:end, arm] *= factor
    name = train.providers[arm]
    events = (Event(begin, "reprice", name, factor), Event(end, "reprice", name, 1.0 / factor))
    return replace(stream, cost=cost, events=events if announced else ())


def regression(
    train: Split, held: Split, rng: Rng, *, provider: str | None = None, level: float | None = None
) -> Stream:
    """``regression``: a third of the prompts, another at which ``provider`` answers with quality ``level``, the first
    again in the same order, as before. Its cost stays, and nobody is told.

    ``provider`` is the one at the knee (see ``knee``); ``level`` 0.75, or the lowest mean quality of a provider where
    that is below (ParetoBandit: Mistral, 0.75, 3 × 608 prompts).
    """
    third = len(held.X) // 3
    stream = stationary(train, held.rows(np.arange(3 * third) % (2 * third or 1)), rng)
    stream = _in_thirds(stream, ("normal", "regression", "recovery"))
    worst = float(train.quality.mean(axis=0).min())
    to = min(0.75, worst) if level is None else level
    _check("regression", "level", to, 0.0, 1.0)
    begin, end = _steps(stream, 1)
    quality = stream.quality.copy()
    quality[begin:end, _arm(train, provider, knee(train))] = to
    return replace(stream, quality=quality)


def new_provider(train: Split, held: Split, rng: Rng, *, provider: str | None = None) -> Stream:
    """``new-provider``: ``provider`` (the dearest) comes with the first scored request.

    Its list price is its mean cost in the learning part, in which nobody can choose it.
    """
    stream = stationary(train, held, rng)
    arm = _arm(train, provider, int(train.cost.mean(axis=0).argmax()))
    quality, cost = stream.quality.copy(), stream.cost.copy()
    quality[: stream.start, arm] = cost[: stream.start, arm] = np.nan
    event = Event(stream.start, "add", train.providers[arm], float(train.cost[:, arm].mean()))
    return replace(stream, quality=quality, cost=cost, events=(event,))


def outage(train: Split, held: Split, rng: Rng, *, provider: str | None = None) -> Stream:
    """``outage``: in the second third every answer of ``provider`` (at the knee) fails: quality 0 at no cost."""
    stream = _in_thirds(stationary(train, held, rng), ("before", "outage", "after"))
    begin, end = _steps(stream, 1)
    quality, cost = stream.quality.copy(), stream.cost.copy()
    arm = _arm(train, provider, knee(train))
    quality[begin:end, arm] = cost[begin:end, arm] = 0.0
    return replace(stream, quality=quality, cost=cost)


def delayed(train: Split, held: Split, rng: Rng, *, mean: float = 50.0, lost: float = 0.1) -> Stream:
    """``delay``: feedback arrives after a geometric number of decisions of this mean; a share ``lost`` never does."""
    _check("delay", "mean", mean, 1.0, np.inf)
    _check("delay", "lost", lost, 0.0, 1.0)
    stream = stationary(train, held, rng)
    delay = rng.geometric(1.0 / mean, size=len(stream.X))
    return replace(stream, delay=np.where(rng.random(len(delay)) < lost, NEVER, delay))


def judge_noise(train: Split, held: Split, rng: Rng, *, sd: float = 0.2) -> Stream:
    """``judge-noise``: feedback reports the quality with normal noise of this deviation, clipped to [0, 1]."""
    _check("judge-noise", "sd", sd, 0.0, np.inf)
    stream = stationary(train, held, rng)
    return replace(stream, shown=np.clip(stream.quality + rng.normal(0.0, sd, stream.quality.shape), 0.0, 1.0))


def poison(train: Split, held: Split, rng: Rng, *, share: float = 0.1) -> Stream:
    """``poison``: a ``share`` of the requests report 1 − quality, whoever answers."""
    _check("poison", "share", share, 0.0, 1.0)
    stream = stationary(train, held, rng)
    flipped = rng.random(len(stream.X)) < share
    return replace(stream, shown=np.where(flipped[:, None], 1.0 - stream.quality, stream.quality))


def drift(train: Split, held: Split, rng: Rng, *, task: str | None = None) -> Stream:
    """``drift``: requests to earlier versions of the providers, then to later ones (a real change, see
    ``cut_at_date``); of one ``task``, if it is given. The phases are windows after the change.
    """
    if task is not None:
        train, held = _of_task(train, task), _of_task(held, task)
    n = len(held.X)
    edges = [0, *(edge for edge in _WINDOWS if edge < n), n]
    names = [f"{begin}-{end}" for begin, end in pairwise(edges)]
    phases = tuple(map(Phase, names, edges[:-1], edges[1:]))
    return replace(stationary(train, held, rng), phases=phases)


#: Name → function; its keyword-only arguments are the settings, their defaults the scenario as it is reported.
SCENARIOS: dict[str, Callable[..., Stream]] = {
    "budget": stationary,
    "price-cut": price_cut,
    "regression": regression,
    "new-provider": new_provider,
    "outage": outage,
    "delay": delayed,
    "judge-noise": judge_noise,
    "poison": poison,
    "drift": drift,
}


def knee(train: Split) -> int:
    """Column of the provider that a static trade-off prefers: the highest mean quality less mean cost, both scaled
    to [0, 1] over the providers; the best of equals.
    """
    quality, cost = (_scaled(outcome.mean(axis=0)) for outcome in (train.quality, train.cost))
    return int(np.lexsort((quality, np.round(quality - cost, 9)))[-1])


def _scaled(means: Floats) -> Floats:
    scaled: Floats = (means - means.min()) / (np.ptp(means) or 1.0)
    return scaled


def _shuffled(part: Split, rng: Rng) -> Split:
    return part.rows(rng.permutation(len(part.X)))


def _of_task(part: Split, task: str) -> Split:
    if task not in part.tasks:
        known = ", ".join(sorted(set(part.tasks.tolist()) - {""})) or "none"
        raise RoutelabError(f"scenario 'drift': no prompt of the task {task!r}; the table has {known}")
    return part.rows(part.tasks == task)


def _arm(train: Split, provider: str | None, default: int) -> int:
    if provider is None:
        return default
    if provider not in train.providers:
        raise RoutelabError(f"setting 'provider' is {provider!r}; the table has {', '.join(train.providers)}")
    return train.providers.index(provider)


def _check(scenario: str, setting: str, value: Any, low: float, high: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high or value == np.inf:
        bounds = f"a finite number ≥ {low:g}" if high == np.inf else f"a number from {low:g} to {high:g}"
        raise RoutelabError(f"scenario {scenario!r}: setting {setting!r} is {value!r}; give {bounds}")


def _in_thirds(stream: Stream, names: tuple[str, str, str]) -> Stream:
    n = len(stream.X) - stream.start
    if n < 3:
        raise RoutelabError("fewer than 3 evaluation prompts; three phases need 3 or more")
    edges = [0, n // 3, 2 * (n // 3), n]
    return replace(stream, phases=tuple(map(Phase, names, edges[:-1], edges[1:])))


def _steps(stream: Stream, phase: int) -> tuple[int, int]:
    """First step of a phase, and the first after it."""
    return stream.start + stream.phases[phase].start, stream.start + stream.phases[phase].stop
