"""What a run writes, made up: one regression over time and one classification, in the files' shapes."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
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


def over_time() -> list[Json]:
    start = datetime(2012, 11, 1)
    found = []
    for day in range(60):
        actual = 4200 + 900 * math.sin(day / 7 * 2 * math.pi) - 18 * day + 260 * math.sin(day * 1.7)
        predicted = actual * (1 + 0.06 * math.sin(day * 0.9)) + 40
        found.append(
            {
                "time": (start + timedelta(days=day)).isoformat(),
                "n": 24,
                "actual": actual,
                "predicted": predicted,
                "baselines": {
                    "seasonal_naive": actual * (1 + 0.2 * math.sin(day * 0.5)),
                    "group_mean": 3900.0,
                },
                "wape": interval(0.2 + 0.07 * math.sin(day * 0.9), 0.03)
                if day != 30
                else {"estimate": 0.21, "low": None, "high": None},
            }
        )
    return found


def regression_evaluation() -> Json:
    hours = [
        {
            "slice": f"{hour:02d} h",
            "n": 61,
            "clusters": 61,
            "wape": interval(0.16 + 0.2 * math.exp(-((hour - 4) ** 2) / 9), 0.02),
        }
        for hour in range(24)
    ]
    weather = [
        {"slice": "clear, few clouds, partly cloudy", "n": 960, "clusters": 58, "wape": interval(0.19, 0.01)},
        {"slice": "mist", "n": 410, "clusters": 49, "wape": interval(0.22, 0.02)},
        {"slice": "light rain or snow", "n": 93, "clusters": 17, "wape": interval(0.48, 0.09)},
        {"slice": "heavy rain", "n": 1, "clusters": 1, "wape": {"estimate": 1.7, "low": None, "high": None}},
    ]
    return {
        "task": "regression",
        "primary": "wape",
        "holdout": {
            "rows": 1464,
            "clusters": 61,
            "first": "2012-11-01T00:00:00",
            "last": "2012-12-31T23:00:00",
        },
        "over_time": over_time(),
        "slices": {"hr": hours, "weathersit": weather},
        "residuals": {
            "edges": [-300.0 + 30 * i for i in range(21)],
            "counts": [round(300 * math.exp(-((i - 9.5) ** 2) / 6)) for i in range(20)],
        },
        "deciles": [
            {"predicted": 8 + 5.2 * i**2, "actual": 7 + 5.1 * i**2 + 3 * (-1) ** i, "n": 146}
            for i in range(10)
        ],
        "importances": [
            {"feature": f"{name}", "increase": 0.31 / (i + 1), "low": 0.28 / (i + 1), "high": 0.34 / (i + 1)}
            for i, name in enumerate(
                [
                    "cnt lag 24h",
                    "cnt seasonal mean 168h over 4 cycles",
                    "hour",
                    "day_of_week",
                    "workingday",
                    "temp",
                    "cnt rolling std 168h",
                ]
            )
        ],
        "clipped_negative": 3,
        "stock": {
            "quantile": 0.75,
            "pinball": interval(21.2, 0.8),
            "coverage": {"aimed": 0.75, "found": 0.742},
            "cost_per_row": {
                "quantile": 29.4,
                "model": interval(33.1, 1.1),
                "seasonal_naive": interval(51.7, 2.4),
            },
        },
    }


def regression() -> Json:
    problem = {
        "name": "bike-demand",
        "task": "regression",
        "description": "Hourly rentals of a bike-sharing scheme, a day ahead.",
        "facts": ["rides"],
        "target": {"column": "cnt"},
        "metrics": {"primary": "wape"},
        "assumptions": [
            "The weather of the hour is known as well ahead as its forecast.",
            "Stations are neither opened nor closed within the holdout.",
        ],
        "filters": [{"name": "before-opening", "drop": "yr < 0", "reason": "the scheme had not opened"}],
    }
    metrics = {
        "holdout": {"wape": interval(0.2154, 0.011), "rmsle": interval(0.41, 0.02)},
        "baselines": {
            "seasonal_naive": {"wape": interval(0.312, 0.02), "rmsle": interval(0.61, 0.04)},
            "group_mean": {"wape": interval(0.402, 0.018), "rmsle": interval(0.72, 0.03)},
        },
        "candidates": {
            "group_mean": {"wape": interval(0.402, 0.018)},
            "boosting": {"wape": interval(0.2154, 0.011), "rmsle": interval(0.41, 0.02)},
            "forest": {"wape": interval(0.229, 0.012), "rmsle": interval(0.44, 0.02)},
            "ridge-log": {"wape": interval(0.361, 0.015), "rmsle": interval(0.66, 0.02)},
        },
    }
    trial = {"rung": 0, "rows": 4000, "folds": 1, "scores": [0.24], "mean": 0.24}
    search = {
        "winner": {"name": "boosting", "family": "gradient_boosting", "parameters": {"learning_rate": 0.05}},
        "results": [
            {
                "name": "boosting",
                "family": "gradient_boosting",
                "row_fits": 51_000,
                "best": 0.2201,
                "trials": [
                    {**trial, "parameters": {"learning_rate": 0.1, "max_leaf_nodes": 31}},
                    {
                        **trial,
                        "parameters": {"learning_rate": 0.05, "max_leaf_nodes": 63},
                        "rung": 1,
                        "rows": 15000,
                        "folds": 3,
                        "scores": [0.2192, 0.2248, 0.2163],
                        "mean": 0.2201,
                    },
                ],
            },
            {
                "name": "ridge-log",
                "family": "ridge",
                "row_fits": 4000,
                "best": 0.37,
                "trials": [{**trial, "parameters": {}}],
            },
        ],
        "budget_row_fits": 3_000_000,
        "spent_row_fits": 55_000,
        "seed": 0,
        "repeats": [0.2154, 0.2161],
    }
    return {
        "problem": problem,
        "verdict": {
            "decision": "accept",
            "model": "bike-demand",
            "gates": gates(),
            "changed": ["data"],
            "subject": {"bundle": "b" * 64, "snapshot": "a3" * 32, "git_commit": "0f" * 20},
        },
        "metrics": metrics,
        "evaluation": regression_evaluation(),
        "search": search,
        "dataset": {
            "rows": {"in": 17367, "filtered": {"before-opening": 24}, "used": 17343},
            "split": timed_split(),
        },
        "validation": validation(),
        "manifest": {
            "id": "a3" * 32,
            "time": {"first": "2011-01-01T00:00:00", "last": "2012-12-31T23:00:00"},
        },
        "bias": {"rows": []},
        "lineage": {
            "snapshot": "a3" * 32,
            "git": {"commit": "0f" * 20, "dirty": False},
            "seed": 0,
            "versions": {"python": "3.11.2", "scikit-learn": "1.9.0"},
        },
        "checks": {"parity": {"max_abs": 2.2e-5, "rows": 9104}, "latency": {"p50_ms": 1.9, "p99_ms": 4.8}},
    }


def timed_split() -> Json:
    def part(rows: int, first: str, last: str) -> Json:
        return {"rows": rows, "first": first, "last": last}

    return {
        "kind": "time",
        "train": part(15855, "2011-01-01T00:00:00", "2012-10-30T23:00:00"),
        "gap": part(24, "2012-10-31T00:00:00", "2012-10-31T23:00:00"),
        "holdout": part(1464, "2012-11-01T00:00:00", "2012-12-31T23:00:00"),
        "folds": [
            {
                "train": part(11400, "2011-01-01", "2012-04-28"),
                "validation": part(1464, "2012-04-30", "2012-06-29"),
            },
            {
                "train": part(12860, "2011-01-01", "2012-06-28"),
                "validation": part(1464, "2012-06-30", "2012-08-29"),
            },
            {
                "train": part(14330, "2011-01-01", "2012-08-28"),
                "validation": part(1464, "2012-08-30", "2012-10-29"),
            },
        ],
    }


def validation() -> Json:
    return {
        "problem": "bike-demand",
        "tables": {
            "rides": {
                "rows_in": 17379,
                "rows_accepted": 17367,
                "rows_quarantined": 12,
                "reasons": {"hum: below 0": 9, "cnt: null": 3},
            },
            "calendar": {"rows_in": 731, "rows_accepted": 731, "rows_quarantined": 0, "reasons": {}},
        },
        "anomalies": [
            {
                "table": "rides",
                "column": "hum",
                "kind": "drift",
                "severity": "warn",
                "rows": None,
                "detail": "the distribution moved from the last accepted snapshot",
                "limit": 0.15,
                "measured": 0.171,
            }
        ],
        "refused": [],
    }


def classification() -> Json:
    def group(name: str, n: int, value: float, half: float | None) -> Json:
        span = interval(value, half) if half else {"estimate": value, "low": None, "high": None}
        return {"slice": name, "n": n, "clusters": n, "roc_auc": span}

    evaluation = {
        "task": "classification",
        "primary": "roc_auc",
        "holdout": {"rows": 16281, "clusters": 16281},
        "over_time": [],
        "slices": {
            "education": [
                group("Bachelors", 2670, 0.893, 0.006),
                group("HS-grad", 5283, 0.879, 0.008),
                group("Doctorate", 181, 0.861, 0.03),
                group("Preschool", 12, 0.5, None),
            ],
            "race": [group("White", 13946, 0.922, 0.004), group("Amer-Indian-Eskimo", 159, 0.93, 0.05)],
        },
        "calibration": [
            {
                "predicted": 0.05 + 0.1 * i,
                "actual": min(1, 0.04 + 0.102 * i),
                "n": 1000,
                "low": 0.02 + 0.1 * i,
                "high": min(1, 0.07 + 0.104 * i),
            }
            for i in range(10)
        ],
        "roc": [[i / 60, (i / 60) ** 0.2, 1 - i / 60] for i in range(61)],
        "pr": [[i / 60, 1 - 0.7 * (i / 60) ** 3, 1 - i / 60] for i in range(61)],
        "confusion": {"tn": 11690, "fp": 745, "fn": 1340, "tp": 2506},
        "importances": [
            {"feature": "capital_gain", "increase": 0.05, "low": 0.045, "high": 0.055},
            {"feature": "native_country", "increase": -0.0001, "low": -0.0004, "high": 0.0002},
        ],
        "clipped_negative": 0,
        "stock": None,
    }
    row = {
        "metric": "selection_rate",
        "column": "sex",
        "n": 5421,
        "clusters": 5421,
        "estimate": 0.08,
        "reference": 0.26,
        "ratio": 0.31,
        "low": 0.28,
        "high": 0.34,
        "adjusted_p": 1e-9,
        "margin": 0.8,
    }
    scores = {"roc_auc": interval(0.926, 0.004), "log_loss": interval(0.28, 0.006)}
    return {
        "problem": {
            "name": "adult-income",
            "task": "classification",
            "facts": ["train", "test"],
            "description": "Whether a person's income is above 50,000 dollars a year.",
            "target": {"column": "income"},
            "metrics": {"primary": "roc_auc"},
            "assumptions": [],
        },
        "verdict": {
            "decision": "reject",
            "model": "adult-income",
            "gates": gates(rejected=True),
            "changed": ["code", "model"],
            "subject": {"snapshot": "c4" * 32},
        },
        "metrics": {
            "holdout": scores,
            "candidates": {"boosting": scores},
            "baselines": {"group_mean": {"roc_auc": interval(0.79, 0.007), "log_loss": interval(0.43, 0.01)}},
        },
        "evaluation": evaluation,
        "search": {"winner": {"name": "boosting", "family": "gradient_boosting"}, "results": []},
        "dataset": {
            "rows": {"in": 48842, "filtered": {}, "used": 48842},
            "split": {
                "kind": "table",
                "rows": 48842,
                "train": 32561,
                "unused": 0,
                "holdout": 16281,
                "folds": [{"train": 21707, "validation": 10854} for _ in range(3)],
            },
        },
        "validation": {
            "tables": {
                "train": {"rows_in": 32561, "rows_accepted": 32561, "rows_quarantined": 0, "reasons": {}},
                "test": {"rows_in": 16281, "rows_accepted": 16281, "rows_quarantined": 0, "reasons": {}},
            },
            "anomalies": [],
            "refused": [],
        },
        "manifest": {"id": "c4" * 32},
        "bias": {
            "rows": [
                {**row, "slice": "Female", "status": "fail"},
                {**row, "slice": "Male", "ratio": 1.19, "low": 1.15, "high": 1.23, "status": "pass"},
                {
                    **row,
                    "column": "race",
                    "slice": "Other",
                    "n": 41,
                    "low": None,
                    "high": None,
                    "adjusted_p": None,
                    "status": "insufficient_data",
                },
            ]
        },
        "lineage": {},
        "checks": {},
    }


def empty() -> Json:
    names = (
        "problem",
        "verdict",
        "metrics",
        "evaluation",
        "search",
        "dataset",
        "validation",
        "manifest",
        "bias",
    )
    return {name: {} for name in (*names, "lineage", "checks")}
