"""Runs that were killed leave nothing behind that lives or that another run would take for whole."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from cd4ml.adapters.kubeflow import run_local
from cd4ml.errors import Cd4mlError
from tests.adapters.s3_server import environment
from tests.adapters.tiny_pipeline import compile_tiny

pytestmark = pytest.mark.xdist_group("kubeflow")

ARGUMENTS = {"what": "x", "names": ["a", "b"]}
CODE = (
    "import sys; from pathlib import Path; from cd4ml.adapters.kubeflow import run_local; "
    f"run_local(Path(sys.argv[1]), {ARGUMENTS}, Path(sys.argv[2]))"
)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return compile_tiny(tmp_path_factory.mktemp("compiled"))


def start(tiny, root, **environment):
    return subprocess.Popen(
        [sys.executable, "-c", CODE, str(tiny), str(root)],
        env={**os.environ, **environment},
        stderr=subprocess.DEVNULL,
    )


def alive(pid):
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    return False


def wait_until(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def processes_of(root):
    """Return the processes that name a folder in their command."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if str(root).encode() in entry.read_bytes():
                found.append(int(entry.parent.name))
    return [pid for pid in found if alive(pid)]


@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_run_that_was_killed_leaves_no_process_and_is_taken_up_where_it_was(by, tiny, tmp_path):
    root = tmp_path / "root"
    process = start(tiny, root, TINY_WAIT=str(tmp_path))
    wait_until(lambda: len(list(tmp_path.glob("child-*"))) == 2)
    pids = [int(file.name.rsplit("-")[-1]) for file in tmp_path.glob("*-*")]
    assert len(pids) == 4  # two tasks, and a process that each has started
    assert all(alive(pid) for pid in pids)
    process.send_signal(by)
    process.wait(60)
    wait_until(lambda: not any(alive(pid) for pid in pids) and not processes_of(root))
    run = run_local(tiny, ARGUMENTS, root)
    assert sorted(task.name for task in run.tasks if task.cached) == ["plan"]
    assert run.path("judge", "table").read_text() == "ax bx"
    assert [file.name for file in run.path("search", "out").iterdir()] == ["result"]


def test_an_orchestrator_that_was_killed_is_an_error_that_says_so(tiny, tmp_path):
    root, pids = tmp_path / "root", []

    def kill():
        wait_until(lambda: len(list(tmp_path.glob("child-*"))) == 2)
        pids.extend(int(file.name.rsplit("-")[-1]) for file in tmp_path.glob("*-*"))
        for pid in processes_of(root):
            if b"kubeflow.orchestrator" in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGKILL)

    thread = threading.Thread(target=kill)
    with environment(TINY_WAIT=str(tmp_path)):
        thread.start()
        with pytest.raises(Cd4mlError, match=r"killed by signal 9 .*run again to go on"):
            run_local(tiny, ARGUMENTS, root)
        thread.join()
    assert len(pids) == 4
    wait_until(lambda: not any(alive(pid) for pid in pids))


@pytest.mark.faults
@pytest.mark.parametrize("seed", range(8))
def test_a_run_that_was_killed_at_any_moment_again_and_again_gives_the_same_result(seed, tiny, tmp_path):
    undisturbed = run_local(tiny, ARGUMENTS, tmp_path / "undisturbed")
    root, moment = tmp_path / "root", random.Random(seed)
    for _ in range(4):
        process = start(tiny, root)
        time.sleep(moment.uniform(0.05, 1.2 * undisturbed.seconds))
        process.kill()
        process.wait()
    wait_until(lambda: not processes_of(root))
    run = run_local(tiny, ARGUMENTS, root)
    assert run.path("judge", "table").read_text() == undisturbed.path("judge", "table").read_text()
    assert run.parameters("register") == undisturbed.parameters("register")
