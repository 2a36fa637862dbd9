"""The access log of the local gateway: who was sent where, and what became of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cd4ml.adapters.envoy.routes import ASKED
from cd4ml.adapters.line_tail import RotatedTail, parsed, seconds_of

__all__ = ["AccessLine", "AccessLog"]

_PREDICTION = re.compile(r"(?::predict|/infer)(?:\?.*)?$")
_GAVE_UP = "DC"
"""Envoy's flag of a caller that went away before it was answered."""
_CUT = "upstream_reset_after_response_started"


@dataclass(frozen=True, slots=True)
class AccessLine:
    """One prediction that was asked for through the gateway.

    Attributes
    ----------
    variant : str
        Where the gateway sent it, "stable" or "canary"; "" if nowhere.
    answered_by, version : str
        What the answer says of itself; "" for an error of the gateway.
    status : int
        Of the answer; 0 for none.
    at_seconds, seconds : float
        When it began, since 1970, and how long it took, with all attempts.
    attempts : int
        How often it was sent on.
    unit : str
        What its place was decided by: the sticky value, else the request's id.
    by_chance : bool
        False for one that named its variant.
    gave_up : bool
        The caller went away before the answer.
    """

    id: str
    service: str
    variant: str
    answered_by: str
    version: str
    status: int
    at_seconds: float
    seconds: float
    attempts: int
    unit: str
    by_chance: bool
    gave_up: bool
    cut: bool

    @property
    def failed(self) -> bool:
        """The service failed: no answer, an error of the server, or an answer that was cut off."""
        return (self.status >= 500 or self.status == 0 or self.cut) and not self.gave_up

    @property
    def refused(self) -> bool:
        """The service said that the request was wrong."""
        return 400 <= self.status < 500 and bool(self.version)

    @property
    def end_seconds(self) -> float:
        """When it was over, since 1970."""
        return self.at_seconds + self.seconds


class AccessLog:
    """Reads the log as it grows.

    Attributes
    ----------
    damaged : list of str
        Why each line that could not be read could not.
    """

    def __init__(self, path: Path) -> None:
        self._tail = RotatedTail(path)
        self.damaged: list[str] = []
        self.lines = 0
        """All lines so far, those of other paths too."""

    @property
    def gaps(self) -> int:
        """How often lines were lost between two looks."""
        return self._tail.gaps

    def read(self) -> Iterator[AccessLine]:
        """Yield new predictions in the order in which they ended."""
        lines = self._tail.read()
        self.lines += len(lines)
        return (line for line in parsed(lines, _line, self.damaged) if line is not None)


def _line(value: dict[str, Any]) -> AccessLine | None:
    if value["method"] != "POST" or not _PREDICTION.search(value["path"]):
        return None
    service, _, variant = (value["cluster"] or "").rpartition("|")
    request = value.get("request_id") or value["id"] or ""
    flags = (value["flags"] or "").split(",")
    return AccessLine(
        id=value["id"] or request,
        service=service,
        variant=variant,
        answered_by=value["variant"] or "",
        version=value["version"] or "",
        status=int(value["status"] or 0),
        at_seconds=seconds_of(value["time"]),
        seconds=float(value["milliseconds"] or 0) / 1000,
        attempts=int(value["attempts"] or 0),
        unit=value.get("unit") or request,
        by_chance=value.get("route") != ASKED,
        gave_up=_GAVE_UP in flags or "DownstreamConnectionTermination" in flags,
        cut=value["details"] == _CUT or (value["details"] or "").startswith(f"{_CUT}{{"),
    )
