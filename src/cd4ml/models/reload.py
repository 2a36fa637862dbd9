"""Does a bundle predict the same where it will be served?"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from cd4ml.errors import Cd4mlError

__all__ = [
    "Replay",
    "forbidden_modules",
    "modules_outside",
    "replay_in_serving_runtime",
    "requirement_closure",
]


@dataclass(frozen=True)
class Replay:
    """What a replay found.

    Attributes
    ----------
    identical : bool
        Every feature has the value and every prediction the bits that training recorded.
    max_abs : float or None
        Largest difference, 0 when identical; None when nothing could be predicted.
    rows : int
    versions : dict
        Of the libraries that predicted.
    detail : str
        Why nothing could be predicted, or which feature differs; "" otherwise.
    """

    identical: bool
    max_abs: float | None
    rows: int
    versions: dict[str, str]
    detail: str

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON."""
        return asdict(self)


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def requirement_closure(distribution: str, extra: str) -> set[str]:
    """Return the normalised names of all distributions that `distribution[extra]` needs, itself included."""
    from packaging.requirements import Requirement

    found: set[str] = set()
    waiting = [(distribution, frozenset({extra}))]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        item = waiting.pop()
        if item in seen:
            continue
        seen.add(item)
        name, extras = item
        try:
            lines = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue  # needed on another platform, or not installed: it cannot be imported anyway
        found.add(_normal(name))
        for requirement in map(Requirement, lines):
            environments = [{"extra": ""}, *({"extra": e} for e in extras)]
            if requirement.marker is None or any(requirement.marker.evaluate(e) for e in environments):
                waiting.append((requirement.name, frozenset(requirement.extras)))
    return found


def forbidden_modules(distribution: str = "cd4ml", extra: str = "serve") -> list[str]:
    """Return the top-level modules of all installed distributions that the extra does not need, sorted."""
    return modules_outside(requirement_closure(distribution, extra))


def modules_outside(allowed: set[str]) -> list[str]:
    """Return the top-level modules of all installed distributions but the allowed ones, sorted."""
    return sorted(
        module
        for module, owners in metadata.packages_distributions().items()
        if module.isidentifier() and not any(_normal(owner) in allowed for owner in owners)
    )


def replay_in_serving_runtime(bundle: Path, *, timeout_seconds: float = 120) -> Replay:
    """Predict a bundle's holdout rows in a process that can import the serve extra's libraries alone.

    Raises
    ------
    Cd4mlError
        If the process ends without an answer.
    """
    # -P: a json.py in the current folder must not take part.
    command = [sys.executable, "-P", "-m", "cd4ml.models.replay", str(bundle)]
    try:
        done = subprocess.run(  # noqa: S603 - our own module
            command,
            input=json.dumps({"forbidden": forbidden_modules()}),
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise Cd4mlError(f"the replay of '{bundle.name}' took longer than {timeout_seconds:g} s") from error
    try:
        return Replay(**json.loads(done.stdout))
    except (ValueError, TypeError) as error:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise Cd4mlError(
            f"the replay of '{bundle.name}' ended with code {done.returncode}: {last}"
        ) from error
