"""Plan: what an A/B test is to prove, written down before it starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from routelab.errors import ExperimentError
from routelab.request import is_finite

Method = Literal["sequence", "msprt", "welch"]
METHODS: tuple[Method, ...] = ("sequence", "msprt", "welch")


@dataclass(frozen=True, slots=True)
class Metric:
    """A number per unit: the sum of a column over the unit's outcomes, divided by what it is counted ``per``.

    The value of a variant is a ratio of two sums over its units, which are what was assigned at random: a mean per
    request is the sum of the column by the number of requests, a mean per unit the sum by the number of units. A
    failure rate is the mean of a column of 0 and 1.

    Args:
        name: of the metric.
        column: of the outcomes; None = the same as ``name``.
        per: "request", "unit", or a column (tokens, graded requests) to sum up for the denominator.
        lower_is_better: costs, latencies, failures.
        margin: None makes the metric a goal. A number ≥ 0, in units of the metric, makes it a guardrail: the variant
            is shown to be worse than the control by less than that (non-inferiority).
        above: count the share of outcomes above this threshold instead of their mean; see
            :func:`routelab.abtest.planning.quantile_guardrail` for a guardrail on the 95th percentile.
        covariate: column known before the unit was exposed, equal in all its rows (its mean cost last week); it takes
            variance out of the difference (CUPED).

    Raises:
        ExperimentError: no name, or a margin or threshold out of range.

    >>> Metric("failed", lower_is_better=True, margin=0.01).column
    'failed'
    """

    name: str
    column: str = ""
    per: str = "request"
    lower_is_better: bool = False
    margin: float | None = None
    above: float | None = None
    covariate: str | None = None

    def __post_init__(self) -> None:
        """Check the arguments."""
        if not self.name:
            raise ExperimentError("a metric has no name; name it as its column is called")
        if not self.column:
            object.__setattr__(self, "column", self.name)
        if self.margin is not None and not (is_finite(self.margin) and self.margin >= 0.0):
            raise ExperimentError(f"margin of metric {self.name!r} is {self.margin!r}; give a number ≥ 0, or None")
        if self.above is not None and not is_finite(self.above):
            raise ExperimentError(f"above of metric {self.name!r} is {self.above!r}; give a finite number, or None")

    @property
    def sign(self) -> float:
        """What makes a difference positive where it is good."""
        return -1.0 if self.lower_is_better else 1.0

    @property
    def null(self) -> float:
        """The difference from the control that is to be refuted: none, or, of a guardrail, the whole margin."""
        return -self.sign * self.margin if self.margin else 0.0


@dataclass(frozen=True)
class Plan:
    """What is compared, by which rules; all of it chosen before the first outcome is seen.

    Args:
        shares: of the units that each variant gets, the control first (``ABTest.shares``); a holdout is left out.
        metrics: goals and guardrails, one or more.
        units: planned number in all variants together; the confidence sequence is narrowest there, and a test without
            a finding stops there.
        alpha: probability, in (0, 1), that the verdict, at whichever look, rests on a false claim about any metric.
        start: units that every variant must have before anything is claimed, ≥ 2: the guarantee of the confidence
            sequence is asymptotic, and holds at all looks from there on. Of a metric ≥ 0 the smaller arm must also be
            expected to have 10 events (failures; with one request a unit, or where no unit exceeds 1, non-failures).
            The limit: a small arm with long tails beside a large one without is found different more often than α
            says (.08 at .05 for log-normal outcomes, σ = 1, one unit in ten); plan a larger share or start then.
        method: "sequence" (any look counts), "msprt" (alike, with the mixture ``tau``) or "welch" (one look, at
            ``units`` or up to 5 % more; before and after nothing is claimed; eleven looks within erred in .068 of
            8,000 tests at .05).
        tau: for "msprt": metric → standard deviation of the effects that the mixture expects, in units of the metric.
        ends_at: unix second from which on nobody may be exposed, or None (``ABTest.ends_at``); the outcomes then need
            the column ``exposed_at``.
        srm_alpha: probability, in (0, 1), that a sound assignment is called a sample-ratio mismatch at any look.
        srm_concentration: of the Dirichlet prior of the sample-ratio test, in units; None = a tenth of ``units``, which
            sees what a test of that size can: at 200,000 units a split of 50.5/49.5, at 1,000 the loss of a quarter of
            an arm.

    Raises:
        ExperimentError: an argument is out of range or of another type, or two metrics have one name.

    >>> plan = Plan({"rules": 0.1, "forest": 0.1}, (Metric("quality"),), units=4_000)
    >>> plan.control, plan.treatments, plan.planned("forest")
    ('rules', ('forest',), 2000.0)
    """

    shares: Mapping[str, float]
    metrics: tuple[Metric, ...]
    units: int
    alpha: float = 0.05
    start: int = 50
    method: Method = "sequence"
    tau: Mapping[str, float] | None = None
    ends_at: float | None = None
    srm_alpha: float = 0.05
    srm_concentration: float | None = None

    def __post_init__(self) -> None:
        """Check the arguments."""
        if not isinstance(self.shares, Mapping):
            raise ExperimentError(f"Plan.shares is {self.shares!r}; give a dict of variant → share")
        if not (isinstance(self.metrics, Sequence) and all(isinstance(metric, Metric) for metric in self.metrics)):
            raise ExperimentError(f"Plan.metrics is {self.metrics!r}; give a tuple of Metric")
        object.__setattr__(self, "shares", dict(self.shares))
        object.__setattr__(self, "metrics", tuple(self.metrics))
        self._check_names()
        for name in ("units", "start"):
            if not (isinstance(value := getattr(self, name), int) and value >= 2):
                raise ExperimentError(f"Plan.{name} is {value!r}; give an int ≥ 2")
        for name in ("alpha", "srm_alpha"):
            if not (is_finite(value := getattr(self, name)) and 0.0 < value < 1.0):
                raise ExperimentError(f"Plan.{name} is {value!r}; give a number in (0, 1)")
        if not (is_finite(self.concentration) and self.concentration > 0.0):
            raise ExperimentError(f"Plan.srm_concentration is {self.concentration!r}; give a number > 0, or None")
        if self.method not in METHODS:
            raise ExperimentError(f"Plan.method is {self.method!r}; give one of {', '.join(METHODS)}")
        taus = self.tau or {}
        if self.method == "msprt" and not all(is_finite(t := taus.get(m.name, 0.0)) and t > 0.0 for m in self.metrics):
            raise ExperimentError(f"Plan.tau is {self.tau!r}; an mSPRT needs a number > 0 for each metric")
        if self.ends_at is not None and not is_finite(self.ends_at):
            raise ExperimentError(f"Plan.ends_at is {self.ends_at!r}; give a unix second, or None")

    def _check_names(self) -> None:
        if len(self.shares) < 2 or not all(is_finite(share) and share > 0.0 for share in self.shares.values()):
            raise ExperimentError(f"Plan.shares is {self.shares}; give two or more variants a share > 0 each")
        names = [metric.name for metric in self.metrics]
        if not names or len(set(names)) < len(names):
            raise ExperimentError(f"Plan.metrics are named {names}; give one or more, each with a name of its own")

    @property
    def control(self) -> str:
        """The variant that the others are compared with."""
        return next(iter(self.shares))

    @property
    def treatments(self) -> tuple[str, ...]:
        """The other variants."""
        return tuple(self.shares)[1:]

    @property
    def concentration(self) -> float:
        """Of the prior of the sample-ratio test."""
        return 0.1 * self.units if self.srm_concentration is None else self.srm_concentration

    def counts(self, units: int) -> bool:
        """Whether claims count at a look at ``units`` units: Welch's test has one look only, up to 5 % late."""
        return self.method != "welch" or self.units <= units <= self.last_look

    @property
    def last_look(self) -> int:
        """Units after which Welch's one look has passed."""
        return int(self.units * 1.05)

    def planned(self, variant: str) -> float:
        """Units that ``variant`` is planned to have."""
        return self.units * self.shares[variant] / sum(self.shares.values())
