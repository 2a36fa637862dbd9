"""A compiled pipeline runs here: outputs, cache, errors, and runs that were killed."""

import builtins
import contextlib
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cd4ml.adapters.kubeflow import run_local
from cd4ml.errors import Cd4mlError, ContractError, NotFoundError, SourceError, UsageError
from tests.adapters.tiny_pipeline import compile_tiny

pytestmark = pytest.mark.xdist_group("kubeflow")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return compile_tiny(tmp_path_factory.mktemp("compiled"))


def cached(run):
    return sorted(task.name for task in run.tasks if task.cached)


def test_a_run_gives_the_parameters_artifacts_and_metrics_of_each_task(tiny, tmp_path):
    lines = []
    run = run_local(tiny, {"what": "x"}, tmp_path, log=lines.append)
    assert run.path("judge", "table").read_text() == "ax bx cx"
    assert run.parameters("register") == {"registered": "x"}
    assert run.parameters("judge") == {"Output": "accept"}
    assert [line.split()[0] for line in lines].count("search") == 3
    assert "said by mark" in run.task("mark").log.read_text()
    assert run.task("search").metadata["scores"].keys() == {"threads"}
    assert sorted(task.iteration for task in run.tasks if task.name == "search") == [0, 1, 2]


def test_tasks_of_a_loop_share_the_cores(tiny, tmp_path):
    before = os.environ.pop("OMP_NUM_THREADS", None)
    try:
        run = run_local(tiny, {"what": "x", "names": ["a"]}, tmp_path)
    finally:
        if before is not None:
            os.environ["OMP_NUM_THREADS"] = before
    assert run.task("search").metadata["scores"]["threads"] == max(1, len(os.sched_getaffinity(0)) // 2)


def test_the_word_python3_and_quotes_survive_in_paths_and_parameters(tiny, tmp_path):
    root = tmp_path / "it's a python3 folder"
    run = run_local(tiny, {"what": "python3 isn't\nrewritten", "names": ["a"]}, root)
    assert run.parameters("register") == {"registered": "python3 isn't\nrewritten"}
    assert run.path("judge", "table").read_text() == "apython3 isn't\nrewritten"
    assert root in run.path("judge", "table").parents


def test_what_has_not_changed_in_content_is_not_run_again(tiny, tmp_path):
    first = run_local(tiny, {"what": "x"}, tmp_path)
    second = run_local(tiny, {"what": "x"}, tmp_path)
    assert cached(first) == []
    assert cached(second) == ["judge", "plan", "search", "search", "search"]
    assert second.path("judge", "table") == first.path("judge", "table")
    assert second.task("search").metadata["scores"].keys() == {"threads"}


def test_what_has_changed_is_run_again_with_all_that_follows(tiny, tmp_path):
    run_local(tiny, {"what": "x"}, tmp_path)
    assert cached(run_local(tiny, {"what": "y"}, tmp_path)) == []
    assert cached(run_local(tiny, {"what": "x", "names": ["a", "b", "d"]}, tmp_path)) == ["search", "search"]


def test_an_output_that_lost_a_file_is_made_again(tiny, tmp_path):
    first = run_local(tiny, {"what": "x", "names": ["a"]}, tmp_path)
    (first.path("search", "out") / "result").unlink()
    second = run_local(tiny, {"what": "x", "names": ["a"]}, tmp_path)
    assert cached(second) == ["judge", "plan"]
    assert (second.path("search", "out") / "result").read_text() == "ax"


def test_an_output_that_was_changed_is_made_again(tiny, tmp_path):
    first = run_local(tiny, {"what": "x", "names": ["a"]}, tmp_path)
    first.path("judge", "table").write_text("forged")
    second = run_local(tiny, {"what": "x", "names": ["a"]}, tmp_path)
    assert second.path("judge", "table").read_text() == "ax"


def test_an_error_of_a_task_keeps_its_class_and_names_task_and_log(tiny, tmp_path):
    with pytest.raises(ContractError) as caught:
        run_local(tiny, {"what": "x", "mood": "refuse", "names": ["a"]}, tmp_path)
    message = str(caught.value)
    assert caught.value.exit_code == 4
    assert message.startswith("expected 5 columns in 'items', found 6; drop one (task judge, log ")
    assert "\n" not in message
    log = Path(message.rsplit("log ", 1)[1].rstrip(")"))
    assert "Traceback" in log.read_text()


def test_an_error_that_is_not_ours_is_unexpected_and_names_its_class(tiny, tmp_path):
    with pytest.raises(Cd4mlError, match=r"KeyError: 'nothing here' \(task judge, log ") as caught:
        run_local(tiny, {"what": "x", "mood": "break", "names": ["a"]}, tmp_path)
    assert caught.value.exit_code == 1


def test_a_task_that_was_killed_is_named(tiny, tmp_path):
    with pytest.raises(Cd4mlError, match="task judge was killed before it could say why"):
        run_local(tiny, {"what": "x", "mood": "die", "names": ["a"]}, tmp_path)


def test_a_rejected_model_skips_what_stands_behind_the_condition(tiny, tmp_path):
    run = run_local(tiny, {"what": "x", "mood": "reject", "names": ["a"]}, tmp_path)
    assert run.parameters("register") == {}
    with pytest.raises(NotFoundError, match="expected a task of"):
        run.task("register")
    with pytest.raises(NotFoundError, match="did you mean 'table'"):
        run.path("judge", "tabel")


def test_wrong_arguments_are_refused_before_anything_runs(tiny, tmp_path):
    with pytest.raises(UsageError, match="did you mean 'mood'"):
        run_local(tiny, {"what": "x", "moood": "accept"}, tmp_path)
    with pytest.raises(UsageError, match="needs a value for its parameter 'what'"):
        run_local(tiny, {}, tmp_path)
    with pytest.raises(UsageError, match="runner must be"):
        run_local(tiny, {"what": "x"}, tmp_path, runner="podman")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("text", ["", "a: [", "name: something else"])
def test_a_file_that_is_no_compiled_pipeline_is_refused(text, tmp_path):
    (tmp_path / "p.yaml").write_text(text)
    with pytest.raises(SourceError, match="expected a compiled pipeline at"):
        run_local(tmp_path / "p.yaml", {}, tmp_path)


def test_a_run_leaves_the_process_as_it_was_and_prints_nothing(tiny, tmp_path, capfd):
    before = (builtins.print, logging.getLogger().handlers[:], logging.getLogger().level, sys.executable)
    run = run_local(tiny, {"what": "x", "names": ["a", "b"]}, tmp_path)
    after = (builtins.print, logging.getLogger().handlers[:], logging.getLogger().level, sys.executable)
    assert before == after
    assert capfd.readouterr() == ("", "")
    assert not (run.folder / "scratch").exists()


def alive(pid):
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    return False


def wait_until(condition, seconds=10.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def test_a_run_that_was_killed_leaves_no_process_and_is_taken_up_where_it_was(tiny, tmp_path):
    code = (
        "import sys; from pathlib import Path; from cd4ml.adapters.kubeflow import run_local; "
        "run_local(Path(sys.argv[1]), {'what': 'x', 'names': ['a', 'b']}, Path(sys.argv[2]))"
    )
    root = tmp_path / "root"
    environment = {**os.environ, "TINY_WAIT": str(tmp_path)}
    process = subprocess.Popen([sys.executable, "-c", code, str(tiny), str(root)], env=environment)
    wait_until(lambda: len(list(tmp_path.glob("waiting-*"))) == 2)
    pids = [int(file.name.rsplit("-")[-1]) for file in tmp_path.glob("waiting-*")]
    assert all(alive(pid) for pid in pids)
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_until(lambda: not any(alive(pid) for pid in pids))
    run = run_local(tiny, {"what": "x", "names": ["a", "b"]}, root)
    assert cached(run) == ["plan"]
    assert run.path("judge", "table").read_text() == "ax bx"


def test_old_runs_are_removed_and_what_is_still_read_stays(tiny, tmp_path):
    first = run_local(tiny, {"what": "x", "names": ["a"]}, tmp_path)
    for index in range(9):
        (tmp_path / "runs" / f"old-{index}").mkdir()
    long_ago = time.time() - 7200
    for folder in (tmp_path / "runs").iterdir():
        os.utime(folder, (long_ago, long_ago))
    second = run_local(tiny, {"what": "x", "names": ["a"]}, tmp_path)
    assert cached(second) == ["judge", "plan", "search"]
    assert first.folder.exists()
    assert len(list((tmp_path / "runs").iterdir())) == 8
