"""A challenger's serving contract against the champion's: who can call which of them?

Backward: a caller of the champion may call the challenger and finds in its answers what the champion
promised. Forward: a caller of the challenger may call the champion, as happens during a canary and after a
rollback. Inputs may become wider and outputs narrower, never the other way round.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

from cd4ml.domain.consumer_contract import ConsumerCheck
from cd4ml.domain.gates import Gate, skipped_gate

__all__ = ["SchemaChange", "schema_changes", "schema_gates", "unanswered_schema_gates"]

Field: TypeAlias = Mapping[str, Any]
# What a reader of the second type takes of the first; dates are times at midnight.
_READ_AS = {("integer", "number"), ("date", "timestamp"), ("text", "category"), ("category", "text")}
_TIMES = ("date", "timestamp")
_MOST_VALUES = 10_000
_MOST_TOLD = 3
_INPUT = "input"
# Another meaning under the same name breaks callers whom no request of theirs can warn.
_MEANINGS = ("task", "meaning", "name")


@dataclass(frozen=True)
class SchemaChange:
    """One difference between two serving contracts.

    Attributes
    ----------
    part : str
        "input", "output", "quantile", "decision" or "request".
    field : str
        The input; "" for other parts.
    change : str
        "added", "removed", "type", "nulls", "min", "max", "allowed", "max_rows", "level", "task", "name" or
        "meaning".
    backward, forward : bool
        Callers of the champion may call the challenger; those of the challenger the champion.
    learnt : bool
        The values are no rule of anybody: training saw others.
    detail : str
        What it means, for people.
    """

    part: str
    field: str
    change: str
    old: Any
    new: Any
    backward: bool
    forward: bool
    detail: str
    learnt: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return it as in consumers.json."""
        names = ("part", "field", "change", "old", "new", "backward", "forward", "learnt", "detail")
        return {name: getattr(self, name) for name in names}


def schema_changes(
    champion: Mapping[str, Any],
    challenger: Mapping[str, Any],
    declared: Mapping[str, Sequence[str] | None] | None = None,
) -> tuple[SchemaChange, ...]:
    """Return how two contracts (contract.json of bundles) differ, inputs first.

    Parameters
    ----------
    declared : mapping, optional
        Input -> the `allowed` values of the challenger's problem as texts, None where it has none. With
        `serving.unknown: refuse` a contract also lists what training saw: a value that went missing though
        it is allowed was not taken away by anybody, and is `learnt`.
    """
    both_learnt = champion["unknown"] == challenger["unknown"] == "refuse"
    known = (declared or {}) if both_learnt else {}
    return (
        *_inputs(champion["inputs"]["properties"], challenger["inputs"]["properties"], known),
        *_outputs(champion, challenger),
        *_requests(champion["max_rows"], challenger["max_rows"]),
    )


def _inputs(
    old: Mapping[str, Field], new: Mapping[str, Field], known: Mapping[str, Sequence[str] | None]
) -> Iterator[SchemaChange]:
    for name in sorted({*old, *new}):
        if name not in new:
            detail = f"input '{name}' is gone; rows that have it are refused"
            forward = bool(old[name]["nullable"])
            yield SchemaChange(_INPUT, name, "removed", old[name]["kind"], None, False, forward, detail)
        elif name not in old:
            optional = bool(new[name]["nullable"])
            detail = f"input '{name}' is new and {'may be left out' if optional else 'required'}"
            yield SchemaChange(_INPUT, name, "added", None, new[name]["kind"], optional, False, detail)
        else:
            yield from _input(name, old[name], new[name], known)


def _input(
    name: str, old: Field, new: Field, known: Mapping[str, Sequence[str] | None]
) -> Iterator[SchemaChange]:
    """Yield the differences of one input; limits of types that cannot be compared are none."""
    backward, forward = _reads(new["kind"], old["kind"]), _reads(old["kind"], new["kind"])
    if old["kind"] != new["kind"]:
        detail = f"input '{name}' was {old['kind']} and is {new['kind']}"
        yield SchemaChange(_INPUT, name, "type", old["kind"], new["kind"], backward, forward, detail)
    if not backward and not forward:
        return
    if old["nullable"] != new["nullable"]:
        was, now = bool(old["nullable"]), bool(new["nullable"])
        detail = f"input '{name}' may {'now' if now else 'no longer'} be null or left out"
        yield SchemaChange(_INPUT, name, "nulls", was, now, now, was, detail)
    for change, (end, within) in _ENDS.items():
        limits = _limit(old, end), _limit(new, end)
        if limits[0] != limits[1]:
            told = f"input '{name}': {end} was {_shown(old, end)} and is {_shown(new, end)}"
            pair = (within(new, old, end), within(old, new, end))
            yield SchemaChange(_INPUT, name, change, _raw(old, end), _raw(new, end), *pair, told)
    yield from _values(name, old, new, known)


