"""The model servers' prediction events, and their log lines of predictions that failed, as they grow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cd4ml.adapters.line_tail import FolderTail, LineTail, parsed, seconds_of

__all__ = ["EventFolder", "FailureLine", "FailureLog", "PredictionLine"]


@dataclass(frozen=True, slots=True)
class PredictionLine:
    """One row that was answered.

    Attributes
    ----------
    id, row
        Name it: the request, and its place in it.
    prediction : float or None
        None for one that is not finite.
    at_seconds : float
        When it was answered, since 1970.
    """

    id: str
    row: int
    variant: str
    version: str
    inputs: Mapping[str, Any]
    prediction: float | None
    at_seconds: float


@dataclass(frozen=True, slots=True)
class FailureLine:
    """A prediction that a server did not answer with 200."""

    id: str
    status: int
    at_seconds: float


class EventFolder:
    """Reads the events of one variant: of all its workers and starts, files that are still open too."""

    def __init__(self, folder: Path) -> None:
        self._tail = FolderTail(folder)
        self.damaged: list[str] = []

    def read(self) -> Iterator[PredictionLine]:
        """Yield new events; those of one file are in the order of their time."""
        return parsed(self._tail.read(), _prediction, self.damaged)


class FailureLog:
    """Reads the log of one variant's servers; lines of other things are passed over."""

    def __init__(self, path: Path) -> None:
        self._path, self._tail = path, LineTail()

    def read(self) -> Iterator[FailureLine]:
        """Yield new failures."""
        lines = (line for line in self._tail.read(self._path) if line.startswith(b"{"))
        return (line for line in parsed(lines, _failure, []) if line is not None)


def _prediction(value: dict[str, Any]) -> PredictionLine:
    found = value["output"]["prediction"]
    if not isinstance(value["inputs"], dict) or not isinstance(value["id"], str):
        raise TypeError("inputs and id are not what they should be")
    return PredictionLine(
        id=value["id"],
        row=int(value["row"]),
        variant=str(value["variant"]),
        version=str(value["version"]),
        inputs=value["inputs"],
        prediction=None if found is None else float(found),
        at_seconds=seconds_of(value["time"]),
    )


def _failure(value: dict[str, Any]) -> FailureLine | None:
    if value.get("message") != "prediction" or int(value["status"]) < 400:
        return None
    return FailureLine(str(value["request_id"]), int(value["status"]), seconds_of(value["time"]))
