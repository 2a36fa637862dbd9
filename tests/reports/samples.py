"""What a run writes, made up: one regression over time and one classification, in the files' shapes."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import Any

from tests.reports.classification_samples import classification
from tests.reports.sample_parts import gates, interval

__all__ = ["classification", "empty", "interval", "regression", "validation"]

Json = dict[str, Any]


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


def _slices() -> Json:
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
    return {"hr": hours, "weathersit": weather}


def regression_evaluation() -> Json:
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
        "slices": _slices(),
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


def _problem() -> Json:
    return {
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


def _metrics() -> Json:
    return {
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


def _search() -> Json:
    trial = {"rung": 0, "rows": 4000, "folds": 1, "scores": [0.24], "mean": 0.24}
    return {
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


def regression() -> Json:
    return {
        "problem": _problem(),
        "verdict": {
            "decision": "accept",
            "model": "bike-demand",
            "gates": gates(),
            "changed": ["data"],
            "subject": {"bundle": "b" * 64, "snapshot": "a3" * 32, "git_commit": "0f" * 20},
        },
        "metrics": _metrics(),
        "evaluation": regression_evaluation(),
        "search": _search(),
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
