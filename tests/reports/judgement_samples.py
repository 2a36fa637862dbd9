"""What the judgement of a classification writes, made up, in the files' shapes."""

from __future__ import annotations

from typing import Any

from tests.reports.sample_parts import interval

Json = dict[str, Any]


def finding(**more: Any) -> Json:
    row = {"metric": "selection_rate", "label": "Selection rate", "stage": "post", "column": "sex"}
    row |= {"slice": "Female", "against": "rest", "compare": "rate_ratio", "n": 5421, "clusters": 5421}
    row |= {"effective_clusters": 5421.0, "estimate": 0.0808, "reference": 0.261, "shrunk": 0.081}
    row |= {"ratio": 0.309, "low": 0.281, "high": 0.341, "adjusted_p": 1e-9, "margin": 0.8}
    reason = "Selection rate of Female is 0.0808, of the rest 0.261: ratio 0.309 (0.281 to 0.341); must be "
    row |= {"family": "blocking", "status": "fail", "waived": None, "reason": reason + "from 0.8 to 1.25."}
    return row | more


def _thin(**more: Any) -> Json:
    empty = {"ratio": None, "low": None, "high": None, "adjusted_p": None, "n": 41, "clusters": 41}
    reason = "Selection rate of Other against the rest: the slice has 41 rows, and 200 are needed."
    return finding(column="race", slice="Other", status="insufficient_data", **empty, reason=reason) | more


def waiver(**more: Any) -> Json:
    return {"by": "R. Sponsible", "reason": "the form changes next year", "until": "2027-03-01"} | more


def _waivers() -> list[Json]:
    return [
        {"metric": "selection_rate", "column": "race", "slice": "*", **waiver(), "holds": True, "used": True},
        {
            "metric": "*",
            "column": "sex x race",
            "slice": "Female x Black",
            **waiver(by="O. Verdue", until="2026-03-01"),
            "holds": False,
            "used": True,
        },
    ]


def bias() -> Json:
    held = finding(
        column="race", slice="Black", status="waived", waived=waiver(), ratio=0.39, low=0.33, high=0.46
    )
    kept = {"status": "pass", "ratio": 1.02, "low": 0.97, "high": 1.07}
    pair = {"column": "sex x race", "slice": "Female x Black"}
    score = {"metric": "score_ks", "label": "Gap of the distributions of predictions", "compare": "distance"}
    rate = {"metric": "recall_difference", "label": "Difference of recalls", "compare": "difference"}
    rows = [
        finding(**kept, slice="fine", column="race"),
        _thin(),
        held,
        finding(),
        finding(against="extremes", n=16281),
        finding(
            against="extremes", column="sex x race", slice="Female x Black", ratio=0.13, low=0.07, high=0.23
        ),
        finding(
            against="extremes", column="race", slice="Black", status="warn", ratio=0.75, low=0.6, high=0.9
        ),
        finding(
            **pair,
            against="reference:Male x White",
            ratio=0.155,
            low=0.1,
            high=0.21,
            waived=waiver(by="O. Verdue", until="2026-03-01"),
        ),
        finding(**score, family="warning", status="fail", ratio=0.38, low=0.36, high=0.4, margin=0.1),
        finding(**rate, family="warning", status="warn", ratio=-0.11, low=-0.15, high=-0.07, margin=0.1),
        finding(**rate, against="champion", family="warning", **kept | {"ratio": 0.0}, margin=0.1),
        finding(
            metric="log_loss",
            label="Log loss",
            compare="error_ratio",
            ratio=1.4,
            low=1.31,
            high=1.5,
            margin=1.25,
        ),
        finding(
            stage="pre",
            metric="dpl",
            label="Difference in proportions of labels",
            compare="difference",
            family="warning",
            status="warn",
            ratio=-0.19,
            low=-0.21,
            high=-0.18,
            margin=0.1,
        ),
        finding(metric="mean_score", label="Mean score", margin=None, status="pass", family="warning"),
    ]
    return {
        "rows": rows,
        "alpha": 0.05,
        "families": {"blocking": 9, "warning": 5},
        "summary": {"waivers": _waivers()},
    }


def _compared(**more: Any) -> Json:
    row = {"metric": "roc_auc", "column": "", "slice": "", "n": 16281, "clusters": 16281}
    row |= {"effective_clusters": 16281.0, "challenger": 0.9269, "champion": 0.9231, "ratio": 0.951}
    return row | {"low": 0.93, "high": 0.972, "adjusted_p": 1.0, "limit": 1.01, "status": "pass"} | more


