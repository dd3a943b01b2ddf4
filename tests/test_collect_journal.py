from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pandas as pd
import pytest

from collecting import Charging, prompts, run
from routelab import Completion, LLMRequest, RoutelabError
from routelab.collecting import Collected, Patience, Prompts
from routelab.collecting.journal import Journal
from routelab.providers import Price


def lines(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]


def test_a_request_is_in_the_journal_before_it_is_sent(tmp_path: Path) -> None:
    missing = list[str]()

    class Reading(Charging):
        async def complete(self, request: LLMRequest) -> Completion:
            if [request.request_id, self.name] not in [line.get("asked") for line in lines(tmp_path)]:
                missing.append(str(request.request_id))
            return await super().complete(request)

    assert run(tmp_path, prompts(10), [Reading("a"), Reading("b")]).missing == 0
    assert missing == []


def test_callers_that_come_together_share_a_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced, fsync = list[int](), os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: (synced.append(file), fsync(file)))

    async def work() -> None:
        with Journal(tmp_path / "journal.jsonl", {}) as journal:
            await asyncio.gather(*(journal.asked((f"p{i}", "a"), 0.1) for i in range(100)))
            assert 1 <= len(synced) <= 3

    asyncio.run(work())


def test_what_was_asked_and_not_answered_counts_with_its_worst_case_and_is_asked_again(tmp_path: Path) -> None:
    run(tmp_path, prompts(3), [Charging("a"), Charging("b")])
    journal = tmp_path / "journal.jsonl"
    kept = [line for line in journal.read_text().splitlines() if '"answered": ["p1", "b"]' not in line]
    journal.write_text("\n".join(kept) + "\n")
    providers = [Charging("a"), Charging("b")]
    collected = run(tmp_path, prompts(3), providers)
    assert [dict(p.asked) for p in providers] == [{}, {"p1": 1}]
    assert collected.spent_usd == pytest.approx(6 * 0.001 + 0.01)
    assert run(tmp_path, prompts(3), providers).spent_usd == pytest.approx(6 * 0.001 + 0.01)


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_a_torn_last_line_is_dropped(tmp_path: Path, cut: int) -> None:
    whole = run(tmp_path, prompts(3), [Charging("a"), Charging("b")], patience=Patience(1))
    journal = tmp_path / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-cut])
    providers = [Charging("a"), Charging("b")]
    collected = run(tmp_path, prompts(3), providers)
    pd.testing.assert_frame_equal(whole.frame, collected.frame)
    assert sum(p.asked.total() for p in providers) == 1
    assert all(isinstance(line, dict) for line in lines(tmp_path))


def test_a_journal_that_was_cut_anywhere_can_be_gone_on_with(tmp_path: Path) -> None:
    run(tmp_path, prompts(4), [Charging("a"), Charging("b")])
    content = (tmp_path / "journal.jsonl").read_bytes()
    for size in range(0, len(content), 41):
        (tmp_path / "journal.jsonl").write_bytes(content[:size])
        assert run(tmp_path, prompts(4), [Charging("a"), Charging("b")]).missing == 0


def test_a_disk_that_is_full_for_a_moment_tears_no_line_and_names_the_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, write = count(1), os.write

    def full_at_the_twentieth(file: int, content: bytes) -> int:
        if next(calls) == 20:
            write(file, content[: len(content) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, content)

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full_at_the_twentieth)
        with pytest.raises(RoutelabError, match=r"journal\.jsonl cannot be written: No space left .* make room there"):
            run(tmp_path, prompts(20), [Charging("a"), Charging("b")])
    before = sum("answered" in line for line in lines(tmp_path))
    providers = [Charging("a"), Charging("b")]
    collected = run(tmp_path, prompts(20), providers)
    assert collected.missing == 0
    assert sum(p.asked.total() for p in providers) == 40 - before
    assert collected.spent_usd >= 40 * 0.001


@pytest.mark.parametrize("damage", [lambda line: line[:-9], lambda _: '{"unheard": ["1", "a"]}', lambda _: "[]"])
def test_a_line_that_is_damaged_is_named(tmp_path: Path, damage: Callable[[str], str]) -> None:
    run(tmp_path, prompts(3), [Charging("a"), Charging("b")])
    journal = tmp_path / "journal.jsonl"
    changed = journal.read_text().splitlines()
    changed[4] = damage(changed[4])
    journal.write_text("\n".join(changed) + "\n")
    with pytest.raises(RoutelabError, match="line 5 is damaged; remove the file to ask everything anew"):
        run(tmp_path, prompts(3), [Charging("a"), Charging("b")])


