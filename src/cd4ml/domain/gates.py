"""Gates: one question about data, model or code, answered with its evidence in one plain sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from cd4ml.domain.bootstrap import Interval
from cd4ml.errors import DataError, UsageError

__all__ = [
    "Axis",
    "Gate",
    "Status",
    "baseline_gate",
    "contract_gate",
    "io_contract_gate",
    "latency_gate",
    "parity_gate",
    "runtime_gate",
    "skipped_gate",
    "threshold_gate",
]

Status = Literal["pass", "fail", "warn", "skipped"]
Axis = Literal["data", "model", "code"]


@dataclass(frozen=True)
class Gate:
    """One answered question.

    Attributes
    ----------
    name : str
        Unique in a verdict, e.g. "baseline:group_mean:wape".
    measured, limit : float or None
        What was found and what was allowed; None where there is no such number.
    interval : (low, high) or None
        Of `measured`; None where there is none or the clusters were too few to say.
    reason : str
        What was measured, the limit, and what to do when it failed.
    required : bool
        Whether the verdict needs this gate to have been answered: a required gate that was skipped rejects.
    """

    name: str
    status: Status
    measured: float | None
    limit: float | None
    interval: tuple[float, float] | None
    reason: str
    axis: Axis
    required: bool = True

    def __post_init__(self) -> None:
        """Refuse what cannot be written as JSON or is not a word of the verdict."""
        if self.status not in get_args(Status) or self.axis not in get_args(Axis):
            raise DataError(f"gate '{self.name}' has status '{self.status}' and axis '{self.axis}'")
        numbers = (self.measured, self.limit, *(self.interval or ()))
        if not all(x is None or math.isfinite(x) for x in numbers):
            raise DataError(f"gate '{self.name}' must have finite numbers; found {numbers}")

    def to_dict(self) -> dict[str, Any]:
        """Return the gate as it stands in verdict.json."""
        return {
            "name": self.name,
            "axis": self.axis,
            "status": self.status,
            "measured": self.measured,
            "limit": self.limit,
            "interval": None if self.interval is None else list(self.interval),
            "reason": self.reason,
            "required": self.required,
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Gate:
        """Return the gate that `to_dict` wrote."""
        pair = value["interval"]
        interval = None if pair is None else (float(pair[0]), float(pair[1]))
        return cls(
            str(value["name"]),
            value["status"],
            value["measured"],
            value["limit"],
            interval,
            str(value["reason"]),
            value["axis"],
            bool(value["required"]),
        )


def contract_gate(
    rows_in: int,
    rows_used: int,
    rows_quarantined: int,
    rows_filtered: int,
    refused_rules: Sequence[str],
    max_quarantined_fraction: float,
) -> Gate:
    """Ask whether every row is accounted for, no rule refused, and few enough rows were set aside.

    The measured value is the quarantined fraction of `rows_in`; 0 means that no row broke a rule.
    """
    fraction = rows_quarantined / rows_in if rows_in else 0.0
    accounted = rows_used + rows_quarantined + rows_filtered
    parts = f"{rows_used:,} used, {rows_quarantined:,} quarantined, {rows_filtered:,} filtered"
    counts = f"{rows_in:,} rows in: {parts}"
    share = f"{fraction:.3%} quarantined, limit {max_quarantined_fraction:.3%}"
    status: Status = "fail"
    if min(rows_in, rows_used, rows_quarantined, rows_filtered) < 0 or accounted != rows_in:
        reason = f"{counts}; that leaves {rows_in - accounted} unaccounted for: a step lost or repeated rows."
    elif refused_rules:
        reason = f"{counts}; refused by {', '.join(refused_rules)}: mend the source or the rule."
    elif not rows_used:
        reason = f"{counts}; nothing is left to learn from: look at the filters and the rules."
    elif fraction > max_quarantined_fraction:
        reason = f"{counts}; {share}: look at the quarantined rows, then mend the source or the rule."
    else:
        status, reason = "pass", f"{counts}; {share}."
    return Gate("contract", status, fraction, max_quarantined_fraction, None, reason, "data")


def baseline_gate(baseline: str, metric: str, improvement: Interval, margin: float) -> Gate:
    """Ask whether the model surely beats a baseline: the low end of its improvement must be above `margin`.

    Improvement is a fraction of the baseline's error (see metrics.improvement); 0 means no better.
    """
    name = f"baseline:{baseline}:{metric}"
    word = "better" if improvement.estimate >= 0 else "worse"
    found = f"{metric} is {abs(improvement.estimate):.2%} {word} than {baseline}"
    interval = _pair(improvement)
    if interval is None:
        reason = f"{found}, but there are too few clusters for an interval: score on more days or entities."
        return Gate(name, "fail", improvement.estimate, margin, None, reason, "model")
    low = interval[0]
    shown = f"{found} ({low:+.2%} to {interval[1]:+.2%}); its low end must be above {margin:.2%}"
    if low > margin:
        return Gate(name, "pass", improvement.estimate, margin, interval, f"{shown}.", "model")
    advice = (
        "score on more data" if improvement.estimate > margin else "improve the model or keep the baseline"
    )
    return Gate(name, "fail", improvement.estimate, margin, interval, f"{shown}: {advice}.", "model")


def threshold_gate(
    metric: str,
    interval: Interval,
    limit: float,
    higher_is_better: bool,
    on: Literal["interval", "estimate"] = "interval",
) -> Gate:
    """Ask whether a metric is surely within a limit: the worse end of its interval, or the estimate if asked.

    A value equal to the limit passes.
    """
    pair = _pair(interval)
    name, found = f"threshold:{metric}", f"{metric} is {interval.estimate:.4g}"
    if on == "interval" and pair is None:
        reason = f"{found}, but there are too few clusters for an interval: score on more days or entities."
        return Gate(name, "fail", interval.estimate, limit, None, reason, "model")
    value = interval.estimate
    shown = found if pair is None else f"{found} ({pair[0]:.4g} to {pair[1]:.4g})"
    if on == "interval" and pair is not None:
        value = pair[0] if higher_is_better else pair[1]
    end = "its estimate" if on == "estimate" else f"its {'low' if higher_is_better else 'high'} end"
    shown = f"{shown}; {end} must be {'at least' if higher_is_better else 'at most'} {limit:.4g}"
    if value >= limit if higher_is_better else value <= limit:
        return Gate(name, "pass", interval.estimate, limit, pair, f"{shown}.", "model")
    reason = f"{shown}: improve the model, or change the limit in the problem file with a reason."
    return Gate(name, "fail", interval.estimate, limit, pair, reason, "model")


def parity_gate(
    max_abs_difference: float, max_relative_difference: float, rows_checked: int, tolerance: float, where: str
) -> Gate:
    """Ask whether two ways to the same prediction agree, e.g. the estimator and its ONNX export.

    It passes if the largest relative difference, |a - b| / max(1, |b|), is within `tolerance`: one bound for
    predictions near 0 and for large ones; 0 means that all are identical. The absolute one is told beside it.
    A difference that is negative or not finite fails.
    """
    name = f"parity:{where}"
    if not rows_checked:
        reason = f"no row was compared ({where}): give rows to compare."
        return Gate(name, "fail", None, tolerance, None, reason, "code")
    if not all(math.isfinite(x) and x >= 0 for x in (max_abs_difference, max_relative_difference)):
        reason = (
            f"predictions differ by {max_abs_difference} ({max_relative_difference} relative; {where}, "
            f"{rows_checked} rows), which is no distance: look for NaN among them."
        )
        return Gate(name, "fail", None, tolerance, None, reason, "code")
    shown = (
        f"predictions differ by at most {max_relative_difference:.3g} of max(1, |prediction|) on "
        f"{rows_checked:,} rows ({where}; {max_abs_difference:.3g} absolute); limit {tolerance:.3g}"
    )
    measured = max_relative_difference
    if measured <= tolerance:
        return Gate(name, "pass", measured, tolerance, None, f"{shown}.", "code")
    reason = f"{shown}: look at dtypes, encodings and the export of this estimator."
    return Gate(name, "fail", measured, tolerance, None, reason, "code")


def runtime_gate(
    identical: bool,
    versions_trained: Mapping[str, str],
    versions_serving: Mapping[str, str],
    detail: str = "",
) -> Gate:
    """Ask whether the serving runtime gives what was promised at training.

    Predictions that differ fail; equal predictions under other versions warn.
    """
    names = sorted(set(versions_trained) | set(versions_serving))
    both = (
        (name, versions_trained.get(name, "absent"), versions_serving.get(name, "absent")) for name in names
    )
    changed = ", ".join(f"{name} {was} -> {now}" for name, was, now in both if was != now)
    versions = f"versions changed: {changed}" if changed else "the versions are those of training"
    told = f" ({detail})" if detail else ""
    if not identical:
        reason = (
            f"the serving runtime predicts something else{told}; {versions}: serve with the locked versions."
        )
        return Gate("runtime", "fail", None, None, None, reason, "code")
    status: Status = "warn" if changed else "pass"
    reason = f"the serving runtime predicts the same{told}; {versions}."
    return Gate("runtime", status, None, None, None, reason, "code")


def latency_gate(p50_ms: float, p99_ms: float, limit_ms: float) -> Gate:
    """Ask whether the 99th percentile of the time a request takes is within the limit, in milliseconds."""
    if not math.isfinite(p99_ms):
        reason = f"the p99 latency is {p99_ms}: no request was timed."
        return Gate("latency", "fail", None, limit_ms, None, reason, "code")
    shown = f"a request takes {p99_ms:.3g} ms at p99 ({p50_ms:.3g} ms at p50); limit {limit_ms:.3g} ms"
    if p99_ms <= limit_ms:
        return Gate("latency", "pass", p99_ms, limit_ms, None, f"{shown}.", "code")
    reason = f"{shown}: use a smaller model or allow more time in the problem file."
    return Gate("latency", "fail", p99_ms, limit_ms, None, reason, "code")


def io_contract_gate(problems: Sequence[str]) -> Gate:
    """Ask whether the server takes and refuses the requests that the contract says; 0 problems pass."""
    count = float(len(problems))
    if not problems:
        reason = "the server accepts and refuses what its contract says."
        return Gate("io_contract", "pass", count, 0.0, None, reason, "code")
    more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
    reason = f"the server breaks its contract {len(problems)} times: {'; '.join(problems[:3])}{more}."
    return Gate("io_contract", "fail", count, 0.0, None, reason, "code")


def skipped_gate(name: str, axis: Axis, reason: str, required: bool = False) -> Gate:
    """Return a gate that was not asked, with why, e.g. that there is no champion to compare with yet."""
    if not reason:
        raise UsageError(f"gate '{name}' was skipped without a reason; say why")
    return Gate(name, "skipped", None, None, None, reason, axis, required)


def _pair(interval: Interval) -> tuple[float, float] | None:
    if interval.low is None or interval.high is None:
        return None
    return (interval.low, interval.high)
