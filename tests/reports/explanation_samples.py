"""explanations.json, made up in its shape."""

from __future__ import annotations

import math
from typing import Any

from tests.reports.sample_parts import interval

Json = dict[str, Any]
FEATURES = (
    "marital_status",
    "age",
    "log_sales_by_store_nbr_and_family_mean_28d",
    "education_num",
    *(f"feature_{i}" for i in range(14)),
)


def explanations() -> Json:
    return {
        "task": "classification",
        "primary": "roc_auc",
        "family": "gradient_boosting",
        "scale": "log-odds",
        "rows": {"holdout": 16281, "sample": 2000, "contributions": 1200},
        "importances": {"all": [], "slices": _importances()},
        "contributions": {
            "base": -2.32,
            "all": _sizes(),
            "slices": _differences(),
            "examples": [_example("highest prediction", 8.6), _example("most_too_low", -4.2)],
        },
        "effects": [_curve(), _levels()],
        "interactions": {
            "rows": 50,
            "pairs": [{"features": ["age", "capital_gain"], "share": 0.12, "size": 0.23}],
        },
        "coefficients": [
            {
                "feature": "age",
                "standardised": 0.46,
                "low": 0.41,
                "high": 0.51,
                "per_unit": 0.034,
                "mean": 38.6,
                "scale": 13.7,
            }
        ],
        "proxies": _proxies(),
    }


def _sizes() -> list[Json]:
    sizes = [1.1 / (i + 1) for i in range(len(FEATURES))]
    return [
        {"feature": name, "size": size, "low": size * 0.9, "high": size * 1.1, "mean": 0.01}
        for name, size in zip(FEATURES, sizes, strict=True)
    ]


def _example(what: str, raw: float) -> Json:
    parts = [("age", 44.0, 3.0), ("marital_status", "Married-civ-spouse", -0.8), ("capital_gain", None, 1.5)]
    return {
        "what": what,
        "row": 8861,
        "predicted": 0.91,
        "actual": 1.0,
        "base": -2.32,
        "features": [{"feature": n, "value": v, "contribution": c} for n, v, c in parts],
        "others": raw + 2.32 - 3.7,
        "raw": raw,
    }


def _curve() -> Json:
    points = [
        {"at": float(age), "n": 100 * (age > 20), **interval(0.1 * math.sin(age / 15), 0.02)}
        for age in range(20, 90, 5)
    ]
    return {"feature": "age", "kind": "number", "span": 0.2, "left_out": 0, "points": points}


def _levels() -> Json:
    heights = {"Married": 0.12, "Widowed": -0.08, "rare or unknown": -0.1}
    points = [{"at": name, "n": 50, **interval(value, 0.01)} for name, value in heights.items()]
    return {"feature": "marital_status", "kind": "category", "span": 0.2, "left_out": 12, "points": points}


def _differences() -> Json:
    features = [{"feature": "age", "difference": -0.5, "low": -0.6, "high": -0.4}]
    return {
        "sex": [
            {"slice": "Female", "n": 640, "difference": -2.1, "features": features},
            {"slice": "unknown", "n": 3, "features": []},
        ]
    }


def _importances() -> Json:
    found = [{"feature": "age", "increase": 0.42, "low": 0.3, "high": 0.5}]
    return {
        "sex": [{"slice": "Female", "n": 1990, "clusters": 1990, "importances": found}],
        "race": [{"slice": "Black", "n": 40, "clusters": 40, "importances": []}],
    }


def _proxies() -> list[Json]:
    shares = [{"feature": "relationship", "share": 0.72}, {"feature": "occupation", "share": 0.1}]
    sex = {
        "column": "sex",
        "measure": "roc_auc",
        "features": shares,
        "direct": [],
        "rows": 2000,
        "reason": "",
    }
    sex |= {"found": interval(0.92, 0.01), "weighted": interval(0.68, 0.01), "weight": 0.43}
    race = {"column": "race", "measure": "roc_auc", "features": [], "direct": ["race"], "rows": 40}
    race |= {"found": None, "weighted": None, "weight": 0.0, "reason": "it has values in 40 rows"}
    return [sex, race]


def proxy_gate() -> Json:
    return {
        "name": "proxy:sex",
        "axis": "model",
        "status": "fail",
        "measured": 0.68,
        "limit": 0.6,
        "interval": [0.67, 0.69],
        "reason": "sex can be told",
        "required": True,
    }
