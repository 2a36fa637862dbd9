"""What one process tells of the requests that it answers: numbers, events, log lines."""

from __future__ import annotations

import logging
import threading
import time
from functools import partial
from typing import TYPE_CHECKING

from cd4ml.models.rows import rows_from_columns
from cd4ml.serving.events import EventLog, PredictionEvent
from cd4ml.serving.telemetry import Telemetry

if TYPE_CHECKING:
    from pathlib import Path

    from cd4ml.serving.predictor import BundlePredictor, Served
    from cd4ml.serving.routes import Exchange

__all__ = ["Recorder"]

_LOG = logging.getLogger("cd4ml.serving")
_LINES_A_SECOND = 20.0


class Recorder:
    """Listens to exchanges.

    Parameters
    ----------
    model : BundlePredictor
        Whose exchanges they are.
    events : Path or None
        Folder of prediction events; None for none.
    access_log : bool
        Whether each prediction is a line of the log; those that failed are in any case, at most twenty a
        second, and the next line tells how many were left out.
    """

    def __init__(self, model: BundlePredictor, events: Path | None, access_log: bool = False) -> None:
        self._model, self._access_log = model, access_log
        self._telemetry: dict[str, Telemetry] = {}
        self._lock = threading.Lock()
        self._events = EventLog(events, count=self._count_events) if events is not None else None
        self._lines, self._refilled, self._left_out = _LINES_A_SECOND, time.monotonic(), 0
        self._in_service: tuple[str, str] | None = None
        self.serves(model.served)

    def serves(self, served: Served) -> None:
        """Tell that a version came into service."""
        now = (served.version, served.bundle.id)
        before, self._in_service = self._in_service, now
        if before is not None and before != now:
            self._of(before[0]).in_service(before[1], False)
        self._of(served.version).in_service(now[1], True)

    def __call__(self, exchange: Exchange) -> None:
        """Record one exchange."""
        answer = exchange.answer
        predictions = answer.outputs["prediction"] if answer is not None else ()
        # Whoever asks for a model or version that is not here is counted with the version that is.
        telemetry = self._of(exchange.version or self._model.served.version)
        status, field = exchange.status, exchange.field
        telemetry.observe(exchange.protocol, exchange.seconds, predictions, status, field)
        if self._events is not None:
            self._append(self._events, exchange)
        if self._access_log or exchange.status >= 400:
            self._write(exchange)

    def close(self) -> None:
        """Write the events that wait."""
        if self._events is not None:
            self._events.close()

    @staticmethod
    def _append(events: EventLog, exchange: Exchange) -> None:
        rows, answer, contract = exchange.rows, exchange.answer, exchange.contract
        if rows is None or answer is None or contract is None:
            return
        who = (exchange.request_id, exchange.model, exchange.version, exchange.variant, exchange.protocol)
        inputs = partial(rows_from_columns, contract, rows.columns)
        events.append(PredictionEvent(*who, inputs, answer.outputs))

    def _of(self, version: str) -> Telemetry:
        found = self._telemetry.get(version)
        if found is None:
            with self._lock:
                model = self._model
                task = model.served.bundle.problem.task
                found = Telemetry(model.name, version, model.variant, task=task)
                self._telemetry[version] = found
        return found

    def _count_events(self, result: str, number: int) -> None:
        self._of(self._model.served.version).count_events(result, number)

    def _write(self, exchange: Exchange) -> None:
        if not self._access_log and not self._may_write():
            self._left_out += 1
            return
        more = {
            "request_id": exchange.request_id,
            "protocol": exchange.protocol,
            "version": exchange.version,
            "status": exchange.status,
            "seconds": round(exchange.seconds, 6),
            "rows": len(exchange.rows) if exchange.rows is not None else 0,
        }
        if exchange.field:
            more["field"] = exchange.field[:100]
        if self._left_out:
            more["lines_left_out"], self._left_out = self._left_out, 0
        level = logging.INFO if exchange.status < 400 else logging.WARNING
        _LOG.log(level if exchange.status < 500 else logging.ERROR, "prediction", extra=more)

    def _may_write(self) -> bool:
        """Return whether a line is left, of those that a second has: bad callers do not fill a disk."""
        now = time.monotonic()
        self._lines = min(_LINES_A_SECOND, self._lines + (now - self._refilled) * _LINES_A_SECOND)
        self._refilled = now
        if self._lines < 1.0:
            return False
        self._lines -= 1.0
        return True
