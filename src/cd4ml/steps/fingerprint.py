"""What a run depends on, as hashes: the same hashes mean the same result."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cd4ml.errors import IntegrityError

if TYPE_CHECKING:
    from cd4ml.problem import Problem

__all__ = ["fingerprint", "hashes", "resolve_problem"]


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


def fingerprint(problem: str, data: str) -> dict[str, str]:
    """Return what a run of a problem on data depends on.

    Parameters
    ----------
    problem : str
        A shipped name, a path or a URL.
    data : str
        A folder or URL with the sources.

    Returns
    -------
    dict of str to str
        SHA-256 of `data`, `problem`, `lock` and `code`.
    """
    from cd4ml.adapters.problem_files import load

    return hashes(load(problem), data)


def resolve_problem(problem: str, expected: str, out: Path) -> None:
    """Write the normalised form of a problem to `out`: JSON with all defaults written out.

    Parameters
    ----------
    expected : str
        The hash that `fingerprint` returned as `problem`.

    Raises
    ------
    IntegrityError
        When the problem has another hash: it was changed after the run had started.
    """
    from cd4ml.adapters.problem_files import dumps, load
    from cd4ml.adapters.storage.atomic import write_text
    from cd4ml.adapters.storage.hashing import sha256_bytes

    text = dumps(load(problem))
    found = sha256_bytes(text.encode())
    if found != expected:
        raise IntegrityError(
            f"expected problem {problem} with hash {expected[:12]}, found {found[:12]}: "
            "it was changed while the run was starting; run again"
        )
    write_text(out, text)
