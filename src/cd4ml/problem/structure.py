"""What must hold between the parts of a problem, before any expression is read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from cd4ml.errors import ProblemError, nearest
from cd4ml.problem.features import Age, Calendar, Lag, Rolling, Seasonal

if TYPE_CHECKING:
    from cd4ml.problem.data import Filter, Table
    from cd4ml.problem.learning import Baseline, Candidate
    from cd4ml.problem.usecase import Problem

__all__ = ["check_structure"]


def _known_table(problem: Problem, name: str, path: tuple[str | int, ...]) -> Table:
    if name not in problem.tables:
        raise ProblemError(f"unknown table '{name}'{nearest(name, problem.tables)}", path)
    return problem.tables[name]


def _check_tables(problem: Problem) -> None:
    for index, name in enumerate(problem.facts):
        table = _known_table(problem, name, ("facts", index))
        if list(table.columns) != list(problem.fact.columns):
            raise ProblemError(
                f"fact tables must have the same columns; '{name}' differs from the first", ("facts", index)
            )
    for name, table in problem.tables.items():
        used: list[tuple[tuple[str | int, ...], list[str]]]
        used = [(("unique", i, "columns"), rule.columns) for i, rule in enumerate(table.unique)]
        used += [(("foreign_keys", i, "columns"), rule.columns) for i, rule in enumerate(table.foreign_keys)]
        used += [(("freshness", "column"), [table.freshness.column])] if table.freshness else []
        for where, columns in used:
            _known_columns(table, columns, ("tables", name, *where))
        for index, key in enumerate(table.foreign_keys):
            path: tuple[str | int, ...] = ("tables", name, "foreign_keys", index)
            _known_columns(
                _known_table(problem, key.table, (*path, "table")), key.references or key.columns, path
            )
    for index, join in enumerate(problem.joins):
        table = _known_table(problem, join.table, ("joins", index, "table"))
        _known_columns(table, [*join.keys.values(), *join.renamed(table)], ("joins", index))


def _known_columns(table: Table, columns: list[str], path: tuple[str | int, ...]) -> None:
    for column in columns:
        if column not in table.columns:
            raise ProblemError(f"unknown column '{column}'{nearest(column, table.columns)}", path)


def _check_task(problem: Problem) -> None:
    if (problem.task == "classification") != (problem.target.positive is not None):
        raise ProblemError(
            "`target.positive` belongs to classification, and classification needs it", ("target",)
        )
    if problem.task == "classification" and problem.target.transform != "none":
        raise ProblemError("`target.transform` belongs to regression", ("target", "transform"))
    for index, candidate in enumerate(problem.candidates):
        wrong = {"regression": "logistic", "classification": "ridge"}[problem.task]
        if candidate.family == wrong:
            raise ProblemError(
                f"'{wrong}' does not fit the task {problem.task}", ("candidates", index, "family")
            )
        if problem.task == "classification" and candidate.loss not in (None, "log_loss"):
            raise ProblemError("classification has the loss log_loss alone", ("candidates", index, "loss"))
        if problem.task == "regression" and candidate.loss == "log_loss":
            raise ProblemError("log_loss belongs to classification", ("candidates", index, "loss"))
    if problem.stock and problem.task == "classification":
        raise ProblemError("`stock` belongs to regression", ("stock",))


def _check_split(problem: Problem) -> None:
    split, path = problem.split, ("split",)
    expected: dict[str, type] = {"time": timedelta, "entity": float, "random": float, "table": str}
    if not isinstance(split.holdout, expected[split.kind]):
        what = {"time": "a duration such as 57d", "table": "the name of a fact table"}.get(
            split.kind, "a fraction below 1"
        )
        raise ProblemError(
            f"a split by {split.kind} needs a holdout that is {what}; found {split.holdout}",
            (*path, "holdout"),
        )
    if split.kind == "table" and (split.holdout not in problem.facts or len(problem.facts) < 2):
        raise ProblemError(
            f"the holdout '{split.holdout}' must be one of two or more `facts`", (*path, "holdout")
        )
    if split.kind == "time" and problem.time is None:
        raise ProblemError("a split by time needs `time`; found none", (*path, "kind"))
    if split.kind == "entity" and not problem.entity:
        raise ProblemError("a split by entity needs `entity`; found none", (*path, "kind"))
    if split.kind in ("random", "table") and problem.time is not None:
        raise ProblemError(
            f"a split by {split.kind} of a problem with `time` judges on the past; use `kind: time`",
            (*path, "kind"),
        )
    if split.kind == "time" and split.holdout < problem.horizon:  # type: ignore[operator]
        raise ProblemError(
            "the holdout is shorter than the horizon; make it at least as long", (*path, "holdout")
        )


def _check_time(problem: Problem) -> None:
    historic = [
        i for i, f in enumerate(problem.features) if isinstance(f, Lag | Rolling | Seasonal | Age | Calendar)
    ]
    if problem.time is None and historic:
        raise ProblemError(
            f"a {problem.features[historic[0]].kind} feature needs `time`; found none",
            ("features", historic[0]),
        )
    if problem.time is None and problem.horizon:
        raise ProblemError("a horizon needs `time`; found none", ("horizon",))
    if problem.time and not problem.horizon:
        raise ProblemError("a problem with `time` needs a horizon of at least one step", ("horizon",))
    if problem.time and problem.panel is None and historic:
        raise ProblemError("features of the past need `panel: {absent: zero or missing}`", ("panel",))


def _check_baselines(problem: Problem) -> None:
    for index, baseline in enumerate(problem.baselines):
        path = ("baselines", index)
        if (baseline.kind == "seasonal_naive") != (baseline.period is not None):
            raise ProblemError("`period` belongs to seasonal_naive, and seasonal_naive needs it", path)
        if (baseline.kind == "group_mean") != bool(baseline.by):
            raise ProblemError("`by` belongs to group_mean, and group_mean needs it", path)
        if baseline.kind == "seasonal_naive" and problem.time is None:
            raise ProblemError("seasonal_naive needs `time`; found none", path)


def _check_names(problem: Problem) -> None:
    groups: tuple[tuple[str, Sequence[Candidate | Baseline | Filter]], ...]
    groups = (
        ("candidates", problem.candidates),
        ("baselines", problem.baselines),
        ("filters", problem.filters),
    )
    for key, items in groups:
        names = [item.name for item in items]
        for index, name in enumerate(names):
            if name in names[:index]:
                raise ProblemError(f"the name '{name}' is taken twice", (key, index, "name"))
    # Both are scored side by side under their names.
    taken = {candidate.name for candidate in problem.candidates}
    for index, baseline in enumerate(problem.baselines):
        if baseline.name in taken:
            raise ProblemError(f"a candidate has the name '{baseline.name}'", ("baselines", index, "name"))


def _check_mitigations(problem: Problem) -> None:
    known = [*problem.slices, *problem.sensitive]
    tried: list[tuple[str, list[str]]] = []
    for index, one in enumerate(problem.mitigations):
        path: tuple[str | int, ...] = ("mitigations", index)
        if problem.task == "regression" and one.kind in ("group_thresholds", "reweighing"):
            raise ProblemError(f"'{one.kind}' belongs to classification", (*path, "kind"))
        columns = list(one.columns or problem.sensitive)
        if not columns:
            raise ProblemError("a mitigation needs `columns`, or `sensitive` columns; found none", path)
        for name in columns:
            if name not in known:
                raise ProblemError(
                    f"'{name}' is neither in `slices` nor in `sensitive`{nearest(name, known)}; add it",
                    (*path, "columns"),
                )
        if (one.kind, columns) in tried:
            raise ProblemError(f"'{one.kind}' by {', '.join(columns)} is there twice", path)
        tried.append((one.kind, columns))


def check_structure(problem: Problem) -> None:
    """Raise ProblemError with the key that is wrong, or return None."""
    checks = (_check_tables, _check_task, _check_split, _check_time, _check_baselines, _check_names)
    for check in (*checks, _check_mitigations):
        check(problem)
