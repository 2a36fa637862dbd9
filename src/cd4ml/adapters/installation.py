"""What is installed, as hashes: the code of cd4ml and the libraries beside it."""

from __future__ import annotations

import hashlib
from importlib import metadata
from pathlib import Path

import cd4ml
from cd4ml.adapters.storage.hashing import sha256_bytes, sha256_file

__all__ = ["code_hash", "lock_hash"]

# Documents and bytecode do not change what a run does; everything else of the package may.
_CODE_SUFFIXES = frozenset({".css", ".html", ".j2", ".py", ".svg", ".yaml"})


def code_hash(root: Path | None = None) -> str:
    """Return the SHA-256 over names and contents of cd4ml's code, templates, problems and pipelines.

    Parameters
    ----------
    root : Path, optional
        The folder of a package; that of the running cd4ml by default.
    """
    root = Path(cd4ml.__file__).parent if root is None else root
    names = {path.relative_to(root).as_posix(): path for path in root.rglob("*")}
    digest = hashlib.sha256()
    for name, path in sorted(names.items()):
        if path.suffix in _CODE_SUFFIXES and path.is_file():
            digest.update(f"{name} {sha256_file(path)}\n".encode())
    return digest.hexdigest()


def lock_hash() -> str:
    """Return the SHA-256 over names and versions of all that is installed beside cd4ml."""
    # A distribution whose metadata are damaged has no name, and no version that could be told.
    named = [item for item in metadata.distributions() if "Name" in item.metadata]
    found = {f"{item.name.lower()}=={item.version}" for item in named if item.name.lower() != "cd4ml"}
    return sha256_bytes("\n".join(sorted(found)).encode())
