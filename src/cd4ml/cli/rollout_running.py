"""A controller of rollouts that runs here until a signal, or until nothing is left to do."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cd4ml.cli.console import note
from cd4ml.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Event

    from cd4ml.delivery.controller import Controller
    from cd4ml.domain.rollout.state import Rollout

__all__ = ["heart", "local", "run_controller"]


def local(state: Path) -> Controller:
    """Return the controller of the plane on this machine."""
    from cd4ml.delivery.local.plane import LocalPlane
    from cd4ml.steps.rollout_controller import local_controller

    return local_controller(LocalPlane(state))


def run_controller(
    controller: Controller,
    services: list[str],
    interval: float,
    until_ended: bool,
    looked: Callable[[], None] | None = None,
) -> None:
    """Run a controller, and tell of each change on stderr."""
    from threading import Event

    stop = Event()
    tell = _teller(stop, set(services) if until_ended else set())
    with _stopped_by_signals(stop):
        controller.run(stop, services, interval, tell, looked)


def heart(path: Path | None) -> Callable[[], None] | None:
    """Return what shows that a controller lives; None without a file for it."""
    if path is None:
        return None

    def beat() -> None:
        try:
            path.touch()
            os.utime(path)
        except OSError as error:
            raise UsageError(f"--heartbeat '{path}' cannot be written: {error.strerror}") from error

    beat()
    return beat


@contextmanager
def _stopped_by_signals(stop: Event) -> Iterator[None]:
    """Let Ctrl-C and a polite kill end the controller between two looks."""
    import signal

    signals = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(one, lambda *_: stop.set()) for one in signals]
    try:
        yield
    finally:
        for one, handler in zip(signals, before, strict=True):
            signal.signal(one, handler)


def _teller(stop: Event, left: set[str]) -> Callable[[str, Rollout | None, str], None]:
    """Return what tells of each change, and ends the controller when nothing of `left` is to do any more."""
    from cd4ml.delivery.wanted import is_settled

    bounded = bool(left)
    said: dict[str, tuple[object, ...]] = {}

    def tell(service: str, rollout: Rollout | None, wrong: str) -> None:
        line = wrong
        if rollout is not None:
            last = rollout.history[-1] if rollout.history else None
            line = f"{service}: {rollout.phase}" + (f": {'; '.join(last.reasons)}" if last else "")
        key = (rollout.phase, rollout.step, len(rollout.history)) if rollout is not None else (wrong,)
        if said.get(service) != key:
            note(line)
        said[service] = key
        if rollout is not None and is_settled(rollout):
            left.discard(service)
        if bounded and not left:
            stop.set()

    return tell
