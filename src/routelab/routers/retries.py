"""How often requests that every provider failed may be tried once more, so that retries never become a storm."""

from __future__ import annotations

from routelab.errors import RoutelabError
from routelab.request import is_finite

_BURST = 10.0


class RetryBudget:
    """Second tries for at most a share of the requests, and a burst of ten (as the retry budgets of Finagle).

    Args:
        share: second tries per request, in [0, 1].

    Raises:
        RoutelabError: ``share`` is out of its range.

    >>> budget = RetryBudget(0.5)
    >>> sum(budget.withdraw() for _ in range(100))
    10
    >>> for _ in range(4):
    ...     budget.deposit()
    >>> budget.withdraw(), budget.withdraw(), budget.withdraw()
    (True, True, False)
    """

    def __init__(self, share: float = 0.2) -> None:
        if not (is_finite(share) and 0.0 <= share <= 1.0):
            raise RoutelabError(f"retry_share is {share!r}; give a share of the requests in [0, 1]")
        self.share = share
        self._left = _BURST if share else 0.0

    def deposit(self) -> None:
        """There is one request more."""
        self._left = min(self._left + self.share, _BURST)

    def withdraw(self) -> bool:
        """Whether one may be tried again now."""
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True
