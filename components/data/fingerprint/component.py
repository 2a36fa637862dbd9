from typing import Dict

from components._base import component

__all__ = ["fingerprint"]


@component
def fingerprint(*, problem: str, data: str) -> Dict[str, str]:
    """Hash all that a run depends on.

    Never cached itself. Its hashes are parameters of the other tasks, so that those run again when
    data, problem, libraries or code have changed, and only then.

    Args:
        problem: Name of a shipped problem, or path or URL of a problem file.
        data: Folder, or object-store or web address, under which the sources are found.

    Returns:
        Output: Hashes by name: problem, data, lock (libraries), code.
    """
    from cd4ml.steps.fingerprint import fingerprint as step

    return step(problem=problem, data=data)
