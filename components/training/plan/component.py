from typing import Any, Dict, List

from kfp.dsl import Artifact, Dataset, Input

from components._base import component

__all__ = ["plan"]


@component
def plan(
    *, problem: Input[Artifact], dataset: Input[Dataset], fingerprint: Dict[str, str]
) -> List[Dict[str, Any]]:
    """List what to search: one task a candidate family.

    Args:
        problem: The problem as JSON.
        dataset: Folder of the dataset.
        fingerprint: Hashes of what the run depends on: a change runs the task again.

    Returns:
        Output: One item a family: its name, its task as JSON text (numbers keep their type), the hashes.
    """
    import json
    from pathlib import Path

    from cd4ml.steps.search import plan_search as step

    tasks = step(problem=Path(problem.path), dataset=Path(dataset.path))
    return [
        {"name": task["name"], "task": json.dumps(task, sort_keys=True), "fingerprint": fingerprint}
        for task in tasks
    ]
