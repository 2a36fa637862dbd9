"""Sets of field paths, as managedFields tells who owns what, and what a schema says about merging.

A path is a tuple of elements as FieldsV1 writes them: "f:spec", 'k:{"name":"a"}', 'v:"x"'.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.kubernetes.standin.schemas import child_schema

__all__ = [
    "Comparison",
    "Path",
    "compare",
    "decode",
    "encode",
    "field_set",
    "merge",
    "printed",
    "remove",
    "with_parents",
]

Path = tuple[str, ...]
_ABSENT: Any = object()


def encode(paths: Iterable[Path]) -> dict[str, Any]:
    """Return the set as FieldsV1: "." marks what is owned itself beside something below it."""
    tree: dict[str, Any] = {}
    owned = set(paths)
    for path in sorted(owned):
        node = tree
        for depth, element in enumerate(path, start=1):
            node = node.setdefault(element, {})
            if depth < len(path) and path[:depth] in owned:
                node.setdefault(".", {})
    return tree


def decode(tree: Mapping[str, Any], before: Path = ()) -> set[Path]:
    """Read FieldsV1."""
    found: set[Path] = set()
    for element, below in tree.items():
        if element == ".":
            found.add(before)
            continue
        path = (*before, element)
        if not below:
            found.add(path)
        found |= decode(below, path)
    return found


def printed(path: Path) -> str:
    """The path as messages show it: .spec.ports[name="http"].port."""
    text = ""
    for element in path:
        sign, _, rest = element.partition(":")
        if sign == "f":
            text += f".{rest}"
        elif sign == "k":
            keys = json.loads(rest)
            text += "[" + ",".join(f"{key}={json.dumps(keys[key])}" for key in sorted(keys)) + "]"
        else:
            text += f"[={rest}]"
    return text


def with_parents(paths: Iterable[Path]) -> set[Path]:
    """The set with every named field on the way to its members."""
    found: set[Path] = set()
    for path in paths:
        found.add(path)
        found |= {path[:end] for end in range(1, len(path)) if path[end - 1].startswith("f:")}
    return found


@dataclass
class Comparison:
    """What a write did to an object, as sets of paths."""

    added: set[Path] = field(default_factory=set)
    removed: set[Path] = field(default_factory=set)
    modified: set[Path] = field(default_factory=set)

    def leaf(self, old: Any, new: Any, path: Path) -> None:
        if old is _ABSENT:
            self.added.add(path)
        elif new is _ABSENT:
            self.removed.add(path)
        elif old != new or isinstance(old, bool) != isinstance(new, bool):
            self.modified.add(path)


def _items(value: Any, schema: Mapping[str, Any]) -> list[tuple[str, Any, Mapping[str, Any]]] | None:
    """The elements below a value, with their schemas; None for a leaf (a scalar or an atomic list or map)."""
    if isinstance(value, dict):
        if schema.get("x-kubernetes-map-type") == "atomic":
            return None
        return [(f"f:{key}", item, child_schema(schema, key) or {}) for key, item in value.items()]
    if isinstance(value, list):
        kind = schema.get("x-kubernetes-list-type", "atomic")
        inner = schema.get("items") or {}
        if kind == "map":
            return [(_list_key(item, schema, inner), item, inner) for item in value]
        if kind == "set":
            return [(f"v:{json.dumps(item, separators=(',', ':'))}", item, inner) for item in value]
    return None


def _list_key(item: Any, schema: Mapping[str, Any], inner: Mapping[str, Any]) -> str:
    keys = {}
    for name in schema["x-kubernetes-list-map-keys"]:
        default = (inner.get("properties") or {}).get(name, {}).get("default")
        keys[name] = item.get(name, default) if isinstance(item, dict) else None
    return "k:" + json.dumps(keys, sort_keys=True, separators=(",", ":"))


def _is_associative(schema: Mapping[str, Any]) -> bool:
    return schema.get("x-kubernetes-list-type") in ("map", "set")


def compare(old: Any, new: Any, schema: Mapping[str, Any], path: Path = ()) -> Comparison:
    """What changed: leaves and, where whole parts came or went, also the parts themselves."""
    found = Comparison()
    _compare(old, new, schema, path, found)
    return found


def _compare(old: Any, new: Any, schema: Mapping[str, Any], path: Path, found: Comparison) -> None:
    before, after = _items(old, schema), _items(new, schema)
    one_is_leaf = (before is None and old is not _ABSENT) or (after is None and new is not _ABSENT)
    if one_is_leaf or not (before or after):
        found.leaf(old, new, path)
        return
    was = {element: (item, inner) for element, item, inner in before or []}
    now = {element: (item, inner) for element, item, inner in after or []}
    for element in {**was, **now}:
        inner = (now.get(element) or was[element])[1]
        old_item = was[element][0] if element in was else _ABSENT
        new_item = now[element][0] if element in now else _ABSENT
        _compare(old_item, new_item, inner, (*path, element), found)
    if old is _ABSENT:
        found.added.add(path)
    elif new is _ABSENT:
        found.removed.add(path)


def field_set(value: Any, schema: Mapping[str, Any], path: Path = ()) -> set[Path]:
    """What an applied configuration claims: its leaves, empty maps, and items of maps and lists with keys."""
    items = _items(value, schema)
    if items is None:
        return {path}
    found: set[Path] = set()
    for element, item, inner in items:
        where = (*path, element)
        declared = element.startswith("f:") and element[2:] in (schema.get("properties") or {})
        if not declared or item is None or item == {}:
            found.add(where)
        if item != {}:
            found |= field_set(item, inner, where)
    return found


def merge(live: Any, applied: Any, schema: Mapping[str, Any]) -> Any:
    """The live object with what is applied laid over it, as the schema says."""
    if (
        isinstance(live, dict)
        and isinstance(applied, dict)
        and schema.get("x-kubernetes-map-type") != "atomic"
    ):
        merged = dict(live)
        for key, item in applied.items():
            inner = child_schema(schema, key) or {}
            merged[key] = merge(live[key], item, inner) if key in live else item
        return merged
    if isinstance(live, list) and isinstance(applied, list) and _is_associative(schema):
        return _merge_lists(live, applied, schema)
    return applied


def _merge_lists(live: list[Any], applied: list[Any], schema: Mapping[str, Any]) -> list[Any]:
    was = {element: item for element, item, _ in _items(live, schema) or []}
    now = {element: (item, inner) for element, item, inner in _items(applied, schema) or []}
    kept = [
        merge(item, now[element][0], now[element][1]) if element in now else item
        for element, item in was.items()
    ]
    return kept + [item for element, (item, _) in now.items() if element not in was]


def remove(value: Any, paths: set[Path], schema: Mapping[str, Any]) -> Any:
    """The value without the given paths and all that is below them."""
    items = _items(value, schema)
    if not paths or items is None:
        return value
    kept = [
        (element, remove(item, set(_below(paths, element)), inner))
        for element, item, inner in items
        if (element,) not in paths
    ]
    if isinstance(value, list):
        return [item for _, item in kept]
    return {element[2:]: item for element, item in kept}


def _below(paths: set[Path], element: str) -> Iterator[Path]:
    return (path[1:] for path in paths if path[0] == element and len(path) > 1)
