"""Load without a library: clients on connections that stay open, each waits for its answer and asks again.

One thread, epoll and bodies that were written before: a request costs it some ten microseconds, so that what
is measured is the server. `processor_fraction` of the result says how busy it was.
"""

from __future__ import annotations

import argparse
import json
import select
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["main", "measure"]

_END = b"\r\n\r\n"
_LENGTH = b"content-length:"


@dataclass
class _Client:
    link: socket.socket
    place: int
    began: int = 0
    buffer: bytearray = field(default_factory=bytearray)

    def ask(self, requests: Sequence[bytes]) -> None:
        self.place = (self.place + 1) % len(requests)
        self.buffer.clear()
        self.began = time.perf_counter_ns()
        self.link.sendall(requests[self.place])

    def whole(self) -> bool:
        """Take what has come; return whether the answer is complete."""
        came = self.link.recv(1 << 16)
        if not came:
            raise ConnectionError("the server closed a connection")
        self.buffer += came
        head = self.buffer.find(_END)
        if head < 0:
            return False
        if not self.buffer.startswith(b"HTTP/1.1 200"):
            raise ConnectionError(f"expected an answer of 200; found {bytes(self.buffer[:300])!r}")
        lower = self.buffer[:head].lower()
        start = lower.find(_LENGTH) + len(_LENGTH)
        end = lower.find(b"\r\n", start)
        size = int(lower[start : end if end >= 0 else head])
        return len(self.buffer) >= head + len(_END) + size


def _request(path: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def _connect(port: int, place: int) -> _Client:
    link = socket.create_connection(("127.0.0.1", port), timeout=60)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return _Client(link, place)


def measure(
    port: int, path: str, bodies: Sequence[bytes], clients: int, seconds: float, warm: int = 20
) -> dict[str, float]:
    """Return requests a second and the latency's quantiles in milliseconds."""
    requests = [_request(path, body) for body in bodies]
    asking = [_connect(port, place * 7) for place in range(clients)]
    with select.epoll() as waiting:
        of = {client.link.fileno(): client for client in asking}
        for number in of:
            waiting.register(number, select.EPOLLIN)
        for client in asking:
            client.ask(requests)
        _turn(waiting, of, requests, warm * clients, 60.0)
        busy, began = time.process_time(), time.perf_counter()
        taken = _turn(waiting, of, requests, 0, seconds)
        elapsed = time.perf_counter() - began
        busy = time.process_time() - busy
    for client in asking:
        client.link.close()
    taken.sort()
    quantile = {
        name: taken[int(len(taken) * q)] / 1e6 for name, q in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
    }
    found = {"requests": len(taken), "requests_per_second": len(taken) / elapsed}
    return {
        **found,
        **{f"{name}_ms": value for name, value in quantile.items()},
        "processor_fraction": busy / elapsed,
    }


def _turn(
    waiting: select.epoll, of: dict[int, _Client], requests: Sequence[bytes], most: int, seconds: float
) -> list[int]:
    """Ask again and again, so many times or seconds; return how many nanoseconds each answer took."""
    taken: list[int] = []
    end = time.perf_counter_ns() + int(seconds * 1e9)
    while True:
        for number, _ in waiting.poll(60):
            client = of[number]
            if client.whole():
                now = time.perf_counter_ns()
                taken.append(now - client.began)
                client.ask(requests)
                if now >= end or len(taken) == most:
                    return taken


def main() -> None:
    """Write the measurement as JSON on stdout."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", required=True)
    parser.add_argument("--bodies", type=Path, required=True, help="JSON: a list of bodies as texts")
    parser.add_argument("--clients", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    told = parser.parse_args()
    bodies = [text.encode() for text in json.loads(told.bodies.read_text())]
    print(json.dumps(measure(told.port, told.path, bodies, told.clients, told.seconds)))


if __name__ == "__main__":
    main()
