"""What a run depends on, as hashes: the same hashes mean the same result."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cd4ml.problem import Problem

__all__ = ["fingerprint", "hashes"]


def hashes(problem: Problem, data: str) -> dict[str, str]:
    """Return the SHA-256 of data, problem, lock and code."""
    from cd4ml.adapters.installation import code_hash, lock_hash
    from cd4ml.adapters.problem_files import dumps
    from cd4ml.adapters.storage.hashing import sha256_bytes
    from cd4ml.tables.sources import fingerprint as data_hash

    return {
        "data": data_hash(problem, data),
        "problem": sha256_bytes(dumps(problem).encode()),
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
