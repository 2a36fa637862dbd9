"""What a structural schema does to an object: unknown fields are pruned, defaults are filled in."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

__all__ = ["child_schema", "fill_defaults", "is_free", "prune"]


def is_free(schema: Mapping[str, Any]) -> bool:
    """Whether fields without a schema are kept here."""
    return bool(schema.get("x-kubernetes-preserve-unknown-fields")) or not (
        schema.get("type") or schema.get("properties") or schema.get("x-kubernetes-int-or-string")
    )


def child_schema(schema: Mapping[str, Any], key: str) -> Mapping[str, Any] | None:
    """The schema of a field, or None for one that is not declared."""
    properties = schema.get("properties") or {}
    if key in properties:
        return properties[key]
    more = schema.get("additionalProperties")
    if isinstance(more, Mapping):
        return more
    return {} if more is True or is_free(schema) else None


def prune(value: Any, schema: Mapping[str, Any], path: str = "") -> tuple[Any, list[str]]:
    """Return the value without unknown fields, and the paths of those, sorted as the server sorts them."""
    if isinstance(value, dict):
        kept: dict[str, Any] = {}
        unknown: list[str] = []
        for key in sorted(value):
            inner = child_schema(schema, key)
            where = f"{path}.{key}" if path else key
            if inner is None:
                unknown.append(where)
                continue
            kept[key], below = prune(value[key], inner, where)
            unknown += below
        return kept, unknown
    if isinstance(value, list):
        pairs = [
            prune(item, schema.get("items") or {}, f"{path}[{index}]") for index, item in enumerate(value)
        ]
        return [item for item, _ in pairs], [where for _, below in pairs for where in below]
    return value, []


def fill_defaults(value: Any, schema: Mapping[str, Any]) -> Any:
    """Return the value with the defaults of its schema, also below what is there."""
    if isinstance(value, dict):
        filled = {}
        for key, item in value.items():
            inner = child_schema(schema, key) or {}
            if item is None and not inner.get("nullable") and "default" in inner:
                continue  # a null where none may be counts as absent, so that the default holds
            filled[key] = fill_defaults(item, inner)
        for key, inner in (schema.get("properties") or {}).items():
            if key not in filled and "default" in inner:
                filled[key] = fill_defaults(copy.deepcopy(inner["default"]), inner)
        return filled
    if isinstance(value, list):
        return [fill_defaults(item, schema.get("items") or {}) for item in value]
    return value
