"""``routelab proxy`` as a process: what it serves, what it keeps, how it ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from proxying import ASKED, WORDS, client, send
from routelab import ForestPolicy, LLMRequest, PerformanceDB, RequestFeaturizer, load_source, simulated_providers

# Simulated providers answer at once; this one takes its time.
SLOW = """
from proxying import Speaking, bandit
from routelab import PerformanceDB
from routelab.proxy import create_app, serve
serve(create_app(bandit(Speaking(pause_s=0.2), db=PerformanceDB("sqlite:///log.db"))), "127.0.0.1", 0, drain_s={drain_s})
"""
PROXY = "import sys; from routelab.cli import run; sys.argv[0] = 'routelab'; run()"


@contextmanager
def program(folder: Path, code: str, *arguments: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A Python program that serves, and its address; what it says goes to ``said.txt``."""
    said = folder / "said.txt"
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    with said.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": path} | environment,
            stdout=out,
            stderr=out,
            text=True,
        )
    try:
        end = time.monotonic() + 60.0
        while not (found := re.search(r"running on (http://\S+)", said.read_text())):
            assert process.poll() is None, said.read_text()
            assert time.monotonic() < end
            time.sleep(0.02)
        yield process, found[1]
    finally:
        process.kill()
        process.wait()


def proxy(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command where it ends at once."""
    command = [sys.executable, "-c", PROXY, "proxy", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)


def test_anybody_can_try_it_with_simulated_providers(tmp_path: Path) -> None:
    arguments = ("proxy", "--simulated", "--router", "linucb", "--port", "0", "--cost-weight", "3", "--budget", "0.01")
    with program(tmp_path, PROXY, *arguments) as (process, url), client(url) as asking:
        secret = "What only she knows"
        for _ in range(3):
            asking.chat.completions.create(model="routelab", messages=[{"role": "user", "content": secret}])
        process.send_signal(signal.SIGTERM)
        process.wait(10)
    with PerformanceDB(f"sqlite:///{tmp_path / 'routelab.db'}") as db:
        log = db.log()
    assert db.count == db.count
    assert (len(log), set(log["policy"])) == (3, {"LinUCBPolicy"})
    assert not log["quality"].isna().any()
    assert secret not in (tmp_path / "said.txt").read_text()
    assert secret.encode() not in (tmp_path / "routelab.db").read_bytes()
