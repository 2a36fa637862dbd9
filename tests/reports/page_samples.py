"""Made-up profiles and run records, in the shapes of profile.json and of the run store."""

from __future__ import annotations

import math
from typing import Any

from tests.reports import samples

Json = dict[str, Any]


def _columns() -> Json:
    bell = [round(800 * math.exp(-((i - 9) ** 2) / 20)) for i in range(20)]
    return {
        "cnt": {
            "type": "integer",
            "nulls": 3,
            "distinct": 869,
            "min": 0,
            "max": 977,
            "mean": 189.5,
            "outliers": {"rows": 41, "share": 0.002, "low": -200.0, "high": 900.0},
            "histogram": {"edges": [50.0 * i for i in range(21)], "counts": bell[::-1]},
        },
        "temp": {
            "type": "number",
            "nulls": 0,
            "distinct": 50,
            "min": 0.02,
            "max": 1.0,
            "mean": 0.497,
            "histogram": {"edges": [0.05 * i for i in range(21)], "counts": bell},
            "description": "Temperature, divided by 41 °C",
        },
        "weathersit": {
            "type": "category",
            "nulls": 0,
            "distinct": 4,
            "top": [
                ["clear", 11413],
                ["mist", 4544],
                ["light rain or snow", 1419],
                ["heavy rain", 3],
            ],
        },
        "dteday": {
            "type": "date",
            "nulls": 0,
            "min": "2011-01-01",
            "max": "2012-12-31",
            "histogram": {
                "edges": ["2011-01-01T00:00:00", "2012-01-01T00:00:00", "2012-12-31T00:00:00"],
                "counts": [8645, 8734],
            },
        },
    }


def profile_inputs() -> tuple[Json, Json, Json]:
    names = ["cnt", "temp", "hum", "windspeed"]
    values = [
        [1.0, 0.4, -0.32, 0.09],
        [0.4, 1.0, -0.07, -0.02],
        [-0.32, -0.07, 1.0, -0.29],
        [0.09, -0.02, -0.29, 1.0],
    ]
    table = {
        "rows": 17379,
        "columns": _columns(),
        "correlations": {"columns": names, "matrix": values},
        "sampled": True,
        "rows_profiled": 8690,
        "time": {
            "column": "time",
            "step_seconds": 3600,
            "first": "2011-01-01T00:00:00",
            "last": "2012-12-31T23:00:00",
            "expected_steps": 17544,
            "missing_steps": 165,
            "longest_gap_steps": 36,
        },
        "gaps": [{"after": "2012-10-29T01:00:00", "steps": 36}],
    }
    return {"tables": {"rides": table}}, samples.validation(), {"id": "a3" * 32, "problem": "bike-demand"}


def runs() -> list[Json]:
    found = []
    for index in range(8):
        value = 0.24 - 0.006 * index + 0.004 * (-1) ** index
        found.append(
            {
                "id": f"2026013{index % 2}T1{index}0000Z-1f2e3d4{index}",
                "problem": "bike-demand",
                "started": f"2026-01-{10 + 2 * index:02d}T12:00:00",
                "decision": ("accept", "reject", "needs_approval")[index % 3],
                "metrics": {"holdout": {"wape": samples.interval(value, 0.01)}},
                "snapshot": f"{index // 3}" * 64,
                "git": {"commit": f"{index}f" * 20, "branch": "main", "dirty": index == 7},
                "parameters": {"learning_rate": 0.1 / (1 + index % 2)},
                "changed": ["data"] if index % 3 == 0 else ["code", "model"],
            }
        )
    return [*found, {"id": "alone", "problem": "adult-income"}]
