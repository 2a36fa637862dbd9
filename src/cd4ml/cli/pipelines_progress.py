"""The progress of a run elsewhere: one line that moves on a terminal, a line a change in a log."""

from __future__ import annotations

import sys
import time
from collections import Counter
from typing import TYPE_CHECKING

from cd4ml.cli.console import note

if TYPE_CHECKING:
    from cd4ml.adapters.kubeflow.remote import Run

__all__ = ["Progress", "lines"]

_ENDED = {"SUCCEEDED": "+", "FAILED": "!", "SKIPPED": "-", "CANCELED": "!"}
_CLEAR = "\r\x1b[K"


class Progress:
    """Shows each look at a run on stderr.

    Parameters
    ----------
    moving : bool, optional
        Whether the last line may be written again; by default whether stderr is a terminal.
    """

    def __init__(self, moving: bool | None = None) -> None:
        self._moving = sys.stderr.isatty() if moving is None else moving
        self._states: Counter[tuple[str, str]] = Counter()
        self._state = ""
        self._started = time.monotonic()

    def __call__(self, run: Run) -> None:
        """Show what is new: tasks that have ended, on a log also those that have started."""
        from cd4ml.adapters.kubeflow.remote_wait import shown

        tasks = shown(run)
        states = Counter((task.name, task.state) for task in tasks)
        fresh = states - self._states
        said = [(name, state) for name, state in fresh if state in _ENDED or not self._moving]
        if self._moving and (said or run.ended):
            sys.stderr.write(_CLEAR)
        for name, state in said:
            note(f"{_ENDED.get(state, ' ')} {state.lower():9} {name}")
        if run.state != self._state and (run.ended or not self._moving):
            note(f"run {run.run_id}: {run.state.lower()}")
        if self._moving and not run.ended:
            running = ", ".join(task.name for task in tasks if task.state == "RUNNING")
            done = sum(task.state in _ENDED for task in tasks)
            seconds = int(time.monotonic() - self._started)
            line = (
                f"{seconds // 60}:{seconds % 60:02} {run.state.lower()}, {done} of {len(tasks)} tasks ended"
            )
            sys.stderr.write(_CLEAR + (f"{line}; {running}" if running else line)[:100])
            sys.stderr.flush()
        self._states, self._state = states, run.state


def lines(run: Run) -> list[str]:
    """Return a run in words: its state, where it is seen, its tasks."""
    from cd4ml.adapters.kubeflow.remote_wait import shown

    told = [f"{run.state.lower()}: {run.name} ({run.run_id})", run.url]
    told += [f"  {_ENDED.get(task.state, ' ')} {task.state.lower():9} {task.name}" for task in shown(run)]
    return told + ([run.error] if run.error else [])
