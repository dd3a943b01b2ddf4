"""Whatever is sent to the proxy: no status 500, no hang."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fuzzing import ask_by_schema, ask_nonsense, fuzzed

CASES = 200  # of each kind; tests/benchmarks/test_proxy_fuzz.py has 10,000 in all


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with fuzzed() as served:
        yield served


def test_nonsense_is_refused_and_the_rest_answered(url: str) -> None:
    assert {200, 400} <= set(ask_nonsense(url, CASES))


def test_what_the_schema_allows_and_forbids_is_answered_without_a_failure(url: str) -> None:
    assert {200, 400, 404} <= set(ask_by_schema(url, CASES))
