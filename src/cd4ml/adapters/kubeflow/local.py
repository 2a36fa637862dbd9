"""Run a compiled pipeline on this machine by kfp.local, one process a task."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cd4ml.adapters.kubeflow.events import EventReader
from cd4ml.adapters.kubeflow.runs import LocalRun, Progress
from cd4ml.adapters.storage import atomic
from cd4ml.errors import Cd4mlError, SourceError, UsageError, nearest

__all__ = ["run_local"]

_EXECUTOR = "python3 -m kfp.dsl.executor_main"
_POLL_SECONDS = 0.05
_KEPT_RUNS = 8
_KEPT_SECONDS = 3600.0


def _documents(file: Path) -> list[dict[str, Any]]:
    import yaml

    try:
        text = file.read_text(encoding="utf-8")
        documents = list(yaml.load_all(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    except (OSError, yaml.YAMLError) as error:
        raise SourceError(
            f"expected a compiled pipeline at {file}, found: {str(error).splitlines()[0]}"
        ) from None
    if not documents or "deploymentSpec" not in documents[0]:
        raise SourceError(
            f"expected a compiled pipeline at {file}, found no deploymentSpec; compile it again"
        )
    return documents


def _check_arguments(pipeline: dict[str, Any], arguments: Mapping[str, object]) -> None:
    known = pipeline["root"].get("inputDefinitions", {}).get("parameters", {})
    for name in arguments:
        if name not in known:
            raise UsageError(f"expected a parameter of {sorted(known)}, found '{name}'{nearest(name, known)}")
    for name, parameter in known.items():
        if name not in arguments and not parameter.get("isOptional", False):
            raise UsageError(f"the pipeline needs a value for its parameter '{name}', found none")


def _with_wrapper(pipeline: dict[str, Any], runner: str, events: Path, cores: int) -> None:
    """Put `task` before kfp's executor in every command."""
    python = shlex.quote(sys.executable) if runner == "subprocess" else "python3"
    wrapper = f"{python} -m {__package__}.task {shlex.quote(str(events))} {cores} -m kfp.dsl.executor_main"
    for executor in pipeline["deploymentSpec"]["executors"].values():
        command = executor.get("container", {}).get("command", [])
        executor["container"]["command"] = [
            part.replace(_EXECUTOR, wrapper) if _EXECUTOR in part else part for part in command
        ]


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _prepare(file: Path, arguments: Mapping[str, object], root: Path, runner: str) -> Path:
    """Make the run's folder with the request in it; return the folder."""
    if runner not in ("subprocess", "docker"):
        raise UsageError(f"runner must be 'subprocess' or 'docker'; got '{runner}'")
    documents = _documents(file)
    _check_arguments(documents[0], arguments)
    name = f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:6]}"
    folder = (root / "runs" / name).resolve()
    (folder / "scratch").mkdir(parents=True)
    cache = (root / "cache").resolve()
    cache.mkdir(exist_ok=True)
    events = folder / "events.jsonl"
    _with_wrapper(documents[0], runner, events, _cores())
    request = {
        "pipeline": "\n---\n".join(json.dumps(document) for document in documents),
        "arguments": dict(arguments),
        "folder": str(folder),
        "cache": str(cache),
        "events": str(events),
        "runner": runner,
    }
    atomic.write_json(folder / "request.json", request)
    return folder


def _start(folder: Path) -> subprocess.Popen[bytes]:
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        f"{__package__}.orchestrator",
        str(folder / "request.json"),
    ]
    with (folder / "log.txt").open("wb") as log:
        return subprocess.Popen(  # noqa: S603 - our own interpreter and module
            command,
            stdin=subprocess.PIPE,  # never written to: it closes when this process ends, see `die_with_stdin`
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "TMPDIR": str(folder / "scratch")},
        )


def _follow(process: subprocess.Popen[bytes], folder: Path, progress: Progress) -> None:
    """Take events until the process has ended; the first failed task ends it."""
    reader = EventReader(folder / "events.jsonl")
    ended = False
    while not ended:
        ended = process.poll() is not None
        for event in reader.new():
            progress.take(event)
        if not ended:
            time.sleep(_POLL_SECONDS)
    if process.returncode != 0:
        raise _end_without_word(folder, progress)


def _end_without_word(folder: Path, progress: Progress) -> Cd4mlError:
    """Return the error of a run that ended though no task said why."""
    for event in progress.running.values():
        return Cd4mlError(
            f"task {event['task']} was killed before it could say why, perhaps for lack of memory "
            f"(log {event['log']}); run again to go on from the tasks that are done"
        )
    log = folder / "log.txt"
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return Cd4mlError(f"the local runner failed: {lines[-1].strip() if lines else 'no output'} (log {log})")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the orchestrator and, by their standard input, its tasks."""
    if process.stdin is not None:
        process.stdin.close()
    process.kill()
    process.wait()


def _forget_old_runs(runs: Path) -> None:
    """Remove the folders of runs that were neither made nor read from for an hour, but for the newest few."""
    folders = sorted(
        (folder for folder in runs.iterdir() if folder.is_dir()), key=lambda one: -one.stat().st_mtime
    )
    for folder in folders[_KEPT_RUNS:]:
        if time.time() - folder.stat().st_mtime > _KEPT_SECONDS:
            shutil.rmtree(folder, ignore_errors=True)


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
        Holds `runs/` (a folder a run, with each task's outputs and log) and `cache/`. Old runs are removed.
    runner : {"subprocess", "docker"}
        Processes with this interpreter, or containers of the compiled image.
    log : callable
        Takes one line a finished task: name, and seconds or "cached".

    Raises
    ------
    UsageError
        When a parameter is unknown or missing.
    SourceError
        When `package` is no compiled pipeline.
    Cd4mlError
        What a task raised, of the same class; its message names the task and its log.
    """
    start = time.monotonic()
    folder = _prepare(package, arguments, root, runner)
    progress = Progress(log)
    process = _start(folder)
    try:
        _follow(process, folder, progress)
    finally:
        _stop(process)
        shutil.rmtree(folder / "scratch", ignore_errors=True)
    _forget_old_runs(folder.parent)
    return LocalRun(folder, tuple(progress.tasks), time.monotonic() - start)
