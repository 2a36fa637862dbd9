"""Reading what a caller sent: strict, warning or silent about unknown fields, and typed for an apply."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.kubernetes.standin.answers import Cause, Refused, bad_request, internal, invalid
from tests.kubernetes.standin.kinds import Kind
from tests.kubernetes.standin.schemas import child_schema, prune

__all__ = ["Decoded", "check_typed", "decode", "go_json"]


@dataclass(frozen=True)
class Decoded:
    """An object without unknown fields, and what the caller is warned of."""

    document: dict[str, Any]
    warnings: tuple[str, ...] = ()


def go_json(value: Any) -> str:
    """JSON as Go writes it: sorted, compact, with the signs of HTML escaped."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def decode(document: Any, kind: Kind, validation: str, *, patched: bool = False) -> Decoded:
    """Read an object of a kind; of one that was `patched` the server speaks in other words."""
    if not isinstance(document, dict) or not isinstance(document.get("metadata", {}), dict):
        raise bad_request(
            f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: no object'
        )
    _check_kind(document, kind)
    found = {"apiVersion": kind.api_version, "kind": kind.kind, **document}
    found.setdefault("metadata", {})
    if not kind.custom:
        _check_scalars(found, kind.schema, kind)
    kept, unknown = prune(found, kind.schema)
    told = tuple(f'unknown field "{path}"' for path in unknown)
    if told and validation == "Strict":
        raise _strict(document, kind, ", ".join(told), patched)
    return Decoded(_without_nulls(kept), told if validation != "Ignore" else ())


def _check_kind(document: Mapping[str, Any], kind: Kind) -> None:
    version = document.get("apiVersion", kind.api_version)
    if version != kind.api_version:
        raise bad_request(
            f"the API version in the data ({version}) does not match the expected API version"
            f" ({kind.api_version})"
        )
    given = document.get("kind", kind.kind)
    if given != kind.kind:
        raise bad_request(
            f'{given} in version "{kind.version}" cannot be handled as a {kind.kind}: no kind "{given}" is'
            f' registered for version "{kind.api_version}"'
        )


def _strict(document: dict[str, Any], kind: Kind, told: str, patched: bool) -> Refused:
    if not patched:
        return bad_request(
            f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}:'
            f" strict decoding error: {told}"
        )
    text = (
        f"Invalid value: {json.dumps(go_json(document), ensure_ascii=False)}: strict decoding error: {told}"
    )
    return invalid("", "", "", [Cause("FieldValueInvalid", "patch", text)])


def _without_nulls(document: dict[str, Any]) -> dict[str, Any]:
    metadata = {key: item for key, item in document["metadata"].items() if item is not None}
    return {**document, "metadata": metadata}


_JSON_NAMES = {str: "string", bool: "bool", int: "number", float: "number", dict: "object", list: "array"}
_GO_TYPES = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "object": (dict,),
}


def _fits(value: Any, wanted: str | None) -> bool:
    if value is None or wanted is None:
        return True
    if wanted == "array":
        return isinstance(value, list)
    return isinstance(value, _GO_TYPES[wanted]) and (wanted == "boolean") == isinstance(value, bool)


def _check_scalars(value: Any, schema: Mapping[str, Any], kind: Kind, path: str = "") -> None:
    """A built-in kind is typed in Go: a value of another type cannot be read at all."""
    if not _fits(value, schema.get("type")):
        raise bad_request(
            f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: json: cannot'
            f" unmarshal {_JSON_NAMES[type(value)]} into Go struct field {kind.kind}{path}"
            f" of type {schema['type']}"
        )
    if isinstance(value, dict):
        for key, item in value.items():
            _check_scalars(item, child_schema(schema, key) or {}, kind, f"{path}.{key}")
    elif isinstance(value, list):
        for item in value:
            _check_scalars(item, schema.get("items") or {}, kind, path)


def check_typed(document: Mapping[str, Any], kind: Kind, namespace: str, name: str) -> None:
    """Refuse an applied configuration that the schema does not type: 500, whatever the field validation."""
    wrong = _typed_errors(document, kind.schema, "")
    if not wrong:
        return
    text = wrong[0] if len(wrong) == 1 else "\n".join(["errors:", *(f"  {item}" for item in wrong)])
    place = f"{namespace}/{name}" if namespace else f"/{name}"
    raise internal(
        f"failed to create typed patch object ({place}; {kind.api_version}, Kind={kind.kind}): {text}"
    )


def _typed_errors(value: Any, schema: Mapping[str, Any], path: str) -> list[str]:
    if not _fits(value, schema.get("type")):
        return [f"{path}: {_expected(schema['type'], value)}"]
    found = []
    if isinstance(value, dict):
        for key in sorted(value):
            inner = child_schema(schema, key)
            if inner is None:
                found.append(f"{path}.{key}: field not declared in schema")
            else:
                found += _typed_errors(value[key], inner, f"{path}.{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            found += _typed_errors(item, schema.get("items") or {}, f"{path}[{index}]")
    return found


def _expected(wanted: str, value: Any) -> str:
    if wanted in ("integer", "number"):
        return f"expected numeric (int or float), got {_JSON_NAMES[type(value)]}"
    word = {"object": "map", "array": "list"}.get(wanted, wanted)
    return f"expected {word}, got &{{{value}}}"
