"""Writing a bundle: all that is needed to serve a model and to judge it again, in one folder."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cd4ml.adapters import problem_files
from cd4ml.adapters.manifest import write_manifest
from cd4ml.adapters.signing import SIGNING_KEY, sign
from cd4ml.adapters.storage import atomic
from cd4ml.domain.halving import nested_sample
from cd4ml.domain.treatment import Treatment
from cd4ml.errors import DataError, UsageError, nearest
from cd4ml.features.columns import ColumnSet, length, take
from cd4ml.features.plan import compile_plan
from cd4ml.features.state import State
from cd4ml.models.card import build_card
from cd4ml.models.card_text import card_markdown
from cd4ml.models.contract import build_contract
from cd4ml.models.data import FloatArray, IntArray, Matrix
from cd4ml.models.explain.stored import CONTRIBUTIONS, dump_model
from cd4ml.models.fit import Fitted
from cd4ml.models.lineage import library_versions
from cd4ml.models.parity import check_parity
from cd4ml.models.persist import Model, save_model
from cd4ml.models.rows import columns_from_rows, rows_from_columns, to_lines
from cd4ml.models.runtime import FEATURES, FORMAT
from cd4ml.models.session import open_session, run
from cd4ml.models.treated import serving_inputs
from cd4ml.problem import Problem

__all__ = ["FORMAT", "REPLAY_ROWS", "Holdout", "Papers", "npy_bytes", "write_bundle"]

REPLAY_ROWS = 5000
"""Most holdout rows that a bundle carries."""


@dataclass(frozen=True)
class Holdout:
    """The holdout as it was judged; all fields have one entry a row, in the same order.

    Attributes
    ----------
    X : float32 array of shape (n, k)
        Features as training made them: serving must make the same from `inputs`.
    inputs : ColumnSet
        What a caller would send; more columns are ignored.
    actual : array of shape (n,)
    groups : int64 array of shape (n,), optional
        Group of each row by the model's treatment, as training saw it: serving must find the same.
    """

    X: Matrix
    inputs: ColumnSet
    actual: FloatArray
    groups: IntArray | None = None


@dataclass(frozen=True)
class Papers:
    """What is said of a model; the card is made of it.

    Attributes
    ----------
    metrics, bias : mapping
        metrics.json and bias.json.
    lineage : mapping
        See `build_lineage`.
    data : mapping, optional
        dataset.json: its `rows`, `split` and `clusters` are kept as data.json.
    evaluation : mapping, optional
        evaluation.json: its `holdout`, `slices` and `importances` are kept as slices.json.
    mitigation : mapping, optional
        mitigation.json.
    """

    metrics: Mapping[str, Any]
    lineage: Mapping[str, Any]
    bias: Mapping[str, Any] | None = None
    data: Mapping[str, Any] | None = None
    evaluation: Mapping[str, Any] | None = None
    mitigation: Mapping[str, Any] | None = None


def write_bundle(
    folder: Path,
    problem: Problem,
    model: Model,
    state: State,
    holdout: Holdout,
    papers: Papers,
    *,
    known: Mapping[str, Sequence[str]] | None = None,
    signed: bool | None = None,
) -> str:
    """Write a bundle and return its id; the folder is whole or absent.

    The same arguments give the same bytes: there is no clock and no path in it.

    Parameters
    ----------
    state : State
        Of the features, trimmed as far as serving and the holdout rows allow.
    known : mapping, optional
        What training saw, see `known_values`; `serving.unknown: refuse` needs it.
    signed : bool, optional
        Sign with the key of CD4ML_SIGNING_KEY; by default when that is set.

    Raises
    ------
    UsageError
        If parts do not belong together, or a signature is asked for without a key.
    DataError
        If there are no holdout rows, or none that holds the contract.
    """
    _check(problem, model, state, holdout, known)
    inputs = serving_inputs(compile_plan(problem), model.treatment)
    contract = build_contract(problem, inputs, known, model.treatment)
    with atomic.directory(folder) as inside:
        save_model(inside, model)
        if (explained := dump_model(model.fitted)) is not None:
            atomic.write_bytes(inside / CONTRIBUTIONS, explained)
        (inside / FEATURES).mkdir()
        state.save(inside / FEATURES)
        atomic.write_text(inside / "problem.json", problem_files.dumps(problem))
        atomic.write_json(inside / "contract.json", contract)
        _write_holdout(inside / "holdout", problem, contract, model, holdout)
        _write_papers(inside, problem, papers)
        atomic.write_json(inside / "versions.json", library_versions())
        identity = write_manifest(inside, format=FORMAT, problem=problem.name)
        if os.environ.get(SIGNING_KEY) if signed is None else signed:
            sign(inside)
    return identity


def _check(
    problem: Problem, model: Model, state: State, holdout: Holdout, known: Mapping[str, Any] | None
) -> None:
    lengths = (len(holdout.X), len(holdout.actual), length(holdout.inputs))
    if len(set(lengths)) > 1:
        raise UsageError(
            f"holdout fields must have one length; found {', '.join(map(str, lengths))} (X, actual, inputs)"
        )
    if not lengths[0]:
        raise DataError("a bundle needs holdout rows, by which it is judged again; found none")
    if model.treatment is not None and model.treatment.needs_groups:
        found = None if holdout.groups is None else len(holdout.groups)
        if found != lengths[0]:
            raise UsageError(
                f"{model.treatment.label} needs the group of each of {lengths[0]} holdout rows; found {found}"
            )
    for name in serving_inputs(compile_plan(problem), model.treatment):
        if name not in holdout.inputs:
            have = ", ".join(sorted(holdout.inputs))
            raise UsageError(
                f"the holdout's inputs must have '{name}'; found {have}{nearest(name, holdout.inputs)}"
            )
    if tuple(model.names) != tuple(state.names):
        raise UsageError(
            f"model and features must be of one training; found {len(model.names)} and {len(state.names)}"
            " names that are not the same"
        )
    if problem.serving.unknown == "refuse" and known is None:
        raise UsageError("`serving.unknown: refuse` needs the values that training saw; give `known`")


def _write_papers(folder: Path, problem: Problem, papers: Papers) -> None:
    data = None if papers.data is None else _part(papers.data, "clusters", "rows", "split")
    slices = (
        None if papers.evaluation is None else _part(papers.evaluation, "holdout", "importances", "slices")
    )
    written = {
        "bias": papers.bias,
        "data": data,
        "lineage": papers.lineage,
        "metrics": papers.metrics,
        "mitigation": papers.mitigation,
        "slices": slices,
    }
    for name, paper in written.items():
        if paper is not None:
            atomic.write_json(folder / f"{name}.json", paper)
    card = build_card(problem, papers.metrics, papers.lineage, papers.bias, data=data, evaluation=slices)
    atomic.write_json(folder / "card.json", card)
    atomic.write_text(folder / "card.md", card_markdown(card))


def _part(paper: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {key: paper[key] for key in keys if key in paper}


def npy_bytes(values: npt.NDArray[Any]) -> bytes:
    """Return an array as the bytes of a .npy file."""
    buffer = io.BytesIO()
    np.save(buffer, values, allow_pickle=False)
    return buffer.getvalue()


def _write_holdout(
    folder: Path, problem: Problem, contract: Mapping[str, Any], model: Model, holdout: Holdout
) -> None:
    """Write rows as a caller sends them, their features, what was predicted for them and what came true."""
    seen = nested_sample(len(holdout.X), min(len(holdout.X), REPLAY_ROWS), problem.search.seed)
    columns = take({name: holdout.inputs[name] for name in contract["inputs"]["properties"]}, seen)
    rows = rows_from_columns(contract, columns)
    kept, refusal = _served(contract, rows)
    chosen = seen[kept]
    folder.mkdir()
    atomic.write_text(folder / "inputs.jsonl", to_lines(rows[place] for place in kept))
    X = np.ascontiguousarray(holdout.X[chosen])
    atomic.write_bytes(folder / "features.npy", npy_bytes(X))
    parity = {}
    parts = {"prediction": (model.fitted, model.onnx), "quantile": (model.quantile, model.quantile_onnx)}
    for name, (fitted, onnx) in parts.items():
        if fitted is not None and onnx is not None:
            expected = run(open_session(onnx), X)
            if name == "prediction":
                expected = _treated(folder, model.treatment, expected, holdout.groups, chosen)
            atomic.write_bytes(folder / f"{name}.npy", npy_bytes(expected.astype(np.float32)))
            parity[name] = _parity(fitted, onnx, holdout.X)
    actual = holdout.actual[chosen].astype(np.float64)
    atomic.write_bytes(folder / "actual.npy", npy_bytes(actual))
    about: dict[str, Any] = {
        "rows": len(chosen),
        "of": len(holdout.X),
        "tolerance": problem.gates.parity_tolerance,
    }
    about |= {"refused": len(seen) - len(kept), "refusal": refusal, "parity": parity}
    atomic.write_json(folder / "holdout.json", about)


def _treated(
    folder: Path,
    treatment: Treatment | None,
    predictions: FloatArray,
    groups: IntArray | None,
    chosen: IntArray,
) -> FloatArray:
    """Return predictions as they are served, and write the decisions of a treatment that has thresholds."""
    if treatment is None or groups is None:
        return predictions
    group = groups[chosen]
    predictions = treatment.recalibrate(predictions, group)
    if treatment.thresholds is not None:
        decisions = treatment.decide(predictions, group).astype(np.float32)
        atomic.write_bytes(folder / "decision.npy", npy_bytes(decisions))
    return predictions


def _served(contract: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> tuple[list[int], str]:
    """Return the places of rows that serving takes, and why the first of the others is refused."""
    kept, refusal = [], ""
    for place, row in enumerate(rows):
        try:
            columns_from_rows(contract, [row])
        except DataError as error:
            refusal = refusal or str(error).replace("row 0: ", "", 1)
        else:
            kept.append(place)
    if not kept:
        raise DataError(f"no holdout row holds the contract of serving; the first: {refusal}")
    return kept, refusal


def _parity(fitted: Fitted, onnx: bytes, X: Matrix) -> dict[str, float]:
    """Return how far the export is from the estimator on the whole holdout, in three digits.

    More digits would depend on the number of threads, and the bundle's bytes must not.
    """
    found = check_parity(fitted, onnx, X, max_probes=0)
    return {"max_abs": float(f"{found.max_abs:.3g}"), "max_rel": float(f"{found.max_rel:.3g}")}
