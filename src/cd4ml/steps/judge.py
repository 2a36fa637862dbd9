"""Bring all that was measured before the judge."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cd4ml.steps.documents import problem_of, read

if TYPE_CHECKING:
    from cd4ml.domain.judge import Gate
    from cd4ml.problem import Problem

__all__ = ["changed_axes", "judge_model"]


def judge_model(
    problem: Path,
    snapshot: Path,
    dataset: Path,
    evaluation: Path,
    checks: Path,
    bundle: Path,
    previous: str,
    out: Path,
    markdown: Path,
) -> str:
    """Write the verdict as JSON to `out` and for people to `markdown`; return its decision.

    Parameters
    ----------
    problem, snapshot, dataset, evaluation, checks, bundle : Path
        What the steps before wrote.
    previous : str
        JSON of what the last run depended on (`data`, `problem`, `lock`, `code`, `model` as hashes); "" when
        there was none, and then everything is new.

    Returns
    -------
    str
        "accept", "reject" or "needs_approval".
    """
    from cd4ml.adapters.manifest import bundle_id
    from cd4ml.adapters.storage.atomic import write_json, write_text
    from cd4ml.domain.judge import judge

    found = problem_of(problem)
    lineage = read(bundle / "lineage.json")
    model = read(bundle / "manifest.json")["files"]["model.onnx"]["sha256"]
    subject = {
        "bundle": bundle_id(bundle),
        "model": model,
        "snapshot": read(snapshot / "manifest.json")["id"],
        "problem": lineage["fingerprint"]["problem"],
        "git_commit": lineage["git"]["commit"],
    }
    gates = [
        _contract(found, snapshot, dataset),
        *_baselines(found, evaluation),
        *_thresholds(found, evaluation),
        *_serving(found, checks),
    ]
    changed = changed_axes(lineage["fingerprint"] | {"model": model}, previous)
    verdict = judge(gates, found.name, subject, changed, found.approval.policy)
    write_json(out, verdict.to_dict())
    write_text(markdown, verdict.to_markdown())
    return verdict.decision


def changed_axes(now: dict[str, str], previous: str) -> list[str]:
    """Return which of "code", "data" and "model" differ from the last run; all of them without one."""
    before: dict[str, str] = json.loads(previous) if previous else {}
    keys = {"code": ("code", "problem", "lock"), "data": ("data",), "model": ("model",)}
    return [axis for axis, parts in keys.items() if any(now.get(key) != before.get(key) for key in parts)]


def _contract(problem: Problem, snapshot: Path, dataset: Path) -> Gate:
    from cd4ml.domain.judge import contract_gate

    validation, rows = read(snapshot / "validation.json"), read(dataset / "dataset.json")["rows"]
    facts = [validation["tables"][name] for name in problem.facts]
    return contract_gate(
        rows_in=sum(table["rows_in"] for table in facts),
        rows_used=rows["used"],
        rows_quarantined=sum(table["rows_quarantined"] for table in facts),
        rows_filtered=sum(rows["filtered"].values()),
        refused_rules=validation["refused"],
        max_quarantined_fraction=problem.gates.max_quarantined_fraction,
    )


def _baselines(problem: Problem, evaluation: Path) -> list[Gate]:
    from cd4ml.domain.bootstrap import Interval
    from cd4ml.domain.judge import baseline_gate

    margin = problem.gates.baseline_margin_fraction
    found = read(evaluation / "improvements.json")
    primary = problem.metrics.primary
    return [baseline_gate(name, primary, Interval.from_dict(value), margin) for name, value in found.items()]


def _thresholds(problem: Problem, evaluation: Path) -> list[Gate]:
    from cd4ml.domain.bootstrap import Interval
    from cd4ml.domain.judge import threshold_gate
    from cd4ml.domain.metrics import METRICS

    found = read(evaluation / "metrics.json")["holdout"]
    return [
        threshold_gate(
            rule.metric,
            Interval.from_dict(found[rule.metric]),
            rule.limit,
            METRICS[rule.metric].higher_is_better,
            rule.on,
        )
        for rule in problem.gates.thresholds
    ]


def _serving(problem: Problem, checks: Path) -> list[Gate]:
    from cd4ml.domain.judge import io_contract_gate, latency_gate, parity_gate, runtime_gate

    found: dict[str, Any] = read(checks / "checks.json")
    parity, replay, latency = found["parity"], found["replay"], found["latency"]
    # What serving does not install (scikit-learn, the exporter) has no version there to differ.
    trained = {name: version for name, version in found["versions"].items() if name in replay["versions"]}
    return [
        parity_gate(
            parity["max_abs"], parity["max_rel"], parity["rows"], problem.gates.parity_tolerance, "onnx"
        ),
        runtime_gate(replay["identical"], trained, replay["versions"], replay.get("detail", "")),
        latency_gate(latency["p50_ms"], latency["p99_ms"], problem.gates.max_latency_ms),
        io_contract_gate(found["contract_problems"]),
    ]
