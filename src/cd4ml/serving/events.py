"""Prediction events: what was asked and answered, as JSON Lines in an append-only log.

A request hands its event to a queue of limited length and goes on. A thread writes. Whatever goes wrong
there, full queue, full disk, a value that JSON does not know, costs events and never a request; each event
that is lost is counted by its reason.

A line is one prediction: `id` of the request, `row` in it, `model`, `version`, `variant`, `protocol`, `time`
(UTC), `inputs` as they were sent and `output`. `id` and `row` together name it; outcomes join on them.
"""

from __future__ import annotations

import atexit
import json
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cd4ml.serving.event_files import EventFile, FolderFull, finish_orphans

if TYPE_CHECKING:
    import numpy as np

__all__ = ["EventCounts", "EventLog", "PredictionEvent"]

_MOST_BATCH_BYTES = 1 << 20

_Rows = Sequence[Mapping[str, Any]]
_Inputs = _Rows | Mapping[str, Sequence[Any]] | Callable[[], _Rows]


@dataclass(frozen=True, slots=True)
class PredictionEvent:
    """One answered request.

    Attributes
    ----------
    inputs : sequence of mappings, mapping of sequences, or callable
        The rows as they were sent, or their columns, or what returns the rows: the writer calls it, e.g.
        `partial(rows_from_columns, contract, columns)`. Nobody may alter them afterwards.
    outputs : mapping
        Name -> one value a row, e.g. `prediction`.
    time_seconds : float
        When it was answered, since 1970.
    """

    request_id: str
    model: str
    version: str
    variant: str
    protocol: str
    inputs: _Inputs
    outputs: Mapping[str, Sequence[Any] | np.ndarray[Any, Any]]
    time_seconds: float = field(default_factory=time.time)

    @property
    def rows(self) -> int:
        """How many predictions it has."""
        return len(next(iter(self.outputs.values()), ()))

    def lines(self) -> Iterator[str]:
        """Yield each prediction as JSON with its line end.

        NaN and infinities, which JSON does not know, become null.

        Raises
        ------
        TypeError, ValueError, RecursionError
            If a value cannot be written, or inputs and outputs are not of one length.
        """
        when = datetime.fromtimestamp(self.time_seconds, UTC)
        common = {
            "id": self.request_id,
            "model": self.model,
            "version": self.version,
            "variant": self.variant,
            "protocol": self.protocol,
            "time": when.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        }
        inputs = self.inputs() if callable(self.inputs) else self.inputs
        inputs = _rows(inputs) if isinstance(inputs, Mapping) else inputs
        for row, (sent, found) in enumerate(zip(inputs, _rows(self.outputs), strict=True)):
            yield _dump({**common, "row": row, "inputs": sent, "output": found}) + "\n"


def _rows(columns: Mapping[str, Any]) -> list[dict[str, Any]]:
    lists = [_plain(column) if hasattr(column, "tolist") else column for column in columns.values()]
    return [dict(zip(columns, values, strict=True)) for values in zip(*lists, strict=True)]


def _dump(value: Mapping[str, Any]) -> str:
    try:
        return json.dumps(value, default=_plain, allow_nan=False)
    except ValueError:
        return json.dumps(_without_nan(value), allow_nan=False)


def _plain(value: Any) -> Any:
    """Return a value of NumPy as Python has it; times as text."""
    if hasattr(value, "dtype"):
        return value.astype(str).tolist() if value.dtype.kind == "M" else value.tolist()
    raise TypeError(f"JSON does not know {type(value).__name__}")