def test_a_journal_of_another_collection_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    run(tmp_path, prompts(3), [Charging("a"), Charging("b")], settings={"max_tokens": 100})
    before = (tmp_path / "journal.jsonl").read_bytes()
    dearer = Charging("b")
    dearer.price = Price(9.0, 9.0)
    changed = Prompts([*prompts(2).requests, LLMRequest("Another question?", request_id="p2")])
    for asked, other, settings, named in (
        (changed, Charging("b"), 100, "prompts p2"),
        (prompts(3), dearer, 100, "providers b"),
        (prompts(3), Charging("b"), 200, "settings"),
        (changed, Charging("b"), 200, "prompts p2 and settings"),
    ):
        with pytest.raises(RoutelabError, match=f"of a collection with other {named}: "):
            run(tmp_path, asked, [Charging("a"), other], settings={"max_tokens": settings})
    assert (tmp_path / "journal.jsonl").read_bytes() == before
    (tmp_path / "journal.jsonl").write_text('{"some": "thing"}\n')
    with pytest.raises(RoutelabError, match="is a journal of another kind"):
        run(tmp_path, prompts(3), [Charging("a"), Charging("b")])


def test_prompts_and_providers_that_join_are_asked_and_the_rest_is_not_asked_again(tmp_path: Path) -> None:
    first = run(tmp_path, prompts(3), [Charging("a"), Charging("b")])
    c, b, a = (Charging(name) for name in "cba")
    wider = run(tmp_path, prompts(5), [c, b, a])
    assert [p.asked.total() for p in (c, b, a)] == [5, 2, 2]
    assert wider.frame["provider"].tolist() == ["c", "b", "a"] * 5
    assert wider.spent_usd == pytest.approx(first.spent_usd + 9 * 0.001)
    narrow = run(tmp_path, prompts(2), [Charging("a"), Charging("c")])
    assert (len(narrow.frame), narrow.missing, narrow.spent_usd) == (4, 0, pytest.approx(wider.spent_usd))
    c.price = Price(9.0, 9.0)
    with pytest.raises(RoutelabError, match="of a collection with other providers c: "):
        run(tmp_path, prompts(5), [c, b, a])


def test_a_provider_of_other_settings_is_refused(tmp_path: Path) -> None:
    def again(**limits: int) -> Collected:
        return run(tmp_path, prompts(2), [Charging(name) for name in limits], provider_settings=limits)

    assert again(a=100, b=100).missing == 0
    assert again(c=50, a=100).missing == 0
    with pytest.raises(RoutelabError, match="with other providers b: "):
        again(a=100, b=200)


def test_a_journal_serves_one_process_at_a_time(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.jsonl", {}), pytest.raises(RoutelabError, match="in use by another process"):
        Journal(tmp_path / "journal.jsonl", {})
    with Journal(tmp_path / "journal.jsonl", {}):
        pass


def test_no_text_is_kept_unless_it_is_asked_for(tmp_path: Path) -> None:
    run(tmp_path, prompts(3), [Charging("a"), Charging("b")])
    assert not any(word in (tmp_path / "journal.jsonl").read_text() for word in ("Question", "It is"))
    run(tmp_path / "kept", prompts(3), [Charging("a"), Charging("b")], keep_answers=True)
    answers = [line["answer"] for line in lines(tmp_path / "kept") if "answered" in line]
    assert sorted(answers) == ["It is 0", "It is 0", "It is 1", "It is 1", "It is 2", "It is 2"]


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C interrupts, also where the tests run in the background of a shell, which ignores it there."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_waits_for_what_is_in_flight_and_asks_no_more(tmp_path: Path) -> None:
    providers = [Charging("a"), Charging("b")]
    for provider in providers:
        provider.latency_s = 0.2
    threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, prompts(200), providers, patience=Patience(4))
    assert time.monotonic() - started < 5.0
    asked = sum(p.asked.total() for p in providers)
    assert 8 <= asked <= 24
    noted = lines(tmp_path)
    assert len([line for line in noted if "answered" in line]) == asked
    assert providers[0].in_flight == providers[1].in_flight == 0


def test_a_provider_that_cannot_be_used_at_all_ends_the_run(tmp_path: Path) -> None:
    keyless = Charging("a", lambda number: RoutelabError("A_KEY is not set; export it"))
    with pytest.raises(RoutelabError, match="A_KEY is not set"):
        run(tmp_path, prompts(50), [keyless, Charging("b")])


@pytest.mark.parametrize("names", [[], ["a"], ["a", "a"]])
def test_fewer_than_two_providers_are_refused(tmp_path: Path, names: list[str]) -> None:
    with pytest.raises(RoutelabError, match="name two or more, each once"):
        run(tmp_path, prompts(2), [Charging(name) for name in names])


def test_prompts_need_names_of_their_own() -> None:
    with pytest.raises(RoutelabError, match="each with a request_id of its own"):
        Prompts([prompts(1).requests[0]] * 2)
    with pytest.raises(RoutelabError, match="0 prompts to ask"):
        Prompts([])
