"""Versions of the policy that a router serves: what was tried, why, and how it did."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from routelab.policies import Policy
from routelab.policies.base import Features


@dataclass(frozen=True, slots=True)
class Version:
    """One attempt at a new version, or the return to an old one.

    Args:
        number: under which it is served and which its decisions carry; None where it never was served.
        at: unix seconds.
        decisions: of the router by then.
        reason: why it was made.
        status: "served" (accepted by the gate, or ungated: the first one and ``train``), "rejected" by the gate,
            "failed" before that, or a "rollback" to an old one.
        n_train: requests that it was fitted on.
        n_heldout: outcomes that the gate judged on.
        loss: of the challenger on them.
        champion_loss: of the policy that was served.
        error: what failed.
    """

    number: int | None
    at: float
    decisions: int
    reason: str
    status: Literal["served", "rejected", "failed", "rollback"]
    n_train: int = 0
    n_heldout: int = 0
    loss: float | None = None
    champion_loss: float | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Retired:
    """A version that is kept for a rollback: the policy, its number and background, and the prices it last knew."""

    policy: Policy
    number: int
    background: Features
    prices: dict[str, float]
