from __future__ import annotations

import signal
from pathlib import Path

import pytest

from collect_kills import Collection, killed_and_resumed, text, usage
from faulty_server import faulty_server_in_thread
from routelab import PerformanceTable


def test_a_collection_that_is_killed_and_resumed_ends_like_one_that_is_not(tmp_path: Path) -> None:
    told = killed_and_resumed(tmp_path, kills=3, prompts=40, seed=0)
    assert told["repeated"] <= 3 * 2 * 4


def test_the_table_is_read_by_everything_else_and_the_cap_stops_and_resumes(tmp_path: Path) -> None:
    with faulty_server_in_thread() as server:
        server.text, server.usage = text, usage
        collection = Collection(tmp_path / "c", server, 40)
        code, out, err = collection.finish("--cap-usd", "0.001")
        assert (code, server.asked) == (3, [])
        assert "no table yet" in err
        code, out, err = collection.finish("--cap-usd", "0.08")
        assert code == 3
        assert collection.charged_usd <= 0.08
        assert "cap reached: " in err
        assert "raise --cap-usd and run again" in err
        asked = len(server.asked)
        code, out, err = collection.finish("--cap-usd", "1")
        assert (code, len(server.asked)) == (0, 80)
        assert 0 < asked < 80
        table = PerformanceTable.read(tmp_path / "c" / "table.jsonl")
        assert (table.n, table.providers) == (40, ("small", "large"))
        assert 0.2 < table.quality.mean() < 0.8
        assert "80 of 80 answers" in out


def test_an_interrupt_says_how_to_go_on(tmp_path: Path) -> None:
    with faulty_server_in_thread() as server:
        server.text, server.usage, server.latency_s = text, usage, 0.05
        collection = Collection(tmp_path / "c", server, 100)
        code, err = collection.kill_when(10, how=signal.SIGINT)
        assert code == 130
        assert "stopped; the same command goes on from table.jsonl.journal.jsonl" in err
        assert "Traceback" not in err
        assert collection.open_pairs() == set()
        assert not (tmp_path / "c" / "table.jsonl").exists()
        assert len(server.asked) < 40


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--providers", "small,medium"], "live.providers has no 'medium'; it has small, large"),
        (["--providers", "small"], "name two or more, each once"),
        (["--evaluator", "guess"], "evaluator 'guess' is unknown"),
        (["--evaluator", "judge:nobody"], "live.providers has no 'nobody'"),
        (["--out", "table.txt"], "unknown ending '.txt'"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_asked(tmp_path: Path, options: list[str], told: str) -> None:
    with faulty_server_in_thread() as server:
        code, _, err = Collection(tmp_path / "c", server, 3).finish(*options)
    assert (code, server.asked) == (1, [])
    assert told in err
    assert "Traceback" not in err


def test_a_judge_that_turns_everything_away_is_told_and_exits_with_3(tmp_path: Path) -> None:
    with faulty_server_in_thread() as server:
        server.text, server.usage = lambda asked: "Four.", lambda asked: (5, 5, 0)
        server.behaviour = lambda asked: "400" if "score" in asked.prompt else "ok"
        code, out, err = Collection(tmp_path / "c", server, 40).finish("--evaluator", "judge:large")
    assert code == 3
    assert "0 of 80 answers" in out
    assert "its judge gave no grade: refused" in err
    assert "large was given up and not asked the rest: refused" in err
    assert "run again to ask what is missing" in err
    assert "What is" not in (tmp_path / "c" / "table.jsonl.journal.jsonl").read_text(), (
        "a prompt, as the server echoes it"
    )


def test_answers_without_a_grade_are_counted(tmp_path: Path) -> None:
    with faulty_server_in_thread() as server:
        server.text, server.usage = lambda asked: "Four.", lambda asked: (5, 5, 0)
        code, _, err = Collection(tmp_path / "c", server, 3).finish("--evaluator", "judge:large")
    assert (code, "6 of 6 answers have no grade" in err) == (0, True)


def test_what_fails_is_told_and_exits_with_3(tmp_path: Path) -> None:
    with faulty_server_in_thread() as server:
        server.text, server.usage = text, usage
        server.behaviour = lambda asked: "400" if asked.prompt.endswith(" 1") else "ok"
        code, out, err = Collection(tmp_path / "c", server, 5).finish()
    assert code == 3
    assert "8 of 10 answers" in out
    assert "failed: p1 at small: refused the request (400)" in err
    assert PerformanceTable.read(tmp_path / "c" / "table.jsonl").n == 4
