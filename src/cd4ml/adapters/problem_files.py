"""Read problem files: YAML with lines, from a shipped name, a path, S3 or HTTP(S)."""

from __future__ import annotations

import http.client
import json
import re
import types
import typing
import urllib.error
import urllib.request
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from cd4ml.domain.metric_table import METRICS
from cd4ml.errors import NotFoundError, ProblemError, ServiceError, UsageError, nearest
from cd4ml.features.leakage import check_problem
from cd4ml.problem import Problem

__all__ = ["dumps", "load", "loads", "shipped"]

Key = tuple[str | int, ...]
_TIMEOUT_SECONDS = 20
_MAX_BYTES = 5_000_000


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


def shipped() -> list[str]:
    """Return the names of the problems that come with cd4ml, sorted."""
    folder = resources.files("cd4ml") / "problems"
    return sorted(
        entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml")
    )


def load(reference: str) -> Problem:
    """Return the problem of a shipped name, a path or a URL.

    Parameters
    ----------
    reference : str
        E.g. "sales-forecast", "my/problem.yaml", "s3://bucket/problem.yaml", "https://host/problem.yaml".

    Raises
    ------
    NotFoundError
        When nothing has this name.
    ProblemError
        When the file is wrong; names line, key, what was found and the nearest right word.
    ServiceError
        When a URL cannot be reached.
    """
    return loads(_text(reference), origin=reference)


def loads(text: str, origin: str = "problem") -> Problem:
    """Return the problem that `text` (YAML or JSON) describes; `origin` is named in errors."""
    lines, document = _parse(text, origin)
    try:
        problem = Problem.model_validate(document)
        _check_metrics(problem)
        check_problem(problem)
    except ValidationError as error:
        raise _first(error, lines, origin) from None
    except ProblemError as error:
        raise _located(str(error), error.path, lines, origin) from None
    return problem


def dumps(problem: Problem) -> str:
    """Return the normalised JSON form: all defaults written out. `loads` reads it back.

    Keys stand in the order of the format, and those of the user in his: `derived` is evaluated in order.
    """
    return json.dumps(problem.model_dump(mode="json"), indent=1, sort_keys=False, ensure_ascii=False) + "\n"


def _check_metrics(problem: Problem) -> None:
    named: list[tuple[Key, str]] = [(("metrics", "primary"), problem.metrics.primary)]
    named += [(("metrics", "also", index), name) for index, name in enumerate(problem.metrics.also)]
    named += [
        (("gates", "thresholds", i, "metric"), rule.metric) for i, rule in enumerate(problem.gates.thresholds)
    ]
    for path, name in named:
        usable = [key for key, spec in METRICS.items() if spec.task == problem.task and key != "pinball"]
        if name not in usable:
            hint = nearest(name, usable) or f"; expected one of {', '.join(usable)}"
            raise ProblemError(f"'{name}' is no metric of {problem.task}{hint}", path)
    measured = {problem.metrics.primary, *problem.metrics.also}
    seen: set[str] = set()
    for index, rule in enumerate(problem.gates.thresholds):
        path = ("gates", "thresholds", index, "metric")
        if rule.metric in seen:
            raise ProblemError(f"'{rule.metric}' has two limits; keep the stricter", path)
        seen.add(rule.metric)
        if rule.metric not in measured:
            raise ProblemError(
                f"'{rule.metric}' has a limit but is not measured; add it to `metrics.also`", path
            )


def _text(reference: str) -> str:
    if reference.startswith(("http://", "https://")):
        return _download(reference)
    if reference.startswith("s3://"):
        return _object(reference)
    path = Path(reference)
    if reference in shipped():
        return (resources.files("cd4ml") / "problems" / f"{reference}.yaml").read_text(encoding="utf-8")
    try:
        return _decoded(path.read_bytes(), reference)
    except IsADirectoryError:
        raise NotFoundError(f"expected a problem file; {reference} is a directory") from None
    except (FileNotFoundError, NotADirectoryError):
        hint = (
            nearest(reference, shipped())
            or f". Shipped are {', '.join(shipped())}; or give the path of a YAML file"
        )
        raise NotFoundError(f"no problem '{reference}'{hint}") from None
    except OSError as error:
        raise NotFoundError(f"the problem file '{reference[:80]}' cannot be read: {error.strerror}") from None


