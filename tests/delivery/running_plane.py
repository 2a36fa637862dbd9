"""A real plane: Envoy, model servers and their supervisor, and callers who count what they get."""

import http.client
import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from cd4ml.adapters.envoy import GatewaySettings
from cd4ml.adapters.manifest import bundle_id
from cd4ml.delivery.local.model_server import ServerSettings
from cd4ml.delivery.local.plane import LocalPlane
from cd4ml.delivery.local.supervisor import PlaneSettings
from cd4ml.delivery.plane import DesiredService, Variant
from cd4ml.models.runtime import Bundle
from cd4ml.serving.requests import Limits, decode_v1
from tests.models import bundles

SERVICE = "people"
READY_SECONDS = 90.0
PATH = f"/v1/models/{SERVICE}:predict"
ROWS = [{"age": age, "plan": plan, "note": None} for age in (20, 45, 70) for plan in ("basic", "plus", "old")]


@cache
def bundle(number: int) -> Path:
    """Return one of several bundles of the same problem with models that answer differently."""
    if number == 0:
        return bundles.bundle(SERVICE)
    folder = Path(bundles._KEPT.name) / f"{SERVICE}-{number}"
    rows = 300 - 30 * number
    columns = bundles.members(rows)
    case = bundles._case(bundles.PEOPLE, columns, np.arange(rows) % 3 == 0, False, {"plan": "plan"})
    case.write(folder, signed=False)
    return folder


@cache
def expected(number: int) -> tuple[float, ...]:
    """Return what a bundle predicts for each of ROWS, asked without a server."""
    loaded = Bundle.load(bundle(number))
    body = json.dumps({"instances": ROWS}).encode()
    rows = decode_v1(body, loaded.contract, Limits())
    return tuple(loaded.outputs(rows.columns)["prediction"].tolist())


def variant(number: int, version: str = "") -> Variant:
    folder = bundle(number)
    return Variant(f"{SERVICE}@{number}", version or str(number), bundle_id(folder), str(folder))


def desired(stable: int, canary: int | None = None, shadow: int | None = None, **more: Any) -> DesiredService:
    others = {"canary": canary, "shadow": shadow}
    variants = {name: variant(number) for name, number in others.items() if number is not None}
    return DesiredService(SERVICE, variant(stable), **variants, **more)


@dataclass
class Running:
    plane: LocalPlane
    supervisor: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return self.plane.observe(SERVICE).url

    def become(self, wanted: DesiredService) -> None:
        self.plane.apply(SERVICE, wanted)
        self.plane.wait(SERVICE, READY_SECONDS)

    def ask(self, row: int = 0, **headers: str) -> "Answer":
        return Caller(self.url).ask(row, headers)

    def events(self, name: str) -> list[dict[str, Any]]:
        folder = self.plane.state.events(SERVICE, name)
        lines = [line for path in folder.rglob("*.*") for line in path.read_text().splitlines() if line]
        return [json.loads(line) for line in lines]

    def access(self) -> list[dict[str, Any]]:
        files = sorted(self.plane.state.logs.glob("access.jsonl*"))
        lines = [line for file in files for line in file.read_text().splitlines(keepends=True)]
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def pid(self, name: str) -> int:
        found = self.plane.observe(SERVICE).variant(name)
        assert found is not None
        return found.pid

    def await_(self, true: Callable[[], bool], seconds: float = READY_SECONDS) -> None:
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end, "it did not become true in time"
            time.sleep(0.05)


@contextmanager
def running(root: Path, *wanted: DesiredService, workers: int = 1, **gateway: Any) -> Iterator[Running]:
    plane = LocalPlane(root)
    for one in wanted:
        plane.apply(one.service, one)
    settings = PlaneSettings(GatewaySettings(**gateway), ServerSettings(workers, 10))
    command = [sys.executable, "-m", "cd4ml.delivery.local.supervisor", "--state", str(root)]
    process = subprocess.Popen([*command, "--settings", settings.to_json()])
    try:
        end = time.monotonic() + READY_SECONDS
        while (record := plane.state.record()) is None or record.supervisor.pid != process.pid:
            assert process.poll() is None and time.monotonic() < end, "the supervisor did not start"
            time.sleep(0.05)
        for one in wanted:
            plane.wait(one.service, READY_SECONDS)
        yield Running(plane, process)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(60)
        plane.stop(10)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: Any

    @property
    def variant(self) -> str:
        return self.headers.get("x-cd4ml-variant", "")

    @property
    def version(self) -> str:
        return self.headers.get("x-cd4ml-version", "")


class Caller:
    """One caller with one connection."""

    def __init__(self, url: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=90)

    def ask(self, row: int = 0, headers: dict[str, str] | None = None) -> Answer:
        body = json.dumps({"instances": [ROWS[row]]})
        named = {name.replace("_", "-"): value for name, value in (headers or {}).items()}
        self._connection.request("POST", PATH, body, {"content-type": "application/json", **named})
        response = self._connection.getresponse()
        found = {name.lower(): value for name, value in response.getheaders()}
        text = response.read()
        return Answer(response.status, found, json.loads(text) if text else None)


@dataclass
class Load:
    """Callers who ask all the time, and what became of it."""

    url: str
    callers: int = 4
    versions: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._ending = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, args=(i,)) for i in range(self.callers)]

    @property
    def answered(self) -> int:
        return self.versions.total()

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join()

    def _run(self, seed: int) -> None:
        random = np.random.Generator(np.random.PCG64(seed))
        caller = Caller(self.url)
        while not self._ending.is_set():
            row = int(random.integers(len(ROWS)))
            try:
                answer = caller.ask(row)
            except (OSError, http.client.HTTPException, ValueError) as error:
                self.lost.append(repr(error))
                caller = Caller(self.url)
                continue
            self._judge(row, answer)

    def _judge(self, row: int, answer: Answer) -> None:
        if answer.status != 200:
            self.lost.append(f"{answer.status} {answer.body}")
            return
        found = answer.body["predictions"][0]
        if abs(found - expected(int(answer.version))[row]) > 1e-6:
            self.wrong.append(f"version {answer.version} said {found} for row {row}")
        with self._lock:
            self.versions[answer.version] += 1
