"""What a contract found: anomalies, and the rows they cost."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from cd4ml.problem import Severity

__all__ = ["Anomaly", "TableReport", "anomaly_line", "table_severity", "validation"]


@dataclass(frozen=True)
class Anomaly:
    """One broken rule.

    Parameters
    ----------
    table, column : str
        Where; the column is "" when the rule is about the table.
    kind : str
        TensorFlow Data Validation's name, or ours (see docs/data.md).
    severity : {"refuse", "quarantine", "warn"}
    rows : int
        How many rows break it; 0 when it is about the table.
    detail : str
        For people: what was expected, what was found.
    limit, measured
        What was allowed and what was found, where that is a value.
    """

    table: str
    column: str
    kind: str
    severity: Severity
    rows: int
    detail: str
    limit: Any = None
    measured: Any = None


@dataclass
class TableReport:
    """How many rows of a table came in, stayed and went to quarantine; `rows_in` is the sum of the others."""

    rows_in: int = 0
    rows_quarantined: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    anomalies: list[Anomaly] = field(default_factory=list)

    @property
    def rows_accepted(self) -> int:
        """Return how many rows stayed."""
        return self.rows_in - self.rows_quarantined

    def most_frequent_reason(self) -> str:
        """Return why most rows are in quarantine, as the end of a sentence; "" when none is."""
        if not self.reasons:
            return ""
        return f", most for '{max(self.reasons, key=lambda reason: (self.reasons[reason], reason))}'"

    def count_reasons(self, reasons: Iterable[tuple[str, int]]) -> None:
        """Add rows by reason; a row with several reasons counts for each."""
        for reason, rows in reasons:
            if rows:
                self.reasons[reason] = self.reasons.get(reason, 0) + rows


def table_severity(severity: Severity) -> Severity:
    """Return what a rule about a whole table does: without a row to set aside, quarantine is refusal."""
    return "warn" if severity == "warn" else "refuse"


def anomaly_line(anomaly: Anomaly) -> str:
    """Return an anomaly in one line."""
    place = f"{anomaly.table}.{anomaly.column}" if anomaly.column else anomaly.table
    return f"{place}: {anomaly.detail} [{anomaly.kind}]"


def validation(problem: str, reports: dict[str, TableReport]) -> dict[str, Any]:
    """Return the content of validation.json; `refused` holds a line for each rule of severity refuse."""
    anomalies = [anomaly for report in reports.values() for anomaly in report.anomalies]
    return {
        "problem": problem,
        "tables": {
            name: {
                "rows_in": report.rows_in,
                "rows_accepted": report.rows_accepted,
                "rows_quarantined": report.rows_quarantined,
                "reasons": dict(sorted(report.reasons.items())),
            }
            for name, report in reports.items()
        },
        "anomalies": [asdict(anomaly) for anomaly in anomalies],
        "refused": [anomaly_line(anomaly) for anomaly in anomalies if anomaly.severity == "refuse"],
    }
