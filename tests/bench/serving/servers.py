"""Servers in processes of their own, all pinned to the same cores; what they cost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from tests.bench.serving.worlds import cache_folder
from tests.serving.model_server import command, free_port

__all__ = ["LOAD_CORES", "SERVER_CORES", "Server", "kserve", "mlserver", "ours", "pinned", "post"]

_ROOT = Path(__file__).resolve().parents[3]
_CORES = sorted(os.sched_getaffinity(0))
SERVER_CORES = frozenset(_CORES[:2] if len(_CORES) > 2 else _CORES[:1])
LOAD_CORES = frozenset(_CORES[2:] if len(_CORES) > 2 else _CORES[-1:])
_PINS = ("mlserver==1.7.1", "mlserver-sklearn==1.7.1", "uvloop==0.21.0")
"""Since 0.22 uvloop makes no loop by itself, on which MLServer 1.7.1 relies."""
_START_SECONDS = 120.0


@dataclass(frozen=True)
class Server:
    """A server that is ready.

    Attributes
    ----------
    start_seconds : float
        From the start of its process until it says that it is ready.
    """

    process: subprocess.Popen[bytes]
    port: int
    start_seconds: float

    def memory_mb(self) -> dict[str, float]:
        """Return the resident memory of the process and those that it started, and its fair share (PSS)."""
        found = {"rss": 0.0, "pss": 0.0}
        for number in _family(self.process.pid):
            for line in Path(f"/proc/{number}/smaps_rollup").read_text().splitlines():
                name = line.split(":")[0].lower()
                if name in found:
                    found[name] += int(line.split()[1]) / 1024
        return found


def pinned(cores: Iterable[int]) -> list[str]:
    """Return what pins the command behind it to cores."""
    return ["taskset", "-c", ",".join(map(str, sorted(cores)))]


def _family(number: int) -> list[int]:
    children = Path(f"/proc/{number}/task/{number}/children").read_text().split()
    return [number, *(one for child in children for one in _family(int(child)))]


def post(port: int, path: str, body: bytes) -> Any:
    """Return the answer to one request, from JSON."""
    link = HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        link.request("POST", path, body, {"Content-Type": "application/json"})
        answer = link.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"expected 200 from {path}; found {answer.status}: {content[:300]!r}")
        return json.loads(content)
    finally:
        link.close()


@contextmanager
def _started(arguments: Sequence[str], port: int, ready: str, **more: Any) -> Iterator[Server]:
    # Peers run as they come: how many threads they take is theirs to say, ours is 1 whatever is said here.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OMP_")}
    environment["PYTHONPATH"] = os.pathsep.join([str(_ROOT), str(_ROOT / "src")])
    environment |= more.pop("env", {})
    began = time.perf_counter()
    process = subprocess.Popen(
        [*pinned(SERVER_CORES), *arguments],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        **more,
    )
    try:
        _await(process, port, ready)
        yield Server(process, port, time.perf_counter() - began)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(20)


def _await(process: subprocess.Popen[bytes], port: int, ready: str) -> None:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args} ended with {process.returncode}")
        link = HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            link.request("GET", ready)
            if link.getresponse().status == 200:
                return
        except OSError:
            pass
        finally:
            link.close()
        time.sleep(0.01)
    raise RuntimeError(f"{process.args} was not ready in {_START_SECONDS:g} s")


def ours(bundle: Path, name: str = "model") -> Any:
    """Start cd4ml's server."""
    port = free_port()
    return _started(command(bundle, name, port), port, f"/v2/models/{name}/ready")


def kserve(joblib: Path | None) -> Any:
    """Start KServe's ModelServer with an estimator, or with a model that returns a constant."""
    port = free_port()
    what = ["--joblib", str(joblib)] if joblib else []
    arguments = [sys.executable, "-m", "tests.bench.serving.peer", "--port", str(port), *what]
    return _started(arguments, port, "/v2/models/model/ready")


@contextmanager
def mlserver(models: dict[str, Path]) -> Iterator[Server]:
    """Start MLServer with estimators, each under its name."""
    python = _environment()
    ports = [free_port() for _ in range(3)]
    home = cache_folder() / f"mlserver-{os.getpid()}"
    settings = {"host": "127.0.0.1", "http_port": ports[0], "grpc_port": ports[1], "metrics_port": ports[2]}
    try:
        home.mkdir(parents=True)
        (home / "settings.json").write_text(json.dumps(settings))
        for name, path in models.items():
            (home / name).mkdir()
            model = {"name": name, "implementation": "mlserver_sklearn.SKLearnModel"}
            model["parameters"] = {"uri": str(path)}  # type: ignore[assignment]
            (home / name / "model-settings.json").write_text(json.dumps(model))
        arguments = [str(python), "-m", "mlserver.cli.main", "start", str(home)]
        arguments[1:3] = [str(python.parent / "mlserver")]
        with _started(arguments, ports[0], "/v2/health/ready", cwd=home, env={"PYTHONPATH": ""}) as server:
            yield server
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _environment() -> Path:
    """Return the Python of an environment with MLServer, made from PyPI where it is not kept yet.

    It has our scikit-learn and NumPy, so that it can load the same estimator.
    """
    from importlib.metadata import version

    same = [f"{name}=={version(name)}" for name in ("scikit-learn", "numpy", "joblib")]
    folder = cache_folder() / ("-".join([*_PINS, *same]).replace("==", "-"))
    python = folder / "bin" / "python"
    if not (folder / "made").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        uv = shutil.which("uv")
        if uv:
            _run([uv, "venv", "-q", "--python", sys.executable, str(folder)])
            _run([uv, "pip", "install", "-q", "--python", str(python), *_PINS, *same])
        else:
            _run([sys.executable, "-m", "venv", str(folder)])
            _run([str(python), "-m", "pip", "install", "-q", *_PINS, *same])
        (folder / "made").touch()
    return python


def _run(arguments: list[str]) -> None:
    done = subprocess.run(arguments, check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{arguments[0]} ended with {done.returncode}: {done.stderr[-1000:]}")
