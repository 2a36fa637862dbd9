"""What the stand-in remembers: objects, one counter of resource versions, and events for watches."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.kubernetes.standin.answers import expired

__all__ = ["Event", "Store"]

_Key = tuple[str, str]
_Name = tuple[str, str]


@dataclass(frozen=True)
class Event:
    """One write; `before` is what a selector may have let through earlier."""

    version: int
    kind: str
    document: dict[str, Any]
    before: dict[str, Any] | None


class Store:
    """Objects by kind and name. Callers hold `lock` over a read and the write that rests on it."""

    def __init__(self, first_version: int = 1) -> None:
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.version = first_version
        self._objects: dict[_Key, dict[_Name, dict[str, Any]]] = {}
        self._events: dict[_Key, list[Event]] = {}
        self._oldest: dict[_Key, int] = {}

    def touch(self, key: _Key) -> None:
        """A kind's history begins with the first call that asks for it, as in the server's watch cache."""
        with self.lock:
            self._oldest.setdefault(key, self.version)

    def get(self, key: _Key, namespace: str, name: str) -> dict[str, Any] | None:
        """Return a copy of an object, or None."""
        with self.lock:
            return copy.deepcopy(self._objects.get(key, {}).get((namespace, name)))

    def all(self, key: _Key, namespace: str = "") -> list[dict[str, Any]]:
        """Return copies of the objects of a kind, by namespace and name."""
        with self.lock:
            found = self._objects.get(key, {})
            chosen = [found[name] for name in sorted(found) if not namespace or name[0] == namespace]
            return copy.deepcopy(chosen)

    def kinds(self) -> list[_Key]:
        with self.lock:
            return sorted(self._objects)

    def put(self, key: _Key, document: dict[str, Any]) -> dict[str, Any]:
        """Write an object under the next resource version and tell the watches."""
        with self.lock:
            metadata = document["metadata"]
            place = (metadata.get("namespace", ""), metadata["name"])
            found = self._objects.setdefault(key, {})
            before = found.get(place)
            self.version += 1
            written = copy.deepcopy(document)
            written["metadata"]["resourceVersion"] = str(self.version)
            found[place] = written
            self._tell(key, Event(self.version, "MODIFIED" if before else "ADDED", written, before))
            return copy.deepcopy(written)

    def remove(self, key: _Key, namespace: str, name: str) -> None:
        """Remove an object: its last event carries a resource version of its own."""
        with self.lock:
            before = self._objects[key].pop((namespace, name))
            self.version += 1
            last = copy.deepcopy(before)
            last["metadata"]["resourceVersion"] = str(self.version)
            self._tell(key, Event(self.version, "DELETED", last, before))

    def compact(self) -> None:
        """Forget the history: watches from an earlier version get 410 Expired."""
        with self.lock:
            for key in set(self._oldest) | set(self._events):
                self._oldest[key] = self.version
                self._events[key] = []
            self.changed.notify_all()

    def events_after(self, key: _Key, version: int) -> list[Event]:
        """Return what happened after a version; raises the 410 of the server if that is forgotten."""
        with self.lock:
            oldest = self._oldest.get(key, 0)
            if version < oldest:
                raise expired(version, oldest)
            return [event for event in self._events.get(key, []) if event.version > version]

    def is_quiet(self, key: _Key, version: int) -> bool:
        """Whether nothing happened to a kind after a version, and its history still reaches back to it."""
        with self.lock:
            events = self._events.get(key, [])
            return version >= self._oldest.get(key, 0) and not (events and events[-1].version > version)

    def wait(self, ready: Callable[[], bool], timeout_seconds: float) -> None:
        """Wait until something may be ready."""
        with self.changed:
            self.changed.wait_for(ready, timeout_seconds)

    def _tell(self, key: _Key, event: Event) -> None:
        self._oldest.setdefault(key, self.version - 1)
        self._events.setdefault(key, []).append(event)
        self.changed.notify_all()
