"""How a command names a model: NAME, NAME@champion, NAME@3, or the folder of a bundle."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cd4ml.errors import UsageError

if TYPE_CHECKING:
    from cd4ml.adapters.registry import Registry

__all__ = ["bundle_folder", "open_registry", "split_reference"]


def open_registry() -> Registry:
    """Return the registry in the store of CD4ML_STORE."""
    from cd4ml.adapters.registry import Registry
    from cd4ml.adapters.storage import open_store

    return Registry(open_store())


def split_reference(reference: str) -> Path | tuple[str, str]:
    """Return the folder of a bundle, or (name, version): a number, an alias or "latest".

    What holds a "/" or is an existing folder is a path.
    """
    path = _path(reference)
    if reference and path.is_dir():
        return path
    if not reference or "/" in reference:
        raise UsageError(
            f"'{reference}' is no folder; give the folder of a bundle, or NAME, NAME@champion or NAME@3"
        )
    name, separator, version = reference.partition("@")
    if separator and not version:
        raise UsageError(f"'{reference}' lacks what follows '@'; write {name}@champion or {name}@3")
    return name, version or "latest"


def _path(reference: str) -> Path:
    try:
        return Path(reference).expanduser()
    except RuntimeError:  # "~name" of a user who does not exist
        return Path(reference)


@contextmanager
def bundle_folder(reference: str) -> Iterator[Path]:
    """Yield the folder of a bundle; one in the registry is fetched and verified, and removed at the end."""
    found = split_reference(reference)
    if isinstance(found, Path):
        yield found
        return
    with tempfile.TemporaryDirectory(prefix="cd4ml-") as temporary:
        yield open_registry().pull(*found, Path(temporary) / "bundle")
