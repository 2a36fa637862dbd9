"""What a local run gave: its tasks, their outputs, and the error of the one that failed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cd4ml.errors
from cd4ml.errors import Cd4mlError, NotFoundError, nearest

__all__ = ["LocalRun", "Progress", "TaskRun"]


@dataclass(frozen=True)
class TaskRun:
    """One task of a run: what it gave, and how long it took (0 seconds when it was cached).

    Attributes
    ----------
    iteration : int or None
        Which turn of a loop it was, from 0; None outside of loops and for cached tasks.
    parameters, artifacts, metadata : mapping by output name
        Values that the task returned, where its artifacts lie, and what was recorded about them (metrics).
    """

    name: str
    iteration: int | None
    seconds: float
    cached: bool
    parameters: Mapping[str, Any]
    artifacts: Mapping[str, Path]
    metadata: Mapping[str, Mapping[str, Any]]
    log: Path | None


@dataclass(frozen=True)
class LocalRun:
    """A run that succeeded: its folder, its tasks in the order in which they ended, its seconds."""

    folder: Path
    tasks: tuple[TaskRun, ...]
    seconds: float

    def task(self, name: str) -> TaskRun:
        """Return the (last) task of that name.

        Raises
        ------
        NotFoundError
            When none of that name ran.
        """
        for task in reversed(self.tasks):
            if task.name == name:
                return task
        names = sorted({task.name for task in self.tasks})
        raise NotFoundError(f"expected a task of {names}, found '{name}'{nearest(name, names)}")

    def path(self, name: str, output: str) -> Path:
        """Return where an artifact of a task lies.

        Raises
        ------
        NotFoundError
            When there is no such task or artifact.
        """
        artifacts = self.task(name).artifacts
        if output not in artifacts:
            found = sorted(artifacts)
            raise NotFoundError(
                f"expected an artifact of task {name}: {found}, found '{output}'{nearest(output, found)}"
            )
        return artifacts[output]

    def parameters(self, name: str) -> dict[str, Any]:
        """Return what a task returned, by name; {} when it stood behind a condition and did not run."""
        for task in reversed(self.tasks):
            if task.name == name:
                single = task.parameters.get("Output")
                return single if isinstance(single, dict) else dict(task.parameters)
        return {}


@dataclass
class Progress:
    """Turns events into tasks, lines and errors."""

    log: Callable[[str], None]
    tasks: list[TaskRun] = field(default_factory=list)
    running: dict[str, dict[str, Any]] = field(default_factory=dict)

    def take(self, event: dict[str, Any]) -> None:
        """Record one event.

        Raises
        ------
        Cd4mlError
            When the event says that a task failed: what the task raised, of the same class.
        """
        kind = event["event"]
        if kind == "started":
            self.running[event["log"]] = event
            return
        if kind == "failed":
            raise _error_of(event)
        self.running.pop(event.get("log", ""), None)
        task = TaskRun(
            name=event["task"],
            iteration=event.get("iteration"),
            seconds=event.get("seconds", 0.0),
            cached=kind == "cached",
            parameters=event["parameters"],
            artifacts={name: Path(uri) for name, uri in event["artifacts"].items()},
            metadata=event["metadata"],
            log=Path(event["log"]) if "log" in event else None,
        )
        self.tasks.append(task)
        label = task.name if task.iteration is None else f"{task.name} {task.iteration + 1}"
        self.log(f"{label:<20} {'cached' if task.cached else f'{task.seconds:.1f} s'}")


def _error_of(event: Mapping[str, Any]) -> Cd4mlError:
    """Return the error of a failed task as the class that it had there, so that its exit code survives."""
    where = f"task {event['task']}, log {event['log']}"
    if event["ours"]:
        kind: type[Cd4mlError] = getattr(cd4ml.errors, str(event["class"]))
        return kind(f"{event['message']} ({where})")
    return Cd4mlError(f"{event['class']}: {event['message']} ({where})")
