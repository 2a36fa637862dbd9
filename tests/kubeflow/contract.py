"""What the API of Kubeflow Pipelines is, taken from the code of the client that is generated from it.

The stand-in has no list of routes of its own: paths, methods, query parameters, bodies and answers are read
from `kfp_server_api`, and each request and each answer is held against them.
"""

import functools
import inspect
import re
from dataclasses import dataclass

import kfp_server_api
from kfp_server_api import models


@dataclass(frozen=True)
class Operation:
    """One call of the API: `template` is its path with {names}; `body` and `answer` are names of models."""

    name: str
    method: str
    template: str
    query: frozenset[str]
    body: str
    answer: str

    def match(self, path: str) -> dict[str, str] | None:
        parts = re.split(r"\{([\w.]+)\}", self.template)
        names = [name.replace(".", "_") for name in parts[1::2]]
        pattern = "".join(
            re.escape(part) if index % 2 == 0 else "([^/:]+)" for index, part in enumerate(parts)
        )
        found = re.fullmatch(pattern, path)
        return dict(zip(names, found.groups(), strict=True)) if found else None


@functools.cache
def operations() -> tuple[Operation, ...]:
    """Return every call that the client can make, those without names in their path first."""
    found = []
    for name in dir(kfp_server_api):
        if not name.endswith("ServiceApi"):
            continue
        for attribute, function in inspect.getmembers(getattr(kfp_server_api, name), inspect.isfunction):
            if attribute.endswith("_with_http_info"):
                found.append(
                    _operation(attribute.removesuffix("_with_http_info"), inspect.getsource(function))
                )
    return tuple(sorted(found, key=lambda one: one.template.count("{")))


def _operation(name: str, source: str) -> Operation:
    template, method = re.search(r"call_api\(\s*'([^']+)', '(\w+)'", source).groups()
    body = re.search(r"body_params = local_var_params\['(\w+)'\]", source)
    kind = re.search(rf":type {body[1]}: (\w+)", source)[1] if body else ""
    answer = re.search(r"response_type='([^']+)'", source)
    query = frozenset(re.findall(r"query_params\.append\(\('(\w+)'", source))
    return Operation(name, method, template, query, kind, answer[1] if answer else "object")


def faults(kind: str, value: object, where: str = "") -> list[str]:
    """Return what of a JSON value is not as the client's model of that name has it."""
    where = where or kind
    if value is None or kind == "object":
        return []
    if "[" in kind or "(" in kind:
        return _many(kind, value, where)
    if kind in _PRIMITIVE:
        return [] if isinstance(value, _PRIMITIVE[kind]) else [f"{where} is {value!r}, expected {kind}"]
    model = getattr(models, kind)
    if hasattr(model, "allowable_values"):
        return [] if value in model.allowable_values else [f"{where} is {value!r}"]
    return _model_faults(model, value, where)


def _many(kind: str, value: object, where: str) -> list[str]:
    if found := re.fullmatch(r"list\[(.+)\]", kind):
        if not isinstance(value, list):
            return [f"{where} is no list"]
        return [one for item in value for one in faults(found[1], item, f"{where}[]")]
    found = re.fullmatch(r"dict\(str, (.+)\)", kind)
    if not isinstance(value, dict):
        return [f"{where} is no mapping"]
    return [one for key, item in value.items() for one in faults(found[1], item, f"{where}.{key}")]


_PRIMITIVE = {"str": str, "datetime": str, "int": int, "bool": bool, "float": (int, float)}


def _model_faults(model: type, value: object, where: str) -> list[str]:
    if not isinstance(value, dict):
        return [f"{where} is {value!r}, expected {model.__name__}"]
    by_key = {key: model.openapi_types[name] for name, key in model.attribute_map.items()}
    found = [f"{where}.{key} is no field" for key in value.keys() - by_key.keys()]
    for key in value.keys() & by_key.keys():
        found += faults(by_key[key], value[key], f"{where}.{key}")
    return found