def _values(
    name: str, old: Field, new: Field, known: Mapping[str, Sequence[str] | None]
) -> Iterator[SchemaChange]:
    """Yield how the listed values differ."""
    was, now = old.get("enum"), new.get("enum")
    if _listed(was) == _listed(now):
        return
    lost = _missing(_takes(old), _listed(now))
    gained = _missing(_takes(new), _listed(was))
    learnt = False
    if lost and name in known:
        allowed = known[name]
        learnt = allowed is None or {str(value) for value in lost} <= set(allowed)
    if lost is None:
        detail = f"input '{name}' takes now only {len(_listed(now) or ())} listed values"
    elif lost:
        why = "training saw them no more" if learnt else "they are refused"
        detail = f"input '{name}' no longer takes {_some(lost)}; {why}"
    else:
        detail = f"input '{name}' takes more values than before"
    flags = (lost is not None and not lost, gained is not None and not gained)
    yield SchemaChange(_INPUT, name, "allowed", was, now, *flags, detail, learnt)


def _listed(values: Sequence[Any] | None) -> set[Any] | None:
    return None if values is None else {value for value in values if value is not None}


def _takes(field: Field) -> set[Any] | None:
    """Return all values that a field takes; None where nobody can list them."""
    if "enum" in field:
        return _listed(field["enum"])
    if field["kind"] == "boolean":
        return {False, True}
    low, high = field.get("minimum"), field.get("maximum")
    if field["kind"] != "integer" or low is None or high is None:
        return None
    if high - low < _MOST_VALUES:
        return set(range(int(low), int(high) + 1))
    return None


def _missing(wanted: set[Any] | None, taken: set[Any] | None) -> set[Any] | None:
    """Return what is wanted and not taken; None for countless."""
    if taken is None:
        return set()
    return None if wanted is None else wanted - taken


def _some(values: set[Any]) -> str:
    told = sorted(map(str, values))
    more = f" and {len(told) - _MOST_TOLD} more" if len(told) > _MOST_TOLD else ""
    return ", ".join(told[:_MOST_TOLD]) + more


def _reads(wide: str, narrow: str) -> bool:
    """Tell whether what is sent as `narrow` can be read as `wide`."""
    return wide == narrow or (narrow, wide) in _READ_AS


def _raw(field: Field, end: str) -> Any:
    return field.get(f"format{end.capitalize()}" if field["kind"] in _TIMES else end)


def _shown(field: Field, end: str) -> str:
    value = _raw(field, end)
    return "open" if value is None else str(value)


def _limit(field: Field, end: str) -> Any:
    value = _raw(field, end)
    return datetime.fromisoformat(value) if isinstance(value, str) else value


def _above_the_minimum(wide: Field, narrow: Field, end: str) -> bool:
    """Tell whether all that `narrow` takes is at least the minimum of `wide`."""
    bound, lowest = _limit(wide, end), _outermost(narrow, end, min)
    return bound is None or (lowest is not None and bool(lowest >= bound))


def _below_the_maximum(wide: Field, narrow: Field, end: str) -> bool:
    bound, highest = _limit(wide, end), _outermost(narrow, end, max)
    return bound is None or (highest is not None and bool(highest <= bound))


def _outermost(field: Field, end: str, choose: Callable[..., Any]) -> Any:
    """Return the smallest or largest value that a field takes; None where there is no such limit."""
    values = _listed(field.get("enum")) if field["kind"] in ("integer", "number") else None
    return choose(values) if values else _limit(field, end)


_ENDS: Mapping[str, tuple[str, Callable[[Field, Field, str], bool]]] = {
    "min": ("minimum", _above_the_minimum),
    "max": ("maximum", _below_the_maximum),
}


