"""10,000 requests of nonsense to the proxy; `make study` shows what came back."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from fuzzing import ask_by_schema, ask_nonsense, fuzzed


def test_ten_thousand_requests_of_nonsense_bring_no_failure_and_no_hang() -> None:
    with fuzzed() as url:
        statuses = ask_nonsense(url, 6000, seed=1) + ask_by_schema(url, 4000, seed=1)
    print("\n10,000 cases:", ", ".join(f"{count} × {status}" for status, count in sorted(statuses.items())))
    assert statuses.total() >= 10_000