def _without_nan(value: Any) -> Any:
    if hasattr(value, "dtype"):
        value = _plain(value)
    if isinstance(value, Mapping):
        return {name: _without_nan(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@dataclass(frozen=True, slots=True)
class EventCounts:
    """What became of the predictions that were handed to a log.

    Attributes
    ----------
    written : int
        In a file.
    dropped : mapping
        Reason -> lost ones: `full` queue, `unencodable` value, `unwritable` file, `no_space` left in the
        folder, log `closed`.
    waiting : int
        Not written yet.
    last_error : str
        Why the last ones could not be written; "" when there was no reason yet.
    """

    written: int
    dropped: Mapping[str, int]
    waiting: int
    last_error: str


class EventLog:
    """An append-only log of predictions that never blocks and never fails.

    The thread starts with the first event. A log can be pickled, for a worker that is spawned: the copy is an
    empty log of the same folder. It does not survive a fork.

    Parameters
    ----------
    path : Path
        A folder; several processes may share it. `event_files.whole_files` lists what is complete.
    most_waiting : int
        Predictions (rows, not requests) that may wait to be written.
    most_file_bytes, most_file_seconds : int, float
        When a file is whole and the next one begins.
    most_folder_bytes : int
        Once the folder holds that much, events are dropped until somebody takes whole files away.
    flush_seconds : float
        How long events wait at most before they are written; writing many at once disturbs requests least.
    count : callable, optional
        Told (`written` or a reason, how many) for each step, e.g. `Telemetry.count_events`.
    """

    def __init__(
        self,
        path: Path,
        most_waiting: int = 20_000,
        most_file_bytes: int = 64 << 20,
        most_file_seconds: float = 60.0,
        *,
        most_folder_bytes: int = 4 << 30,
        flush_seconds: float = 0.1,
        count: Callable[[str, int], None] | None = None,
    ) -> None:
        self.path = path
        self._settings = (most_waiting, most_file_bytes, most_file_seconds)
        self._more = {"most_folder_bytes": most_folder_bytes, "flush_seconds": flush_seconds, "count": count}
        self._most_folder_bytes, self._flush_seconds, self._count = most_folder_bytes, flush_seconds, count
        self._lock = threading.Lock()  # held for a few assignments only: what takes long happens outside
        self._queue: list[PredictionEvent] = []
        self._waiting = 0
        self._totals: dict[str, int] = {}
        self._last_error = ""
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()
        self._file: EventFile | None = None

    def __reduce__(self) -> tuple[Callable[..., EventLog], tuple[Any, ...]]:
        return _make, ((self.path, *self._settings), self._more)

    def append(self, event: PredictionEvent) -> bool:
        """Hand over an event; return whether it was taken. Returns at once, and raises nothing."""
        try:
            rows = event.rows
        except TypeError as error:
            self._tell("unencodable", 1, str(error))
            return False
        reason = ""
        with self._lock:
            if self._closing.is_set():
                reason = "closed"
            elif self._waiting + rows > self._settings[0]:
                reason = "full"
            else:
                self._queue.append(event)
                self._waiting += rows
                if self._thread is None:
                    self._start()
        if reason:
            self._tell(reason, rows)
        return not reason

    def counts(self) -> EventCounts:
        """Return what became of events until now."""
        with self._lock:
            dropped = {name: number for name, number in self._totals.items() if name != "written"}
            written = self._totals.get("written", 0)
            return EventCounts(written, dropped, self._waiting, self._last_error)

    def close(self, timeout_seconds: float = 5.0) -> EventCounts:
        """Write what waits and finish the file; return what became of all. Safe to call again."""
        with self._lock:
            self._closing.set()
            thread = self._thread
        if thread is not None:
            thread.join(timeout_seconds)
            atexit.unregister(self.close)
        return self.counts()

    def _start(self) -> None:
        thread = threading.Thread(target=self._run, name="events", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # no more threads: events wait, and the next one tries again
            self._last_error = str(error)
            return
        self._thread = thread
        atexit.register(self.close)

    def _tell(self, result: str, number: int, error: str = "") -> None:
        with self._lock:
            self._totals[result] = self._totals.get(result, 0) + number
            self._last_error = error or self._last_error
        if self._count is None:
            return
        try:
            self._count(result, number)
        except Exception as failure:  # a counter that fails must not fail a request either
            with self._lock:
                self._last_error = f"{type(failure).__name__}: {failure}"

    def _run(self) -> None:
        self._guarded(partial(finish_orphans, self.path))
        closing = False
        while not closing:
            closing = self._closing.wait(self._flush_seconds)
            with self._lock:
                events, self._queue = self._queue, []
            self._write_all(events)
            self._guarded(partial(self._finish_file, closing))
        # append takes nothing once _closing is set, so what was taken is written.

    def _guarded(self, act: Callable[[], object]) -> None:
        try:
            act()
        except OSError as error:
            with self._lock:
                self._last_error = str(error)

    def _write_all(self, events: list[PredictionEvent]) -> None:
        lines: list[str] = []
        size_bytes = 0
        for event in events:
            try:
                new = list(event.lines())
            except Exception as error:  # whatever an event is made of, the thread has to live
                self._lose(event.rows, "unencodable", error)
                continue
            lines += new
            size_bytes += sum(map(len, new))
            if size_bytes >= _MOST_BATCH_BYTES:
                self._write(lines)
                lines, size_bytes = [], 0
        if lines:
            self._write(lines)

    def _write(self, lines: list[str]) -> None:
        try:
            if self._file is None:
                self._file = EventFile(self.path, self._most_folder_bytes)
            self._file.append("".join(lines).encode())
            self._settle(len(lines), "written")
            if self._file.bytes >= self._settings[1]:
                self._guarded(partial(self._finish_file, True))
        except FolderFull as error:
            self._lose(len(lines), "no_space", error)
        except OSError as error:
            self._guarded(partial(self._finish_file, True))
            self._lose(len(lines), "unwritable", error)

    def _finish_file(self, anyway: bool) -> None:
        file = self._file
        if file is None:
            return
        if anyway or time.monotonic() - file.began_seconds >= self._settings[2]:
            self._file = None
            file.finish()

    def _lose(self, rows: int, reason: str, error: Exception) -> None:
        self._settle(rows, reason, f"{type(error).__name__}: {error}")

    def _settle(self, rows: int, result: str, error: str = "") -> None:
        with self._lock:
            self._waiting -= rows
        self._tell(result, rows, error)


def _make(settings: tuple[Any, ...], more: dict[str, Any]) -> EventLog:
    return EventLog(*settings, **more)
