"""What is recommended for a table, how surely, and the router that does it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Unpack

import pandas as pd

from routelab.evaluation.bootstrap import Interval
from routelab.features import RequestFeaturizer
from routelab.policies import Objective, Policy
from routelab.providers import Provider, ProviderPool
from routelab.routers import MLRouter
from routelab.routers.settings import Settings


@dataclass(frozen=True, slots=True)
class Recommendation:
    """A policy at a trade-off, and what it is worth on the evaluation prompts of a table.

    Args:
        table: where it comes from.
        policy: its name, or "always" and a provider.
        baseline: provider that it is compared with.
        tolerance: quality that may be lost.
        objective: the trade-off it serves.
        n_train: prompts it was chosen and fitted on.
        n_eval: other prompts, on which it was judged.
        saving: share of the baseline's cost.
        quality_difference: mean quality less the baseline's.
        cost: mean USD per request.
        quality: mean in [0, 1].
        shares: provider → share of the requests.
        compared: what the choice was made from, by cross-validation on the training prompts: ``policy``,
            ``cost_weight``, ``cost``, ``difference`` and its standard error ``se``.
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
    quality: float
    shares: dict[str, float]
    compared: pd.DataFrame = field(repr=False)
    fitted: Policy = field(repr=False)
    featurizer: RequestFeaturizer = field(repr=False)

    @property
    def changes(self) -> bool:
        """Whether something else than the baseline is recommended."""
        return self.policy != f"always {self.baseline}"

    @property
    def proven(self) -> bool:
        """Whether both intervals say so: it costs less, and no more than ``tolerance`` of quality is lost."""
        return self.changes and self.saving.low > 0.0 and self.quality_difference.low >= -self.tolerance

    @property
    def verdict(self) -> str:
        """What to do, in a sentence."""
        if not self.changes:
            return f"Keep {self.baseline}: nothing cheaper was as good on the training prompts."
        if self.proven:
            return f"Switch to {self.policy}: it costs less than {self.baseline} and is as good, within the tolerance."
        if self.saving.high <= 0.0 or self.quality_difference.high < -self.tolerance:
            return f"Keep {self.baseline}: on fresh prompts {self.policy} did not keep what it promised."
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
        """Write ``policy`` and ``featurizer`` into ``folder``, for ``load_policy`` and ``RequestFeaturizer.load``."""
        self.fitted.save(Path(folder) / "policy")
        self.featurizer.save(Path(folder) / "featurizer")

    def lines(self) -> Iterator[str]:
        """The recommendation for a terminal."""
        saving, quality = self.saving, self.quality_difference
        yield f"{self.table}: chosen on {self.n_train:,} prompts, judged on {self.n_eval:,} others"
        yield f"against always {self.baseline}, losing at most {self.tolerance:g} of quality:"
        yield ""
        yield self.verdict
        yield ""
        weight = f" at λ = {self.objective.cost_weight:.3g} quality per USD" if self.objective.cost_weight else ""
        yield f"recommended  {self.policy}{weight}"
        yield f"saving       {saving.estimate:.1%} [{saving.low:.1%}, {saving.high:.1%}] of the cost"
        yield f"quality      {quality.estimate:+.3f} [{quality.low:+.3f}, {quality.high:+.3f}], to {self.quality:.3f}"
        yield f"cost         {1000 * self.cost:.4g} USD per 1,000 requests"
        used = sorted(((share, name) for name, share in self.shares.items() if share >= 0.005), reverse=True)
        yield f"asks         {', '.join(f'{name} {share:.0%}' for share, name in used)}"

    def as_dict(self) -> dict[str, Any]:
        """Everything but the fitted policy, for JSON."""
        told = {name: getattr(self, name) for name in ("table", "policy", "baseline", "tolerance", "n_train", "n_eval")}
        told |= {"verdict": self.verdict, "proven": self.proven, "cost_weight": self.objective.cost_weight}
        told |= {"saving": self.saving.as_dict(), "quality_difference": self.quality_difference.as_dict()}
        told |= {"cost_usd": self.cost, "quality": self.quality, "shares": self.shares}
        return told | {"compared": self.compared.to_dict(orient="records")}

    def __str__(self) -> str:
        """The recommendation as it is printed."""
        return "\n".join(self.lines())