def _outputs(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[SchemaChange]:
    facts = {
        "task": (old["task"], new["task"]),
        "name": (old["output"]["name"], new["output"]["name"]),
        "meaning": (old["output"].get("description"), new["output"].get("description")),
    }
    for change, (was, now) in facts.items():
        if was != now:
            detail = f"the {change} of the output was '{was}' and is '{now}'"
            yield SchemaChange("output", "", change, was, now, False, False, detail)
    for change, end, sign in (("min", "minimum", 1), ("max", "maximum", -1)):
        limits = old["output"].get(end), new["output"].get(end)
        if limits[0] != limits[1]:
            was, now = ("open" if limit is None else f"{limit:g}" for limit in limits)
            pair = (_promised(*limits, sign), _promised(limits[1], limits[0], sign))
            detail = f"the {end} of the prediction was {was} and is {now}"
            yield SchemaChange("output", "", change, *limits, *pair, detail)
    yield from _quantile(old["quantile"], new["quantile"])
    yield from _presence("decision", old.get("decision"), new.get("decision"))


def _promised(limit: float | None, found: float | None, sign: int) -> bool:
    """Tell whether a limit of outputs holds where another one is kept; sign is 1 for minima."""
    return limit is None or (found is not None and sign * found >= sign * limit)


def _quantile(old: float | None, new: float | None) -> Iterator[SchemaChange]:
    if old is not None and new is not None and old != new:
        detail = f"the output 'quantile' was that of {old:g} and is that of {new:g}"
        yield SchemaChange("quantile", "", "level", old, new, False, False, detail)
    else:
        yield from _presence("quantile", old, new)


def _presence(name: str, old: Any, new: Any) -> Iterator[SchemaChange]:
    """Yield an output that came or went; None is no such output."""
    if (old is None) != (new is None):
        change, came = ("added", True) if old is None else ("removed", False)
        detail = f"the output '{name}' is {'new' if came else 'gone'}"
        yield SchemaChange(name, "", change, old, new, came, not came, detail)


def _requests(old: int, new: int) -> Iterator[SchemaChange]:
    if old != new:
        detail = f"a request had up to {old} rows and has up to {new}"
        yield SchemaChange("request", "", "max_rows", old, new, new >= old, new <= old, detail)


def schema_gates(changes: Sequence[SchemaChange], checks: Sequence[ConsumerCheck]) -> list[Gate]:
    """Return the gates `schema:backward` and `schema:forward`.

    Backward, a breaking change fails, with the names of the consumers who send the field. It only warns where
    it is no change of meaning and every consumer's contract holds all the same (at least one is needed: a
    caller without a contract cannot be asked), or where values are gone that training saw no more. Forward,
    a change warns: callers must not use it before the champion is gone for good. The measured value is the
    number of such changes.
    """
    breaking = [change for change in changes if not change.backward]
    ahead = [change for change in changes if not change.forward]
    return [_backward(breaking, checks), _forward(ahead)]


def _backward(breaking: Sequence[SchemaChange], checks: Sequence[ConsumerCheck]) -> Gate:
    name, count = "schema:backward", float(len(breaking))
    if not breaking:
        return Gate(name, "pass", count, 0.0, None, "whoever calls the champion may call this model.", "code")
    harmed = sorted(check.consumer for check in checks if check.status == "fail")
    told = _told([_with_users(change, checks) for change in breaking])
    meanings = any(change.change in _MEANINGS for change in breaking)
    if all(change.learnt for change in breaking) and not harmed:
        reason = f"callers of the champion may be refused: {told}. See that they know."
        return Gate(name, "warn", count, 0.0, None, reason, "code")
    if checks and not harmed and not meanings:
        reason = (
            f"callers of the champion may be refused: {told}. All {len(checks)} consumers with a contract are"
            " served all the same; see that there are no others."
        )
        return Gate(name, "warn", count, 0.0, None, reason, "code")
    who = f"breaks {', '.join(harmed)}" if harmed else "breaks callers of the champion"
    advice = (
        "give it a new problem name" if meanings else "make it optional, or let each consumer add a contract"
    )
    return Gate(name, "fail", count, 0.0, None, f"{who}: {told}. Undo the change, {advice} first.", "code")


def _forward(ahead: Sequence[SchemaChange]) -> Gate:
    name, count = "schema:forward", float(len(ahead))
    if not ahead:
        return Gate(name, "pass", count, 0.0, None, "whoever calls this model may call the champion.", "code")
    told = _told([change.detail for change in ahead])
    reason = f"callers must not use it while the champion may serve (canary, rollback): {told}."
    return Gate(name, "warn", count, 0.0, None, reason, "code")


def _with_users(change: SchemaChange, checks: Sequence[ConsumerCheck]) -> str:
    users = sorted(check.consumer for check in checks if change.field in check.fields)
    return f"{change.detail} (sent by {', '.join(users)})" if users else change.detail


def _told(details: Sequence[str]) -> str:
    more = f" (and {len(details) - _MOST_TOLD} more)" if len(details) > _MOST_TOLD else ""
    return "; ".join(details[:_MOST_TOLD]) + more


def unanswered_schema_gates(why: str, *, unreadable: bool) -> list[Gate]:
    """Return both gates where there is no champion's contract: failed if it is unreadable, else skipped."""
    names = ("schema:backward", "schema:forward")
    if not unreadable:
        return [skipped_gate(name, "code", why) for name in names]
    advice = "mend the registry, or move the champion's alias with a reason"
    reason = f"the champion's contract cannot be read: {why}: {advice}."
    return [Gate(name, "fail", None, None, None, reason, "code") for name in names]
