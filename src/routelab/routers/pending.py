"""Decisions whose outcome is still to come, and outcomes that came: the router's memory of its last decisions."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace

from routelab.db_records import Outcome
from routelab.errors import RoutelabError
from routelab.providers import Completion
from routelab.reduction import Matrix


@dataclass(frozen=True, slots=True)
class Pending:
    """A decision whose outcome is still to come.

    Args:
        x: features (p,) that it was made on.
        provider: that was chosen.
        request_id: as the log keeps it.
        number: how many decisions the router had made with it.
        version: of the policy that decided; None where another one stood in for it.
        expected: quality in [0, 1] and cost in USD that were expected of the provider.
        typical: typical cost of the provider then, in USD.
        owed: USD that failed providers cost the same request; None once the budget's pacer was told everything.
        completion: the answer, once there is one.
        logged: whether the log knows the decision, and so may have its outcome.
    """

    x: Matrix
    provider: str
    request_id: str
    number: int
    version: int | None
    expected: tuple[float, float]
    typical: float
    owed: float | None = 0.0
    completion: Completion | None = None
    logged: bool = True


class PendingDecisions:
    """The last decisions by id, each with its outcome once that has come; older ones expire.

    Args:
        horizon: decisions that are remembered, ≥ 1. It bounds the memory, and how late an outcome can be learned.

    Attributes:
        count: decisions so far.
        waiting: decisions that wait for their outcome.
        expired: decisions that were forgotten before their outcome came.

    Raises:
        RoutelabError: the horizon is no int ≥ 1.
    """

    def __init__(self, horizon: int = 100_000) -> None:
        if not (isinstance(horizon, int) and horizon >= 1):
            raise RoutelabError(f"horizon is {horizon!r}; give the number of decisions to remember, an int ≥ 1")
        self.horizon = horizon
        self.count = self.waiting = self.expired = 0
        self._entries: OrderedDict[str, Pending | Outcome] = OrderedDict()

    def add(self, decision_id: str, decision: Pending) -> None:
        """Remember a new decision; the oldest expires when there are too many."""
        self._entries[decision_id] = decision
        self.count += 1
        self.waiting += 1
        if len(self._entries) > self.horizon:
            _, oldest = self._entries.popitem(last=False)
            if isinstance(oldest, Pending):
                self.waiting -= 1
                self.expired += 1

    def get(self, decision_id: str) -> Pending | Outcome | None:
        """The decision if it waits, its outcome if that has come, None if it is not remembered."""
        return self._entries.get(decision_id)

    def change(self, decision_id: str, decision: Pending) -> None:
        """Replace what is known of a decision that waits."""
        self._entries[decision_id] = decision

    def settle(self, outcome: Outcome) -> None:
        """The outcome of a decision that waited has come."""
        self._entries[outcome.decision_id] = outcome
        self.waiting -= 1

    def age(self, decision: Pending) -> int:
        """Decisions made since ``decision``: 0 for the latest."""
        return self.count - decision.number


def check_same(known: Outcome, outcome: Outcome) -> None:
    """Refuse an outcome that contradicts the ``known`` one of its decision; the same again is no error.

    Raises:
        RoutelabError: it differs in more than its time of arrival.
    """
    if replace(outcome, observed_at=known.observed_at) != known:
        raise RoutelabError(f"decision {known.decision_id!r} has another outcome already; the first one stays")
