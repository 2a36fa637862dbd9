"""What several samples have in common."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


def interval(estimate: float, half: float) -> Json:
    return {"estimate": estimate, "low": estimate - half, "high": estimate + half}


def gates(rejected: bool = False) -> list[Json]:
    def gate(name: str, axis: str, status: str, measured: Any, limit: Any, span: Any, reason: str) -> Json:
        return {
            "name": name,
            "axis": axis,
            "status": status,
            "measured": measured,
            "limit": limit,
            "interval": span,
            "reason": reason,
            "required": True,
        }

    wape = ("fail", 0.41) if rejected else ("pass", 0.2154)
    return [
        gate(
            "contract",
            "data",
            "pass",
            0.0012,
            0.01,
            None,
            "12 of 10,000 rows were quarantined; 1 % is allowed",
        ),
        gate(
            "drift", "data", "warn", 0.171, 0.15, None, "the column `humidity` moved from the last snapshot"
        ),
        gate(
            "threshold:wape",
            "model",
            wape[0],
            wape[1],
            0.35,
            [wape[1] - 0.01, wape[1] + 0.01],
            f"the estimate {wape[1]} on 1,464 rows in 61 days; the limit is 0.35",
        ),
        gate(
            "baseline:seasonal_naive:wape",
            "model",
            "pass",
            0.31,
            0.0,
            [0.26, 0.36],
            "the model takes 31 % of the baseline's error away, at least 26 %",
        ),
        gate("bias", "model", "skipped", None, None, None, "the problem names no sensitive columns")
        | {"required": False},
        gate("parity", "code", "pass", 3.1e-7, 1e-4, None, "largest difference over 9,104 rows"),
        gate("latency", "code", "pass", 4.812, 50.0, None, "99th percentile of 500 single rows, in ms"),
    ]
