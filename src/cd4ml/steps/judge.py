"""Bring all that was measured before the judge."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cd4ml.steps.documents import problem_of, read

if TYPE_CHECKING:
    from cd4ml.domain.judge import Gate
    from cd4ml.problem import Problem

__all__ = ["Made", "changed_axes", "judge_model"]


@dataclass(frozen=True)
class Made:
    """What the steps before wrote, by its folder or file.

    Attributes
    ----------
    problem, snapshot, dataset, evaluation, checks, bundle : Path
        Of the model itself.
    bias, explanations, champion, ledger, consumers : Path
        Of the judgement: folders with bias.json, explanations.json, champion.json and consumers.json, and
        the ledger's file.
    """

    problem: Path
    snapshot: Path
    dataset: Path
    evaluation: Path
    checks: Path
    bundle: Path
    bias: Path
    explanations: Path
    champion: Path
    ledger: Path
    consumers: Path


def judge_model(
    made: Mapping[str, Path], previous: str, store: str, ratchet: Path, out: Path, markdown: Path
) -> str:
    """Write the verdict as JSON to `out` and for people to `markdown`; return its decision.

    The decision becomes a line of the store's audit log.

    Parameters
    ----------
    made : mapping of str to Path
        The attributes of `Made` by name.
    previous : str
        JSON of what the last run depended on (`data`, `problem`, `lock`, `code`, `model` as hashes); "" to
        compare with the champion. Without one everything is new.
    store : str
        Where the audit log is; "" for the default store.
    ratchet : Path
        The file to write on challenger and champion.

    Returns
    -------
    str
        "accept", "reject" or "needs_approval".
    """
    from cd4ml.adapters.storage.atomic import write_json, write_text
    from cd4ml.domain.judge import judge
    from cd4ml.steps.ledger import record_verdict

    folders = Made(**made)
    found, lineage = problem_of(folders.problem), read(folders.bundle / "lineage.json")
    subject = _subject(folders, lineage)
    gates = [
        _contract(found, folders.snapshot, folders.dataset),
        *_baselines(found, folders.evaluation),
        *_thresholds(found, folders.evaluation),
        *_judgement(found, folders, ratchet),
        *_serving(found, folders.checks),
    ]
    before = json.loads(previous) if previous else _of_champion(folders.champion)
    changed = changed_axes(lineage["fingerprint"] | {"model": subject["model"]}, before)
    verdict = judge(gates, found.name, subject, changed, found.approval.policy)
    write_json(out, verdict.to_dict())
    write_text(markdown, verdict.to_markdown())
    record_verdict(out, folders.ledger, store)
    return verdict.decision


def _subject(made: Made, lineage: dict[str, Any]) -> dict[str, str]:
    from cd4ml.adapters.manifest import bundle_id

    return {
        "bundle": bundle_id(made.bundle),
        "model": read(made.bundle / "manifest.json")["files"]["model.onnx"]["sha256"],
        "snapshot": read(made.snapshot / "manifest.json")["id"],
        "problem": lineage["fingerprint"]["problem"],
        "git_commit": lineage["git"]["commit"],
    }


def _judgement(problem: Problem, made: Made, ratchet: Path) -> list[Gate]:
    """Return the gates of champion, bias, proxies, holdout and consumers."""
    from cd4ml.domain.fairness.gate import bias_gates
    from cd4ml.domain.fairness.rows import BiasReport
    from cd4ml.domain.gates import Gate
    from cd4ml.domain.holdout_budget import HoldoutUse, ledger_gate
    from cd4ml.domain.proxies import Proxy, proxy_gates
    from cd4ml.domain.ratchet_gates import ratchet_gates
    from cd4ml.steps.champion import compare_champion

    compared = compare_champion(made.problem, made.dataset, made.evaluation, made.champion, ratchet)
    report = BiasReport.from_dict(read(made.bias / "bias.json"))
    proxies = [Proxy.from_dict(one) for one in read(made.explanations / "explanations.json")["proxies"]]
    return [
        *ratchet_gates(compared),
        *(bias_gates(report) if problem.sensitive else []),
        *proxy_gates(proxies, problem.explanations.excluded),
        ledger_gate(HoldoutUse.from_dict(read(made.ledger))),
        *(Gate.from_dict(one) for one in read(made.consumers / "consumers.json")["gates"]),
    ]


def _of_champion(champion: Path) -> dict[str, str]:
    """Return what the champion depends on: on a cluster nobody remembers a last run."""
    told = read(champion / "champion.json")
    if told["status"] != "scored":
        return {}
    return {**read(champion / "lineage.json")["fingerprint"], "model": told["model"]}


def changed_axes(now: dict[str, str], before: dict[str, str]) -> list[str]:
    """Return which of "code", "data" and "model" differ from before; all of them where there is no before."""
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
