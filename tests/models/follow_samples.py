"""A registry with versions of a small shop that predict otherwise, and a server of its events."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np

from cd4ml.adapters.manifest import write_manifest
from cd4ml.adapters.registry import Registry
from cd4ml.adapters.storage import FolderStorage
from cd4ml.models.runtime import FORMAT, Bundle, holdout_rows
from tests.models.bundles import SHOP, _case, sales

_KEPT = tempfile.TemporaryDirectory(prefix="cd4ml-follow-")
PRICED = "price: {type: number, min: 0.5, max: 20, nulls: true"


@cache
def variant(trees: int, strict: bool = False) -> Path:
    """Return a bundle of the shop with so many trees; a strict one wants a price in each row."""
    text = SHOP.replace("max_iter: 15", f"max_iter: {trees}")
    if strict:
        text = text.replace(PRICED, PRICED.replace("nulls: true", "nulls: false"))
    columns = sales()
    day = np.asarray(columns["day"])
    held = day >= day.max() - 27 * np.timedelta64(86400, "s")
    folder = Path(_KEPT.name) / f"{trees}-{strict}"
    _case(text, columns, held, True, {"store": "store"}).write(folder, signed=False)
    return folder


def misjudged(folder: Path) -> Path:
    """Return a whole bundle that does not predict what its holdout says."""
    shutil.copytree(variant(15), folder)
    path = folder / "holdout/prediction.npy"
    np.save(path, np.load(path) + np.float32(1))
    write_manifest(folder, format=FORMAT, problem="corner-shop")
    return folder


def rows(count: int = 3) -> list[dict[str, object]]:
    return holdout_rows(variant(15))[:count]


def expected(trees: int, count: int = 3) -> list[float]:
    return Bundle.load(variant(trees)).predict_rows(rows(count))["prediction"].tolist()


def registry_with(store: Path, *bundles: Path, champion: int = 1) -> Registry:
    registry = Registry(FolderStorage(store))
    for bundle in bundles:
        registry.push(bundle, "shop", "accept")
    registry.set_alias("shop", "champion", champion)
    return registry


def damage(registry: Registry, version: int, file: str = "model.onnx") -> tuple[str, bytes]:
    """Change one byte of a bundle in the store; return what was there."""
    key = f"bundles/{registry.get('shop', version).bundle}/{file}"
    data = registry.storage.get(key)
    registry.storage.put(key, data[:-1] + bytes([data[-1] ^ 1]))
    return key, data


def until(true: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come to be so"
        time.sleep(0.005)


class EventServer:
    """`cd4ml models events --listen` in a process of its own."""

    def __init__(self, store: Path, port: int = 0, poll_seconds: float = 0.02) -> None:
        command = [sys.executable, "-c", "from cd4ml.cli.main import run; run()"]
        command += ["models", "events", "--listen", f"127.0.0.1:{port}", "--poll-seconds", str(poll_seconds)]
        environment = {**os.environ, "CD4ML_STORE": str(store)}
        self.process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()
        assert self.url.startswith("http://127.0.0.1:"), self.process.stderr
        self.port = int(self.url.rpartition(":")[2])

    def end(self, number: int = signal.SIGTERM) -> str:
        """End it and return what it wrote to stderr."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.communicate(timeout=20)[1]


@contextmanager
def event_server(store: Path, port: int = 0, poll_seconds: float = 0.02) -> Iterator[EventServer]:
    server = EventServer(store, port, poll_seconds)
    try:
        yield server
    finally:
        server.end(signal.SIGKILL)
