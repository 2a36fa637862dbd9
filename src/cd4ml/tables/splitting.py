"""Split the rows of a problem, and refuse what nothing can be learnt from."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from cd4ml.domain.splits import Split, by_entity, by_row, by_time, given
from cd4ml.errors import DataError
from cd4ml.features.calendar import first_step_time, step_index
from cd4ml.features.operations import run_operations
from cd4ml.problem import duration_text

if TYPE_CHECKING:
    from cd4ml.features.plan import Plan
    from cd4ml.problem import Problem
    from cd4ml.tables.facts import Facts

__all__ = ["check_target", "describe_split", "row_times", "split_rows"]


def check_target(
    problem: Problem,
    target: NDArray[np.float64],
    rows_in: int,
    filtered: Mapping[str, int],
    split: Split | None = None,
) -> None:
    """Raise DataError when there are no rows, or the target is null, constant or of one class.

    With a split its training and holdout rows are looked at too.
    """
    name = problem.target.column
    if not len(target):
        rules = ", ".join(f"{count} by '{rule}'" for rule, count in filtered.items() if count)
        raise DataError(
            f"no rows are left of {rows_in}{f': dropped were {rules}' if rules else ''}; "
            "look at the sources and the filters"
        )
    null = int((~np.isfinite(target)).sum())
    if null:
        raise DataError(
            f"expected a value of the target '{name}' in each row; found none in {null} of {len(target)}, "
            "declare the column without `nulls: true`"
        )
    parts = [("all", target)]
    if split is not None:
        parts = [("the training", target[split.train]), ("the holdout", target[split.holdout])]
    for where, values in parts:
        if problem.task == "classification" and values.size and values.min() == values.max():
            found = "the positive one" if values[0] else f"others than '{problem.target.positive}'"
            raise DataError(
                f"expected both classes of '{name}' in {where} rows; found {found} alone, "
                "look at `target.positive` and at the split"
            )
        if problem.task == "regression" and where != "the holdout" and values.min() == values.max():
            raise DataError(
                f"expected a target '{name}' that varies; found {values[0]:g} in {where} {len(values)} rows, "
                "there is nothing to learn"
            )


def row_times(plan: Plan, facts: Facts) -> NDArray[np.datetime64]:
    """Return the time of each row; DataError when one has none."""
    assert plan.problem.time is not None
    name = plan.problem.time.column
    needed = {column: facts.columns[column] for column in sorted(plan.facts_for([name]))}
    times: Any = run_operations(plan.operations_for([name]), (), needed, {})[name]
    null = int(np.isnat(times).sum())
    if null:
        raise DataError(f"expected a time '{name}' in each row; found none in {null} of {len(times)}")
    return times  # type: ignore[no-any-return]


def split_rows(plan: Plan, facts: Facts) -> Split:
    """Return the rows' split as the problem wants it.

    Raises
    ------
    DataError
        When a part of it would have no rows, or a time is null.
    """
    problem, split = plan.problem, plan.problem.split
    seed, rows = problem.search.seed, len(facts.row)
    times = None if problem.time is None else row_times(plan, facts)
    if split.kind == "entity":
        return by_entity(facts.entity_codes(problem.entity), float(split.holdout), split.folds, seed)  # type: ignore[arg-type]
    if split.kind == "random":
        return by_row(rows, float(split.holdout), split.folds, seed)  # type: ignore[arg-type]
    if split.kind == "table":
        held = facts.table == problem.facts.index(str(split.holdout))
        if not held.any() or held.all():
            which = "only" if held.all() else "no"
            raise DataError(
                f"expected rows of '{split.holdout}' and of other facts; found {which} rows of it"
            )
        return given(held, split.folds, seed)
    assert problem.time is not None and times is not None and isinstance(split.holdout, timedelta)
    seconds = int(problem.time.step.total_seconds())
    steps = step_index(times, first_step_time(times, seconds), seconds)
    if steps.min() == steps.max():
        raise DataError(
            f"expected more than one step of {duration_text(problem.time.step)} in '{problem.time.column}'; "
            f"found {times.min()} alone, bring more history"
        )
    return by_time(
        steps,
        problem.steps(split.holdout),
        split.folds,
        None if split.fold is None else problem.steps(split.fold),
        problem.steps(split.gap),
        problem.steps(split.embargo),
    )


def _range(plan: Plan, steps: NDArray[np.int64], origin_seconds: int) -> dict[str, Any]:
    if plan.problem.time is None or not len(steps):
        return {"rows": len(steps)}
    seconds = int(plan.problem.time.step.total_seconds())
    ends = [origin_seconds + int(step) * seconds for step in (steps.min(), steps.max())]
    unit: Literal["D", "s"] = "D" if seconds % 86400 == 0 else "s"
    first, last = (str(np.datetime64(end, "s").astype(f"datetime64[{unit}]")) for end in ends)
    return {"rows": len(steps), "first": first, "last": last}


def describe_split(plan: Plan, split: Split, steps: NDArray[np.int64], origin_seconds: int) -> dict[str, Any]:
    """Return counts, and first and last steps as times, of each part; ready for JSON."""

    def part(mask: NDArray[np.bool_]) -> dict[str, Any]:
        return _range(plan, steps[mask], origin_seconds)

    return {
        "kind": plan.problem.split.kind,
        "train": part(split.train),
        "holdout": part(split.holdout),
        "unused": part(split.unused),
        "folds": [{"train": part(fold.train), "validation": part(fold.validation)} for fold in split.folds],
    }
