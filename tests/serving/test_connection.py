"""What a connection may cost: heads, waiting, pipelines, refused bodies, and clients that do not read."""

import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from cd4ml.models.runtime import holdout_rows
from tests.models.bundles import bundle
from tests.serving.fuzzed import request
from tests.serving.model_server import Running, running
from tests.serving.wire import Came, receive, resident_bytes

MEGABYTE = 2**20


def connect(server: Running, seconds: float = 10) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), seconds)


def answer(server: Running, raw: bytes) -> Came:
    with connect(server) as connection:
        connection.sendall(raw)
        return receive(connection)


def found(came: Came) -> dict[str, Any]:
    document = json.loads(came.body)
    assert document.keys() >= {"error", "field", "found", "allowed"}
    return dict(document)


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running(bundle("people"), "people", "--max-body-seconds", "1") as running_server:
        yield running_server


@pytest.mark.parametrize(
    ("raw", "status", "allowed"),
    [
        (b"hello\r\n\r\n", 400, "an HTTP/1.1 request"),
        (request("POST", "/v1/models/people:predict", b"", b"Content-Length: x"), 400, "an HTTP/1.1 request"),
        (request("GET", "/v2", b"", b"X: " + b"x" * 70_000), 431, "headers of at most 65536 bytes"),
        (request("GET", "/" + "a" * 70_000, b""), 431, "headers of at most 65536 bytes"),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 20_000, 431, "headers of at most 65536 bytes"),
        (request("GET", "/nothing", b""), 404, "a path of /openapi.json"),
        (request("GET", "/v1/models/nobody", b""), 404, "people"),
        (request("GET", "/v2/models/peopel/ready", b""), 404, "people"),
        (request("DELETE", "/v1/models/people:predict", b""), 405, "POST"),
        (request("POST", "/metrics", b"x"), 405, "GET, HEAD"),
        (request("POST", "/v2", b"x"), 405, "GET"),
        (request("POST", "/v2/repository/models/people/unload", b""), 404, "a path of /openapi.json"),
    ],
)
def test_what_no_route_answers_is_refused_in_the_same_words(
    raw: bytes, status: int, allowed: str, server: Running
) -> None:
    came = answer(server, raw)
    assert came.status == status
    assert found(came)["allowed"].endswith(allowed)


def test_a_head_that_does_not_arrive_is_given_up(server: Running) -> None:
    came = answer(server, b"GET /v2 HTTP/1.1\r\nHost: x")
    assert (came.status, found(came)["allowed"]) == (408, "a whole head within 1 s")
    with connect(server) as connection:  # nothing was asked: nothing is said
        assert connection.recv(100) == b""


def test_a_head_that_comes_byte_by_byte_gains_no_time_by_it(server: Running) -> None:
    start = time.monotonic()
    with connect(server) as connection:
        connection.settimeout(0.05)
        connection.sendall(b"GET /v2 HTTP/1.1\r\nX: ")
        came = b""
        while not came and time.monotonic() < start + 5:
            connection.sendall(b"x")
            try:
                came = connection.recv(4096)
            except TimeoutError:
                continue
    assert b" 408 " in came
    assert time.monotonic() < start + 3


def test_a_client_that_listens_only_after_it_has_sent_everything_reads_the_refusal(server: Running) -> None:
    with requests.Session() as session:
        url = f"{server.url}/v1/models/people:predict"
        for body in (b" " * (20 * MEGABYTE), (b" " * MEGABYTE for _ in range(20))):
            refused = session.post(url, data=body, timeout=20)
            assert refused.status_code == 413
            assert refused.json()["allowed"] == "a body of at most 16777216 bytes"
        assert session.post(url, json={}, timeout=20).json()["field"] == "instances"


def test_the_rest_of_a_refused_body_is_not_waited_for_for_long(server: Running) -> None:
    with connect(server) as connection:
        connection.sendall(b"POST /v1/models/people:predict HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n")
        assert receive(connection).status == 413
        end, closed = time.monotonic() + 5, False
        while not closed and time.monotonic() < end:
            try:
                connection.sendall(b" ")
                time.sleep(0.05)
            except OSError:
                closed = True
    assert closed


