"""A run is killed ten times, within writes too; taken up again it gives what an undisturbed one gives."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.loop.small_shop import command, registered, run, write_shop

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1200)]

TIMED = {"latency": ("measured", "reason")}
"""What is measured by the clock differs from run to run."""


def _start(shop: Path, out: Path, store: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "cd4ml.cli", "run", shop / "problem.yaml", "--data", shop, "--out", out],
        env={**os.environ, "CD4ML_STORE": str(store)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _kill(process: subprocess.Popen[bytes], whole: bool) -> None:
    """Kill the whole group at once, or the parent alone: what it started must then end by itself."""
    if whole:
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()


def _at_work(out: Path) -> list[int]:
    """Return processes that still work for this run."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if str(out).encode() in words:
            found.append(int(folder.name))
    return found


def _wait_for_a_write(process: subprocess.Popen[bytes], folders: list[Path], seconds: float) -> bool:
    """Return True at a moment in which something is half written, False when the run ended first."""
    time.sleep(seconds)
    while process.poll() is None:
        for folder in folders:
            if any(".incomplete-" in name for _, names, files in os.walk(folder) for name in names + files):
                return True
    return False


def _results(out: Path) -> dict[str, object]:
    """Return what a run left, by file: hashes, but verdict without what the clock decides."""
    found: dict[str, object] = {}
    for path in [*sorted((out / "bundle").rglob("*")), out / "metrics.json", out / "bias.json"]:
        if path.is_file():
            found[path.relative_to(out).as_posix()] = hashlib.sha256(path.read_bytes()).hexdigest()
    verdict = json.loads((out / "verdict.json").read_text())
    for gate in verdict["gates"]:
        for key in TIMED.get(gate["name"], ()):
            gate.pop(key)
    found["verdict.json"] = verdict
    return found


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    shop = write_shop(folder / "shop")
    start = time.monotonic()
    done = run(shop, folder / "out", folder / "store")
    assert done.returncode == 0, done.stderr
    return shop, _results(folder / "out"), time.monotonic() - start


@pytest.mark.parametrize("attempt", range(int(os.environ.get("CD4ML_KILLS", "10"))))
def test_a_killed_run_is_taken_up_as_if_nothing_had_happened(attempt, undisturbed, tmp_path):
    shop, expected, seconds = undisturbed
    out, store = tmp_path / "out", tmp_path / "store"
    moment = random.Random(attempt).uniform(0.02, 0.98) * seconds
    process = _start(shop, out, store)
    if attempt % 2:
        _wait_for_a_write(process, [out, store], moment)
    else:
        time.sleep(moment)
    _kill(process, whole=attempt % 3 > 0)
    deadline = time.monotonic() + 60
    while _at_work(out) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert _at_work(out) == []
    again = run(shop, out, store)
    assert again.returncode == 0, again.stdout + again.stderr
    assert _results(out) == expected
    assert [(found["name"], found["version"]) for found in registered(store)] == [("small-shop", 1)]
    assert [path.name for path in out.iterdir() if ".incomplete-" in path.name] == []
    runs = json.loads(command("runs", "list", "--json", store=store).stdout)
    assert len(runs) == 1
