"""What a log answers about a router that decided in the shadow of another, and what it cannot."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from routelab.db_records import AFTER_FAILURE
from routelab.errors import ExperimentError
from routelab.html import Card, Shown, short
from routelab.performance_db import PerformanceDB


@dataclass(frozen=True, slots=True, repr=False)
class ShadowReport(Shown):
    """One shadow beside the live router.

    Args:
        shadow: its name.
        requests: that both decided on.
        agreement: share in [0, 1] where the shadow chose what the live router chose.
        graded: requests where they agree and the answer was graded.
        quality: mean in [0, 1] of those answers; NaN without any.
        cost_usd: mean cost of them in USD.
        supported: share in [0, 1] of the shadow's probability on providers that the live router could have chosen.
    """

    shadow: str
    requests: int
    agreement: float
    graded: int
    quality: float
    cost_usd: float
    supported: float

    def __str__(self) -> str:
        """A paragraph."""
        card = self._card()
        return " ".join([card.title, *card.notes])

    def _card(self) -> Card:
        name, told = short(self.shadow), []
        if self.graded:
            told.append(
                f"On {self.graded} of these the log shows what it would have got: quality {self.quality:.3f} for "
                f"{self.cost_usd:.3g} USD a request. They are the requests where both agree, so that is not its value "
                "over all requests."
            )
        told.append(
            "The log cannot show the answers, costs and failures of providers that were not executed, nor what the "
            "shadow would have learned from them."
        )
        if self.supported > 1.0 - 1e-9:
            told.append(
                "The live router could have chosen all that the shadow would: off-policy estimators (evaluation.ope) "
                "answer for it, from shadow_log and the logged propensities."
            )
        else:
            told.append(
                f"For {1.0 - self.supported:.1%} of its choices the live router had no chance of choosing alike: no "
                "estimator answers for them. Give the live router an exploration share (EpsilonGreedyPolicy), or run "
                "an A/B test."
            )
        return Card(
            f"Shadow {name!r} chose as the live router did on {self.agreement:.1%} of {self.requests} requests.",
            notes=told,
        )


def shadow_log(db: PerformanceDB, shadow: str) -> pd.DataFrame:
    """The log's decision on each request, its outcome, and what ``shadow`` would have done: one row per request.

    To the columns of ``PerformanceDB.log`` come ``shadow_provider`` and ``shadow_probabilities``, a list in the order
    of ``providers``. It sums to less than 1 where the shadow knows providers that the live router does not. The second
    choices after a failed provider are left out: nobody drew them.

    Raises:
        ExperimentError: the log has no choice of a shadow of this name.
    """
    choices = db.shadows()
    if shadow not in set(choices["shadow"]):
        raise ExperimentError(f"no shadow {shadow!r} in {db!r}, only {sorted(set(choices['shadow']))}; check its name")
    choices = choices[choices["shadow"] == shadow].drop_duplicates("request_id").set_index("request_id")
    log = db.log()
    drawn = log[~log["policy"].str.endswith(AFTER_FAILURE) & log["request_id"].isin(choices.index)]
    drawn = drawn.drop_duplicates("request_id").reset_index(drop=True)
    its = choices.loc[drawn["request_id"]]
    arms = zip(drawn["providers"], its["providers"], its["probabilities"], strict=True)
    aligned = [[dict(zip(own, p, strict=True)).get(name, 0.0) for name in names] for names, own, p in arms]
    return drawn.assign(
        shadow_provider=its["provider"].to_numpy(), shadow_probabilities=pd.Series(aligned, dtype=object)
    )


def shadow_report(db: PerformanceDB, shadow: str) -> ShadowReport:
    """What the log answers about ``shadow``; raises as ``shadow_log`` does."""
    both = shadow_log(db, shadow)
    agree = both["provider"] == both["shadow_provider"]
    shown = both[agree & both["quality"].notna()]
    masses = zip(both["probabilities"], both["shadow_probabilities"], strict=True)
    supported = [float(np.dot(np.array(live) > 0.0, mine)) for live, mine in masses]
    return ShadowReport(
        shadow=shadow,
        requests=len(both),
        agreement=float(agree.mean()),
        graded=len(shown),
        quality=float(shown["quality"].mean()),
        cost_usd=float(shown["cost_usd"].mean()),
        supported=float(np.mean(supported)),
    )
