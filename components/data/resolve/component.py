from typing import Dict

from kfp.dsl import Artifact, Output

from components._base import component

__all__ = ["resolve"]


@component
def resolve(*, problem: str, fingerprint: Dict[str, str], normalised: Output[Artifact]) -> None:
    """Write the problem as the other tasks read it; refuse one that is not what was hashed.

    Args:
        problem: Name of a shipped problem, or path or URL of a problem file.
        fingerprint: Hashes of what the run depends on: a change runs the task again.

    Returns:
        normalised: The problem as JSON with every default written out.
    """
    from pathlib import Path

    from cd4ml.steps.fingerprint import resolve_problem as step

    step(problem=problem, expected=fingerprint["problem"], out=Path(normalised.path))
