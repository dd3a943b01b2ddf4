"""What is recommended for a table, how surely, and the router that does it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import pandas as pd

from routelab.benchmark.paired import least_prompts
from routelab.errors import RoutelabError
from routelab.evaluation.bootstrap import Interval
from routelab.features import RequestFeaturizer
from routelab.files import write_bytes
from routelab.html import Card, Shown
from routelab.policies import Objective, Policy, load_policy
from routelab.providers import Provider, ProviderPool
from routelab.routers import MLRouter
from routelab.routers.settings import Settings

_TRADE_OFF = "trade_off.json"


@dataclass(frozen=True, slots=True, repr=False)
class Recommendation(Shown):
    """A policy at a trade-off, and what it is worth on the evaluation prompts of a table.

    Args:
        table: where it comes from.
        policy: its name, or "always" and a provider.
        baseline: provider that it is compared with.
        tolerance: quality that may be lost.
        objective: the trade-off it serves.
        n_train: prompts with every outcome, by which it was chosen.
        n_eval: other such prompts, on which it was judged.
        saving: share of the baseline's cost.
        quality_difference: mean quality less the baseline's.
        cost: mean USD per request.
        baseline_cost: that of the baseline, on the same prompts.
        quality: mean in [0, 1].
        shares: provider → share of the requests.
        doubts: why its intervals cannot be trusted; nothing is proven then.
        caveats: what was left out.
        compared: what the choice was made from, by cross-validation on the training prompts: ``policy``,
            ``cost_weight``, ``cost``, ``difference`` with ``low`` and ``high``, its 95 % interval.
        fitted: the policy.
        featurizer: its own.
    """

    table: str
    policy: str
    baseline: str
    tolerance: float
    objective: Objective
    n_train: int
    n_eval: int
    saving: Interval
    quality_difference: Interval
    cost: float
    baseline_cost: float
    quality: float
    shares: dict[str, float]
    doubts: tuple[str, ...]
    caveats: tuple[str, ...]
    compared: pd.DataFrame
    fitted: Policy
    featurizer: RequestFeaturizer

    @property
    def changes(self) -> bool:
        """Whether something else than the baseline is recommended."""
        return self.policy != f"always {self.baseline}"

    @property
    def proven(self) -> bool:
        """Whether both intervals say so, and may: it costs less, and no more than ``tolerance`` of quality is lost."""
        good = self.saving.low > 0.0 and self.quality_difference.low >= -self.tolerance
        return self.changes and good and not self.doubts

    @property
    def _promising(self) -> bool:
        """Whether something was a tenth cheaper than the baseline, and as good by its mean, on the training prompts."""
        alone = self.compared.loc[self.compared["policy"] == f"always {self.baseline}", "cost"].item()
        cheaper = self.compared[self.compared["cost"] < 0.9 * alone]
        return bool((cheaper["difference"] >= -self.tolerance).any())

    @property
    def verdict(self) -> str:
        """What to do, in a sentence."""
        if not self.changes:
            if self._promising:
                return (
                    f"Keep {self.baseline} for now: something cheaper may be as good, but {self.n_train:,} training "
                    "prompts do not prove it; collect more, or tolerate more."
                )
            return f"Keep {self.baseline}: nothing cheaper was as good on {self.n_train:,} training prompts."
        if self.proven:
            return f"Switch to {self.policy}: it costs less than {self.baseline} and is as good, within the tolerance."
        if self.saving.high <= 0.0 or self.quality_difference.high < -self.tolerance:
            found = "saved nothing" if self.saving.high <= 0.0 else f"lost more than {self.tolerance:g} of quality"
            return f"Keep {self.baseline}: on fresh prompts {self.policy} {found}."
        if self.doubts:
            return f"Try {self.policy} in an A/B test: {self.doubts[0]}."
        unsure = "costs less" if self.saving.low <= 0.0 else f"loses no more than {self.tolerance:g} of quality"
        return (
            f"Try {self.policy} in an A/B test, or collect more prompts: {self.n_eval:,} do not prove that it {unsure}."
        )

    def router(self, providers: ProviderPool | Iterable[Provider], **settings: Unpack[Settings]) -> MLRouter:
        """A router that does as recommended.

        Args:
            providers: one for each name in ``shares``.
            settings: what else an ``MLRouter`` takes, such as ``db``.
        """
        settings = {"objective": self.objective, "featurizer": self.featurizer} | settings
        return MLRouter(providers, self.fitted, **settings)

    def save(self, folder: str | Path) -> None:
        """Write policy, featurizer and trade-off into ``folder``, for ``load_router``."""
        self.fitted.save(Path(folder) / "policy")
        self.featurizer.save(Path(folder) / "featurizer")
        trade_off = {"cost_weight": self.objective.cost_weight, "providers": list(self.fitted.providers_)}
        write_bytes(Path(folder) / _TRADE_OFF, (json.dumps(trade_off) + "\n").encode())

    def _card(self) -> Card:
        saving, quality, weight = self.saving, self.quality_difference, self.objective.cost_weight
        used = sorted(((share, name) for name, share in self.shares.items() if share >= 0.005), reverse=True)
        saved = ("saving", f"{saving.estimate:.1%} [{saving.low:.1%}, {saving.high:.1%}] of the cost")
        changed = f"{quality.estimate:+.3f} [{quality.low:+.3f}, {quality.high:+.3f}], to "
        rows = [
            ("chosen", self.policy + (f" at λ = {weight:.3g} quality per USD" if weight else "")),
            *([saved] if self.changes else []),
            ("quality", f"{changed if self.changes else ''}{self.quality:.3f}"),
            ("cost", f"{1000 * self.cost:.4g} USD per 1,000 requests"),
            *(("asks" if not place else " ", f"{share:.0%} {name}") for place, (share, name) in enumerate(used)),
        ]
        notes = [
            f"{self.table}: chosen on {self.n_train:,} prompts, judged on {self.n_eval:,} others, against always "
            f"{self.baseline}, losing at most {self.tolerance:g} of quality",
            *self.caveats,
            *self.doubts,
        ]
        least = least_prompts(self.tolerance)
        if least is not None and self.n_eval < least and not self.proven:
            notes.append(
                f"with a tolerance of {self.tolerance:g}, fewer than {least:,} fresh prompts prove nothing, even where "
                "nothing differs: bring more, or tolerate more"
            )
        return Card(self.verdict, rows, notes=notes)

    def as_dict(self) -> dict[str, Any]:
        """Everything but the fitted policy, for JSON."""
        told = {name: getattr(self, name) for name in ("table", "policy", "baseline", "tolerance", "n_train", "n_eval")}
        told |= {"verdict": self.verdict, "proven": self.proven, "cost_weight": self.objective.cost_weight}
        told |= {"saving": self.saving.as_dict(), "quality_difference": self.quality_difference.as_dict()}
        told |= {"cost_usd": self.cost, "baseline_cost_usd": self.baseline_cost, "quality": self.quality}
        told |= {"shares": self.shares, "doubts": list(self.doubts), "caveats": list(self.caveats)}
        return told | {"compared": self.compared.to_dict(orient="records")}


def load_router(
    folder: str | Path, providers: ProviderPool | Iterable[Provider], **settings: Unpack[Settings]
) -> MLRouter:
    """The router that ``Recommendation.save`` or ``routelab recommend --out`` wrote, at its trade-off.

    Args:
        folder: that it was written to.
        providers: one for each that was compared, the keys of ``Recommendation.shares``.
        settings: what else an ``MLRouter`` takes, such as ``db``.

    Raises:
        RoutelabError: the folder is missing, damaged, or holds no recommended router.
    """
    policy, featurizer, objective = read_recommended(folder)
    return MLRouter(providers, policy, **({"objective": objective, "featurizer": featurizer} | settings))


def is_recommended(folder: str | Path) -> bool:
    """Whether ``Recommendation.save`` wrote there."""
    return (Path(folder) / _TRADE_OFF).exists()


def read_recommended(folder: str | Path) -> tuple[Policy, RequestFeaturizer, Objective]:
    """What ``Recommendation.save`` wrote.

    Raises:
        RoutelabError: the folder is missing, damaged, or holds no recommended router.
    """
    path = Path(folder) / _TRADE_OFF
    try:
        weight = float(json.loads(path.read_text(encoding="utf-8"))["cost_weight"])
    except FileNotFoundError:
        raise RoutelabError(f"{path} is missing; write it with `routelab recommend TABLE --out {folder}`") from None
    except (ValueError, KeyError, TypeError) as error:
        raise RoutelabError(f"{path} is damaged ({error}); write it anew with `routelab recommend`") from None
    featurizer = RequestFeaturizer.load(Path(folder) / "featurizer")
    return load_policy(Path(folder) / "policy"), featurizer, Objective(cost_weight=weight)
