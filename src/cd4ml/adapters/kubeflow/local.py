"""Run a compiled pipeline on this machine by kfp.local, one process a task."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cd4ml.adapters.kubeflow.cache import WRAPPER
from cd4ml.adapters.kubeflow.compiled import check_arguments, documents, require_kfp
from cd4ml.adapters.kubeflow.events import EventReader
from cd4ml.adapters.kubeflow.folders import EVENTS, LOG, SCRATCH, held_run
from cd4ml.adapters.kubeflow.runs import LocalRun, Progress
from cd4ml.adapters.storage import atomic
from cd4ml.errors import Cd4mlError, UsageError

__all__ = ["run_local"]

_EXECUTOR = "python3 -m kfp.dsl.executor_main"
_AFTER_ALL = "ALL_UPSTREAM_TASKS_COMPLETED"
_POLL_SECONDS = 0.05
_PATIENCE_SECONDS = 10.0


def _with_wrapper(pipeline: dict[str, Any], runner: str, events: Path) -> None:
    """Put `task` before kfp's executor in every command."""
    python = shlex.quote(sys.executable) if runner == "subprocess" else "python3"
    wrapper = f"{python} {WRAPPER}{shlex.quote(str(events))} {_cores()} {runner} -m kfp.dsl.executor_main"
    for executor in pipeline["deploymentSpec"]["executors"].values():
        command = executor.get("container", {}).get("command", [])
        for position, part in enumerate(command):
            command[position] = part.replace(_EXECUTOR, wrapper)


def _without_retries(pipeline: dict[str, Any]) -> None:
    """Take the retries out: here nothing is lost by running again, and somebody waits for the error."""
    for tasks in _dags(pipeline):
        for task in tasks.values():
            task.pop("retryPolicy", None)


def _has_exit_handler(pipeline: dict[str, Any]) -> bool:
    """Tell whether a task runs also after others have failed."""
    policies = [task.get("triggerPolicy", {}) for tasks in _dags(pipeline) for task in tasks.values()]
    return any(policy.get("strategy") == _AFTER_ALL for policy in policies)


def _dags(pipeline: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the tasks by name of the pipeline and of each group within it."""
    specs = [pipeline["root"], *pipeline.get("components", {}).values()]
    return [spec["dag"]["tasks"] for spec in specs if "dag" in spec]


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _checked(file: Path, arguments: Mapping[str, object], runner: str) -> list[dict[str, Any]]:
    """Return the pipeline's documents when all is right that can be seen before a task runs."""
    if runner not in ("subprocess", "docker"):
        raise UsageError(f"runner must be 'subprocess' or 'docker'; got '{runner}'")
    require_kfp()
    found = documents(file)
    check_arguments(found[0], arguments)
    if runner == "docker":
        from cd4ml.adapters.kubeflow.containers import check_engine

        check_engine()
    return found


def _start(
    run: Path, pipeline: list[dict[str, Any]], arguments: Mapping[str, object], runner: str
) -> subprocess.Popen[bytes]:
    """Start the orchestrator on a request that it finds in the run's folder."""
    _with_wrapper(pipeline[0], runner, run / EVENTS)
    _without_retries(pipeline[0])
    request = {
        "pipeline": "\n---\n".join(json.dumps(document) for document in pipeline),
        "arguments": dict(arguments),
        "runner": runner,
    }
    file = run / "request.json"
    atomic.write_json(file, request)
    with (run / LOG).open("wb") as log:
        return subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-W", "ignore", "-m", f"{__package__}.orchestrator", str(file)],
            stdin=subprocess.PIPE,  # never written to: it closes when this process ends, see `die_with_stdin`
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "TMPDIR": str(run / SCRATCH)},
            start_new_session=True,
        )


def _follow(process: subprocess.Popen[bytes], folder: Path, progress: Progress, *, to_the_end: bool) -> None:
    """Take events until the process has ended; the first failed task ends it, unless another comes after."""
    reader = EventReader(folder / EVENTS)
    failures: list[Cd4mlError] = []
    ended = False
    while not ended:
        ended = process.poll() is not None
        for event in reader.new():
            try:
                progress.take(event)
            except Cd4mlError as error:
                failures.append(error)
        if failures and not to_the_end:
            break
        if not ended:
            time.sleep(_POLL_SECONDS)
    if failures:
        raise failures[0]
    # A task that ends its own process with 0 looks like a success to kfp, though it wrote no outputs.
    if process.returncode != 0 or progress.running:
        raise _end_without_word(process.returncode, folder, progress)


def _end_without_word(code: int, folder: Path, progress: Progress) -> Cd4mlError:
    """Return the error of a run that ended though no task said why."""
    again = "run again to go on from the tasks that are done"
    log = folder / LOG
    if code < 0:
        return Cd4mlError(f"the local runner was killed by signal {-code} (log {log}); {again}")
    for event in progress.running.values():
        how = "was killed before it could say why, perhaps for lack of memory"
        if code == 0:
            how = "ended its own process and wrote no outputs"
        return Cd4mlError(f"task {event['task']} {how} (log {event['log']}); {again}")
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return Cd4mlError(f"the local runner failed: {lines[-1].strip() if lines else 'no output'} (log {log})")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the orchestrator and its tasks, by their standard input; wait for the orchestrator."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        process.wait(_PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def run_local(
    package: Path,
    arguments: Mapping[str, object],
    root: Path,
    *,
    runner: str = "subprocess",
    log: Callable[[str], None] = lambda line: None,
) -> LocalRun:
    """Run a compiled pipeline and return what its tasks gave.

    Tasks whose inputs have not changed in content are not run again. A run that was killed leaves no
    half-made output that another would take: running it again goes on from the tasks that were done.

    Parameters
    ----------
    package : Path
        The compiled YAML, e.g. `package("training")`.
    arguments : mapping of str to JSON value
        Parameters of the pipeline; those left out have the defaults of the YAML.
    root : Path
        Holds `runs/`, a folder a run, with each task's outputs and log. Old ones are removed.
    runner : {"subprocess", "docker"}
        Processes with this interpreter, or containers of the compiled image.
    log : callable
        Takes one line a finished task: name, and seconds or "cached".

    Raises
    ------
    UsageError
        When a parameter is unknown, missing or of the wrong type, or `root` cannot be written to.
    ServiceError
        When there is no engine to run containers with.
    SourceError
        When `package` is no compiled pipeline.
    Cd4mlError
        What a task raised, of the same class; its message names the task and its log. Exit handlers have
        run by then; tasks are not tried again here.
    """
    start = time.monotonic()
    pipeline = _checked(package, arguments, runner)
    progress = Progress(log)
    with held_run(root) as run:
        process = _start(run, pipeline, arguments, runner)
        try:
            _follow(process, run, progress, to_the_end=_has_exit_handler(pipeline[0]))
        finally:
            _stop(process)
    return LocalRun(run, tuple(progress.tasks), time.monotonic() - start)
