"""RetrainingRouter: versions of a policy that are fitted in the background, judged, served, and taken back."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Unpack

from routelab.db_reading import TrainingData
from routelab.errors import RoutelabError
from routelab.policies import Policy
from routelab.providers import Price, ProviderPool
from routelab.routers.gate import LEAST_OUTCOMES, Observed, Verdict, judge, latest_half
from routelab.routers.ml import MLRouter, Prices
from routelab.routers.pending import Pending
from routelab.routers.settings import Settings
from routelab.routers.training import TrainingReport, answered_rows, fit_rows, graded_arms, without
from routelab.routers.versions import Retired, Version

_KEPT_OUTCOMES = 500  # of the present version: the gate judges on the later half
_KEPT_VERSIONS = 3
_KEPT_ATTEMPTS = 1_000


class RetrainingRouter(MLRouter):
    """What ``OnlineMLRouter`` does in the background; it says what the arguments are."""

    def __init__(
        self,
        providers: ProviderPool,
        policy: Policy,
        *,
        retrain_after: int | None,
        retrain_every_s: float | None,
        models_dir: str | Path | None,
        on_event: Callable[[str, dict[str, Any]], None] | None,
        heldout: float,
        **settings: Unpack[Settings],
    ) -> None:
        for name, value in (("retrain_after", retrain_after), ("retrain_every_s", retrain_every_s)):
            if value is not None and not value > 0:
                raise RoutelabError(f"OnlineMLRouter.{name} is {value!r}; give a number > 0, or None for never")
        super().__init__(providers, policy, heldout=heldout, **settings)
        self.retrain_after, self.retrain_every_s = retrain_after, retrain_every_s
        self.models_dir = None if models_dir is None else Path(models_dir)
        self.on_event = on_event
        self.versions: deque[Version] = deque(maxlen=_KEPT_ATTEMPTS)
        self._retired: deque[Retired] = deque(maxlen=_KEPT_VERSIONS)
        self._observed: deque[Observed] = deque(maxlen=_KEPT_OUTCOMES)
        self._arrivals: list[tuple[Pending, float, float, float | None]] = []  # since a fit that goes on began
        self._task: asyncio.Task[Any] | None = None
        self._outdated = False  # what is being fitted: something happened that it cannot know
        self._due: str | None = None
        self._began, self._outcomes = self.clock(), 0

    @property
    def training(self) -> bool:
        """Whether a fit goes on."""
        return self._task is not None and not self._task.done()

    async def finish_training(self) -> None:
        """Wait for the fit that goes on in the background, if any."""
        while self._task is not None and not self._task.done():
            await asyncio.wait([self._task])

    async def train(self) -> TrainingReport:
        """Fit and serve without a gate, after whatever is being fitted; see ``MLRouter.train``."""
        await self.finish_training()
        self._outdated = False
        self._task = asyncio.create_task(super().train())
        report: TrainingReport = await self._task
        self._log(Version(self.policy_version, **self._now("train"), status="served", n_train=report.n_train))
        return report

    def rollback(self) -> None:
        """Return to the version before the present one, as it was then; a fit that goes on comes to nothing.

        Providers and prices are those of now. The last three versions are kept.

        Raises:
            RoutelabError: no earlier version is kept.
        """
        if not self._retired:
            raise RoutelabError("no earlier version is kept; nothing to roll back to")
        earlier = self._retired.pop()
        if earlier.policy.providers_:
            self._match_pool(earlier.policy, earlier.prices)
        self.policy, self.policy_version, self.background = earlier.policy, earlier.number, earlier.background
        self._observed.clear()
        self._outdated = True
        self._log(Version(earlier.number, **self._now("rollback"), status="rollback"))

    def reprice_provider(self, name: str, price: Price) -> None:
        """Set the price of a provider at run time; see ``Router``. The gate judges by costs of now only."""
        super().reprice_provider(name, price)
        self._forget_observed(name)

    def _forget_observed(self, name: str, keep: int = 0) -> None:
        """Of a provider's outcomes only the last ``keep`` still tell how it is."""
        own = [one for one in self._observed if one.provider == name]
        stale = set(map(id, own[: len(own) - keep]))
        self._observed = deque((one for one in self._observed if id(one) not in stale), _KEPT_OUTCOMES)

    def _count(self, decided: Pending, quality: float, cost: float, se: float | None) -> None:
        """Note a graded outcome, at the present price, for the gate, and for whatever is being fitted."""
        self._outcomes += 1
        factor = self._price_factor(decided)
        if decided.version == self.policy_version and factor is not None:
            self._observed.append(
                Observed(
                    number=decided.number,
                    request_id=decided.request_id,
                    provider=decided.provider,
                    x=decided.x,
                    quality=quality,
                    cost=factor * cost,
                    expected=(decided.expected[0], factor * decided.expected[1]),
                    se=se,
                )
            )
        if self.training:
            self._arrivals.append((decided, quality, cost, se))

    def _retrain_if_due(self) -> None:
        """Start a fit in the background where it is time; without a running event loop it waits for one."""
        if self.retrain_after is not None and self._outcomes >= self.retrain_after:
            self._due = self._due or f"{self._outcomes} outcomes"
        if self.retrain_every_s is not None and self.clock() - self._began >= self.retrain_every_s:
            self._due = self._due or f"{self.retrain_every_s:g} s"
        if self._due is None or self.training or self.db is None:
            return
        held = latest_half(self._observed)
        if self.policy.providers_ and len(held) < LEAST_OUTCOMES:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        self._outdated = False
        self._task = loop.create_task(self._retrain(self._due, held))

    async def _retrain(self, reason: str, held: list[Observed]) -> None:
        self._due, self._began, self._outcomes = None, self.clock(), 0
        try:
            data, prices = await self._read()
            challenger, n_train, verdict = await asyncio.to_thread(self._challenge, data, held)
            if challenger is not None:
                await self._install(challenger, data, prices)
        except asyncio.CancelledError:
            self._due = reason  # the event loop ends; the next one begins anew
            raise
        except Exception as error:  # whatever it is, the champion goes on
            told = f"{type(error).__name__}: {error}"
            self._log(Version(None, **self._now(reason), status="failed", error=told))
            return
        self._log(
            Version(
                None if challenger is None else self.policy_version,
                **self._now(reason),
                status="rejected" if challenger is None else "served",
                n_train=n_train,
                n_heldout=verdict.n if verdict else 0,
                loss=verdict.challenger if verdict else None,
                champion_loss=verdict.champion if verdict else None,
            )
        )

    async def _install(self, policy: Policy, data: TrainingData, prices: Prices) -> None:
        """Save a fit and let it serve.

        Raises:
            RoutelabError: what it was fitted on no longer holds.
        """
        if self.models_dir is not None and not self._outdated:
            folder = self.models_dir / f"version-{self._newest_version + 1:04d}"
            await asyncio.to_thread(policy.save, folder)
        if self._outdated:
            raise RoutelabError("a provider drifted or a rollback came during the fit; it is out of date")
        self._serve(policy, data, prices)

    async def _read(self) -> tuple[TrainingData, Prices]:
        """What the log teaches; a bandit learns what comes from now on when it begins to serve."""
        self._arrivals.clear()
        data, prices = await super()._read()
        if self.policy.online:
            data = without(data, {decided.request_id for decided, *_ in self._arrivals})
        return data, prices

    def _challenge(self, data: TrainingData, held: list[Observed]) -> tuple[Policy | None, int, Verdict | None]:
        """A fit on all of ``data`` (None: its like did not pass the gate), on how many requests, and the verdict."""
        verdict = None
        if self.policy.providers_:
            challenger, n_train = self._fitted(without(data, {one.request_id for one in held}))
            verdict = judge(challenger, held)
            if not verdict.passed:
                return None, n_train, verdict
        return *self._fitted(data), verdict

    def _fitted(self, data: TrainingData) -> tuple[Policy, int]:
        names = self.pool.names
        rows = answered_rows(data, names)
        return fit_rows(self.policy, data, graded_arms(data, names, rows), rows), len(rows)

    def _serve(self, policy: Policy, data: TrainingData, prices: Prices) -> None:
        """Replace the policy in one step, once the new one has learned what came since its data were read."""
        champion = Retired(self.policy, self.policy_version, self.background, self._prices())
        super()._serve(policy, data, prices)
        self._retired.append(champion)
        for decided, quality, cost, se in self._arrivals:
            if policy.online and decided.provider in policy.providers_:
                self._update_policy(decided, quality, cost, se)
        self._arrivals.clear()
        self._observed.clear()

    def _now(self, reason: str) -> dict[str, Any]:
        return {"at": self.clock(), "decisions": self.pending.count, "reason": reason}

    def _log(self, version: Version) -> None:
        self.versions.append(version)
        self._tell("version", asdict(version))

    def _tell(self, kind: str, values: dict[str, Any]) -> None:
        """Tell whoever listens; what that raises must not stop routing."""
        if self.on_event is not None:
            try:
                self.on_event(kind, values)
            except Exception:
                logging.getLogger(__name__).exception("on_event raised on %s", kind)
