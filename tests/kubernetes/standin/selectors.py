"""Label and field selectors of lists and watches."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from tests.kubernetes.standin.answers import bad_request

__all__ = ["Selector", "selector"]

Selector = Callable[[dict[str, Any]], bool]
_SET = re.compile(r"(?P<key>\S+)\s+(?P<verb>in|notin)\s*\((?P<values>[^)]*)\)")
_EQUAL = re.compile(r"(?P<key>[^=!\s]+)\s*(?P<verb>==|=|!=)\s*(?P<value>\S*)")


def selector(labels: str, fields: str, *, custom: bool) -> Selector:
    """Return what lets an object through; raises the 400 of the server for what it cannot read."""
    tests = [_label(part.strip()) for part in re.split(r",(?![^(]*\))", labels) if part.strip()]
    tests += [_field(part.strip(), custom) for part in fields.split(",") if part.strip()]
    return lambda document: all(test(document) for test in tests)


def _label(part: str) -> Selector:
    if found := _SET.fullmatch(part):
        key, values = found["key"], {item.strip() for item in found["values"].split(",")}
        if found["verb"] == "in":
            return lambda document: _labels(document).get(key) in values
        return lambda document: _labels(document).get(key) not in values
    if found := _EQUAL.fullmatch(part):
        key, value = found["key"], found["value"]
        if found["verb"] == "!=":
            return lambda document: _labels(document).get(key) != value
        return lambda document: _labels(document).get(key) == value
    if part.startswith("!"):
        return lambda document: part[1:] not in _labels(document)
    if re.fullmatch(r"[-A-Za-z0-9_./]+", part):
        return lambda document: part in _labels(document)
    raise bad_request(f"unable to parse requirement: found '{part}', expected: an operator")


def _labels(document: dict[str, Any]) -> dict[str, str]:
    return document["metadata"].get("labels") or {}


def _field(part: str, custom: bool) -> Selector:
    found = _EQUAL.fullmatch(part)
    if not found:
        raise bad_request(f"invalid selector: '{part}'; can't understand '{part}'")
    key, value, steps = found["key"], found["value"], found["key"].split(".")
    if custom and key not in ("metadata.name", "metadata.namespace"):
        raise bad_request(f"field label not supported: {key}")

    def test(document: dict[str, Any]) -> bool:
        item: Any = document
        for step in steps:
            item = item.get(step, "") if isinstance(item, dict) else ""
        return (str(item) == value) != (found["verb"] == "!=")

    return test
