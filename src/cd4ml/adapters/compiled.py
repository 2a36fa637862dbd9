"""The compiled pipelines that are installed with the package."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from cd4ml.errors import NotFoundError, nearest

__all__ = ["compiled", "names"]


def _folder() -> Path:
    return Path(str(resources.files("cd4ml"))) / "compiled"


def names() -> list[str]:
    """Return the names of the compiled pipelines, sorted."""
    return sorted(path.stem for path in _folder().glob("*.yaml"))


def compiled(name: str) -> Path:
    """Return the YAML file of a pipeline; NotFoundError names the nearest one."""
    if name not in names():
        raise NotFoundError(
            f"no pipeline '{name}'{nearest(name, names()) or '. There are ' + ', '.join(names())}"
        )
    return _folder() / f"{name}.yaml"
