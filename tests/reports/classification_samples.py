"""What a run of a classification writes, made up, in the files' shapes."""

from __future__ import annotations

from typing import Any

from tests.reports.sample_parts import gates, interval

Json = dict[str, Any]


def _group(name: str, n: int, value: float, half: float | None) -> Json:
    span = interval(value, half) if half else {"estimate": value, "low": None, "high": None}
    return {"slice": name, "n": n, "clusters": n, "roc_auc": span}


def _evaluation() -> Json:
    return {
        "task": "classification",
        "primary": "roc_auc",
        "holdout": {"rows": 16281, "clusters": 16281},
        "over_time": [],
        "slices": {
            "education": [
                _group("Bachelors", 2670, 0.893, 0.006),
                _group("HS-grad", 5283, 0.879, 0.008),
                _group("Doctorate", 181, 0.861, 0.03),
                _group("Preschool", 12, 0.5, None),
            ],
            "race": [_group("White", 13946, 0.922, 0.004), _group("Amer-Indian-Eskimo", 159, 0.93, 0.05)],
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


def _dataset() -> Json:
    return {
        "rows": {"in": 48842, "filtered": {}, "used": 48842},
        "split": {
            "kind": "table",
            "rows": 48842,
            "train": 32561,
            "unused": 0,
            "holdout": 16281,
            "folds": [{"train": 21707, "validation": 10854} for _ in range(3)],
        },
    }


def _bias() -> Json:
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
    return {
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
    }


def classification() -> Json:
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
        "evaluation": _evaluation(),
        "search": {"winner": {"name": "boosting", "family": "gradient_boosting"}, "results": []},
        "dataset": _dataset(),
        "validation": {
            "tables": {
                "train": {"rows_in": 32561, "rows_accepted": 32561, "rows_quarantined": 0, "reasons": {}},
                "test": {"rows_in": 16281, "rows_accepted": 16281, "rows_quarantined": 0, "reasons": {}},
            },
            "anomalies": [],
            "refused": [],
        },
        "manifest": {"id": "c4" * 32},
        "bias": _bias(),
        "lineage": {},
        "checks": {},
    }
