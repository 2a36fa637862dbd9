"""What people did with forecasts: an append-only log, one line a decision, on the disk before it is told.

A forecast is decided once: the same decision again writes nothing, so that a form that is sent twice does not
count twice. Several processes may share a log; its file is locked while one looks and writes.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from cd4ml.errors import ConflictError, ServiceError

__all__ = ["FILE", "AlreadyDecided", "Decision", "DecisionLog"]

FILE = "decisions.jsonl"


class AlreadyDecided(ConflictError):
    """Somebody decided otherwise before.

    Parameters
    ----------
    first : Decision
        What was decided.
    """

    def __init__(self, first: Decision) -> None:
        super().__init__(
            f"forecast {first.id} was {first.decision} at {first.time}; a decision is not changed"
        )
        self.first = first


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True)
class Decision:
    """What became of one forecast.

    Attributes
    ----------
    id : str
        Of the request: prediction events have the same one.
    version, variant : str
        Of the model that answered.
    inputs, output : mapping
        The row that was sent and what came back, with `interval` where there was one.
    decision : {"accepted", "overridden"}
    value : float
        The number that is used from now on: the forecast itself, or the one in its place.
    reason : str
        In the words of who decided; may be "".
    time : str
        ISO 8601, UTC.
    """

    id: str
    model: str
    version: str
    variant: str
    inputs: Mapping[str, Any]
    output: Mapping[str, Any]
    decision: Literal["accepted", "overridden"]
    value: float
    reason: str = ""
    consumer: str = "forecast-page"
    time: str = field(default_factory=_now)

    def line(self) -> bytes:
        """Return it as a line of the log."""
        return json.dumps(asdict(self), sort_keys=True, allow_nan=False).encode() + b"\n"

    def same(self, other: Decision) -> bool:
        """Return whether both decide the same of the same forecast."""
        return (self.id, self.decision, self.value) == (other.id, other.decision, other.value)


class DecisionLog:
    """The log in one folder.

    Parameters
    ----------
    folder : Path
        Made when it is missing.

    Raises
    ------
    ServiceError
        If the folder cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self._lock = threading.Lock()
        self._known: dict[str, Decision] = {}
        self._read_bytes = 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with self._open():
                pass
        except OSError as error:
            raise ServiceError(
                f"expected a folder for decisions; '{folder}' fails: {error.strerror}"
            ) from error

    def record(self, decision: Decision) -> bool:
        """Write a decision, unless it is there; return whether it was written.

        Raises
        ------
        AlreadyDecided
            If the forecast was decided otherwise.
        ServiceError
            If it cannot be written; then it is not in the log.
        """
        with self._lock:
            try:
                with self._open() as descriptor:
                    first = self._known.get(decision.id)
                    if first is not None:
                        if first.same(decision):
                            return False
                        raise AlreadyDecided(first)
                    self._append(descriptor, decision.line())
                    self._known[decision.id] = decision
                    return True
            except OSError as error:
                raise ServiceError(
                    f"the decision could not be written to '{self.path}': {error.strerror}. Decide again"
                ) from error

    def find(self, identity: str) -> Decision | None:
        """Return what was decided of a forecast; None for nothing yet."""
        with self._lock, self._open():
            return self._known.get(identity)

    @contextmanager
    def _open(self) -> Iterator[int]:
        """Hold the file alone, with all of it read."""
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o640)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            self._catch_up(descriptor)
            yield descriptor
        finally:
            os.close(descriptor)

    def _catch_up(self, descriptor: int) -> None:
        """Read what others wrote; a last line that was not written to its end is cut off."""
        size = os.fstat(descriptor).st_size
        if size < self._read_bytes:  # somebody put another file there
            self._known, self._read_bytes = {}, 0
        data = b""
        while (left := size - self._read_bytes - len(data)) > 0:
            data += os.pread(descriptor, min(left, 1 << 20), self._read_bytes + len(data))
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            os.ftruncate(descriptor, self._read_bytes + whole)
        for line in data[:whole].splitlines():
            try:
                found = Decision(**json.loads(line))
            except (ValueError, TypeError):  # a line of somebody else's hand decides nothing
                continue
            self._known.setdefault(found.id, found)
        self._read_bytes += whole

    def _append(self, descriptor: int, line: bytes) -> None:
        try:
            left = memoryview(line)
            while left:
                left = left[os.write(descriptor, left) :]
            os.fsync(descriptor)
        except OSError:
            with suppress(OSError):
                os.ftruncate(descriptor, self._read_bytes)
            raise
        self._read_bytes += len(line)
