"""What a run depends on, as hashes: the same hashes mean the same result."""

from __future__ import annotations

import hashlib
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cd4ml.problem import Problem

__all__ = ["code_hash", "fingerprint", "hashes", "lock_hash"]

# Documents and bytecode do not change what a run does; everything else of the package may.
_CODE_SUFFIXES = {".py", ".yaml", ".html", ".css", ".svg", ".j2"}


def code_hash() -> str:
    """Return the SHA-256 of cd4ml's own code, templates and shipped problems."""
    root = Path(__file__).parent.parent
    digest = hashlib.sha256()
    for path in sorted(path for path in root.rglob("*") if path.suffix in _CODE_SUFFIXES):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(root).as_posix()} {content}\n".encode())
    return digest.hexdigest()


def lock_hash() -> str:
    """Return the SHA-256 of the names and versions of all that is installed beside cd4ml."""
    found = {
        f"{item.name.lower()}=={item.version}" for item in metadata.distributions() if item.name != "cd4ml"
    }
    return hashlib.sha256("\n".join(sorted(found)).encode()).hexdigest()


def hashes(problem: Problem, data: str) -> dict[str, str]:
    """Return the SHA-256 of data, problem, lock and code."""
    from cd4ml.adapters.problem_files import dumps
    from cd4ml.tables.sources import fingerprint as data_hash

    return {
        "data": data_hash(problem, data),
        "problem": hashlib.sha256(dumps(problem).encode()).hexdigest(),
        "lock": lock_hash(),
        "code": code_hash(),
    }


def fingerprint(problem: str, data: str, out: Path) -> dict[str, str]:
    """Resolve a problem, write its normalised form to `out` and return what a run depends on.

    Parameters
    ----------
    problem : str
        A shipped name, a path or a URL.
    data : str
        A folder or URL with the sources.
    out : Path
        The problem as JSON with all defaults written out.

    Returns
    -------
    dict of str to str
        SHA-256 of `data`, `problem`, `lock` and `code`.
    """
    from cd4ml.adapters.problem_files import dumps, load
    from cd4ml.adapters.storage.atomic import write_text

    found = load(problem)
    write_text(out, dumps(found))
    return hashes(found, data)
