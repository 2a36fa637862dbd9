"""What a consumer of a model sends and relies on, and whether a model keeps it.

A consumer-driven contract holds what its owner uses and nothing else: a model may change in any other way
(I. Robinson, "Consumer-Driven Contracts: A Service Evolution Pattern", 2006).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from cd4ml.domain.gates import Gate, skipped_gate
from cd4ml.errors import ProblemError

__all__ = [
    "ConsumerCheck",
    "ConsumerContract",
    "Finding",
    "Range",
    "Reliance",
    "Request",
    "Tolerance",
    "consumer_gates",
    "judge_answers",
    "judge_range",
    "judge_times",
    "judge_tries",
    "unreadable",
]

FloatArray: TypeAlias = NDArray[np.float64]
Row: TypeAlias = Mapping[str, Any]
Outcome = Literal["pass", "fail", "warn"]
_NAME = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")
_MOST_TOLD = 3
# Read from files by a validator, which shall refuse keys that nobody knows.
_STRICT: Mapping[str, Any] = {"extra": "forbid", "allow_inf_nan": False}


@dataclass(frozen=True)
class Range:
    """Inclusive limits of an output; None where there is none."""

    __pydantic_config__: ClassVar[Any] = _STRICT
    min: float | None = None
    max: float | None = None

    def __post_init__(self) -> None:
        """Refuse a range in which there is nothing."""
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ProblemError(f"min {self.min:g} is above max {self.max:g}; exchange them", ("min",))


@dataclass(frozen=True)
class Tolerance:
    """How far answers may be from the recorded ones.

    Attributes
    ----------
    absolute, relative : float
        An answer is near when |now - recorded| <= max(absolute, relative * |recorded|); 0 means equal.
    share : float
        Least share of the recorded answers that must be near; 1 means all.
    """

    __pydantic_config__: ClassVar[Any] = _STRICT
    absolute: float = 0.0
    relative: float = 0.0
    share: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what is no tolerance."""
        for name in ("absolute", "relative"):
            if getattr(self, name) < 0:
                raise ProblemError(f"expected 0 or more; found {getattr(self, name):g}", (name,))
        if not 0 < self.share <= 1:
            raise ProblemError(f"expected a share above 0 and up to 1; found {self.share:g}", ("share",))


@dataclass(frozen=True)
class Request:
    """One row as the consumer sends it, and what a model answered when the contract was written."""

    __pydantic_config__: ClassVar[Any] = _STRICT
    row: Row
    name: str = ""
    answer: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what no caller could send."""
        if not self.row:
            raise ProblemError("expected at least one field; found none", ("row",))
        for name, value in self.row.items():
            if not (value is None or isinstance(value, bool | int | float | str)):
                raise ProblemError(
                    f"expected a text, number, true, false or null; found {type(value).__name__}",
                    ("row", name),
                )
            if isinstance(value, float) and not math.isfinite(value):
                raise ProblemError(f"expected a finite number; found {value}", ("row", name))


@dataclass(frozen=True)
class Reliance:
    """What a consumer relies on beyond that its requests are answered.

    Attributes
    ----------
    outputs : mapping
        Outputs that must be there ("prediction", "quantile"), with limits of their values.
    tolerance : Tolerance, optional
        Of answers against the recorded ones; without it these are only compared.
    max_latency_ms : float, optional
        99th percentile of one row's prediction within the server, in milliseconds.
    rows_per_request : int
        Most rows that the consumer sends at once.
    accepts_null, accepts_absent, accepts_unknown : tuple of str
        Fields that may be null, be left out, or have a text that training did not see.
    """

    __pydantic_config__: ClassVar[Any] = _STRICT
    outputs: Mapping[str, Range] = field(default_factory=lambda: {"prediction": Range()})
    tolerance: Tolerance | None = None
    max_latency_ms: float | None = None
    rows_per_request: int = 1
    accepts_null: tuple[str, ...] = ()
    accepts_absent: tuple[str, ...] = ()
    accepts_unknown: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what can never hold."""
        if self.max_latency_ms is not None and self.max_latency_ms <= 0:
            raise ProblemError(
                f"expected milliseconds above 0; found {self.max_latency_ms:g}", ("max_latency_ms",)
            )
        if self.rows_per_request < 1:
            raise ProblemError(
                f"expected 1 row or more; found {self.rows_per_request}", ("rows_per_request",)
            )


