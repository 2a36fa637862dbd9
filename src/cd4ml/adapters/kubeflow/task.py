"""One step of a local run: kfp's executor, with its output in a log of its own and its error as an event.

Run by kfp.local as `python -m cd4ml.adapters.kubeflow.task EVENTS CORES RUNNER -m kfp.dsl.executor_main ...`.
RUNNER is "subprocess" or "docker".
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
import traceback
from pathlib import Path

import cd4ml.errors
from cd4ml.adapters.kubeflow.events import append, die_with_stdin

__all__ = ["main"]

_ITERATION = re.compile(r"-iteration-(\d+)(?:/|$)")


def _task_root(arguments: list[str]) -> Path:
    """Return the folder that kfp gave this task."""
    text = arguments[arguments.index("--executor_input") + 1]
    return Path(json.loads(text)["outputs"]["outputFile"]).parent


def _log_to(file: Path) -> None:
    """Send all that this process and its children print to `file`."""
    file.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    with file.open("ab") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)


def _thread_limit(cores: int, in_loop: bool) -> int:
    """Return how many threads a task may use: kfp.local runs two tasks of a loop side by side."""
    return max(1, cores // 2) if in_loop else max(1, cores)


def _execute(arguments: list[str]) -> None:
    sys.argv = ["kfp.dsl.executor_main", *arguments]
    from kfp.dsl.executor_main import executor_main

    executor_main()


def _described(error: BaseException) -> dict[str, object]:
    """Return an error as what `run_local` raises again, with the class of `cd4ml.errors` that it is."""
    kind = next((one for one in type(error).__mro__ if one.__module__ == cd4ml.errors.__name__), None)
    lines = str(error).strip().splitlines()
    return {
        "class": (kind or type(error)).__name__,
        "ours": kind is not None,
        "message": lines[0] if lines else "no message",
    }


def _outputs(root: Path) -> dict[str, object]:
    """Return what the executor recorded: parameters, and artifacts by path and metadata."""
    file = root / "executor_output.json"
    written = json.loads(file.read_text()) if file.exists() else {}
    artifacts = {name: value["artifacts"][0] for name, value in written.get("artifacts", {}).items()}
    return {
        "parameters": written.get("parameterValues", {}),
        "artifacts": {name: artifact["uri"] for name, artifact in artifacts.items()},
        "metadata": {name: artifact.get("metadata", {}) for name, artifact in artifacts.items()},
    }


def main(argv: list[str]) -> int:
    """Run the step that `argv` describes; return 0, or 1 after an error."""
    events, cores, arguments = Path(argv[0]), int(argv[1]), argv[5:]
    if argv[2] == "subprocess":  # a container has no standard input; it is removed instead
        die_with_stdin()
    root = _task_root(arguments)
    iteration = _ITERATION.search(str(root))
    os.environ.setdefault("OMP_NUM_THREADS", str(_thread_limit(cores, iteration is not None)))
    # Waiting threads sleep: on busy cores spinning ones made a fit of 0.3 s take 2.8 s.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    log = root / "log.txt"
    _log_to(log)
    event: dict[str, object] = {
        "task": root.name,
        "iteration": int(iteration[1]) if iteration else None,
        "log": str(log),
    }
    append(events, {**event, "event": "started"})
    start = time.monotonic()
    try:
        _execute(arguments)
    except (Exception, SystemExit) as error:
        traceback.print_exc()
        append(events, {**event, "event": "failed", **_described(error)})
        return 1
    seconds = round(time.monotonic() - start, 3)
    append(events, {**event, "event": "finished", "seconds": seconds, **_outputs(root)})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
