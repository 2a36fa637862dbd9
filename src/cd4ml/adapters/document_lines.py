"""Documents that people write (YAML or JSON) with the line of each key, so that an error can name it."""

from __future__ import annotations

import dataclasses
import json
import re
import types
import typing
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from cd4ml.errors import ProblemError, nearest

__all__ = ["MAX_BYTES", "Key", "Lines", "decoded", "dump_yaml", "first_error", "located", "parse"]

Key = tuple[str | int, ...]
"""Where something is in a document, e.g. ("features", 2, "lags")."""
Lines = dict[Key, int]
"""Line of each key and item, counted from 1."""
MAX_BYTES = 5_000_000
"""A longer file was not written by a person."""


class _Loader(yaml.SafeLoader):
    """YAML as version 1.2 reads it: `on`, `yes`, dates and 12:30 are text, 1e-3 is a number and 012 is 12."""

    def decimal(self, node: yaml.ScalarNode) -> int:
        """Return an integer without the octal and sexagesimal numbers of version 1.1."""
        return int(node.value, 16 if node.value.startswith("0x") else 10)


_Loader.yaml_implicit_resolvers = {}
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.decimal)
for _tag, _pattern, _starts in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", list("-+.0123456789")),
    ("float", r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", list("-+.")),
    ("merge", r"<<", ["<"]),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _starts)


class _Dumper(yaml.SafeDumper):
    """Quotes what either version of YAML would read as something else than text."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        """Indent the items of a list below their key."""
        super().increase_indent(flow, False)


def _represent_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    """Return a text; one with signs that cannot be seen is written with escapes, or they would be lost."""
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if text.isprintable() else '"')


_Dumper.add_representer(str, _represent_text)
_Dumper.yaml_implicit_resolvers = {
    start: [
        *yaml.SafeDumper.yaml_implicit_resolvers.get(start, []),
        *_Loader.yaml_implicit_resolvers.get(start, []),
    ]
    for start in {*yaml.SafeDumper.yaml_implicit_resolvers, *_Loader.yaml_implicit_resolvers}
}


def dump_yaml(document: Any) -> str:
    """Return a document as YAML that `parse` reads back, keys in their order."""
    text: str = yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    return text


def decoded(data: bytes, origin: str, what: str) -> str:
    """Return a file's text, which must be UTF-8 and of at most MAX_BYTES; `what` says what it should be."""
    if len(data) > MAX_BYTES:
        raise ProblemError(f"{origin}: expected at most {MAX_BYTES} bytes; found more. Is it a {what}?")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ProblemError(f"{origin}: expected UTF-8 text; found byte {data[error.start]:#x}") from None


def parse(text: str, origin: str, keys: str) -> tuple[Lines, dict[str, Any]]:
    """Return the lines of a YAML or JSON text and what it says.

    Raises
    ------
    ProblemError
        With `origin` and line: when it is neither, gives a key twice or is no mapping with `keys`.
    """
    as_json, document = _as_json(text)
    try:
        # In JSON a tab is a blank; YAML knows it as none.
        node = yaml.compose(text.expandtabs(1) if as_json else text, Loader=_Loader)
        document = document if as_json else yaml.load(text, Loader=_Loader)  # noqa: S506 (a SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f":{mark.line + 1}" if mark else ""
        what = getattr(error, "problem", None) or "it cannot be read"
        raise ProblemError(
            f"{origin}{where}: expected YAML; {what}", line=mark.line + 1 if mark else None
        ) from None
    if not isinstance(document, dict):
        raise ProblemError(f"{origin}: expected a mapping with {keys}; found {type(document).__name__}")
    lines: Lines = {}
    try:
        _walk(node, (), lines, origin)
    except RecursionError:
        raise ProblemError(f"{origin}: expected a finite document; an anchor contains itself") from None
    return lines, document


def _as_json(text: str) -> tuple[bool, Any]:
    """Return whether a text is JSON, and what it says; YAML would read its pairs of escapes as two signs."""
    try:
        return True, json.loads(text)
    except (ValueError, RecursionError):
        return False, None


def _walk(node: yaml.Node | None, path: Key, lines: Lines, origin: str) -> None:
    if isinstance(node, yaml.MappingNode):
        own: set[str] = set()
        for key, value in node.value:
            if key.value in own:
                line = key.start_mark.line + 1
                raise ProblemError(
                    f"{origin}:{line}: the key `{key.value}` is given twice; keep one",
                    (*path, key.value),
                    line,
                )
            if key.tag != "tag:yaml.org,2002:merge":
                own.add(key.value)
            lines[(*path, key.value)] = key.start_mark.line + 1
            _walk(value, (*path, key.value), lines, origin)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            lines[(*path, index)] = item.start_mark.line + 1
            _walk(item, (*path, index), lines, origin)