def ratchet() -> Json:
    place = {"limit": 1.1, "column": "race"}
    rows = [
        _compared(column="sex", slice="Male", limit=1.1, ratio=0.94, low=0.91, high=0.96),
        _compared(**place, slice="Black", ratio=1.31, low=1.15, high=1.49, status="fail", adjusted_p=0.002),
        _compared(
            **place,
            slice="Other",
            ratio=3.1,
            low=None,
            high=None,
            adjusted_p=None,
            status="insufficient_data",
            n=135,
            clusters=135,
        ),
        _compared(**place, slice="Asian-Pac-Islander", ratio=1.06, low=0.98, high=1.14, status="warn"),
    ]
    return {
        "status": "scored",
        "champion": {"alias": "champion", "name": "adult-income", "version": 4, "bundle": "ab" * 32},
        "reason": "the champion adult-income@4 was scored on the same 16,281 rows",
        "warning": "",
        "overall": _compared(),
        "slices": rows,
        "gain": True,
        "limits": {"roc_auc": {"value": 0.9264, "score": 0.9269}},
        "tightened": True,
    }


def _tried(accuracy: float, auc: float, gap: float, within: bool) -> Json:
    found = {
        "measure": "selection_rate",
        "column": "sex x race",
        "groups": ["Female x Black", "Male x White"],
    }
    groups = [
        {
            "group": name,
            "n": n,
            "actual": 0.1 + n / 9e4,
            "predicted": 0.1,
            "selected": 0.2,
            "right": 0.87,
            "threshold": t,
        }
        for name, n, t in (("Female x Black", 700, 0.21), ("Male x White", 9000, 0.62), ("others", 800, 0.5))
    ]
    return {
        "rows": 16281,
        "metrics": {"roc_auc": interval(auc, 0.004), "accuracy": interval(accuracy, 0.005)},
        "gap": {**found, "value": gap, "limit": 0.2, "within": within},
        "groups": groups,
    }


def mitigation() -> Json:
    def entry(name: str, label: str, folds: Json, holdout: Json, chosen: bool = False) -> Json:
        return {
            "name": name,
            "kind": name,
            "label": label,
            "columns": ["sex", "race"],
            "row_fits": 1000,
            "folds": folds,
            "holdout": holdout,
            "chosen": chosen,
        }

    bare = {"groups": []}
    treatments = [
        entry(
            "none",
            "no treatment",
            _tried(0.871, 0.927, 0.87, False) | bare,
            _tried(0.873, 0.926, 0.86, False) | bare,
        ),
        entry(
            "reweighing",
            "reweighing by sex x race",
            _tried(0.866, 0.921, 0.55, False),
            _tried(0.866, 0.92, 0.52, False),
        ),
        entry(
            "recalibration",
            "recalibration by sex x race",
            _tried(0.8712, 0.928, 0.86, False),
            _tried(0.8714, 0.9275, 0.84, False),
        ),
        entry(
            "group_thresholds",
            "group thresholds by sex x race",
            _tried(0.842, 0.927, 0.17, True),
            _tried(0.84, 0.926, 0.21, False),
            True,
        ),
    ]
    return {
        "chosen": "group_thresholds",
        "rule": "of the treatments whose largest gap is within the policy, the one with the best metric",
        "primary": "roc_auc",
        "higher_is_better": True,
        "measures": ["selection_rate"],
        "columns": ["sex", "race"],
        "simulated_on": "on the folds",
        "row_fits": 4000,
        "treatments": treatments,
    }


def consumers() -> Json:
    def check(name: str, *findings: Json) -> Json:
        states = [one["status"] for one in findings]
        status = next((state for state in ("fail", "warn") if state in states), "pass")
        return {
            "consumer": name,
            "owner": "team@example.com",
            "status": status,
            "requests": 12,
            "fields": ["age", "sex"],
            "findings": list(findings),
        }

    def said(rule: str, status: str, detail: str) -> Json:
        return {"rule": rule, "status": status, "measured": 2.0, "limit": 0.0, "detail": detail}

    changes = [
        {
            "part": "input",
            "field": "workclass",
            "change": "removed",
            "old": {},
            "new": None,
            "backward": False,
            "forward": True,
            "learnt": False,
            "detail": "callers that send workclass are refused",
        },
        {
            "part": "request",
            "field": "",
            "change": "max_rows",
            "old": 100,
            "new": 200,
            "backward": True,
            "forward": False,
            "learnt": False,
            "detail": "more rows in a request",
        },
    ]
    return {
        "bundle": "cd" * 32,
        "checks": [
            check("dashboards", said("requests", "pass", "12 requests answered")),
            check(
                "loan-desk",
                said("accepts_null", "fail", "2 of 3 fields with null are refused: age, sex"),
                said("max_latency_ms", "pass", "p99 1.2 ms"),
            ),
        ],
        "schema": {"status": "compared", "champion": "ab" * 32, "reason": "", "changes": changes},
        "gates": [],
    }


def ledger() -> Json:
    return {
        "holdout": "ef" * 32,
        "size": 16281,
        "own": 21,
        "inherited": 2.5,
        "budget": {"warn_looks": 20, "max_looks": 77},
        "looks": 23.5,
        "worst_case_bias": 0.0563,
        "rows": 16281,
        "first": "",
        "last": "",
        "look": {"model": "12" * 32, "at": "2026-11-20T10:20:00+00:00", "by": "ada@example.com"},
    }


def judgement() -> Json:
    return {"ratchet": ratchet(), "mitigation": mitigation(), "consumers": consumers(), "ledger": ledger()}
