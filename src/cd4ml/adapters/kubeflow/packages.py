"""The compiled pipelines that are installed with cd4ml."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from cd4ml.errors import NotFoundError, nearest

__all__ = ["package"]


def package(name: str) -> Path:
    """Return the compiled pipeline `name`, e.g. "training".

    Raises
    ------
    NotFoundError
        When no pipeline of that name is installed.
    """
    folder = Path(str(resources.files("cd4ml"))) / "compiled"
    names = sorted(file.stem for file in folder.glob("*.yaml"))
    if name not in names:
        raise NotFoundError(f"expected a pipeline of {names}, found '{name}'{nearest(name, names)}")
    return folder / f"{name}.yaml"
