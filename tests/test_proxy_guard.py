"""What the proxy refuses, how it stops working for who has gone, and how it ends."""

from __future__ import annotations

import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import openai
import pytest

from proxying import ASKED, WORDS, Speaking, bandit, client, error_of, send
from routelab import PerformanceDB
from routelab.db_records import CANCELLED
from routelab.proxy import ProxyLimits, create_app, protocol, serve_in_thread

CHAT = "/v1/chat/completions"
BODY = {"model": "routelab", "messages": ASKED}


def until(true: object, seconds: float = 5.0) -> None:
    """Wait until ``true()``."""
    end = time.monotonic() + seconds
    while not true():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.005)


def test_only_who_bears_the_token_is_answered() -> None:
    provider = Speaking()
    with serve_in_thread(create_app(bandit(provider), token="s3cret")) as served:
        with client(served.url, key="s3cret") as asking:
            assert asking.chat.completions.create(**BODY).choices[0].message.content == "".join(WORDS)
        for key in ("wrong", "s3cre", "s3cret2", "é"):
            answer = send(served.url, CHAT, BODY, authorization=f"Bearer {key}")
            assert error_of(answer)[:2] == (401, "invalid_api_key")
        with client(served.url, key="wrong") as asking, pytest.raises(openai.AuthenticationError):
            asking.models.list()
        for path in (CHAT, "/v1/models", "/metrics", "/openapi.json", "/elsewhere"):
            assert send(served.url, path, method="GET")[0] == 401
        assert send(served.url, "/health", method="GET")[0] == 200
    assert len(provider.asked) == 1


def test_web_pages_reach_no_loopback_proxy() -> None:
    provider = Speaking()
    with serve_in_thread(create_app(bandit(provider))) as served:
        assert error_of(send(served.url, CHAT, BODY, host="evil.example:80"))[:2] == (403, "host_not_allowed")
        assert error_of(send(served.url, CHAT, BODY, content_type="text/plain"))[0] == 400  # needs no preflight
        preflight = send(served.url, CHAT, method="OPTIONS", origin="http://evil.example")
        assert not [name for name in preflight[1] if name.startswith("access-control")]
        assert provider.asked == []
        port = urlsplit(served.url).port
        assert send(served.url, CHAT, BODY, host=f"localhost:{port}")[0] == 200


def test_a_user_that_no_log_can_hold_is_the_clients_mistake(db: PerformanceDB) -> None:
    with serve_in_thread(create_app(bandit(Speaking(), db=db))) as served:
        assert error_of(send(served.url, CHAT, BODY | {"user": "a\0b"}))[:2] == (400, "invalid_body")
        assert send(served.url, CHAT, BODY | {"user": "a\nb"})[0] == 200


def exchange(url: str, *parts: bytes) -> bytes:
    """All that comes back when ``parts`` are sent one after the other, until the server closes."""
    came = b""
    with socket.create_connection((urlsplit(url).hostname, urlsplit(url).port), timeout=5) as connection:
        try:
            for part in parts:
                connection.sendall(part)
            while piece := connection.recv(65536):
                came += piece
        except ConnectionError:
            pass
    return came


def test_a_request_that_is_too_large_is_refused_before_it_is_read() -> None:
    provider = Speaking()
    app = create_app(bandit(provider), limits=ProxyLimits(body_bytes=1000))
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with serve_in_thread(app) as served:
        told = exchange(served.url, head + b"Content-Length: 100000000\r\n\r\n")
        assert told.startswith(b"HTTP/1.1 413")
        assert b"request_too_large" in told
        endless = [b"400\r\n" + b"x" * 1024 + b"\r\n"] * 3
        told = exchange(served.url, head + b"Transfer-Encoding: chunked\r\n\r\n", *endless)
        assert told.startswith(b"HTTP/1.1 413")
        assert b"request_too_large" in told
        assert send(served.url, CHAT, BODY)[0] == 200
    assert len(provider.asked) == 1


CHUNKED = b"POST /health HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "begun",
    [b"GET /", b"GET /health HTTP/1.1\r\nX: ", CHUNKED + b"1;x=", CHUNKED + b"1\r\nx\r\n0\r\nX: "],
    ids=["address", "header", "frame of a chunk", "trailer"],
)
def test_nothing_around_a_body_is_read_without_end(begun: bytes) -> None:
    with serve_in_thread(create_app(bandit(Speaking()))) as served:
        assert b" 200 " not in exchange(served.url, begun, *[b"x" * 65536] * 100)  # nor is its end waited for
        assert send(served.url, CHAT, BODY)[0] == 200