@dataclass(frozen=True)
class ConsumerContract:
    """The file that a consumer commits.

    Attributes
    ----------
    consumer : str
        Who sends the requests, e.g. "shelf-planner"; unique for a problem.
    problem : str
        Name of the problem whose models are asked.
    owner : str
        Whom to talk to before breaking it.
    """

    __pydantic_config__: ClassVar[Any] = _STRICT
    consumer: str
    problem: str
    owner: str
    requests: tuple[Request, ...]
    relies_on: Reliance = field(default_factory=Reliance)
    description: str = ""

    def __post_init__(self) -> None:
        """Refuse a contract that names nobody or asks nothing."""
        for name in ("consumer", "problem"):
            if not _NAME.fullmatch(getattr(self, name)):
                raise ProblemError(
                    f"expected a name such as 'shelf-planner'; found {getattr(self, name)!r}", (name,)
                )
        if not self.owner.strip():
            raise ProblemError("expected whom to talk to; found nothing", ("owner",))
        if not self.requests:
            raise ProblemError("expected at least one request; found none", ("requests",))
        if self.relies_on.tolerance and not any(request.answer for request in self.requests):
            raise ProblemError(
                "a tolerance needs recorded answers; found none. Add `answer` to requests",
                ("relies_on", "tolerance"),
            )

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields that the consumer sends, sorted."""
        return tuple(sorted({name for request in self.requests for name in request.row}))

    def to_dict(self) -> dict[str, Any]:
        """Return the contract as JSON, without what was left at its default."""
        found: dict[str, Any] = _without_nothing(asdict(self))
        relies = found["relies_on"]
        relies["outputs"] = {name: _without_nothing(asdict(r)) for name, r in self.relies_on.outputs.items()}
        if relies["rows_per_request"] == 1:
            del relies["rows_per_request"]
        order = ("consumer", "problem", "owner", "description", "relies_on", "requests")
        return {name: found[name] for name in order if name in found}


def _without_nothing(value: Any) -> Any:
    """Return a document without empty values; rows keep their nulls."""
    if isinstance(value, dict):
        kept = {name: part if name == "row" else _without_nothing(part) for name, part in value.items()}
        return {name: part for name, part in kept.items() if part not in (None, "", {}, [], ())}
    if isinstance(value, list | tuple):
        return [_without_nothing(part) for part in value]
    return value


@dataclass(frozen=True)
class Finding:
    """What came of one thing that a consumer relies on.

    Attributes
    ----------
    measured, limit : float or None
        What was found and what was promised; None where there is no such number.
    detail : str
        One sentence's part, for people.
    """

    rule: str
    status: Outcome
    measured: float | None
    limit: float | None
    detail: str

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON."""
        return asdict(self)


@dataclass(frozen=True)
class ConsumerCheck:
    """A model held against one consumer's contract.

    Attributes
    ----------
    requests : int
        How many there are.
    fields : tuple of str
        What the consumer sends.
    """

    consumer: str
    owner: str
    requests: int
    fields: tuple[str, ...]
    findings: tuple[Finding, ...]

    @property
    def status(self) -> Outcome:
        """The worst of the findings; a check without findings showed nothing and fails."""
        found = {finding.status for finding in self.findings} or {"fail"}
        return "fail" if "fail" in found else "warn" if "warn" in found else "pass"

    def to_dict(self) -> dict[str, Any]:
        """Return it as in consumers.json."""
        return {
            "consumer": self.consumer,
            "owner": self.owner,
            "status": self.status,
            "requests": self.requests,
            "fields": list(self.fields),
            "findings": [finding.to_dict() for finding in self.findings],
        }


def unreadable(consumer: str, why: str) -> ConsumerCheck:
    """Return the check of a contract that cannot be read: it fails, since nobody knows what it asks."""
    return ConsumerCheck(
        consumer, "", 0, (), (Finding("contract", "fail", None, None, f"its contract cannot be read: {why}"),)
    )


def judge_tries(rule: str, tried: int, refusals: Sequence[str], what: str) -> Finding:
    """Say whether all of what a consumer sends is answered.

    Parameters
    ----------
    refusals : sequence of str
        One sentence for each that was not; the measured value is their number.
    what : str
        What was tried, e.g. "requests".
    """
    count, limit = float(len(refusals)), 0.0
    if not refusals:
        return Finding(rule, "pass", count, limit, f"{tried} {what} answered")
    more = f" (and {len(refusals) - _MOST_TOLD} more)" if len(refusals) > _MOST_TOLD else ""
    told = "; ".join(refusals[:_MOST_TOLD])
    return Finding(
        rule, "fail", count, limit, f"{len(refusals)} of {tried} {what} are not answered: {told}{more}"
    )


