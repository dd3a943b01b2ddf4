"""10,000 requests of nonsense to the proxy; `make study` shows what came back. ``ROUTELAB_CASES=100`` makes fewer."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from time import perf_counter

sys.path.insert(0, str(Path(__file__).parents[1]))

from fuzzing import ask_by_schema, ask_nonsense, fuzzed

CASES = int(os.environ.get("ROUTELAB_CASES", "10000"))


def test_ten_thousand_requests_of_nonsense_bring_no_failure_and_no_hang() -> None:
    start = perf_counter()
    with fuzzed() as url:
        statuses = ask_nonsense(url, CASES * 6 // 10, seed=1) + ask_by_schema(url, CASES * 4 // 10, seed=1)
    told = {"cases": statuses.total(), "statuses": {str(status): statuses[status] for status in sorted(statuses)}}
    print("\n" + json.dumps(told | {"seconds": round(perf_counter() - start, 1)}))
    assert statuses.total() >= CASES
