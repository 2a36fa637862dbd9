"""Compiled pipelines: those that are installed with the package, and what such a file says about itself."""

from __future__ import annotations

import copy
import importlib.util
import json
import re
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

from cd4ml.errors import NotFoundError, SourceError, UsageError, nearest

__all__ = [
    "arguments_from_text",
    "check_arguments",
    "documents",
    "images",
    "names",
    "package",
    "parameters",
    "pinned",
    "require_kfp",
    "with_image",
]

_TYPES: dict[str, tuple[str, tuple[type, ...]]] = {
    "STRING": ("text", (str,)),
    "NUMBER_INTEGER": ("an integer", (int,)),
    "NUMBER_DOUBLE": ("a number", (int, float)),
    "BOOLEAN": ("true or false", (bool,)),
    "LIST": ("a list", (list,)),
    "STRUCT": ("a mapping", (dict,)),
}
_IMAGE = re.compile(r"[a-z0-9][A-Za-z0-9._:/-]*(?:@sha256:[0-9a-f]{64})?")


def require_kfp(module: str = "kfp") -> None:
    """See that the libraries of Kubeflow are installed; UsageError says how to install them."""
    if importlib.util.find_spec(module) is None:
        raise UsageError(
            f"a pipeline needs the Python package '{module}', found none; pip install 'cd4ml[kfp]'"
        )


def _folder() -> Path:
    return Path(str(resources.files("cd4ml"))) / "compiled"


def names() -> list[str]:
    """Return the names of the compiled pipelines that are installed, sorted."""
    return sorted(path.stem for path in _folder().glob("*.yaml"))


def package(name: str) -> Path:
    """Return the compiled YAML of an installed pipeline.

    Raises
    ------
    NotFoundError
        When there is none of that name; the message has the nearest one.
    """
    if name not in names():
        raise NotFoundError(f"expected a pipeline of {names()}, found '{name}'{nearest(name, names())}")
    return _folder() / f"{name}.yaml"


def documents(file: Path) -> list[dict[str, Any]]:
    """Return the documents of a compiled pipeline: its specification, then what only Kubernetes needs.

    Raises
    ------
    SourceError
        When the file cannot be read or is no compiled pipeline.
    """
    import yaml

    try:
        found = copy.deepcopy(_parsed(file.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise SourceError(f"expected a compiled pipeline at {file}, found: {reason}") from None
    if not found or not isinstance(found[0], dict) or "deploymentSpec" not in found[0]:
        raise SourceError(
            f"expected a compiled pipeline at {file}, found no deploymentSpec; compile it again"
        )
    return found


@lru_cache(maxsize=4)
def _parsed(text: str) -> list[Any]:
    """Parse a file once: a command looks at the same pipeline many times, and YAML is slow."""
    import yaml

    return list(yaml.load_all(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))


def parameters(pipeline: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the parameters of a pipeline by name, with `parameterType`, `defaultValue`, `description`."""
    return dict(pipeline["root"].get("inputDefinitions", {}).get("parameters", {}))


def check_arguments(pipeline: Mapping[str, Any], arguments: Mapping[str, object]) -> None:
    """Hold arguments against the parameters of a pipeline.

    Raises
    ------
    UsageError
        When one is unknown, has the wrong type, or is missing and has no default.
    """
    known = parameters(pipeline)
    for name, value in arguments.items():
        if name not in known:
            raise UsageError(f"expected a parameter of {sorted(known)}, found '{name}'{nearest(name, known)}")
        word, types = _TYPES.get(known[name]["parameterType"], ("a value", (object,)))
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            raise UsageError(f"parameter '{name}' must be {word}; got {value!r}")
    for name, parameter in known.items():
        if name not in arguments and not parameter.get("isOptional", False):
            raise UsageError(f"the pipeline needs a value for its parameter '{name}', found none")


def arguments_from_text(pipeline: Mapping[str, Any], texts: Mapping[str, str]) -> dict[str, object]:
    """Return arguments that were typed as text with the types of the pipeline's parameters; checked.

    Text stays as it is, all else is read as JSON: `3`, `true`, `["a", "b"]`.

    Raises
    ------
    UsageError
        As `check_arguments`.
    """
    known = parameters(pipeline)
    found: dict[str, object] = {}
    for name, text in texts.items():
        found[name] = text
        if name in known and known[name]["parameterType"] != "STRING":
            try:
                found[name] = json.loads(text)
            except json.JSONDecodeError:
                continue  # check_arguments says what is expected
    check_arguments(pipeline, found)
    return found


def images(pipeline: Mapping[str, Any]) -> list[str]:
    """Return the images of a pipeline's tasks, sorted."""
    executors = pipeline["deploymentSpec"]["executors"].values()
    return sorted({one["container"]["image"] for one in executors if "container" in one})


def pinned(image: str) -> str:
    """Return the name of an image that has a version or a digest.

    The cache of a cluster knows an image by its name: under one that moves, old results are taken for new.

    Raises
    ------
    UsageError
        When the name has neither, or is no image name.
    """
    tag = image.rpartition("/")[2].partition(":")[2]
    if not _IMAGE.fullmatch(image) or tag in ("", "latest"):
        raise UsageError(
            "an image must be pinned by a version or a digest, "
            f"such as registry.example.org/cd4ml-python:0.1.0; got '{image}'"
        )
    return image


def with_image(file: Path, image: str) -> str:
    """Return the text of a compiled pipeline with the image of all its tasks replaced, and nothing else.

    The bytes are those that compiling with that image gives.

    Raises
    ------
    SourceError
        When `file` is no compiled pipeline.
    UsageError
        When the image is not pinned.
    """
    text = "|".join(re.escape(one) for one in images(documents(file)[0]))
    lines = re.compile(rf"^( +image: )(?:{text})$", re.MULTILINE)
    name = pinned(image)
    return lines.sub(lambda line: line[1] + name, file.read_text(encoding="utf-8"))
