"""Callers of the demonstration: `python -m cd4ml.steps.demo_traffic`, a program of its own.

They send the requests of a file at a rate, in an open loop: nobody waits for an answer before the next one
asks. Each request keeps its `Ce-Id` when it is sent again. What they saw is written to a log of their own,
which the controller never sees; what came true is added to the outcomes of the service a little later.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

__all__ = ["Answer", "Callers", "main"]

_ATTEMPTS = 3
_AGAIN_SECONDS = 0.2
_ANSWER_SECONDS = 30.0
_CONNECTIONS = 64
_AGAIN = frozenset({502, 503, 504})
_OUTCOMES_SECONDS = 1.0


@dataclass(frozen=True)
class Answer:
    """What a caller got; status 0: nothing."""

    status: int
    variant: str = ""
    version: str = ""


class Callers:
    """Sends requests and writes down what became of them.

    Parameters
    ----------
    url : str
        Of the gateway.
    requests : Path
        As `demo_shop` wrote them; after the last one the first one follows.
    log : Path
        Their own log, JSON Lines: id, attempt, at, seconds, status, variant, version.
    outcomes : Path
        Folder of the outcome log.
    rate : float
        Requests a second; the gaps are random, as those of independent callers.
    """

    def __init__(
        self, url: str, service: str, requests: Path, log: Path, outcomes: Path, rate: float
    ) -> None:
        from cd4ml.adapters.outcome_log import OutcomeLog

        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        self._path = f"/v1/models/{service}:predict"
        self._requests = [json.loads(line) for line in requests.read_text(encoding="utf-8").splitlines()]
        self._log, self._rate = log, rate
        self._outcomes, self._true = OutcomeLog(outcomes), list[tuple[float, str, list[float]]]()
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._places = asyncio.Semaphore(_CONNECTIONS)
        self._ending = asyncio.Event()

    def stop(self) -> None:
        """Send no more; those under way are waited for."""
        self._ending.set()

    async def run(self, seed: int) -> None:
        """Send until `stop`."""
        import numpy as np

        random = np.random.Generator(np.random.PCG64(seed))
        running: set[asyncio.Task[None]] = set()
        with self._log.open("a", encoding="utf-8", buffering=1) as log:
            teller = asyncio.create_task(self._tell())
            due, number = time.monotonic(), 0
            while not self._ending.is_set():
                due += float(random.exponential(1 / self._rate))
                await self._sleep(due - time.monotonic())
                task = asyncio.create_task(self._ask(f"demo-{seed}-{number}", number, log))
                running.add(task)
                task.add_done_callback(running.discard)
                number += 1
            await asyncio.gather(*running)
            await teller
        self._tell_until(float("inf"))
        for _, writer in self._idle:
            writer.close()

    async def _sleep(self, seconds: float) -> None:
        """Wait, but no longer than until `stop`; a late one does not wait and keeps the rate."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        try:
            await asyncio.wait_for(self._ending.wait(), seconds)
        except TimeoutError:
            return

    async def _ask(self, identity: str, number: int, log: IO[str]) -> None:
        request = self._requests[number % len(self._requests)]
        for attempt in range(1, _ATTEMPTS + 1):
            at = time.time()
            async with self._places:
                answer = await self._send(identity, request)
            line: dict[str, Any] = {"id": identity, "attempt": attempt, "at": round(at, 4)}
            line |= {"seconds": round(time.time() - at, 5), "status": answer.status}
            log.write(json.dumps(line | {"variant": answer.variant, "version": answer.version}) + "\n")
            if answer.status == 200:
                self._true.append((time.time(), identity, request["actual"]))
            if answer.status != 0 and answer.status not in _AGAIN:
                return
            await asyncio.sleep(_AGAIN_SECONDS * attempt)

    async def _send(self, identity: str, request: dict[str, Any]) -> Answer:
        body = json.dumps({"instances": request["rows"]}).encode()
        head = (
            f"POST {self._path} HTTP/1.1\r\nHost: {self._host}\r\nContent-Type: application/json\r\n"
            f"Ce-Id: {identity}\r\nX-Caller: {request['caller']}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        try:
            return await asyncio.wait_for(self._exchange(head.encode() + body), _ANSWER_SECONDS)
        except (OSError, EOFError, ValueError, TimeoutError):
            return Answer(0)

    async def _exchange(self, message: bytes) -> Answer:
        reader, writer = (
            self._idle.pop() if self._idle else await asyncio.open_connection(self._host, self._port)
        )
        kept = False
        try:
            writer.write(message)
            await writer.drain()
            status_line, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {
                name.lower(): value.strip() for name, _, value in (one.partition(":") for one in lines)
            }
            await reader.readexactly(int(headers["content-length"]))
            kept = headers.get("connection", "").lower() != "close"
        except KeyError:
            raise ValueError("an answer without a length") from None
        finally:
            if kept:
                self._idle.append((reader, writer))
            else:
                writer.close()
        status = int(status_line.split()[1])
        return Answer(status, headers.get("x-cd4ml-variant", ""), headers.get("x-cd4ml-version", ""))

    async def _tell(self) -> None:
        while not self._ending.is_set():
            await self._sleep(_OUTCOMES_SECONDS / 2)
            self._tell_until(time.time() - _OUTCOMES_SECONDS)

    def _tell_until(self, until: float) -> None:
        """Add what came true of the predictions that were answered before a time."""
        from cd4ml.adapters.outcome_log import Outcome

        ripe = [one for one in self._true if one[0] <= until]
        self._true = [one for one in self._true if one[0] > until]
        self._outcomes.append(
            Outcome(identity, row, actual) for _, identity, all_ in ripe for row, actual in enumerate(all_)
        )


async def _run(options: argparse.Namespace) -> None:
    callers = Callers(
        options.url, options.service, options.requests, options.log, options.outcomes, options.rate
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, callers.stop)
    await callers.run(options.seed)


def main(argv: Sequence[str] | None = None) -> int:
    """Send requests until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m cd4ml.steps.demo_traffic")
    parser.add_argument("--url", required=True)
    parser.add_argument("--service", required=True)
    for name in ("requests", "log", "outcomes"):
        parser.add_argument(f"--{name}", required=True, type=Path)
    parser.add_argument("--rate", required=True, type=float)
    parser.add_argument("--seed", required=True, type=int)
    asyncio.run(_run(parser.parse_args(argv)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
