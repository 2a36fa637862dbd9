"""The generator of load counts what was answered, and takes nothing else for an answer."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from tests.bench.serving.bench import ratios
from tests.bench.serving.load import measure

GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nright"


@contextmanager
def _answering(*parts: bytes) -> Iterator[int]:
    """A server that answers each request with these parts, one after another."""

    def talk(link: socket.socket) -> None:
        with link, suppress(OSError):  # the client is through
            while link.recv(65536):
                for part in parts:
                    link.sendall(part)

    def accept() -> None:
        while True:
            try:
                link, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=talk, args=(link,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(5)
        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]


@pytest.mark.parametrize("parts", [(GOOD,), (GOOD[:20], GOOD[20:]), (GOOD[:-2], GOOD[-2:])])
def test_an_answer_counts_once_it_is_whole(parts):
    with _answering(*parts) as port:
        found = measure(port, "/x", [b"{}", b"[]"], clients=3, seconds=0.1, warm=2)
    assert found["requests"] > 3
    assert 0 < found["p50_ms"] <= found["p95_ms"] <= found["p99_ms"] < 100
    assert found["requests_per_second"] == pytest.approx(found["requests"] / 0.1, rel=0.5)


@pytest.mark.parametrize("answer", [b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 2"])
def test_what_is_no_answer_of_200_ends_the_measurement(answer):
    with (
        _answering(answer + b"\r\n\r\n") as port,
        pytest.raises(ConnectionError, match="expected an answer of 200"),
    ):
        measure(port, "/x", [b"{}"], clients=1, seconds=0.1)


def test_ratios_are_medians_of_those_of_each_round():
    def numbers(p50, many):
        return {"p50_ms": p50, "requests_per_second": many}

    rounds = {"KServe, constant": numbers([1.0, 2.0, 1.0], [1, 1, 1])}
    for name in ("boosting", "forest"):
        rounds[f"ours, {name}"] = numbers([1.2, 2.2, 9.0], [1000.0, 100.0, 800.0])
        for peer in ("KServe + scikit-learn", "MLServer"):
            rounds[f"{peer}, {name}"] = numbers([3.0, 3.0, 3.0], [100.0, 20.0, 100.0])
    rounds["ours, sales from raw rows"] = numbers([2.0, 4.4, 1.9], [1, 1, 1])
    found = ratios(rounds)
    assert found["requests: ours / KServe + scikit-learn, boosting"] == 8.0
    assert found["p50: ours on plain inputs / constant"] == 1.2
    assert found["p50: ours with features from raw inputs / constant"] == 2.0
