"""Validation of custom resources against their structural schemas, in the words of the API server."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from tests.kubernetes.standin import cel
from tests.kubernetes.standin.answers import Cause
from tests.kubernetes.standin.schemas import child_schema

__all__ = ["validate", "validate_name"]

Schema = Mapping[str, Any]
_BLOCKING = {"FieldValueNotSupported", "FieldValueRequired", "FieldValueTooLong", "FieldValueTooMany"}
_BLOCKING |= {"FieldValueTypeInvalid"}
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_SUBDOMAIN_TEXT = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must"
    " start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is"
    " '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
_FORMATS = {
    "date-time": re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)"),
    "ipv4": re.compile(r"(\d{1,3}\.){3}\d{1,3}"),
    "ipv6": re.compile(r"[0-9a-fA-F:.]*:[0-9a-fA-F:.]*"),
    "byte": re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?"),
}
_BOUNDS = {"int32": 2**31, "int64": 2**63}


def validate(document: Mapping[str, Any], schema: Schema, old: Any = None, *, rules: bool) -> list[Cause]:
    """What is wrong with an object; `old` is what it was, for rules about changes."""
    top = {key: value for key, value in document.items() if key not in ("apiVersion", "kind", "metadata")}
    found = _check(top, schema, "")
    found += _lists(top, schema, "")
    if not rules:
        return found
    if any(cause.reason in _BLOCKING for cause in found):
        text = (
            "Invalid value: null: some validation rules were not checked because the object was invalid;"
            " correct the existing errors to complete validation"
        )
        return [*found, Cause("FieldValueInvalid", "<nil>", text)]
    return found + _rules(top, schema, "", old)


def validate_name(name: str) -> list[Cause]:
    """What is wrong with the name of an object."""
    if _SUBDOMAIN.fullmatch(name) and len(name) <= 253:
        return []
    text = _SUBDOMAIN_TEXT if len(name) <= 253 else "must be no more than 253 bytes"
    return [Cause("FieldValueInvalid", "metadata.name", f"Invalid value: {_shown(name)}: {text}")]


def _shown(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _where(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _type_of(value: Any) -> str:
    names = {bool: "boolean", int: "integer", float: "number", str: "string", dict: "object", list: "array"}
    return "null" if value is None else names[type(value)]


def _wrong(path: str, value: Any, text: str) -> Cause:
    return Cause("FieldValueInvalid", path, f"Invalid value: {_shown(value)}: {path} in body {text}")


def _has_type(value: Any, wanted: str) -> bool:
    kind = _type_of(value)
    whole = kind == "number" and float(value).is_integer()
    return kind == wanted or (wanted == "number" and kind == "integer") or (wanted == "integer" and whole)


def _check_type(value: Any, schema: Schema, path: str) -> list[Cause]:
    wanted = schema.get("type")
    if value is None and schema.get("nullable"):
        return []
    if schema.get("x-kubernetes-int-or-string"):
        if _type_of(value) in ("integer", "string"):
            return []
        wanted = "integer,string"
    elif not wanted or _has_type(value, wanted):
        return []
    kind = _type_of(value)
    text = f'Invalid value: "{kind}": {path} in body must be of type {wanted}: "{kind}"'
    return [Cause("FieldValueTypeInvalid", path, text)]


def _check(value: Any, schema: Schema, path: str) -> list[Cause]:
    wrong = _check_type(value, schema, path)
    if wrong or value is None:
        return wrong
    found = _check_value(value, schema, path)
    if isinstance(value, str):
        found += _check_text(value, schema, path)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        found += _check_number(value, schema, path)
    elif isinstance(value, list):
        found += _check_list(value, schema, path)
    elif isinstance(value, dict):
        found += _check_map(value, schema, path)
    return found + _check_combined(value, schema, path)


def _check_value(value: Any, schema: Schema, path: str) -> list[Cause]:
    allowed = schema.get("enum")
    if not allowed or value in allowed:
        return []
    told = ", ".join(_shown(item) for item in allowed)
    text = f"Unsupported value: {_shown(value)}: supported values: {told}"
    return [Cause("FieldValueNotSupported", path, text)]


def _check_text(value: str, schema: Schema, path: str) -> list[Cause]:
    found = []
    longest, shortest, pattern = schema.get("maxLength"), schema.get("minLength"), schema.get("pattern")
    if longest is not None and len(value) > longest:
        found.append(Cause("FieldValueTooLong", path, f"Too long: may not be more than {longest} bytes"))
    if shortest is not None and len(value) < shortest:
        found.append(_wrong(path, value, f"should be at least {shortest} chars long"))
    if pattern and not re.search(pattern, value):
        found.append(_wrong(path, value, f"should match '{pattern}'"))
    form = _FORMATS.get(schema.get("format", ""))
    if form and not form.fullmatch(value):
        text = f"{path} in body must be of type {schema['format']}: {_shown(value)}"
        found.append(Cause("FieldValueInvalid", path, f"Invalid value: {_shown(value)}: {text}"))
    return found


def _check_number(value: float, schema: Schema, path: str) -> list[Cause]:
    found = []
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and (value < low or (schema.get("exclusiveMinimum") and value == low)):
        equal = "" if schema.get("exclusiveMinimum") else " or equal to"
        found.append(_wrong(path, value, f"should be greater than{equal} {low:g}"))
    if high is not None and (value > high or (schema.get("exclusiveMaximum") and value == high)):
        equal = "" if schema.get("exclusiveMaximum") else " or equal to"
        found.append(_wrong(path, value, f"should be less than{equal} {high:g}"))
    bound = _BOUNDS.get(schema.get("format", ""), math.inf)
    if not -bound <= value < bound:
        found.append(_wrong(path, value, f"should be a valid {schema['format']}"))
    return found


def _check_list(value: list[Any], schema: Schema, path: str) -> list[Cause]:
    found = []
    most, least = schema.get("maxItems"), schema.get("minItems")
    if most is not None and len(value) > most:
        found.append(_too_many(path, len(value), most))
    if least is not None and len(value) < least:
        found.append(_wrong(path, value, f"should have at least {least} items"))
    for index, item in enumerate(value):
        found += _check(item, schema.get("items") or {}, f"{path}[{index}]")
    return found


def _too_many(path: str, size: int, most: int) -> Cause:
    return Cause("FieldValueTooMany", path, f"Too many: {size}: must have at most {most} items")


def _check_map(value: dict[str, Any], schema: Schema, path: str) -> list[Cause]:
    found = []
    most, least = schema.get("maxProperties"), schema.get("minProperties")
    if most is not None and len(value) > most:
        found.append(_too_many(path, len(value), most))
    if least is not None and len(value) < least:
        found.append(_wrong(path, value, f"should have at least {least} properties"))
    for key in schema.get("required") or []:
        if key not in value:
            found.append(Cause("FieldValueRequired", _where(path, key), "Required value"))
    for key in sorted(value):
        found += _check(value[key], child_schema(schema, key) or {}, _where(path, key))
    return found


def _check_combined(value: Any, schema: Schema, path: str) -> list[Cause]:
    found: list[Cause] = []
    for part in schema.get("allOf") or []:
        found += _check(value, part, path)
    any_of, one_of = schema.get("anyOf"), schema.get("oneOf")
    if schema.get("x-kubernetes-int-or-string"):
        any_of = None
    if any_of and all(_check(value, part, path) for part in any_of):
        found.append(_combined(path, value, "must validate at least one schema (anyOf)"))
    if one_of:
        fits = sum(not _check(value, part, path) for part in one_of)
        if fits != 1:
            told = "Found none valid" if not fits else f"Found {fits} valid alternatives"
            found.append(_combined(path, value, f"must validate one and only one schema (oneOf). {told}"))
    if "not" in schema and not _check(value, schema["not"], path):
        found.append(_combined(path, value, "must not validate the schema (not)"))
    return found


def _combined(path: str, value: Any, text: str) -> Cause:
    return Cause("FieldValueInvalid", path, f'Invalid value: {_shown(value)}: "{path}" {text}')


def _lists(value: Any, schema: Schema, path: str) -> list[Cause]:
    """Lists that are sets or maps hold each thing once."""
    found: list[Cause] = []
    if isinstance(value, dict):
        for key in sorted(value):
            found += _lists(value[key], child_schema(schema, key) or {}, _where(path, key))
    elif isinstance(value, list):
        inner, kind, seen = schema.get("items") or {}, schema.get("x-kubernetes-list-type"), []
        for index, item in enumerate(value):
            mark = item
            if kind == "map" and isinstance(item, dict):
                mark = {key: item.get(key) for key in schema["x-kubernetes-list-map-keys"]}
            if kind in ("map", "set") and mark in seen:
                text = f"Duplicate value: {_shown(mark)}"
                found.append(Cause("FieldValueDuplicate", f"{path}[{index}]", text))
            seen.append(mark)
            found += _lists(item, inner, f"{path}[{index}]")
    return found


def _rules(value: Any, schema: Schema, path: str, old: Any) -> list[Cause]:
    """The x-kubernetes-validations of the schema and of all below it, evaluated in CEL."""
    found: list[Cause] = []
    if value is None:
        return found
    for rule in schema.get("x-kubernetes-validations") or []:
        if "oldSelf" in rule["rule"] and old is None:
            continue
        text = rule.get("message") or f"failed rule: {' '.join(rule['rule'].split())}"
        try:
            holds = cel.holds(rule["rule"], value, old)
        except cel.CelError as error:
            holds, text = False, f"rule evaluation error: {error}"
        if not holds:
            found.append(Cause("FieldValueInvalid", path or "<nil>", f"Invalid value: {text}"))
    if isinstance(value, dict):
        before = old if isinstance(old, dict) else {}
        for key in sorted(value):
            inner = child_schema(schema, key) or {}
            found += _rules(value[key], inner, _where(path, key), before.get(key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            found += _rules(item, schema.get("items") or {}, f"{path}[{index}]", None)
    return found