def test_who_is_refused_while_still_sending_reads_the_answer_and_its_end() -> None:
    head = b"POST /v1/feedback HTTP/1.1\r\nHost: localhost\r\nX: \x7f\r\nContent-Length: 200000\r\n\r\n"
    with serve_in_thread(create_app(bandit(Speaking()))) as served:
        place = urlsplit(served.url)
        with socket.create_connection((place.hostname, place.port), timeout=5.0) as connection:
            connection.sendall(head)
            time.sleep(0.1)  # by now it is refused
            for _ in range(4):
                connection.sendall(b"x" * 50_000)
                time.sleep(0.02)
            told = b"".join(iter(lambda: connection.recv(65536), b""))
    assert told.startswith(b"HTTP/1.1 400 ")
    assert told.endswith(b"Invalid HTTP request received.")


HEALTH = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.mark.parametrize("begun", [b"", b"GET", HEALTH + b"GET", HEALTH + HEALTH[:-2]])
def test_a_head_that_does_not_arrive_is_given_up(monkeypatch: pytest.MonkeyPatch, begun: bytes) -> None:
    monkeypatch.setattr(protocol, "HEAD_S", 0.1)
    with serve_in_thread(create_app(bandit(Speaking()))) as served:
        pieces = [begun[: len(HEALTH)], begun[len(HEALTH) :]] if begun.startswith(HEALTH) else [begun]
        assert exchange(served.url, *pieces).count(b" 200 ") == begun.count(HEALTH)


def test_a_connection_may_rest_between_requests_and_while_it_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HEAD_S", 0.1)
    with serve_in_thread(create_app(bandit(Speaking(pause_s=0.06)))) as served, client(served.url) as asking:
        for _ in range(2):
            assert asking.chat.completions.create(**BODY).choices[0].message.content == "".join(WORDS)
            time.sleep(0.3)
        body = json.dumps(BODY).encode()
        head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        request = head + b"Content-Length: %d\r\n\r\n" % len(body) + body
        assert exchange(served.url, request, HEALTH[:-2]).count(b" 200 ") == 1  # what follows is late, not the answer
        assert send(served.url, "/health", method="GET")[0] == 200


def test_a_request_of_two_lengths_is_refused_and_its_connection_closed() -> None:
    head = b"POST /v1/feedback HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
    with serve_in_thread(create_app(bandit(Speaking()))) as served:
        told = exchange(served.url, head + b"0\r\n\r\nGET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert told.startswith(b"HTTP/1.1 400")
    assert told.count(b"HTTP/1.1") == 1


def test_a_request_that_does_not_arrive_is_given_up() -> None:
    app = create_app(bandit(Speaking()), limits=ProxyLimits(body_timeout_s=0.1))
    head = b"POST /v1/feedback HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n{"
    with serve_in_thread(app) as served:
        assert exchange(served.url, head).startswith(b"HTTP/1.1 408")


def test_too_many_at_once_are_told_to_come_back() -> None:
    provider = Speaking(pause_s=0.1)
    app = create_app(bandit(provider), limits=ProxyLimits(requests=2))
    with serve_in_thread(app) as served, ThreadPoolExecutor(2) as threads:
        waiting = [threads.submit(send, served.url, CHAT, BODY) for _ in range(2)]
        until(lambda: len(provider.asked) == 2)
        refused = send(served.url, CHAT, BODY)
        assert error_of(refused)[:2] == (503, "overloaded")
        assert refused[1]["retry-after"] == "1"
        assert send(served.url, "/health", method="GET")[0] == 200
        assert [answer.result()[0] for answer in waiting] == [200, 200]
        assert send(served.url, CHAT, BODY)[0] == 200


@pytest.mark.parametrize("model", ["routelab", "a"])
def test_who_leaves_is_no_longer_worked_for(model: str, db: PerformanceDB) -> None:
    provider = Speaking(pause_s=0.05)
    router = bandit(provider, db=db)
    with serve_in_thread(create_app(router)) as served, client(served.url) as asking:
        with asking.chat.completions.create(model=model, messages=ASKED, stream=True) as answer:
            next(iter(answer))
        until(lambda: provider.left == 1)
        with pytest.raises(openai.APITimeoutError):
            asking.chat.completions.create(model=model, messages=ASKED, timeout=0.12)
        until(lambda: provider.left == 2)
        until(lambda: router.pool.load() == {"a": 0})
        until(lambda: b"routelab_in_flight 1.0" in send(served.url, "/metrics", method="GET")[2])  # which is itself
    assert db.log()["error"].tolist() == ([CANCELLED] * 2 if model == "routelab" else [])
