"""Refuse what cannot be known when a prediction is made, and names that nobody has.

A value of a column at time u is recorded at u + known_after. A prediction for time t is made at t - horizon.
So a feature of t may use values of u <= t - horizon - known_after: the smallest honest delay is their sum.
What is known ahead may be used as it is, at t; its history has a smallest delay of one horizon, because that
is where the history of a served model ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta

from cd4ml.errors import ProblemError, nearest
from cd4ml.features.columns import kind_of
from cd4ml.features.expressions import Expression
from cd4ml.features.layout import Availability, Layout, honest_delay_steps, lay_out
from cd4ml.features.plan import compile_plan
from cd4ml.problem import (
    Age,
    Category,
    Columns,
    Historic,
    Lag,
    Problem,
    Rolling,
    Seasonal,
    duration_text,
)

__all__ = ["availability", "check_problem"]

Path = tuple[str | int, ...]


def availability(problem: Problem) -> dict[str, Availability]:
    """Return for each column (raw, derived, joined) `ahead`, or how long after the fact it is recorded."""
    return dict(lay_out(problem).availability)


def _honest_text(problem: Problem, known: Availability) -> str:
    assert problem.time is not None
    text = duration_text(honest_delay_steps(problem, known) * problem.time.step)
    late = ""
    if isinstance(known, timedelta) and known:
        late = f" and it is recorded {duration_text(known)} later"
    return f"the horizon is {duration_text(problem.horizon)}{late}: at least {text}"


class _Checker:
    def __init__(self, problem: Problem, layout: Layout) -> None:
        self.problem, self.layout = problem, layout

    def column(self, name: str, path: Path, among: Iterable[str] | None = None) -> None:
        known = self.layout.samples if among is None else set(among)
        if name not in known:
            found = nearest(name, known) or f"; there are {', '.join(sorted(known))}"
            raise ProblemError(f"unknown column '{name}'{found}", path)

    def kind(self, name: str, kinds: Sequence[str], path: Path) -> None:
        self.column(name, path)
        found = kind_of(self.layout.samples[name])
        if found not in kinds:
            raise ProblemError(f"expected a {' or '.join(kinds)} column; '{name}' is {found}", path)

    def raw(self, name: str, path: Path) -> None:
        """A column that is used as it is at the predicted time."""
        self.column(name, path)
        known = self.layout.availability[name]
        if known == "ahead":
            return
        if self.problem.time is None:
            raise ProblemError(
                f"'{name}' leaks: it is the target '{self.problem.target.column}' or made from it; remove it",
                path,
            )
        raise ProblemError(
            f"'{name}' leaks: its value is not known when the prediction is made. Use its past (kind: lag or "
            f"rolling; {_honest_text(self.problem, known)} ago), or declare `known: ahead` if it is planned",
            path,
        )

    def delay(self, name: str, delay: timedelta, path: Path, what: str) -> None:
        """A value that is used with a delay."""
        known = self.layout.availability[name]
        steps = self.problem.steps(delay, path)
        if steps < honest_delay_steps(self.problem, known):
            raise ProblemError(
                f"{what} {duration_text(delay)} of '{name}' leaks: it is not known when the prediction is "
                "made; " + _honest_text(self.problem, known) + _ahead_hint(known),
                path,
            )

    def historic(self, feature: Historic, path: Path) -> None:
        self.kind(feature.of, ["number"], (*path, "of"))
        for name in feature.by or []:
            self.raw(name, (*path, "by"))


def _ahead_hint(known: Availability) -> str:
    return ", or use it as it is (kind: columns): it is known ahead" if known == "ahead" else ""


def _positive(problem: Problem, value: timedelta, path: Path) -> None:
    if problem.steps(value, path) < 1:
        raise ProblemError("expected at least one step; found 0s", path)


def _check_feature(check: _Checker, feature: object, path: Path) -> None:
    match feature:
        case Columns():
            for index, name in enumerate(feature.columns):
                check.kind(name, ["number"], (*path, "columns", index))
                check.raw(name, (*path, "columns", index))
        case Category():
            for index, name in enumerate(feature.columns):
                check.raw(name, (*path, "columns", index))
        case Historic():
            _check_historic(check, feature, path)
        case Age():
            for name in feature.by or []:
                check.raw(name, (*path, "by"))


def _check_historic(check: _Checker, feature: Historic, path: Path) -> None:
    problem = check.problem
    check.historic(feature, path)
    match feature:
        case Lag():
            for index, lag in enumerate(feature.lags):
                check.delay(feature.of, lag, (*path, "lags", index), "a lag of")
        case Rolling():
            for index, window in enumerate(feature.windows):
                _positive(problem, window, (*path, "windows", index))
            if feature.after is not None:
                check.delay(feature.of, feature.after, (*path, "after"), "a window after")
        case Seasonal():
            _positive(problem, feature.period, (*path, "period"))
            for index, count in enumerate(feature.cycles):
                if count < 1:
                    raise ProblemError(
                        f"expected at least one season; found {count}", (*path, "cycles", index)
                    )


def _check_time(check: _Checker) -> None:
    problem = check.problem
    if problem.time is not None:
        path = ("time", "column")
        check.column(problem.time.column, path, check.layout.early)
        check.kind(problem.time.column, ["time"], path)
        for name in sorted(_parts_of(problem, problem.time.column)):
            if name == problem.target.column:
                raise ProblemError(f"the time is made from the target '{name}'; it cannot be known", path)
        problem.steps(problem.horizon, ("horizon",))
    own = problem.fact.columns
    for index, name in enumerate(problem.entity):
        check.column(name, ("entity", index), own)
    check.column(problem.target.column, ("target", "column"), own)
    if problem.target.column in problem.entity:
        raise ProblemError("the target cannot be part of the entity", ("entity",))
    if problem.task == "regression":
        check.kind(problem.target.column, ["number"], ("target", "column"))


def _parts_of(problem: Problem, name: str) -> set[str]:
    if name not in problem.derived:
        return {name}
    parts = Expression.parse(problem.derived[name]).columns
    return set().union({name}, *(_parts_of(problem, part) for part in parts))


def _check_rules(check: _Checker) -> None:
    problem = check.problem
    early = {name: value for name, value in check.layout.samples.items() if name in check.layout.early}
    for index, rule in enumerate(problem.filters):
        Expression.parse(rule.drop, ("filters", index, "drop")).mask(early)
    if problem.metrics.weight is not None:
        path: Path = ("metrics", "weight")
        value = Expression.parse(problem.metrics.weight, path).evaluate(check.layout.samples)
        if kind_of(value) != "number":
            raise ProblemError(f"a weight must be a number; found {kind_of(value)}", path)
    for key, names in (("slices", problem.slices), ("sensitive", problem.sensitive)):
        for index, name in enumerate(names):
            check.column(name, (key, index))
    for name in problem.explanations.excluded:
        check.column(name, ("explanations", "excluded", name))
    for index, baseline in enumerate(problem.baselines):
        path = ("baselines", index)
        for name in baseline.by:
            check.raw(name, (*path, "by"))
        if baseline.kind == "seasonal_naive":
            assert baseline.period is not None  # by the structure
            if problem.panel is None:
                raise ProblemError(
                    "seasonal_naive needs `panel: {absent: zero or missing}`; found none", path
                )
            _positive(problem, baseline.period, (*path, "period"))


def _check_mitigations(check: _Checker) -> None:
    """A treatment of predictions goes by columns that must be known when the prediction is made."""
    for index, one in enumerate(check.problem.mitigations):
        for name in one.columns or check.problem.sensitive:
            check.kind(name, ["text", "number"], ("mitigations", index, "columns"))
            if one.kind in ("group_thresholds", "recalibration"):
                check.raw(name, ("mitigations", index, "columns"))


def _check_split(check: _Checker) -> None:
    split = check.problem.split
    for name in ("holdout", "fold", "gap", "embargo"):
        value = getattr(split, name)
        if isinstance(value, timedelta) and value:
            if split.kind != "time":
                raise ProblemError(f"`{name}` belongs to a split by time; remove it", ("split", name))
            check.problem.steps(value, ("split", name))


def check_problem(problem: Problem) -> None:
    """Raise ProblemError with the key that is wrong, or return None.

    Raises
    ------
    ProblemError
        Unknown columns, types that do not fit, and features that use what is not known yet; the message names
        the nearest right word or the smallest honest delay.
    """
    check = _Checker(problem, lay_out(problem))
    _check_time(check)
    _check_rules(check)
    _check_split(check)
    _check_mitigations(check)
    for index, feature in enumerate(problem.features):
        _check_feature(check, feature, ("features", index))
    compile_plan(problem)