def _decoded(data: bytes, reference: str) -> str:
    """Return a file's text; UTF-8, not above the limit."""
    if len(data) > _MAX_BYTES:
        raise ProblemError(
            f"{reference}: expected at most {_MAX_BYTES} bytes; found more. Is it a problem file?"
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ProblemError(f"{reference}: expected UTF-8 text; found byte {data[error.start]:#x}") from None


def _object(url: str) -> str:
    from cd4ml.adapters.storage import open_store

    folder, _, name = url.rpartition("/")
    if folder.count("/") < 2 or not name:
        raise UsageError(f"expected s3://bucket/path/problem.yaml; found '{url}'")
    return _decoded(open_store(folder).get(name), url)


def _download(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as response:  # noqa: S310 (scheme is checked)
            data = response.read(_MAX_BYTES + 1)
            if response.length and len(data) <= _MAX_BYTES:  # the connection ended before the promised length
                raise http.client.IncompleteRead(data, response.length)
            return _decoded(data, url)
    except urllib.error.HTTPError as error:
        wrong = ServiceError if error.code >= 500 else NotFoundError
        raise wrong(f"no problem at {url}: the server answered {error.code}") from None
    except (OSError, http.client.HTTPException) as error:
        raise ServiceError(f"cannot read {url}: {error}. Check the address and the network") from None


def _parse(text: str, origin: str) -> tuple[dict[Key, int], Any]:
    try:
        node = yaml.compose(text, Loader=_Loader)
        document = yaml.load(text, Loader=_Loader)  # noqa: S506 (a SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f":{mark.line + 1}" if mark else ""
        what = getattr(error, "problem", None) or "it cannot be read"
        raise ProblemError(
            f"{origin}{where}: expected YAML; {what}", line=mark.line + 1 if mark else None
        ) from None
    if not isinstance(document, dict):
        raise ProblemError(
            f"{origin}: expected a mapping with `name`, `task`, `tables` ...; found {type(document).__name__}"
        )
    lines: dict[Key, int] = {}
    try:
        _walk(node, (), lines, origin)
    except RecursionError:
        raise ProblemError(f"{origin}: expected a finite document; an anchor contains itself") from None
    return lines, document


def _walk(node: yaml.Node | None, path: Key, lines: dict[Key, int], origin: str) -> None:
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


def _located(message: str, path: Key, lines: dict[Key, int], origin: str) -> ProblemError:
    known = path
    while known and known not in lines:
        known = known[:-1]
    line = lines.get(known)
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")
    return ProblemError(
        f"{origin}{f':{line}' if line else ''}: {f'`{key}`: ' if key else ''}{message}", path, line
    )


def _first(error: ValidationError, lines: dict[Key, int], origin: str) -> ProblemError:
    """Return the first thing that is wrong, in the order of the file, and how many more there are."""
    details = [(*_explain(detail, lines), detail["type"]) for detail in error.errors()]
    # A misspelt key is also a missing one, and a union reports each branch: what goes deepest was meant.
    details.sort(key=lambda item: (item[2] == "missing", lines.get(item[1], 0), -len(item[1])))
    found = [(message, path) for message, path, _ in details]
    message, path = found[0]
    others = {path for _, path in found} - {path}
    return _located(message + (f" (and {len(others)} more)" if others else ""), path, lines, origin)


def _explain(detail: Any, lines: dict[Key, int]) -> tuple[str, Key]:
    location = tuple(detail["loc"])
    path = _document_path(location, lines)
    cause = detail.get("ctx", {}).get("error")
    if isinstance(cause, ProblemError):
        return str(cause), path + cause.path
    return _message(detail, location), path


def _message(detail: Any, location: Key) -> str:
    cause, kind = detail.get("ctx", {}).get("error"), detail["type"]
    if kind == "extra_forbidden":
        fields = _fields(location[:-1])
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


def _document_path(location: Key, lines: dict[Key, int]) -> Key:
    """Return where an error is in the document: pydantic's location without its union tags."""
    path: Key = ()
    for position, part in enumerate(location):
        last = position == len(location) - 1
        if (*path, part) in lines or (last and isinstance(part, str) and part.isidentifier()):
            path = (*path, part)
    return path


def _fields(location: Key) -> list[str]:
    """Return the keys that the model at a location has."""
    current: list[Any] = [Problem]
    for part in location:
        current = [found for annotation in current for found in _below(annotation, part)]
    return sorted({name for model in current for name in (model.model_fields if _is_model(model) else [])})


def _below(annotation: Any, part: str | int) -> list[Any]:
    if _is_model(annotation):
        field = annotation.model_fields.get(part)
        if field is not None:
            return _options(field.annotation)
        tags = annotation.model_fields.get("kind")
        return [annotation] if tags is not None and part in typing.get_args(tags.annotation) else []
    arguments = typing.get_args(annotation)
    if typing.get_origin(annotation) in (list, dict) and arguments:
        return _options(arguments[-1])
    return []


def _options(annotation: Any) -> list[Any]:
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _options(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        return [option for branch in typing.get_args(annotation) for option in _options(branch)]
    return [annotation]


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