def located(message: str, path: Key, lines: Lines, origin: str) -> ProblemError:
    """Return an error that says where: file, line and key."""
    known = path
    while known and known not in lines:
        known = known[:-1]
    line = lines.get(known)
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")
    return ProblemError(
        f"{origin}{f':{line}' if line else ''}: {f'`{key}`: ' if key else ''}{message}", path, line
    )


def first_error(error: ValidationError, lines: Lines, origin: str, root: type) -> ProblemError:
    """Return the first thing that is wrong, in the order of the file, and how many more there are.

    `root` is the type that the document was to be, a pydantic model or a dataclass.
    """
    details = [(*_explain(detail, lines, root), detail["type"]) for detail in error.errors()]
    # A misspelt key is also a missing one, and a union reports each branch: what goes deepest was meant.
    details.sort(key=lambda item: (item[2] == "missing", lines.get(item[1], 0), -len(item[1])))
    found = [(message, path) for message, path, _ in details]
    message, path = found[0]
    others = {path for _, path in found} - {path}
    return located(message + (f" (and {len(others)} more)" if others else ""), path, lines, origin)


def _explain(detail: Any, lines: Lines, root: type) -> tuple[str, Key]:
    location = tuple(detail["loc"])
    path = _document_path(location, lines)
    cause = detail.get("ctx", {}).get("error")
    if isinstance(cause, ProblemError):
        return str(cause), path + cause.path
    return _message(detail, location, root), path


def _message(detail: Any, location: Key, root: type) -> str:
    cause, kind = detail.get("ctx", {}).get("error"), detail["type"]
    if kind in ("extra_forbidden", "unexpected_keyword_argument"):
        fields = _fields(location[:-1], root)
        return f"unknown key '{location[-1]}'{nearest(str(location[-1]), fields) or _allowed(fields)}"
    if kind in ("missing", "union_tag_not_found"):
        return f"the key '{'kind' if kind == 'union_tag_not_found' else location[-1]}' is missing"
    if kind in ("literal_error", "union_tag_invalid"):
        expected = str(detail["ctx"].get("expected") or detail["ctx"]["expected_tags"])
        found = str(detail["ctx"].get("tag", detail["input"]))
        return f"expected {expected}; found {_shown(found)}{nearest(found, _quoted(expected))}"
    message = str(cause) if cause is not None else f"{detail['msg'][0].lower()}{detail['msg'][1:]}"
    return message if "found" in message else f"{message}; found {_shown(detail['input'])}"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _allowed(fields: list[str]) -> str:
    return f"; expected one of {', '.join(fields)}" if fields else ""


def _quoted(expected: str) -> list[str]:
    return [word.strip(" '") for word in expected.replace(" or ", ",").split(",")]


def _document_path(location: Key, lines: Lines) -> Key:
    """Return where an error is in the document: pydantic's location without its union tags."""
    path: Key = ()
    for position, part in enumerate(location):
        last = position == len(location) - 1
        if (*path, part) in lines or (last and isinstance(part, str) and part.isidentifier()):
            path = (*path, part)
    return path


def _fields(location: Key, root: type) -> list[str]:
    """Return the keys that the type at a location has."""
    current: list[Any] = [root]
    for part in location:
        current = [found for annotation in current for found in _below(annotation, part)]
    return sorted({name for annotation in current for name in _members(annotation)})


def _members(annotation: Any) -> dict[str, Any]:
    """Return the keys of a model or a dataclass with their types; none of anything else."""
    if not isinstance(annotation, type):
        return {}
    if issubclass(annotation, BaseModel):
        return {name: field.annotation for name, field in annotation.model_fields.items()}
    if not dataclasses.is_dataclass(annotation):
        return {}
    hints = typing.get_type_hints(annotation)
    return {field.name: hints[field.name] for field in dataclasses.fields(annotation)}


def _below(annotation: Any, part: str | int) -> list[Any]:
    members = _members(annotation)
    if members:
        if part in members:
            return _options(members[str(part)])
        return [annotation] if part in typing.get_args(members.get("kind")) else []
    arguments = typing.get_args(annotation)
    return _options(arguments[0 if isinstance(part, int) else -1]) if arguments else []


def _options(annotation: Any) -> list[Any]:
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _options(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        return [option for branch in typing.get_args(annotation) for option in _options(branch)]
    return [annotation]
