"""ABTest: which variant a unit gets, by a hash that every process and every language computes alike."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import sha256
from itertools import accumulate
from struct import Struct
from typing import Self

import numpy as np
from numpy.typing import NDArray

from routelab.abtest.layer import BITS, ABLayer, check_name, hashes, position, unit_bytes
from routelab.errors import ExperimentError
from routelab.request import is_finite

_SMALLEST = 1e-6  # share; boundaries of variants are rounded to 1e-9
_WORDS = Struct(">2Q").unpack_from
_SPARE = 64 - BITS


@dataclass(frozen=True)
class ABTest:
    """An experiment: which share of the units gets which variant.

    The SHA-256 digest of the UTF-8 text ``salt/name/unit`` gives h₁, the first 53 bits of its bytes 0–7, and h₂, those
    of its bytes 8–15 (big-endian), both divided by 2⁵³. A unit takes part where h₂ < s, the sum of the shares; it gets
    the first variant whose cumulative share, divided by s, exceeds h₁. These boundaries are rounded to nine decimals.
    So an assignment is the same in every process and language, uniform, and independent of those of other tests; and
    because h₁ picks the variant and h₂ who takes part, a ramp-up moves nobody (Kohavi, Tang & Xu, *Trustworthy Online
    Controlled Experiments*, 2020, chapters 4 and 15).

    Args:
        name: of the test, without "/".
        variants: their names, two or more; the first one is the control.
        allocation: share ≥ 1e-6 of the units that gets each variant, by name or in the order of ``variants``.
        salt: text without "/"; another one gives another, independent assignment.
        layer: whose other tests exclude this one; shares are then those of the test's slice. None for no layer.
        holdout: share that gets no variant; with the allocation it sums to one.
        ends_at: unix second from which on nobody is exposed, or None.

    Raises:
        ExperimentError: the shares do not sum to one, variants are missing or named twice, or the layer has no slice
            for the test.

    >>> test = ABTest("forest", ("rules", "forest"), (0.3, 0.3), "2026", holdout=0.4)
    >>> for unit in ("user-1", "user-3", "Ω"):
    ...     print(unit, *(f"{h / 2**53:.9f}" for h in test.hashes([unit])[0, :2]), test.assign(unit))
    user-1 0.539066118 0.650372504 None
    user-3 0.781812832 0.430000587 forest
    Ω 0.481663114 0.459406154 rules
    """

    name: str
    variants: Sequence[str]
    allocation: Mapping[str, float] | Sequence[float]
    salt: str
    layer: ABLayer | None = None
    holdout: float = field(default=0.0, kw_only=True)
    ends_at: float | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        """Check names and shares, and bring them to one form."""
        check_name("ABTest.name", self.name)
        check_name("ABTest.salt", self.salt)
        object.__setattr__(self, "variants", tuple(self.variants))
        for variant in self.variants:
            check_name(f"a variant of test {self.name!r}", variant)
        if len(self.variants) < 2 or len(set(self.variants)) < len(self.variants):
            raise ExperimentError(f"variants of test {self.name!r} are {self.variants}; give two or more, each once")
        object.__setattr__(self, "allocation", self._by_name(self.allocation))
        self._check_shares()
        if self.ends_at is not None and not is_finite(self.ends_at):
            raise ExperimentError(f"ends_at of test {self.name!r} is {self.ends_at!r}; give a unix second, or None")
        if self.layer is not None and self.name not in self.layer.slices:
            raise ExperimentError(
                f"layer {self.layer.name!r} has slices for {', '.join(self.layer.slices)}, none for {self.name!r}; "
                "add one"
            )

    def _by_name(self, allocation: Mapping[str, float] | Sequence[float]) -> dict[str, float]:
        """``allocation`` as the share of each variant, in their order."""
        if not isinstance(allocation, Mapping) and len(allocation) == len(self.variants):
            allocation = dict(zip(self.variants, allocation, strict=True))
        if not isinstance(allocation, Mapping) or set(allocation) != set(self.variants):
            told = f"allocation of test {self.name!r} is {allocation}"
            raise ExperimentError(f"{told}; give one share for each of {', '.join(self.variants)}")
        return {variant: allocation[variant] for variant in self.variants}

    def _check_shares(self) -> None:
        shares = dict(self.shares)
        for variant, share in shares.items():
            if not (is_finite(share) and _SMALLEST <= share <= 1.0):
                raise ExperimentError(f"share of variant {variant!r} is {share!r}; give a number in [1e-6, 1]")
        if not (is_finite(self.holdout) and 0.0 <= self.holdout < 1.0):
            raise ExperimentError(f"holdout of test {self.name!r} is {self.holdout!r}; give a share in [0, 1)")
        total = sum(shares.values()) + self.holdout
        if abs(total - 1.0) > 1e-9:
            raise ExperimentError(
                f"shares of test {self.name!r} and its holdout sum to {total:.10g}; "
                "have them sum to one, holdout= takes what no variant gets"
            )

    @property
    def shares(self) -> dict[str, float]:
        """Share of each variant, by name."""
        return dict(self._by_name(self.allocation))

    @cached_property
    def _treated(self) -> int:
        """h₂ from which on a unit is held out."""
        return position(sum(self.shares.values()))

    @cached_property
    def _bounds(self) -> list[int]:
        """h₁ up to which each variant but the last reaches."""
        cumulative = list(accumulate(self.shares.values()))
        return [position(share / cumulative[-1]) for share in cumulative[:-1]]

    @cached_property
    def _prefix(self) -> bytes:
        return f"{self.salt}/{self.name}/".encode()

    def hashes(self, units: Sequence[str]) -> NDArray[np.uint64]:
        """The hashes (n, 4) of n units, each of 53 bits; the first two are h₁ and h₂."""
        return hashes(self._prefix, units)

    def assign(self, unit_id: str) -> str | None:
        """The variant of ``unit_id``; None where it is held out, or belongs to another test of the layer.

        Raises:
            ExperimentError: ``unit_id`` is no text, or empty.
        """
        h1, h2 = _WORDS(sha256(self._prefix + unit_bytes(unit_id)).digest())
        if h2 >> _SPARE >= self._treated:
            return None
        if self.layer is not None and not self.layer.holds(self.name, [unit_id])[0]:
            return None
        return self.variants[bisect_right(self._bounds, h1 >> _SPARE)]

    def assign_many(self, units: Sequence[str]) -> NDArray[np.object_]:
        """``assign`` for each of n units, (n,), and faster.

        Raises:
            ExperimentError: one of them is no text, or empty.
        """
        h = self.hashes(units)
        arms = np.searchsorted(np.array(self._bounds, dtype=np.uint64), h[:, 0], side="right")
        treated = h[:, 1] < self._treated
        if self.layer is not None:
            treated &= self.layer.holds(self.name, units)
        names = np.array([*self.variants, None], dtype=object)
        return np.asarray(names[np.where(treated, arms, -1)])

    def ramp(self, allocation: Mapping[str, float] | Sequence[float]) -> Self:
        """The same test with higher shares, what is left being held out; no unit that has a variant gets another.

        Raises:
            ExperimentError: the shares fall, or stand in another proportion to each other, so that units would move.

        >>> ABTest("t", ("a", "b"), (0.05, 0.05), "s", holdout=0.9).ramp((0.5, 0.5)).holdout
        0.0
        """
        shares = self._by_name(allocation)
        raised = replace(self, allocation=shares, holdout=max(0.0, 1.0 - sum(shares.values())))
        if raised._bounds != self._bounds or raised._treated < self._treated:
            raise ExperimentError(
                f"going from {self.shares} to {shares} would move units of test {self.name!r} that have a variant; "
                "raise all shares by one factor, or start a test of another name"
            )
        return raised
