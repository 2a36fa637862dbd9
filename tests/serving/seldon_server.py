"""A real `seldon-core-microservice`, in an environment of its own, on free ports."""

import fcntl
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.serving.model_server import free_port

ROOT = Path(__file__).parents[2]
SCRIPT, LOCK = ROOT / "scripts" / "seldon_environment.sh", ROOT / "requirements" / "seldon.txt"
START_SECONDS = 60


def make(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """Run the script that makes an environment."""
    environment = {**os.environ, "PYTHON": sys.executable}
    command = [str(SCRIPT), str(folder), *more]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)


@cache
def seldon_environment() -> Path:
    """Return a folder with Seldon Core: CD4ML_SELDON_ENV, or one made of the lock and kept for other runs."""
    if given := os.environ.get("CD4ML_SELDON_ENV"):
        return Path(given)
    cache_home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cd4ml"
    version = ".".join(str(part) for part in sys.version_info[:2])
    name = hashlib.sha256(LOCK.read_bytes() + SCRIPT.read_bytes()).hexdigest()[:12]
    cache_home.mkdir(parents=True, exist_ok=True)
    folder = cache_home / f"seldon-{version}-{name}"
    with (cache_home / "seldon.lock").open("w") as lock:  # two runs make one environment
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = make(folder)
    if made.returncode:
        reason = (made.stderr.strip().splitlines() or ["no reason given"])[-1]
        pytest.skip(f"no environment of Seldon Core (CD4ML_SELDON_ENV, or a network to make one): {reason}")
    return folder


def variables(**more: str) -> dict[str, str]:
    """Return the environment of a process there."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CD4ML_")}
    return {**kept, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1", **more}


def in_environment(code: str, *arguments: str) -> str:
    """Run a program in Seldon's Python, and return what it printed."""
    command = [str(seldon_environment() / "bin/python"), "-c", code, *arguments]
    done = subprocess.run(
        command, env=variables(), capture_output=True, text=True, timeout=120, check=False, cwd=ROOT / "src"
    )
    assert not done.returncode, done.stderr
    return done.stdout


@dataclass(frozen=True)
class Seldon:
    process: subprocess.Popen[bytes]
    port: int
    metrics_port: int
    grpc_port: int
    log: Path

    def predict(self, path: str = "/predict", **more: Any) -> requests.Response:
        return requests.post(f"http://127.0.0.1:{self.port}{path}", timeout=30, **more)

    def rows(self, rows: Sequence[Any]) -> requests.Response:
        return self.predict(json={"jsonData": list(rows)})

    def get(self, path: str) -> requests.Response:
        return requests.get(f"http://127.0.0.1:{self.port}{path}", timeout=30)

    def metrics(self) -> str:
        return requests.get(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=30).text

    def ready(self) -> bool:
        try:
            return self.get("/health/status").ok
        except requests.ConnectionError:
            return False


def start(bundle: Path, log: Path, *more: str, **environment: str) -> Seldon:
    """Start the microservice around a bundle, as the README of Seldon Core does."""
    ports = [free_port() for _ in range(3)]
    names = ("--http-port", "--metrics-port", "--grpc-port")
    options = [text for name, port in zip(names, ports, strict=True) for text in (name, str(port))]
    command = [str(seldon_environment() / "bin/seldon-core-microservice"), "cd4ml.serving.seldon.BundleModel"]
    settings = variables(CD4ML_BUNDLE=str(bundle), **environment)
    with log.open("wb") as file:
        process = subprocess.Popen(
            [*command, "--service-type", "MODEL", *options, *more],
            env=settings,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    return Seldon(process, *ports, log)


@contextmanager
def running(bundle: Path, log: Path, *more: str, **environment: str) -> Iterator[Seldon]:
    server = start(bundle, log, *more, **environment)
    try:
        end = time.monotonic() + START_SECONDS
        while not server.ready():
            if server.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"the microservice did not start: {log.read_text()[-2000:]}")
            time.sleep(0.05)
        yield server
    finally:
        # Seldon's gRPC process outlives SIGTERM of the first one: the whole session ends.
        with suppress(ProcessLookupError):
            os.killpg(server.process.pid, signal.SIGKILL)
        server.process.wait(30)
