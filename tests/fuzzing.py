"""Nonsense for the proxy: bodies that are nearly right, bytes that are not, and headers."""

from __future__ import annotations

import json
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import hypothesis
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode

from proxying import ASKED, send
from routelab import BanditRouter, PerformanceDB, simulated_providers
from routelab.proxy import create_app, serve_in_thread

_ANYHOW = settings(deadline=None, suppress_health_check=list(HealthCheck), database=None)

PATHS = ("/v1/chat/completions", "/v1/chat/completions", "/v1/feedback")
_numbers = st.integers() | st.floats() | st.sampled_from([10**400, -1, 1e308, float("nan"), float("inf")])
_text = st.text() | st.sampled_from(["", "\ud800", "\x00", "a" * 5000, "routelab", "routelab:cost_weight=1e400"])
_json = st.recursive(
    st.none() | st.booleans() | _numbers | _text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_text, inner, max_size=4),
    max_leaves=12,
)
_models = st.sampled_from(["routelab", "nano", "routelab:cheap", "routelab:cost_weight=1", "routelab:max_cost=0"])
_fields = st.fixed_dictionaries(
    {},
    optional={
        "model": _models | _json,
        "messages": st.just(ASKED)
        | st.lists(st.fixed_dictionaries({"role": st.just("user"), "content": _json}))
        | _json,
        "stream": st.booleans() | _json,
        "stream_options": st.just({"include_usage": True}) | _json,
        "temperature": _json,
        "max_tokens": _json,
        "user": _json,
        "decision_id": _text | _json,
        "quality": _numbers | _json,
        "metadata": _json,
    },
)
_whole = st.builds(lambda given, sound: sound | given, _fields, st.just({"model": "routelab", "messages": ASKED}))
_contents = _text | st.lists(st.fixed_dictionaries({"type": st.sampled_from(["text", "image_url"]), "text": _text}))
_roles = st.sampled_from(["system", "developer", "user", "assistant", "tool"])
_sound = st.fixed_dictionaries(
    {
        "model": _models,
        "messages": st.lists(st.fixed_dictionaries({"role": _roles, "content": _contents}), max_size=3).map(
            lambda messages: [*messages, *ASKED]
        ),
    },
    optional={
        "stream": st.booleans(),
        "stream_options": st.just({"include_usage": True}),
        "user": st.text(max_size=20),
        "max_tokens": st.integers(1, 10**7),
        "temperature": st.floats(0, 2),
        "tools": _json,
        "stop": _json,
        "\u00e9t\u00e9": _json,
    },
)


def _written(value: Any) -> bytes:
    """As JSON, together with what JSON has no word for: NaN, infinities, lone surrogates."""
    return json.dumps(value).encode()


def _nested(depth: int, opened: str) -> bytes:
    return b'{"model":"routelab","messages":' + opened.encode() * depth


bodies = st.one_of(
    st.builds(_written, _sound),
    st.builds(_written, _sound),
    st.builds(_written, _sound),
    st.builds(_written, _fields | _whole | _json),
    st.builds(lambda value, at: _written(value)[: int(at * 100)], _whole, st.floats(0, 1)),  # cut
    st.builds(lambda value, junk: _written(value) + junk, _whole, st.binary(max_size=20)),
    st.builds(lambda value: _written(value).decode().encode("utf-16"), _whole),
    st.builds(_nested, st.integers(1, 50_000), st.sampled_from(["[", '{"a":', '[{"a":'])),
    st.binary(max_size=200),
    st.builds(lambda digits: b'{"max_tokens":' + b"9" * digits + b"}", st.integers(1, 20_000)),
)
_garbage = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\r\n"), max_size=50)
_kinds = st.sampled_from(["application/json"] * 8 + ["application/json; charset=utf-16", "text/plain", ""]) | _garbage
_more = dict.fromkeys(("x-routelab-unit", "accept", "authorization", "cookie"), _garbage)
headers = st.fixed_dictionaries({"content-type": _kinds}, optional=_more)
requests = st.tuples(st.sampled_from(PATHS), headers, bodies)


def raw(url: str, path: str, headers: dict[str, str], body: bytes, *, timeout_s: float = 10.0) -> bytes:
    """All that comes back for a request that is sent as it is; TimeoutError where the server hangs."""
    place = urlsplit(url)
    told = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = f"POST {path} HTTP/1.1\r\nhost: {place.netloc}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n"
    came = b""
    with socket.create_connection((place.hostname, place.port), timeout=timeout_s) as connection:
        connection.sendall(f"{head}{told}\r\n".encode("latin-1") + body)
        while piece := connection.recv(65536):
            came += piece
    return came


def check(answer: bytes) -> int:
    """The status of what must be a whole answer: a success, or an error of the client in OpenAI's format."""
    head, _, body = answer.partition(b"\r\n\r\n")
    status = int(head.split(b" ", 2)[1])
    assert status in (200, 400, 401, 403, 404, 405, 408, 409, 413, 417, 502), answer
    if status == 200 and b"text/event-stream" in head:
        assert body.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n"), answer
    elif status != 200 and b"Invalid HTTP request" not in body:
        error = json.loads(body)["error"]
        assert set(error) == {"message", "type", "param", "code"}, answer
        assert status != 502 or error["code"] == "providers_failed", answer  # simulated providers fail now and then
    return status


@contextmanager
def fuzzed() -> Iterator[str]:
    """A proxy of simulated providers, by its address; what was sent to it must leave it sound."""
    with (
        PerformanceDB("sqlite://") as db,
        serve_in_thread(create_app(BanditRouter(simulated_providers(), db=db))) as served,
    ):
        yield served.url
        assert send(served.url, PATHS[0], {"model": "routelab", "messages": ASKED})[0] == 200
        assert b"routelab_in_flight 1.0" in send(served.url, "/metrics", method="GET")[2]  # nothing hangs


def ask_nonsense(url: str, cases: int, *, seed: int = 0) -> Counter[int]:
    """Send nonsense, and count the statuses that come back."""
    statuses = Counter[int]()

    @hypothesis.seed(seed)
    @settings(_ANYHOW, max_examples=cases)
    @given(requests)
    def ask(request: tuple[str, dict[str, str], bytes]) -> None:
        statuses[check(raw(url, *request))] += 1

    ask()
    return statuses


def ask_by_schema(url: str, cases: int, *, seed: int = 0) -> Counter[int]:
    """Send what the OpenAPI schema allows and what it forbids, and count the statuses that come back."""
    statuses = Counter[int]()
    for operation in schemathesis.openapi.from_url(f"{url}/openapi.json").get_all_operations():
        for mode in GenerationMode if operation.ok().method == "post" else [GenerationMode.POSITIVE]:

            @hypothesis.seed(seed)
            @settings(_ANYHOW, max_examples=cases // 4)
            @given(operation.ok().as_strategy(generation_mode=mode))
            def ask(case: schemathesis.Case) -> None:
                if isinstance(case.body, dict) and "model" in case.body:
                    case.body["model"] = "routelab"  # of which the schema does not know that it exists
                response = case.call(timeout=10)
                assert response.status_code < 500, response.text
                statuses[response.status_code] += 1

            ask()
    return statuses
