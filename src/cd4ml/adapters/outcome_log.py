"""What came true: an append-only log of outcomes, joined with predictions by request id and row.

Each addition is a file of JSON Lines `{"id", "row", "actual", "time"}` that is written whole; `time` is when
it was added. Nothing is ever changed: the same outcome again changes nothing, another one for the same
prediction corrects it.
"""

from __future__ import annotations

import json
import math
import os
import time
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cd4ml.adapters.line_tail import FolderTail, parsed, seconds_of
from cd4ml.adapters.storage import atomic
from cd4ml.errors import UsageError

__all__ = ["Outcome", "OutcomeLog"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came true of one prediction.

    Attributes
    ----------
    actual : float
        As the problem's target; 1 or 0 for classification.
    at_seconds : float
        When it became known, since 1970; the log says so.
    """

    id: str
    row: int
    actual: float
    at_seconds: float = 0.0

    @property
    def key(self) -> tuple[str, int]:
        """The prediction it belongs to."""
        return self.id, self.row


class OutcomeLog:
    """The outcomes of one service.

    Parameters
    ----------
    folder : Path
        Made at the first addition.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._tail = FolderTail(folder)
        self.damaged: list[str] = []

    def append(self, outcomes: Iterable[Outcome], at_seconds: float | None = None) -> int:
        """Add outcomes that became known now, or at `at_seconds`; return how many.

        Raises
        ------
        UsageError
            If one is not finite, or has no id or a negative row; nothing is added then.
        """
        now = time.time() if at_seconds is None else at_seconds
        when = datetime.fromtimestamp(now, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        found = list(outcomes)
        for one in found:
            if not one.id or one.row < 0 or not math.isfinite(one.actual):
                raise UsageError(f"expected an id, a row from 0 on and a finite actual value; found {one}")
        if not found:
            return 0
        lines = [
            json.dumps({"id": one.id, "row": one.row, "actual": one.actual, "time": when}) for one in found
        ]
        name = f"outcomes-{time.time_ns():020d}-{os.getpid()}-{uuid.uuid4().hex[:8]}.jsonl"
        atomic.write_text(self.folder / name, "\n".join(lines) + "\n")
        return len(found)

    def read(self) -> Iterator[Outcome]:
        """Yield new outcomes."""
        return parsed(self._tail.read(), _outcome, self.damaged)


def _outcome(value: dict[str, Any]) -> Outcome:
    actual = float(value["actual"])
    if not math.isfinite(actual):
        raise ValueError("the actual value is not finite")
    return Outcome(str(value["id"]), int(value["row"]), actual, seconds_of(value["time"]))
