"""``routelab collect live`` in real processes before a real server, which are killed and started again."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path

import pandas as pd
import yaml

from chat_answers import Asked
from faulty_server import FaultyServer, faulty_server_in_thread
from routelab import cli
from routelab.collecting.journal import Pair

SERVER = get_context("forkserver")  # its children have all modules from the start
SERVER.set_forkserver_preload(
    [
        "routelab.cli",
        "routelab.collecting.grading",
        "routelab.params",
        "routelab.providers.openai_client",
        "routelab.tables.table",
        "pandera.pandas",
    ]
)
MODELS = ("small", "large")
PRICE = 100.0  # USD per million tokens, in and out


def routelab(arguments: list[str], folder: str) -> None:
    """The command in a process of its own; writes to the files ``out`` and ``err`` of the folder."""
    os.chdir(folder)
    for name, place in (("out", 1), ("err", 2)):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), place)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = ["routelab", *arguments]
    cli.run()


def number_of(asked: Asked) -> int:
    return int(asked.prompt.split()[-1])


def usage(asked: Asked) -> tuple[int, int, int]:
    """Tokens of an answer: always the same to the same prompt."""
    return 3 + number_of(asked) % 5, 1 + number_of(asked) % 20, 0


def text(asked: Asked) -> str:
    """Right in half of the cases, always the same."""
    right = int(sha256(f"{asked.body['model']} {number_of(asked)}".encode()).hexdigest(), 16) % 2
    return f"The answer is {number_of(asked) + 1 - right}."


@dataclass
class Collection:
    """A prompt file, the settings, and what has become of them."""

    folder: Path
    server: FaultyServer
    prompts: int
    concurrency: int = 4
    killed_in_flight: Counter[Pair] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        rows = [{"prompt_id": f"p{i}", "prompt": f"What is {i}", "reference": str(i)} for i in range(self.prompts)]
        (self.folder / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        providers = [
            {"name": model, "model": model, "base_url": self.server.url, "key_env": None, "max_tokens": 20}
            | {"input_price": PRICE, "output_price": PRICE, "timeout_s": 10.0}
            for model in MODELS
        ]
        live = {"live": {"providers": providers, "gateway_columns": {}}}
        (self.folder / "params.yaml").write_text(yaml.safe_dump(live))

    @property
    def journal(self) -> Path:
        return self.folder / "table.jsonl.journal.jsonl"

    @property
    def charged_usd(self) -> float:
        return sum(self.server.tokens) * PRICE / 1e6

    def asked(self) -> Counter[Pair]:
        """How often the server was asked for each pair."""
        return Counter((f"p{number_of(each)}", str(each.body["model"])) for each in list(self.server.asked))

    def start(self, *options: str) -> BaseProcess:
        command = ["collect", "live", "prompts.jsonl", "--out", "table.jsonl", "--evaluator", "numeric"]
        arguments = [*command, "--concurrency", str(self.concurrency), *options]
        process = SERVER.Process(target=routelab, args=(arguments, str(self.folder)))
        process.start()
        return process

    def finish(self, *options: str) -> tuple[int | None, str, str]:
        """The exit code, and what was written to the terminal."""
        process = self.start(*options)
        process.join(timeout=120)
        return process.exitcode, *((self.folder / name).read_text() for name in ("out", "err"))

    def kill_when(self, requests: int, *options: str, how: signal.Signals = signal.SIGKILL) -> tuple[int | None, str]:
        """Kill a run once the server has had so many requests in all; notes what was in flight."""
        process = self.start(*options)
        while len(self.server.asked) < requests and process.is_alive():
            time.sleep(0.0005)
        assert process.pid is not None
        with suppress(ProcessLookupError):  # it ended by itself
            os.kill(process.pid, how)
        process.join(timeout=60)
        self.killed_in_flight.update(self.open_pairs())
        return process.exitcode, (self.folder / "err").read_text()

    def open_pairs(self) -> set[Pair]:
        """What the journal says was asked and has no answer."""
        left = set[Pair]()
        lines = self.journal.read_bytes().split(b"\n")[:-1] if self.journal.exists() else []
        for line in map(json.loads, lines[1:]):
            kind = next(name for name in ("asked", "answered", "failed") if name in line)
            pair = (line[kind][0], line[kind][1])
            left.add(pair) if kind == "asked" else left.discard(pair)
        return left

    def table(self) -> pd.DataFrame:
        """All but the latency, which is measured."""
        return pd.read_json(self.folder / "table.jsonl", lines=True).drop(columns="latency_s")


def killed_and_resumed(folder: Path, kills: int, prompts: int, seed: int) -> dict[str, float]:
    """Kill ``kills`` runs at random moments, let the last one end, and hold it against one that nobody killed.

    The cap is raised by half whenever it is reached.
    """
    rng = random.Random(seed)
    with faulty_server_in_thread() as server:
        server.text, server.usage, server.latency_s = text, usage, 0.01
        whole = Collection(folder / "whole", server, prompts)
        code, out, err = whole.finish()
        assert code == 0, (out, err)
        spent = whole.charged_usd
        pairs = prompts * len(MODELS)
        assert whole.asked() == Counter(dict.fromkeys(whole.asked(), 1))
        server.asked.clear()
        server.tokens[:] = [0, 0]
        broken = Collection(folder / "broken", server, prompts)
        cap, done = 1.5 * spent, 0
        while done < kills:
            left = pairs - len(broken.asked())
            more = rng.randint(1, max(1, 2 * left // (kills - done + 2)))  # the last one leaves something, too
            code, err = broken.kill_when(len(server.asked) + more, f"--cap-usd={cap}")
            assert broken.charged_usd <= cap
            assert code != 0, "nothing is left to be killed"
            done += code == -signal.SIGKILL
            cap *= 1.5 if code == 3 else 1.0  # what was in flight at a kill counts with its worst case
        code, out, err = broken.finish(f"--cap-usd={cap}")
        while code == 3 and "cap reached" in err:
            assert broken.charged_usd <= cap
            cap *= 1.5
            code, out, err = broken.finish(f"--cap-usd={cap}")
        assert code == 0, (out, err)
        assert broken.charged_usd <= cap
        times = broken.asked()
        assert len(times) == pairs
        repeated = times - Counter(dict.fromkeys(times, 1))
        assert repeated <= broken.killed_in_flight, "only what was in flight is asked again"
        pd.testing.assert_frame_equal(whole.table(), broken.table())
        return {"kills": kills, "pairs": pairs, "repeated": repeated.total(), "charged": broken.charged_usd, "cap": cap}
