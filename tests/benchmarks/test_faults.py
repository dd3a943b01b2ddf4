"""10,000 requests against two providers that do everything wrong and one that is healthy; part of `make study`.

``ROUTELAB_REQUESTS=200`` makes fewer.
"""

from __future__ import annotations

import asyncio
import json
import os
from time import perf_counter

import pytest

from routelab import PerformanceDB
from routelab.providers import Circuit
from test_fault_matrix import FAULTS, check_log, flood

REQUESTS = int(os.environ.get("ROUTELAB_REQUESTS", "10000"))


@pytest.mark.parametrize("rest", [True, False], ids=["circuits", "every request meets the fault"])
def test_all_requests_are_answered_whatever_two_of_three_do(tmp_path, rest: bool) -> None:
    """With circuits (as by default, short cooldowns), and with circuits that never open."""
    circuit = Circuit(cooldown_s=0.05, longest_s=0.5) if rest else Circuit(failures=10**6, window=10**6)
    share = REQUESTS // len(FAULTS) + 1
    answered, attempts, started = 0, 0, perf_counter()
    for number, fault in enumerate(FAULTS):
        with PerformanceDB(f"sqlite:///{tmp_path / f'{number}.db'}") as db:
            answers = asyncio.run(flood(fault, db, share, circuit))
            assert answers == ["c"] * share
            check_log(db, share)
            answered += len(answers)
            attempts += db.count()[0]
    assert answered >= REQUESTS
    told = {"requests": answered, "answered": 1.0, "attempts in the log": attempts}
    print("\n" + json.dumps(told | {"seconds": round(perf_counter() - started, 1)}))
