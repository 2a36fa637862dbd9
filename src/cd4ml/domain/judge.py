"""The judge: gates in, one verdict out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, get_args

from cd4ml.domain.gates import (
    Axis,
    Gate,
    Status,
    baseline_gate,
    contract_gate,
    io_contract_gate,
    latency_gate,
    parity_gate,
    runtime_gate,
    skipped_gate,
    threshold_gate,
)
from cd4ml.errors import DataError, UsageError

__all__ = [
    "Axis",
    "Decision",
    "Gate",
    "Status",
    "Verdict",
    "baseline_gate",
    "contract_gate",
    "decide",
    "io_contract_gate",
    "judge",
    "latency_gate",
    "parity_gate",
    "runtime_gate",
    "skipped_gate",
    "threshold_gate",
]

Decision = Literal["accept", "reject", "needs_approval"]
Policy = Literal["always", "only_if_warn", "never"]
AXES: tuple[Axis, ...] = ("data", "model", "code")


def decide(gates: Iterable[Gate], approval: Policy = "never") -> Decision:
    """Return what the gates say together.

    Any gate that failed rejects. So does a required gate that was skipped, since nobody answered it, and so
    do no gates at all. Warnings, and skipped gates that are not required, do not reject. What is left is
    accepted, or needs a person's approval: "always", or "only_if_warn" when a gate warns.
    """
    found = tuple(gates)
    if not found or any(_rejects(gate) for gate in found):
        return "reject"
    warned = any(gate.status == "warn" for gate in found)
    return "needs_approval" if approval == "always" or (approval == "only_if_warn" and warned) else "accept"


def _rejects(gate: Gate) -> bool:
    return gate.status == "fail" or (gate.status == "skipped" and gate.required)


@dataclass(frozen=True)
class Verdict:
    """The one answer over data, model and code.

    Attributes
    ----------
    model : str
        Name of the problem that the model is for.
    subject : mapping
        Ids of what was judged: SHA-256 of bundle and model, snapshot, git commit, problem.
    changed : tuple
        Which of "code", "data", "model" changed since the last run.
    """

    decision: Decision
    gates: tuple[Gate, ...]
    model: str
    subject: Mapping[str, str]
    changed: tuple[str, ...]

    def __post_init__(self) -> None:
        """Refuse a decision that the gates do not bear."""
        if self.decision not in get_args(Decision):
            raise DataError(
                f"a verdict must be one of {', '.join(get_args(Decision))}; found '{self.decision}'"
            )
        names = [gate.name for gate in self.gates]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise DataError(f"gates of a verdict must have distinct names; found twice: {', '.join(twice)}")
        if self.decision != "reject" and decide(self.gates) == "reject":
            against = [gate.name for gate in self.gates if _rejects(gate)] or ["no gate was answered"]
            raise DataError(f"the decision '{self.decision}' is at odds with its gates: {', '.join(against)}")
        object.__setattr__(self, "subject", MappingProxyType(dict(self.subject)))

    def to_dict(self) -> dict[str, Any]:
        """Return the content of verdict.json."""
        return {
            "decision": self.decision,
            "gates": [gate.to_dict() for gate in self.gates],
            "model": self.model,
            "subject": dict(sorted(self.subject.items())),
            "changed": list(self.changed),
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Verdict:
        """Return the verdict that `to_dict` wrote; DataError names what is missing or contradicts itself."""
        try:
            gates = tuple(Gate.from_dict(gate) for gate in value["gates"])
            changed = tuple(str(name) for name in value["changed"])
            subject = {str(k): str(v) for k, v in value["subject"].items()}
            return cls(value["decision"], gates, str(value["model"]), subject, changed)
        except KeyError as error:
            raise DataError(f"this is no verdict: it lacks {error}; run the judge again") from error
        except (TypeError, AttributeError) as error:
            raise DataError(f"this is no verdict: {error}; run the judge again") from error

    def to_markdown(self) -> str:
        """Return a page for people: the decision, what was judged, the gates by axis."""
        lines = [f"# {self.model}: {self.decision.replace('_', ' ')}", ""]
        lines += [f"Changed since the last run: {', '.join(self.changed) or 'nothing'}.", ""]
        lines += [f"- {name}: `{identity}`" for name, identity in sorted(self.subject.items())]
        for axis in AXES:
            lines += _table(axis, [gate for gate in self.gates if gate.axis == axis])
        return "\n".join(lines) + "\n"


def judge(
    gates: Sequence[Gate],
    model: str,
    subject: Mapping[str, str],
    changed: Sequence[str] = (),
    approval: Policy = "never",
) -> Verdict:
    """Return the verdict of the gates, in the order data, model, code.

    Raises
    ------
    UsageError
        If `changed` names something other than code, data and model.
    """
    unknown = sorted(set(changed) - set(AXES))
    if unknown:
        raise UsageError(f"changed must be among {', '.join(AXES)}; found {', '.join(unknown)}")
    ordered = tuple(gate for axis in AXES for gate in gates if gate.axis == axis)
    return Verdict(decide(ordered, approval), ordered, model, subject, tuple(sorted(set(changed))))


def _table(axis: str, gates: Sequence[Gate]) -> list[str]:
    if not gates:
        return []
    lines = [
        "",
        f"## {axis.capitalize()}",
        "",
        "| gate | status | measured | limit | reason |",
        "|---|---|---|---|---|",
    ]
    for gate in gates:
        cells = (gate.name, gate.status, _number(gate.measured), _number(gate.limit), gate.reason)
        lines.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
    return lines


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
