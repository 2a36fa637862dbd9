"""Make the bundle, and prove that it predicts what was judged."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from cd4ml.steps.documents import problem_of, read

if TYPE_CHECKING:
    from cd4ml.features.state import State
    from cd4ml.models.bundle import Holdout
    from cd4ml.models.persist import Model
    from cd4ml.problem import Problem
    from cd4ml.tables.dataset import Dataset

__all__ = ["package_model"]


def package_model(
    problem: Path,
    snapshot: Path,
    dataset: Path,
    model: Path,
    evaluation: Path,
    lineage: dict[str, str],
    out: Path,
    checks: Path,
    bias: Path | None = None,
) -> dict[str, float]:
    """Write the bundle to `out` and what was measured on it to `checks`/checks.json.

    Parameters
    ----------
    lineage : dict of str to str
        The fingerprint's hashes, `git_commit` and `git_branch`.
    bias : Path, optional
        Folder of the bias check; without it the bundle says nothing of bias.

    Returns
    -------
    dict of str to float
        Largest relative difference of the export, latency in ms, bytes of the bundle.
    """
    from cd4ml.adapters.storage import atomic
    from cd4ml.models.bundle import Papers, write_bundle
    from cd4ml.models.persist import load_model
    from cd4ml.tables.dataset import Dataset

    found, data, judged = problem_of(problem), Dataset.load(dataset), load_model(model)
    # A bundle is the same whoever is champion.
    metrics, fairness = read(evaluation / "metrics.json"), read(bias / "model.json") if bias else None
    origin, page = _lineage(found, judged, snapshot, model, lineage), read(evaluation / "evaluation.json")
    tried = model / "mitigation.json"
    papers = Papers(metrics, origin, fairness, data.meta, page, read(tried) if tried.is_file() else None)
    state, holdout, known = (
        _state(found, data, dataset),
        _holdout(found, data, dataset, judged),
        _known(found, data, snapshot, judged),
    )
    write_bundle(out, found, judged, state, holdout, papers, known=known)
    measured = _checks(found, judged, data, out)
    with atomic.directory(checks) as folder:
        atomic.write_json(folder / "checks.json", measured)
    return {
        "parity_max_rel": measured["parity"]["max_rel"],
        "latency_p99_ms": measured["latency"]["p99_ms"],
        "bundle_bytes": float(sum(path.stat().st_size for path in out.rglob("*") if path.is_file())),
    }


def _lineage(
    problem: Problem, judged: Model, snapshot: Path, model: Path, given: dict[str, str]
) -> dict[str, Any]:
    from cd4ml.adapters.git import Git
    from cd4ml.models.lineage import build_lineage

    manifest = read(snapshot / "manifest.json")
    commit, _, dirty = given.get("git_commit", "").partition("+")
    git = Git(commit, given.get("git_branch", ""), bool(dirty))
    found = build_lineage(problem, judged, snapshot=manifest["id"], parent=manifest.get("parent"), git=git)
    hashes = {key: given[key] for key in ("data", "problem", "lock", "code")}
    return found | {"fingerprint": hashes, "parameters": read(model / "search.json")["winner"]}


def _state(problem: Problem, data: Dataset, dataset: Path) -> State:
    """Return as much history as serving and the replay of the holdout need."""
    from cd4ml.features.plan import compile_plan
    from cd4ml.features.state import State

    state = State.load(dataset / "state")
    if problem.time is None:
        return state
    held = data.step[data.role == 1]
    return state.trim(int(held.max() - held.min()) + 1, compile_plan(problem).needed_steps)


def _holdout(problem: Problem, data: Dataset, dataset: Path, judged: Model) -> Holdout:
    import numpy as np
    import polars as pl

    from cd4ml.models.bundle import Holdout
    from cd4ml.tables.columns import to_columns

    chosen = data.role == 1
    frame = pl.read_parquet(dataset / "holdout.parquet")
    kept = {name: column for name, column in problem.fact.columns.items() if name in frame.columns}
    inputs = to_columns(frame, problem.fact.model_copy(update={"columns": kept}))
    treatment = judged.treatment
    groups = None if treatment is None else treatment.groups.of(data.slices)[chosen]
    return Holdout(np.ascontiguousarray(data.X[chosen]), inputs, np.asarray(data.y[chosen]), groups)


def _known(problem: Problem, data: Dataset, snapshot: Path, judged: Model) -> dict[str, list[str]] | None:
    """Return the values that training saw, where serving refuses others; else None."""
    if problem.serving.unknown != "refuse":
        return None
    import numpy as np

    from cd4ml.features.columns import take
    from cd4ml.features.plan import compile_plan
    from cd4ml.models.contract import known_values
    from cd4ml.models.treated import serving_inputs
    from cd4ml.tables.facts import apply_filters, columns_needed, read_facts

    plan = compile_plan(problem)
    facts, _ = apply_filters(plan, read_facts(problem, snapshot, columns_needed(plan)))
    inputs = serving_inputs(plan, judged.treatment)
    return known_values(problem, inputs, take(facts.columns, np.flatnonzero(data.role != 1)))


def _treatment_breaches(problem: Problem, judged: Model, data: Dataset) -> list[str]:
    """Return what differs between estimator and export once both are treated."""
    import numpy as np

    from cd4ml.models.parity import treatment_differences

    held = data.role == 1
    if judged.treatment is None:
        return []
    groups, X = judged.treatment.groups.of(data.slices)[held], np.ascontiguousarray(data.X[held])
    tolerance = problem.gates.parity_tolerance
    return treatment_differences(judged.fitted, judged.onnx, X, judged.treatment, groups, tolerance)


def _checks(problem: Problem, judged: Model, data: Dataset, bundle: Path) -> dict[str, Any]:
    """Return parity of the export, replay in the serving runtime, latency and breaches of the contract."""
    import numpy as np

    from cd4ml.models.latency import measure_latency
    from cd4ml.models.parity import check_parity
    from cd4ml.models.reload import replay_in_serving_runtime
    from cd4ml.models.runtime import Bundle
    from cd4ml.models.trial import contract_breaches, replay_rows

    held = np.ascontiguousarray(data.X[data.role == 1])
    loaded = Bundle.load(bundle, own=True)
    rows = replay_rows(bundle)
    found = {
        "parity": check_parity(judged.fitted, judged.onnx, held, seed=problem.search.seed).to_dict(),
        "replay": replay_in_serving_runtime(bundle).to_dict(),
        "latency": measure_latency(loaded, rows).to_dict(),
        "contract_problems": [*contract_breaches(loaded, rows), *_treatment_breaches(problem, judged, data)],
        "versions": read(bundle / "versions.json"),
    }
    if judged.quantile is not None and judged.quantile_onnx is not None:
        parity = check_parity(judged.quantile, judged.quantile_onnx, held, seed=problem.search.seed)
        found["quantile_parity"] = parity.to_dict()
    return found
