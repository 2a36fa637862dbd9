"""JSON patch (RFC 6902) and merge patch (RFC 7386)."""

from __future__ import annotations

import copy
from typing import Any

from tests.kubernetes.standin.answers import bad_request, unprocessable

__all__ = ["json_patch", "merge_patch"]


def merge_patch(target: Any, patch: Any) -> Any:
    """Return the target with the patch merged in: null removes, lists are replaced."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    merged = dict(target) if isinstance(target, dict) else {}
    for key, item in patch.items():
        if item is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), item)
    return merged


def json_patch(target: Any, operations: Any) -> Any:
    """Return the target after the operations; raises the 422 of the server when one cannot be done."""
    if not isinstance(operations, list):
        raise bad_request(
            "error decoding patch: json: cannot unmarshal object into Go value of type jsonpatch.Patch"
        )
    document = copy.deepcopy(target)
    for operation in operations:
        try:
            document = _one(document, operation)
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise unprocessable() from error
    return document


def _one(document: Any, operation: dict[str, Any]) -> Any:
    verb = operation["op"]
    path = _split(operation["path"])
    if verb == "test":
        if _at(document, path) != operation.get("value"):
            raise ValueError("test failed")
    elif verb == "add":
        _put(document, path, copy.deepcopy(operation["value"]), insert=True)
    elif verb == "replace":
        _at(document, path)
        _put(document, path, copy.deepcopy(operation["value"]), insert=False)
    elif verb == "remove":
        _take(document, path)
    elif verb == "move":
        _put(document, path, _take(document, _split(operation["from"])), insert=True)
    elif verb == "copy":
        _put(document, path, copy.deepcopy(_at(document, _split(operation["from"]))), insert=True)
    else:
        raise ValueError(f"unknown operation {verb}")
    return document


def _split(pointer: str) -> list[str]:
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]


def _at(document: Any, path: list[str]) -> Any:
    for part in path:
        document = document[int(part)] if isinstance(document, list) else document[part]
    return document


def _put(document: Any, path: list[str], value: Any, *, insert: bool) -> None:
    place, last = _at(document, path[:-1]), path[-1]
    if not isinstance(place, list):
        place[last] = value
    elif last == "-":
        place.append(value)
    elif insert:
        if int(last) > len(place):
            raise IndexError(last)
        place.insert(int(last), value)
    else:
        place[int(last)] = value


def _take(document: Any, path: list[str]) -> Any:
    place, last = _at(document, path[:-1]), path[-1]
    return place.pop(int(last)) if isinstance(place, list) else place.pop(last)
