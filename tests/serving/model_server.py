"""A real model server: its own process on a free port of the loopback."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

START_SECONDS = 60


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def command(folder: Path | None, name: str, port: int, *more: str) -> list[str]:
    """Return how to start a server; without a folder, `more` says what it serves."""
    module = [sys.executable, "-m", "cd4ml.serving.server"]
    what = ["--bundle", str(folder)] if folder is not None else []
    return [*module, *what, "--name", name, "--http-port", str(port), *more]


@dataclass(frozen=True)
class Running:
    process: subprocess.Popen[bytes]
    port: int
    name: str

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def v1(self, rows: Any, **more: Any) -> requests.Response:
        return self.post(f"/v1/models/{self.name}:predict", json={"instances": rows}, **more)

    def v2(self, **more: Any) -> requests.Response:
        return self.post(f"/v2/models/{self.name}/infer", **more)

    def post(self, path: str, **more: Any) -> requests.Response:
        return requests.post(self.url + path, timeout=30, **more)

    def get(self, path: str) -> requests.Response:
        return requests.get(self.url + path, timeout=30)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


@contextmanager
def running(folder: Path | None, name: str, *more: str, log: Path | None = None) -> Iterator[Running]:
    port = free_port()
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with (log or Path(os.devnull)).open("wb") as file:
        process = subprocess.Popen(
            command(folder, name, port, *more), env=environment, stdout=subprocess.DEVNULL, stderr=file
        )
    server = Running(process, port, name)
    try:
        _await(server)
        yield server
    finally:
        if process.poll() is None:
            server.stop()


def _await(server: Running) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if server.process.poll() is not None:
            raise RuntimeError(f"the server ended with {server.process.returncode}")
        try:
            if server.get(f"/v2/models/{server.name}/ready").ok:
                return
        except requests.ConnectionError:
            time.sleep(0.05)
    raise RuntimeError(f"the server was not ready in {START_SECONDS} s")
