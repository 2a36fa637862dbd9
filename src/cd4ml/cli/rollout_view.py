"""How a rollout is shown in a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from math import exp, log
from typing import TYPE_CHECKING, Any

from cd4ml.cli.table import table, whole

if TYPE_CHECKING:
    from rich.console import RenderableType

    from cd4ml.domain.rollout.planned import StepPlan

__all__ = ["bar", "history_lines", "panel", "plan_lines", "plan_of", "status_lines", "summary"]

_BAR_CELLS = 20
_MOST_SHOWN = 1e6


def plan_of(step: StepPlan) -> dict[str, Any]:
    """Return a step of a plan as JSON knows it; null for never."""
    found = {name: getattr(step, name) for name in step.__dataclass_fields__}
    return {name: None if value == float("inf") else value for name, value in found.items()}


def plan_lines(steps: Sequence[StepPlan]) -> list[str]:
    """Return a table of what each step needs."""
    rows = [
        (
            str(one.phase),
            f"{one.percent:g} %",
            _count(one.requests),
            _hours(one.seconds),
            _count(one.harm_requests),
            _hours(one.harm_seconds),
            one.metric,
        )
        for one in steps
    ]
    headers = ("step", "share", "requests", "hours", "to find harm", "hours", "decided by")
    return table(headers, rows, whole)


def _count(value: float) -> str:
    return "never" if value == float("inf") else f"{value:,.0f}"


def _hours(seconds: float) -> str:
    return "never" if seconds == float("inf") else f"{seconds / 3600:,.2f}"


def summary(found: Mapping[str, Any]) -> str:
    """Return where a rollout stands, in one line."""
    rollout = found["rollout"]
    candidate, stable = rollout["candidate"]["reference"], rollout["stable"]["reference"]
    paused = f", paused: {rollout['paused']}" if rollout["paused"] else ""
    return f"{rollout['service']}: {candidate} for {stable}: {_phase(found)}{paused} ({rollout['id']})"


def _phase(found: Mapping[str, Any]) -> str:
    rollout, history = found["rollout"], found["rollout"]["history"]
    percent = history[-1]["canary_percent"] if history else 0.0
    return f"{rollout['phase']}, {percent:g} % of the requests"


def status_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield what `steps.rollout_status` returned, for people."""
    rollout = found["rollout"]
    yield summary(found)
    if not found["ended"]:
        yield f"  looked after by {found['controller'] or 'nobody: start `cd4ml rollout run`'}"
    yield from (f"  waits: {one}" for one in rollout["waiting"])
    yield from (f"  asked and not taken up yet: {one['command']} by {one['by']}" for one in found["commands"])
    if rows := [_row(one, found["policy"]) for one in found["look"].get("evidence", ())]:
        headers = ("metric", "estimate", "interval", "observations", "harm", "safe")
        yield from (f"  {line}" for line in table(headers, rows, whole))
    if rollout["history"]:
        last = rollout["history"][-1]
        yield f"  last: {last['phase']} by {last['by']}: {'; '.join(last['reasons'])}"


def _row(one: Mapping[str, Any], policy: Mapping[str, Any]) -> tuple[str, ...]:
    low, high = one["low"], one["high"]
    return (
        one["name"],
        "" if one["estimate"] is None else f"{one['estimate']:.3g}",
        "" if low is None or high is None else f"{low:.3g} to {high:.3g}",
        f"{one['units']:,}",
        bar(one["harm"], policy["alpha"]),
        bar(one["safe"], policy["alpha"]),
    )


def bar(log_value: float | None, alpha: float) -> str:
    """Return how far an e-value is on its way to 1 / alpha, on a logarithmic scale, with its number."""
    if log_value is None:
        return "watched alone"
    part = min(max(log_value / log(1 / alpha), 0.0), 1.0)
    cells = round(part * _BAR_CELLS)
    value = f"{exp(log_value):.3g}" if log_value < log(_MOST_SHOWN) else f"> {_MOST_SHOWN:.0e}"
    return f"{'█' * cells}{'·' * (_BAR_CELLS - cells)} {value} of {1 / alpha:g}"


def history_lines(entries: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield one line an entry of a rollout's history, the oldest first."""
    for one in entries:
        at = datetime.fromtimestamp(one["at_seconds"]).astimezone().strftime("%Y-%m-%d %H:%M:%S")
        reasons = "; ".join(one["reasons"])
        yield f"{at}  {one['phase']:11}  {one['canary_percent']:5g} %  {one['by']}: {reasons}"


def panel(found: Mapping[str, Any]) -> RenderableType:
    """Return the live view of a rollout."""
    from rich.console import Group
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    rollout = found["rollout"]
    grid = Table(expand=True, box=None)
    for name in ("metric", "estimate", "interval", "observations", "harm", "safe"):
        grid.add_column(name)
    for one in found["look"].get("evidence", ()):
        grid.add_row(*(Text(cell) for cell in _row(one, found["policy"])))
    parts: list[RenderableType] = [grid]
    parts += [Text(f"waits: {one}", style="yellow") for one in rollout["waiting"]]
    parts += [Text(line, style="dim") for line in list(history_lines(rollout["history"]))[-6:]]
    colours = {"promoted": "green", "rolled_back": "red", "aborted": "red"}
    return Panel(
        Group(*parts), title=Text(summary(found)), border_style=colours.get(rollout["phase"], "blue")
    )
