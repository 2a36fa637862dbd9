"""A running server follows the file that says what to serve, and swaps without losing a request."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path

from cd4ml.adapters.served_file import Desired, Report, ServedFile
from cd4ml.errors import Cd4mlError
from cd4ml.serving.predictor import BundlePredictor, Served

__all__ = ["Follower"]

_LOG = logging.getLogger("cd4ml.serving")
_POLL_SECONDS = 0.25


class Follower:
    """Has one process serve what a file says.

    A new version is verified and loaded beside the one that answers, which goes on meanwhile; one that cannot
    be loaded is refused, and the one before stays. Either is reported beside the file.

    Parameters
    ----------
    file : ServedFile
        What to follow.
    model : BundlePredictor
        What serves it.
    """

    def __init__(self, file: ServedFile, model: BundlePredictor) -> None:
        self._file, self._model = file, model
        self._taken: Callable[[Served], None] = lambda _: None
        self._seen: tuple[int, ...] | None = None
        self._generation = -1
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="follower", daemon=True)

    def start(self, taken: Callable[[Served], None]) -> None:
        """Look from now on, in a thread; it calls `taken` with each version that comes into service."""
        self._taken = taken
        self._thread.start()

    def stop(self) -> None:
        """Look no more, and take this process's report away."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join(10.0)
        self._file.forget(os.getpid())

    def look(self) -> None:
        """Take what the file says, if it is another one than at the last look, and report."""
        found = self._state()
        if self._seen is not None and found == self._seen:
            return
        self._seen = found
        error = ""
        try:
            desired = self._file.read()
            self._generation = desired.generation
            self._take(desired)
        except Cd4mlError as refused:
            error = " ".join(str(refused).split())
        except Exception as broken:  # whatever a bundle is made of, what answers now goes on
            _LOG.exception("what '%s' asks for cannot be served", self._file.path)
            error = f"{type(broken).__name__}: {' '.join(str(broken).split())[:300]}"
        self._report(error)

    def _take(self, desired: Desired) -> None:
        history = Path(desired.history) if desired.history else None
        if self._model.swap(Path(desired.bundle), desired.version, history):
            served = self._model.served
            _LOG.info("serving version %s", served.version, extra={"bundle": served.bundle.id})
            self._taken(served)

    def _report(self, error: str) -> None:
        if error:
            _LOG.error("refused generation %d: %s", self._generation, error)
        served = self._model.served
        report = Report(os.getpid(), self._generation, served.version, served.bundle.id, error)
        try:
            self._file.report(report)
        except OSError as failure:  # a full disk does not end a server; the next look reports again
            _LOG.error("cannot report: %s", failure)
            self._seen = None

    def _state(self) -> tuple[int, ...]:
        try:
            found = self._file.path.stat()
        except OSError:
            return ()
        return found.st_mtime_ns, found.st_size, found.st_ino

    def _run(self) -> None:
        while not self._ending.wait(_POLL_SECONDS):
            self.look()
