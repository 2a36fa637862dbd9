"""What an approval page is made of, made up, in the files' shapes."""

from __future__ import annotations

import copy
from typing import Any

from tests.reports import judgement_samples, samples
from tests.reports.sample_parts import interval

Json = dict[str, Any]


def _scores() -> list[Json]:
    return [
        {
            "metric": "roc_auc",
            "better": "higher",
            "model": interval(0.926, 0.004),
            "baselines": {"prior": None},
        },
        {
            "metric": "log_loss",
            "better": "lower",
            "model": interval(0.28, 0.01),
            "baselines": {"prior": interval(0.5, 0.01)},
        },
    ]


def card() -> Json:
    rows = [
        {"column": "sex", "slice": "Female", "n": 5421, "value": interval(0.94, 0.01)},
        {"column": "sex", "slice": "Male", "n": 10860, "value": None},
    ]
    told = [row for row in judgement_samples.bias()["rows"] if row["family"] == "blocking"]
    parts = [{"part": "training", "rows": 32561, "first": None, "last": None}]
    return {
        "format": "1",
        "name": "adult-income",
        "description": "Whether a person's income is above 50,000 dollars a year.",
        "model": {
            "task": "classification",
            "target": "income",
            "positive": ">50K",
            "owner": "the lenders",
            "family": "gradient_boosting",
            "loss": "log_loss",
            "parameters": {"max_iter": 100},
            "transform": "none",
            "quantile": None,
        },
        "use": {"facts": ["train"], "horizon": None, "unknown": "bucket", "sensitive": ["sex", "race"]},
        "data": {
            "snapshot": "c4" * 32,
            "tables": [{"name": "train", "role": "facts", "source": "adult.data", "description": ""}],
            "rows": {"in": 48842, "used": 48842, "filtered": {}},
        },
        "split": {"kind": "table", "folds": 3, "gap": None, "parts": parts},
        "metrics": {
            "primary": "roc_auc",
            "level": 0.95,
            "cluster": "row",
            "holdout": {"rows": 16281, "clusters": 16281},
            "scores": _scores(),
        },
        "slices": {"metric": "roc_auc", "most": 8, "rows": rows},
        "groups": {"columns": ["sex", "race"], "rows": told, "of": len(told)},
        "features": {
            "count": 12,
            "most_important": [{"feature": "age", "increase": 0.2, "low": 0.1, "high": 0.3}],
        },
        "limits": ["The census of 1994 stands for today."],
        "origin": {
            "snapshot": "c4" * 32,
            "commit": "0f" * 20,
            "dirty": False,
            "problem_sha256": "1",
            "code_sha256": "2",
            "image_digest": None,
            "seeds": [5],
        },
    }


def papers() -> Json:
    return {
        "lineage": {
            "snapshot": "c4" * 32,
            "git": {"commit": "0f" * 20, "branch": "main", "dirty": False},
            "code_sha256": "aa" * 32,
            "lock_sha256": "bb" * 32,
            "image_digest": None,
            "model": {
                "family": "gradient_boosting",
                "loss": "log_loss",
                "transform": "none",
                "parameters": {"learning_rate": 0.1, "max_depth": None},
            },
            "quantile_model": None,
            "parameters": {"name": "boosting"},
            "seeds": [5],
            "features": ["age", "sex", "workclass"],
        },
        "data": {
            "rows": {"in": 50000, "used": 48842, "filtered": {"children": 1158}},
            "clusters": {"kind": "row", "count": 48842},
            "split": {
                "train": {"rows": 32561, "first": "2026-01-01T00:00:00", "last": "2026-03-01T00:00:00"},
                "holdout": 16281,
            },
        },
        "problem": {
            "name": "adult-income",
            "description": "old words",
            "bias": {"min_rows": 200},
            "slices": ["sex"],
        },
        "versions": {"numpy": "2.4.6"},
    }


def champion() -> Json:
    found = copy.deepcopy(papers())
    found["lineage"] |= {"snapshot": "d5" * 32, "features": ["age", "sex", "fnlwgt"]}
    found["lineage"]["git"]["commit"] = "1e" * 20
    found["lineage"]["model"]["parameters"] = {"learning_rate": 0.08, "max_depth": 3}
    found["data"]["rows"] = {"in": 46000, "used": 45000, "filtered": {}}
    found["data"]["split"]["train"] = {
        "rows": 30000,
        "first": "2025-12-01T00:00:00",
        "last": "2026-02-01T00:00:00",
    }
    found["problem"] |= {"description": "new words", "bias": {"min_rows": 100}}
    found["versions"] = {"numpy": "2.4.1"}
    return found


def approval() -> Json:
    inputs = samples.classification()
    verdict = copy.deepcopy(inputs["verdict"]) | {"decision": "needs_approval"}
    verdict["gates"] = [gate for gate in verdict["gates"] if gate["status"] != "fail"]
    verdict["subject"] = {"bundle": "ab" * 32}
    return {
        "reference": "adult-income@5",
        "problem": inputs["problem"] | {"approval": {"policy": "only_if_warn", "valid_days": 30}},
        "verdict": verdict,
        "card": card(),
        "papers": papers(),
        "champion": champion(),
        "metrics": inputs["metrics"],
        "evaluation": inputs["evaluation"],
        "bias": judgement_samples.bias(),
        "standing": {"state": "pending", "reason": "nobody has decided on the bundle abababababab"},
        **judgement_samples.judgement(),
    }
