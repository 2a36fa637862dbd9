"""The demonstration as a user runs it: the expected decisions, and little traffic for bad models."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from math import sqrt
from pathlib import Path

import pytest

pytestmark = pytest.mark.demo
_SEEDS = tuple(int(seed) for seed in os.environ.get("CD4ML_DEMO_SEEDS", "1,2,3").split(",") if seed)
_MINUTES = 4
_EXPECTED = {"better": "promoted", "slice": "rolled_back", "slow": "rolled_back", "rare": "rolled_back"}
_MOST_PERCENT = {"better": 100, "slice": 0, "slow": 5, "rare": 0}


def _demo(out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cd4ml.cli", "demo", "--out", str(out), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)


def _left_running(out: Path) -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
        except OSError:
            continue
        if str(out) in command and process.name != str(os.getpid()):
            found.append(command)
    return found


@pytest.mark.timeout(700)
@pytest.mark.parametrize("seed", _SEEDS)
def test_the_demo_ends_with_the_expected_decisions(seed, tmp_path):
    out = tmp_path / "demo"
    done = _demo(out, "--seed", str(seed), "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads(done.stdout)
    assert summary["decisions"] == _EXPECTED
    assert summary["differs"] == []
    _holds_the_shares(out)
    assert "Traceback" not in done.stderr
    assert (out / "index.html").stat().st_size > 20_000
    assert _left_running(out) == []
    assert summary["seconds"] <= 60 * _MINUTES


def _holds_the_shares(out: Path) -> None:
    """Read the callers' own log, and nothing that cd4ml says of it."""
    story = json.loads((out / "demo.json").read_text())
    lines = [json.loads(line) for line in (out / "traffic.jsonl").read_text().splitlines()]
    answered = [line for line in lines if line["status"]]
    assert len(answered) > 0.99 * len(lines) > 1000
    promoted = [one["candidate"] for one in story["rollouts"] if one["phase"] == "promoted"]
    for one in story["rollouts"]:
        mine = [line for line in answered if line["version"] == one["candidate"]]
        share, count = _MOST_PERCENT[one["name"]] / 100, len(answered)
        within = [line for line in answered if one["began"] <= line["at"] <= one["ended"]]
        count = len(within)
        if one["candidate"] not in promoted:
            # Of all answers: a bad model has none beyond its own rollout.
            assert all(one["began"] <= line["at"] <= one["ended"] for line in mine), one["name"]
            assert len(mine) <= share * count + 5 * sqrt(count * share * (1 - share)), one["name"]
        else:
            assert len(mine) > 0.1 * len(answered), one["name"]
    last = [line["version"] for line in answered[-50:]]
    assert set(last) == set(promoted)


@pytest.mark.timeout(200)
def test_ctrl_c_leaves_nothing_running_and_the_same_folder_can_be_used_again(tmp_path):
    out = tmp_path / "demo"
    command = [sys.executable, "-m", "cd4ml.cli", "demo", "--quick", "--out", str(out)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if "callers ask" in line:
            break
    time.sleep(1)
    assert len(_left_running(out)) > 4  # the demo, the callers, the supervisor, the gateway, a model server
    # A shell's background jobs, and all that they start, do not hear Ctrl-C.
    deaf = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    process.send_signal(signal.SIGTERM if deaf else signal.SIGINT)
    said = process.stderr.read()
    assert process.wait(90) == 130
    assert "Traceback" not in said
    assert _left_running(out) == []
    again = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert again.stderr is not None
    assert any("is trained" in line for line in again.stderr)
    again.terminate()
    again.wait(90)
    assert _left_running(out) == []


def test_a_folder_with_other_files_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    done = _demo(tmp_path)
    assert done.returncode == 2
    assert (tmp_path / "thesis.txt").read_text() == "mine"
