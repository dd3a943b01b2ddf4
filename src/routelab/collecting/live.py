"""Asking every provider every prompt: concurrently, within a cap on what is spent, and never twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any

from routelab.collecting.asking import Asking, Patience
from routelab.collecting.journal import Journal, Pair
from routelab.collecting.paying import Till, with_judges
from routelab.collecting.prompts import Prompts
from routelab.collecting.spending import Bounded, Spending
from routelab.errors import RoutelabError
from routelab.evaluators import QualityEvaluator
from routelab.providers import Provider, ProviderPool

if TYPE_CHECKING:
    import pandas as pd

_KEPT = ("quality", "cost_usd", "input_tokens", "output_tokens", "latency_s")


@dataclass(frozen=True, slots=True)
class Collected:
    """What came of it.

    Args:
        frame: a tidy frame with a row for each (prompt, provider) that was answered, prompt by prompt.
        pairs: how many there are in all.
        spent_usd: in this run and those before it, grading included.
        failed: (prompt_id, provider) → why there is no answer.
        given_up: name of a provider, or a judge, that kept failing or cost more than the cap reckons with, and was not
            asked the rest → why.
        capped: whether the rest was not asked since the cap left no room.
    """

    frame: pd.DataFrame
    pairs: int
    spent_usd: float
    failed: Mapping[Pair, str]
    given_up: Mapping[str, str]
    capped: bool

    @property
    def missing(self) -> int:
        """Pairs without an answer, whether they failed or were not asked."""
        return self.pairs - len(self.frame)

    @property
    def ungraded(self) -> int:
        """Answers without a grade: there was no reference, or the judge's replies held no score."""
        return int(self.frame["quality"].isna().sum())


async def collect(
    prompts: Prompts,
    providers: Sequence[Provider] | ProviderPool,
    evaluator: QualityEvaluator | None = None,
    *,
    journal: str | Path,
    settings: Mapping[str, Any] | None = None,
    provider_settings: Mapping[str, Any] | None = None,
    cap_usd: float | None = None,
    patience: Patience | None = None,
    keep_answers: bool = False,
    progress: bool = True,
) -> Collected:
    """Ask each of ``providers`` each of ``prompts``, and grade the answers.

    Every request is noted in the journal before it is sent, every answer once it is there: called again with the same
    journal, it asks only what has no answer, and has a judge look again at answers that it gave no score. When
    cancelled, it waits 10 s for what is in flight.

    Args:
        prompts: as ``read_prompts`` gives them.
        providers: two or more, of different names; their limits hold.
        evaluator: grades the answers; None: as a provider grades itself, if it does.
        journal: a JSONL file, made where it is missing.
        settings: what else the answers depend on; a journal made with others is refused. So is one that knows a prompt
            or a provider of the same name otherwise; those that it does not know are asked.
        provider_settings: name of a provider → what its answers depend on besides.
        cap_usd: of all that is spent on this journal. What is in flight counts with its worst case, and so does a
            failure that may have been charged. It holds as far as servers keep to max_tokens: one whose answer cost
            more than its worst case is asked no more.
        patience: how many at once, and how hard to try.
        keep_answers: whether the journal gets the texts of all answers, not only of those that a judge gave no score.
        progress: whether to show a bar.

    Raises:
        RoutelabError: the journal is of another collection or in use, a provider cannot bound its costs under a cap,
            or there are fewer than two providers.
    """
    from tqdm.auto import tqdm

    tqdm.set_lock(RLock())  # its own is a semaphore of the system, which outlives a kill
    asked = list(providers)  # before judges join the pool
    pool = _pool(providers, evaluator, cap_usd)
    names = [provider.name for provider in asked]
    with Journal(journal, _header(prompts, asked, settings or {}, provider_settings or {})) as book:
        patience, pairs = patience or Patience(), len(prompts) * len(names)
        done = sum((str(request.request_id), name) in book.answered for request in prompts.requests for name in names)
        with tqdm(total=pairs, initial=done, unit="answer", disable=not progress) as bar:
            till = Till(pool, book, Spending(cap_usd, book.spent_usd), patience.give_up_s, bar.set_postfix_str)
            asking = Asking(evaluator, till, patience, bar, keep_answers=keep_answers)
            await asking.run(prompts.requests, asked)
        frame = _frame(prompts, names, book.answered)
    return Collected(frame, pairs, till.spending.spent_usd, asking.failed, till.given_up, asking.capped)


def _pool(
    providers: Sequence[Provider] | ProviderPool, evaluator: QualityEvaluator | None, cap_usd: float | None
) -> ProviderPool:
    """The providers and the judges in one pool, for their limits."""
    names = [provider.name for provider in providers]
    if len(set(names)) < max(2, len(names)):
        raise RoutelabError(f"providers to ask: {', '.join(names) or 'none'}; name two or more, each once")
    pool = providers if isinstance(providers, ProviderPool) else ProviderPool(providers)

    def join(judge: Provider) -> Provider:
        if judge.name not in pool or pool[judge.name] is not judge:
            pool.add(judge)
        return judge

    if evaluator is not None:
        with_judges(evaluator, join)
    unbounded = [provider.name for provider in pool if not isinstance(provider, Bounded)]
    if cap_usd is not None and unbounded:
        raise RoutelabError(
            f"no cap holds: provider {unbounded[0]!r} has no worst_cost_usd(request); leave the cap out"
        )
    return pool


def _header(
    prompts: Prompts, providers: Sequence[Provider], settings: Mapping[str, Any], provider_settings: Mapping[str, Any]
) -> dict[str, dict[str, str]]:
    """What the answers depend on, as hashes: each prompt, each provider, and what holds for all."""
    return {
        "prompts": {
            str(r.request_id): _hash([r.prompt, r.messages, dict(r.options), r.reference]) for r in prompts.requests
        },
        "providers": {p.name: _hash([asdict(p.price), provider_settings.get(p.name)]) for p in providers},
        "settings": {"": _hash(dict(settings))},
    }


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]


def _frame(prompts: Prompts, names: Sequence[str], answered: Mapping[Pair, Mapping[str, Any]]) -> pd.DataFrame:
    """The interchange table: rows in the order of the prompts, then of the providers."""
    import pandas as pd

    rows = list[dict[str, Any]]()
    for place, request in enumerate(prompts.requests):
        for name in names:
            values = answered.get((str(request.request_id), name))
            if values is not None:
                task = {} if prompts.tasks is None else {"task": prompts.tasks[place]}
                known = {column: values[column] for column in _KEPT}
                rows.append(
                    {"prompt_id": request.request_id, "provider": name, "prompt": request.prompt, **task, **known}
                )
    columns = ["prompt_id", "provider", "prompt", *([] if prompts.tasks is None else ["task"]), *_KEPT]
    return pd.DataFrame(rows, columns=columns).astype({"quality": float})
