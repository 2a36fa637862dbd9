"""Faults that a test orders: the next matching calls are refused, delayed, dropped, or answered and lost."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

from tests.kubernetes.standin.answers import status

__all__ = ["Call", "Fault", "Faults"]


@dataclass
class Call:
    """One call as the server saw it; `code` is 0 while it runs or when it was dropped."""

    method: str
    path: str
    params: dict[str, str]
    content_type: str
    agent: str
    body: Any = None
    code: int = 0


@dataclass
class Fault:
    """What happens to matching calls. `times` counts down; a negative count never ends."""

    method: str = ""
    part_of_path: str = ""
    times: int = 1
    answer: dict[str, Any] | None = None
    wait_seconds: float = 0.0
    drop: bool = False
    lose_answer: bool = False
    hits: list[Call] = field(default_factory=list)

    def matches(self, call: Call) -> bool:
        return (
            self.times != 0 and call.method == (self.method or call.method) and self.part_of_path in call.path
        )


class Faults:
    """The faults of one server, used up in the order in which they were given."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    def fail(self, code: int = 503, method: str = "", part_of_path: str = "", times: int = 1) -> Fault:
        """Answer with an error of the server and do nothing."""
        words = {500: "Internal error occurred: ordered", 429: "Too many requests, please try again later."}
        answer = status(code, words.get(code, "the server is currently unable to handle the request"))
        return self._add(Fault(method, part_of_path, times, answer=answer))

    def conflict(self, method: str = "", part_of_path: str = "", times: int = 1) -> Fault:
        """Answer 409 Conflict, as if somebody else had been quicker, and do nothing."""
        text = (
            "Operation cannot be fulfilled: the object has been modified; please apply your changes to the"
            " latest version and try again"
        )
        return self._add(Fault(method, part_of_path, times, answer=status(409, text)))

    def slow(self, seconds: float, method: str = "", part_of_path: str = "", times: int = 1) -> Fault:
        """Do it, but only after a while: longer than the client's patience is a time-out."""
        return self._add(Fault(method, part_of_path, times, wait_seconds=seconds))

    def drop(self, method: str = "", part_of_path: str = "", times: int = 1) -> Fault:
        """Close the connection without doing anything."""
        return self._add(Fault(method, part_of_path, times, drop=True))

    def lose_answer(self, method: str = "", part_of_path: str = "", times: int = 1) -> Fault:
        """Do it and close the connection before the answer: the caller cannot know."""
        return self._add(Fault(method, part_of_path, times, lose_answer=True))

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()

    def take(self, call: Call) -> Fault | None:
        """Return the fault for a call and count it."""
        with self._lock:
            for fault in self._faults:
                if fault.matches(call):
                    fault.times -= 1
                    fault.hits.append(call)
                    return fault
        return None

    def _add(self, fault: Fault) -> Fault:
        with self._lock:
            self._faults.append(fault)
        return fault
