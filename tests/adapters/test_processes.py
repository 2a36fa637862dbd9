import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cd4ml.adapters.processes import Child, ProcessId, describe_exit, identify, is_alive, stop

SLEEP = [sys.executable, "-I", "-S", "-c", "import time; time.sleep(60)"]
DEAF = [
    *(sys.executable, "-I", "-S", "-c"),
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "print('deaf', flush=True); time.sleep(60)",
]
PARENT = [
    *(sys.executable, "-I", "-S", "-c"),
    "import subprocess, sys, time;"
    "p = subprocess.Popen([sys.executable, '-S', '-c', 'import time; time.sleep(60)']);"
    "print(p.pid, flush=True); time.sleep(60)",
]


def until(true: object, seconds: float = 60.0) -> None:
    assert callable(true)
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def said(log: Path) -> str:
    until(lambda: log.exists() and log.read_text().strip())
    return log.read_text().strip()


def test_a_child_is_recognised_ended_and_its_output_kept(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "child.log"
    child = Child([sys.executable, "-c", "import os; print(os.environ['X'])"], log, {"X": "from us"})
    until(lambda: child.poll() is not None)
    assert child.poll() == 0
    assert said(log) == "from us"
    assert not is_alive(child.id)


def test_a_process_with_the_same_number_and_another_beginning_is_not_ours(tmp_path: Path) -> None:
    child = Child(SLEEP, tmp_path / "log")
    assert is_alive(child.id)
    assert is_alive(ProcessId(child.pid))
    other = ProcessId(child.pid, str(int(child.id.started) - 1))
    assert not is_alive(other)
    assert stop(other, 0.1)
    assert child.poll() is None, "stop left alone what is not ours"
    assert child.stop(10) == -signal.SIGTERM


def test_a_deaf_child_is_killed_after_the_grace(tmp_path: Path) -> None:
    child = Child(DEAF, tmp_path / "log")
    assert said(tmp_path / "log") == "deaf"
    assert child.stop(0.2) == -signal.SIGKILL


def test_what_a_killed_child_started_ends_with_it(tmp_path: Path) -> None:
    child = Child(PARENT, tmp_path / "log")
    grandchild = identify(int(said(tmp_path / "log")))
    assert grandchild is not None
    os.kill(child.pid, signal.SIGKILL)
    until(lambda: child.poll() is not None)
    until(lambda: not is_alive(grandchild))


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone ends a child with its parent")
def test_a_child_ends_with_a_killed_parent(tmp_path: Path) -> None:
    log = tmp_path / "log"
    script = (
        "import sys, time; from pathlib import Path; from cd4ml.adapters.processes import Child;"
        f"print(Child({SLEEP!r}, Path({str(log)!r})).pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = identify(int(parent.stdout.readline()))
    assert child is not None
    time.sleep(0.3)  # the child says so itself, once it is Python
    parent.kill()
    parent.wait()
    parent.stdout.close()
    until(lambda: not is_alive(child))


def test_a_process_of_another_parent_is_stopped(tmp_path: Path) -> None:
    process = subprocess.Popen(SLEEP, start_new_session=True)
    found = identify(process.pid)
    assert found is not None
    assert stop(found, 10)
    assert process.wait() == -signal.SIGTERM
    assert identify(process.pid) is None


@pytest.mark.parametrize(
    ("code", "words"),
    [(0, "exit code 0"), (4, "exit code 4"), (-9, "signal 9 (SIGKILL)"), (-99, "signal 99")],
)
def test_an_end_is_told_in_words(code: int, words: str) -> None:
    assert describe_exit(code) == words