def test_a_client_that_asks_first_sends_no_body_that_is_too_large(server: Running) -> None:
    head = (
        b"POST /v1/models/people:predict HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 99999999\r\n\r\n"
    )
    came = answer(server, head)
    assert came.status == 413
    assert came.ends


def test_requests_sent_at_once_are_answered_in_their_order(server: Running) -> None:
    rows = holdout_rows(bundle("people"))[:9]
    bodies = [json.dumps({"instances": [row]}).encode() for row in rows]
    expected = server.v1(rows).json()["predictions"]
    with connect(server) as connection:
        connection.sendall(b"".join(request("POST", "/v1/models/people:predict", body) for body in bodies))
        data = b""
        while data.count(b"model_version") < len(rows):
            data += connection.recv(65_536)
    came = [json.loads(part[: part.index(b"}") + 1])["predictions"] for part in data.split(b"\r\n\r\n")[1:]]
    assert [value for values in came for value in values] == pytest.approx(expected)


@pytest.mark.parametrize("junk", [b"\x00\x01 junk\r\n\r\n", request("GET", "/", b"", b"X: " + b"x" * 70_000)])
def test_what_comes_behind_a_request_does_not_take_its_answer(junk: bytes, server: Running) -> None:
    body = json.dumps({"instances": holdout_rows(bundle("people"))[:1]}).encode()
    good = request("POST", "/v1/models/people:predict", body)
    with connect(server) as connection:
        connection.sendall(good * 2 + junk)
        data = b""
        while part := connection.recv(65_536):
            data += part
    answers = data.split(b"HTTP/1.1 ")[1:]
    assert [answer[:3] for answer in answers] == [b"200", b"200"]
    assert [b"connection: close" in answer for answer in answers] == [False, True]


def test_a_server_with_five_hundred_idle_connections_answers(server: Running) -> None:
    before = resident_bytes(server.process.pid)
    idle = [connect(server) for _ in range(500)]
    try:
        assert server.v1(holdout_rows(bundle("people"))[:1]).status_code == 200
        assert resident_bytes(server.process.pid) < before + 30 * MEGABYTE
    finally:
        for connection in idle:
            connection.close()


@pytest.mark.serving
def test_bodies_of_a_hundred_megabytes_take_no_memory() -> None:
    with running(bundle("people"), "people") as server:
        url = f"{server.url}/v1/models/people:predict"
        assert server.v1(holdout_rows(bundle("people"))[:1]).ok
        before = resident_bytes(server.process.pid)
        largest = before

        def send(chunked: bool) -> int:
            whole = b" " * (100 * MEGABYTE)
            body: Any = (whole[:MEGABYTE] for _ in range(100)) if chunked else whole
            return requests.post(url, data=body, timeout=60).status_code

        with ThreadPoolExecutor(2) as pool:
            sent = [pool.submit(send, chunked) for chunked in (False, True)]
            while not all(one.done() for one in sent):
                largest = max(largest, resident_bytes(server.process.pid))
                time.sleep(0.01)
        assert [one.result() for one in sent] == [413, 413]
        # Up to 16 MiB of the one without a length are kept until it is too large.
        assert largest < before + 60 * MEGABYTE


@pytest.mark.serving
def test_a_client_that_asks_on_and_reads_nothing_is_not_listened_to() -> None:
    with running(bundle("people"), "people") as server:
        before = resident_bytes(server.process.pid)
        asked = request("GET", "/openapi.json", b"") * 100
        sent = 0
        with connect(server, 3) as connection:
            connection.settimeout(3)
            try:
                while sent < 100 * MEGABYTE:
                    sent += connection.send(asked)
            except OSError:
                pass
            assert sent < 50 * MEGABYTE
            assert resident_bytes(server.process.pid) < before + 50 * MEGABYTE
            assert server.v1(holdout_rows(bundle("people"))[:1]).status_code == 200