def judge_range(output: str, values: FloatArray, limits: Range, names: Sequence[str]) -> Finding:
    """Say whether an output is finite and within a consumer's limits; `names` are those of the requests.

    What is served is float32, and so are its limits. The measured value is how many answers are not.
    """
    low = np.float32(-np.inf if limits.min is None else limits.min)
    high = np.float32(np.inf if limits.max is None else limits.max)
    served = values.astype(np.float32)
    wrong = np.flatnonzero(~(np.isfinite(served) & (served >= low) & (served <= high)))
    rule, promised = f"output:{output}", _range_text(limits)
    if not len(wrong):
        return Finding(rule, "pass", 0.0, 0.0, f"{output} is {promised}")
    first = int(wrong[0])
    told = f"{output} must be {promised}; {names[first]} gives {values[first]:.6g}"
    more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
    return Finding(rule, "fail", float(len(wrong)), 0.0, told + more)


def _range_text(limits: Range) -> str:
    low = "" if limits.min is None else f" from {limits.min:g}"
    high = "" if limits.max is None else f" up to {limits.max:g}"
    return f"a finite number{low}{high}"


def judge_answers(
    output: str, recorded: FloatArray, found: FloatArray, tolerance: Tolerance, names: Sequence[str]
) -> Finding:
    """Say whether enough answers are near the recorded ones, all arrays of shape (n,) with n >= 1.

    The measured value is the share that is near.
    """
    distance = np.abs(found - recorded)
    allowed = np.maximum(tolerance.absolute, tolerance.relative * np.abs(recorded))
    near = distance <= allowed  # a NaN is not near
    share = float(near.mean())
    rule = f"answers:{output}"
    needed = f"at least {tolerance.share:.0%} must be"
    told = f"{near.sum()} of {len(near)} recorded answers of {output} are met; {needed}"
    if share >= tolerance.share:
        return Finding(rule, "pass", share, tolerance.share, told)
    excess = np.where(near, -np.inf, np.nan_to_num(distance - allowed, nan=np.inf))
    worst = int(excess.argmax())
    told += (
        f". Farthest: {names[worst]}, {found[worst]:.6g} where {recorded[worst]:.6g} was recorded"
        f" (allowed {allowed[worst]:.3g} apart)"
    )
    return Finding(rule, "fail", share, tolerance.share, told)


def judge_times(p99_ms: float, limit_ms: float) -> Finding:
    """Say whether a row's prediction is quick enough, in milliseconds; what was not timed fails."""
    told = f"one row takes {p99_ms:.3g} ms at p99; at most {limit_ms:.3g} ms are promised"
    held = math.isfinite(p99_ms) and p99_ms <= limit_ms
    measured = p99_ms if math.isfinite(p99_ms) else None
    return Finding("latency", "pass" if held else "fail", measured, limit_ms, told)


def consumer_gates(problem: str, checks: Sequence[ConsumerCheck]) -> list[Gate]:
    """Return one gate a consumer, which says by name who would be broken; a skipped one without consumers.

    The measured value is the number of broken promises.
    """
    if not checks:
        reason = f"no consumer of {problem} has committed a contract; `cd4ml consumers init` drafts one."
        return [skipped_gate("consumers", "code", reason)]
    return [_gate(check) for check in sorted(checks, key=lambda check: check.consumer)]


def _gate(check: ConsumerCheck) -> Gate:
    name, status = f"consumer:{check.consumer}", check.status
    who = f"consumer '{check.consumer}'" + (f" (owner: {check.owner})" if check.owner else "")
    worst = [finding for finding in check.findings if finding.status == status]
    told = "; ".join(finding.detail for finding in worst[:_MOST_TOLD])
    told += f" (and {len(worst) - _MOST_TOLD} more)" if len(worst) > _MOST_TOLD else ""
    broken = float(sum(finding.status == "fail" for finding in check.findings))
    if status == "pass":
        rules = len(check.findings)
        reason = f"{who} has what it relies on: {check.requests} requests, {rules} rules hold."
    elif status == "warn":
        reason = f"{who} may be affected: {told}."
    else:
        advice = "Undo the change, or agree with the owner on a new contract and add that first"
        reason = f"this model breaks {who}: {told or 'nothing was checked'}. {advice}."
    return Gate(name, status, broken, 0.0, None, reason, "code")
