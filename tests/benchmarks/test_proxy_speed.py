"""What the proxy costs: streamed requests through it against asking the upstream directly; `make study` shows it.

Client, proxy and upstream are processes of their own on the same cores; requests go out when they are due.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

from http_load import load

RATE, SECONDS, CHUNKS = 150.0, float(os.environ.get("ROUTELAB_LOAD_S", "20")), 20
TESTS = Path(__file__).parents[1]
PROXY = """
import sys
from routelab import BanditRouter, LinUCBPolicy, PerformanceDB
from routelab.providers import OpenAIProvider, Price
from routelab.proxy import create_app, serve
url, price = sys.argv[1], Price(1.0, 2.0)
providers = [OpenAIProvider(name, model="m", base_url=url, key_env=None, price=price) for name in "abc"]
db = PerformanceDB("sqlite:///routelab.db")
serve(create_app(BanditRouter(providers, policy=LinUCBPolicy(), db=db)), "127.0.0.1", int(sys.argv[2]))
"""


def cpu_seconds(pid: int) -> float:
    """Of a process, in user and system mode."""
    told = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(told[11]) + int(told[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def process(folder: Path, marker: str, *command: str) -> Iterator[tuple[int, str]]:
    """A process that serves, by its id, and the address that it prints after ``marker``."""
    path = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
    started = subprocess.Popen(
        [sys.executable, *command],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
    )
    assert started.stdout is not None
    try:
        said = ""
        while marker not in said:
            said = started.stdout.readline()
            assert said, "it ended"
        yield started.pid, said[said.index("http") :].split()[0].removesuffix("/v1")
    finally:
        started.terminate()
        started.stdout.close()
        started.wait(20)


@pytest.mark.parametrize("chunk_s", [0.0, 0.005])
def test_streams_through_the_proxy_take_little_longer_than_from_the_upstream(tmp_path: Path, chunk_s: float) -> None:
    settings = json.dumps({"chunk_s": chunk_s, "chunks": CHUNKS})
    with ExitStack() as stack:
        start = stack.enter_context
        _, upstream = start(process(tmp_path, "http", str(TESTS / "faulty_server.py"), settings))
        pid, proxy = start(process(tmp_path, "running on", "-c", PROXY, f"{upstream}/v1", "0"))
        asyncio.run(load(proxy, model="routelab", per_second=50, seconds=2, chunks=CHUNKS))  # warms up
        direct = np.array(asyncio.run(load(upstream, model="m", per_second=RATE, seconds=SECONDS, chunks=CHUNKS)))
        before = cpu_seconds(pid)
        through = np.array(asyncio.run(load(proxy, model="routelab", per_second=RATE, seconds=SECONDS, chunks=CHUNKS)))
        used = (cpu_seconds(pid) - before) / len(through)
    for name, took in (("direct", direct), ("through", through)):
        quantiles = " ".join(f"p{q:g} {1e3 * np.percentile(took, q):.2f}" for q in (50, 90, 99, 99.9, 100))
        print(
            f"\n{name}: {len(took)} streams at {RATE:g}/s, {CHUNKS} chunks {1e3 * chunk_s:g} ms apart, ms: {quantiles}"
        )
    overhead = np.percentile(through, 99) - np.percentile(direct, 99)
    print(f"p99 overhead {1e3 * overhead:.2f} ms; the proxy used {1e3 * used:.2f} ms of a core per stream")
    assert overhead < 0.020
