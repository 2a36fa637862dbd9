"""A recording of a real API server, replayed call by call against another server.

What differs between two runs is mapped: uids by the object, times, resource versions one to one and in order.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

__all__ = ["Heard", "Replay", "load", "masked"]

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ|<time>")
_UID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|<uid>")
_VERSION_TEXTS = (
    r'resourceVersion(?:\\)*":(?:\\)*"(\d+)',
    r"in record \((\d+)\)",
    r"too old resource version: \d+ \((\d+)\)",
)


@dataclass
class Heard:
    """What a server said: to compare as a whole."""

    status: int
    warning: str | None
    body: Any


@dataclass
class Replay:
    """The state of a replay: what the recorded resource versions and uids are here."""

    url: str
    versions: dict[str, str] = field(default_factory=dict)
    uids: dict[str, str] = field(default_factory=dict)

    def call(self, recorded: dict[str, Any], timeout_seconds: float = 10) -> Heard:
        """Make a recorded call here and return what was said, mapped back to the recording."""
        request = recorded["request"]
        body = request["body"]
        data = None if body is None else json.dumps(self._translated(body))
        headers = {"Content-Type": request["content_type"]} if request["content_type"] else {}
        answer = requests.request(
            request["method"],
            self.url + request["path"],
            params=request["params"],
            data=data,
            headers=headers,
            timeout=timeout_seconds,
        )
        said = answer.json()
        self._learn(recorded["response"]["body"], said)
        warning = answer.headers.get("Warning")
        return Heard(answer.status_code, warning, said)

    def expected(self, recorded: dict[str, Any]) -> Heard:
        """What the recording says, with the resource versions of here."""
        response = recorded["response"]
        return Heard(response["status"], response["warning"], self._versions_of_here(response["body"]))

    def version(self, recorded: str) -> str:
        """A resource version of the recording as it is here; one that nobody saw stays."""
        return self.versions.get(recorded, recorded)

    def _learn(self, recorded: Any, said: Any) -> None:
        """Pair resource versions and uids that stand in the same place."""
        for (path, theirs), (other, ours) in zip(_leaves(recorded), _leaves(said), strict=False):
            if path != other:
                return
            if path[-1] == "resourceVersion" and theirs:
                self.versions.setdefault(theirs, ours)
            elif path[-1] == "uid":
                self.uids[_name_of(said)] = ours

    def _translated(self, body: Any) -> Any:
        """A recorded body as it must be sent here."""
        body = copy.deepcopy(body)
        metadata = body.get("metadata", {}) if isinstance(body, dict) else {}
        if "resourceVersion" in metadata:
            metadata["resourceVersion"] = self.version(metadata["resourceVersion"])
        if "uid" in metadata:
            metadata["uid"] = self.uids[metadata["name"]]
        return body

    def _versions_of_here(self, body: Any) -> Any:
        text = json.dumps(body)
        for pattern in _VERSION_TEXTS:
            text = re.sub(pattern, lambda m: m[0].replace(m[1], self.version(m[1])), text)
        found = json.loads(text)
        for holder in _holders(found):
            holder["resourceVersion"] = self.version(holder["resourceVersion"])
        return found


def load(path: Path) -> list[dict[str, Any]]:
    """Read the calls of a recording."""
    return json.loads(path.read_text())["calls"]


def masked(value: Any) -> Any:
    """The value with times and uids hidden, also within messages."""
    text = json.dumps(value, sort_keys=True)
    return json.loads(_UID.sub("<uid>", _TIME.sub("<time>", text)))


def _leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, dict):
        for key in sorted(value):
            yield from _leaves(value[key], (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _leaves(item, (*path, str(index)))
    else:
        yield path, value


def _holders(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if isinstance(value.get("resourceVersion"), str):
            yield value
        for item in value.values():
            yield from _holders(item)
    elif isinstance(value, list):
        for item in value:
            yield from _holders(item)


def _name_of(said: Any) -> str:
    return said.get("metadata", {}).get("name") or said.get("details", {}).get("name", "")
