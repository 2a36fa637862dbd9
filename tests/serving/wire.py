"""HTTP as it goes over the wire, for requests that no client library would send."""

import contextlib
import socket
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.serving.fuzzed import Sent

TIMEOUT_SECONDS = 20
REFUSAL = (b'"error"', b'"field"', b'"found"', b'"allowed"')


@dataclass(frozen=True)
class Came:
    """What came back; status 0 where the connection ended without an answer."""

    status: int
    head: bytes
    body: bytes

    @property
    def ends(self) -> bool:
        return b"connection: close" in self.head.lower()


class Caller:
    """Keeps one connection for as long as the server does."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket: socket.socket | None = None

    def ask(self, sent: Sent) -> Came:
        """Send one request and return its answer."""
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self._port), TIMEOUT_SECONDS)
        with contextlib.suppress(OSError):  # the server may have answered and ended before it had everything
            self._socket.sendall(sent.raw)
        try:
            came = receive(self._socket, sent.raw.startswith(b"HEAD "))
        except TimeoutError:
            came = Came(-1, b"", b"")
        except OSError:
            came = Came(0, b"", b"")
        if came.status in (-1, 0) or came.ends or b"\r\n0\r\n\r\n" in sent.raw or came.status >= 400:
            self.close()  # what was no whole request may be followed by anything
        return came

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def receive(connection: socket.socket, head_only: bool = False) -> Came:
    """Return one answer."""
    data = b""
    while b"\r\n\r\n" not in data:
        part = connection.recv(65_536)
        if not part:
            return Came(0, b"", data)
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    status = int(head.split(b" ", 2)[1])
    lines = [line.lower() for line in head.split(b"\r\n")]
    sizes = [int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:")]
    size = 0 if head_only or not sizes else sizes[0]
    while len(body) < size:
        part = connection.recv(65_536)
        if not part:
            break
        body += part
    return Came(status, head, body)


def wrong(sent: Sent, came: Came) -> str:
    """Return what is wrong with an answer; "" for nothing."""
    told = f"{came.status} {came.body[:300]!r} for {sent.kind}"
    if came.status == -1:
        return f"no answer within {TIMEOUT_SECONDS} s: {sent.kind}"
    if came.status == 0 or not 200 <= came.status < 500:
        return told
    if b"Traceback" in came.body or b'File "' in came.body:
        return told
    if came.status >= 400 and came.body and not all(part in came.body for part in REFUSAL):
        return told
    return ""


def ask_all(port: int, parts: list[Iterable[Sent]]) -> tuple[Counter[int], list[str]]:
    """Ask each part over a connection of its own; return how often each status came, and what is wrong."""

    def work(part: Iterable[Sent]) -> tuple[Counter[int], list[str]]:
        caller, statuses, faults = Caller(port), Counter[int](), []
        for sent in part:
            came = caller.ask(sent)
            statuses[came.status] += 1
            if fault := wrong(sent, came):
                faults.append(fault)
        caller.close()
        return statuses, faults

    with ThreadPoolExecutor(len(parts)) as pool:
        done = list(pool.map(work, parts))
    return sum((one[0] for one in done), Counter()), [fault for one in done for fault in one[1]]


def resident_bytes(pid: int) -> int:
    """Return the resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"process {pid} has no VmRSS")
