"""Writing a bundle: all that is needed to serve a model and to judge it again, in one folder."""

from __future__ import annotations

import io
import json
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
from cd4ml.errors import UsageError
from cd4ml.features.columns import ColumnSet, length, take
from cd4ml.features.plan import compile_plan
from cd4ml.features.state import State
from cd4ml.models.card import write_card
from cd4ml.models.contract import build_contract
from cd4ml.models.data import FloatArray, Matrix
from cd4ml.models.lineage import library_versions
from cd4ml.models.persist import Model, save_model
from cd4ml.models.rows import rows_from_columns
from cd4ml.models.runtime import FEATURES
from cd4ml.models.session import open_session, run
from cd4ml.problem import Problem

__all__ = ["FORMAT", "REPLAY_ROWS", "Holdout", "Papers", "npy_bytes", "write_bundle"]

FORMAT = "1"
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
    """

    X: Matrix
    inputs: ColumnSet
    actual: FloatArray


@dataclass(frozen=True)
class Papers:
    """What is said of a model: metrics.json, lineage.json (see `build_lineage`) and bias.json."""

    metrics: Mapping[str, Any]
    lineage: Mapping[str, Any]
    bias: Mapping[str, Any] | None = None


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
        Values that training saw, by column; see `build_contract`.
    signed : bool, optional
        Sign with the key of CD4ML_SIGNING_KEY; by default when that is set.

    Raises
    ------
    UsageError
        If lengths differ, or a signature is asked for without a key.
    """
    count = len(holdout.X)
    if not count == len(holdout.actual) == length(holdout.inputs):
        raise UsageError(
            "holdout fields must have one length; found "
            f"{count}, {len(holdout.actual)}, {length(holdout.inputs)}"
        )
    contract = build_contract(problem, compile_plan(problem).inputs, known)
    with atomic.directory(folder) as inside:
        save_model(inside, model)
        state.save(inside / FEATURES)
        atomic.write_text(inside / "problem.json", problem_files.dumps(problem))
        atomic.write_json(inside / "contract.json", contract)
        _write_holdout(inside / "holdout", problem, contract, model, holdout)
        atomic.write_json(inside / "metrics.json", papers.metrics)
        if papers.bias is not None:
            atomic.write_json(inside / "bias.json", papers.bias)
        atomic.write_json(inside / "lineage.json", papers.lineage)
        atomic.write_json(inside / "versions.json", library_versions())
        atomic.write_text(
            inside / "card.md", write_card(problem, papers.metrics, papers.lineage, papers.bias)
        )
        identity = write_manifest(inside, format=FORMAT, problem=problem.name)
        if os.environ.get(SIGNING_KEY) if signed is None else signed:
            sign(inside)
    return identity


def npy_bytes(values: npt.NDArray[Any]) -> bytes:
    """Return an array as the bytes of a .npy file."""
    buffer = io.BytesIO()
    np.save(buffer, values, allow_pickle=False)
    return buffer.getvalue()


def _write_holdout(
    folder: Path, problem: Problem, contract: Mapping[str, Any], model: Model, holdout: Holdout
) -> None:
    """Write rows as a caller sends them, what was predicted for them and what came true."""
    chosen = nested_sample(len(holdout.X), min(len(holdout.X), REPLAY_ROWS), problem.search.seed)
    folder.mkdir()
    columns = take({name: holdout.inputs[name] for name in contract["inputs"]["properties"]}, chosen)
    lines = [
        json.dumps(row, sort_keys=True, ensure_ascii=False) for row in rows_from_columns(contract, columns)
    ]
    atomic.write_text(folder / "inputs.jsonl", "\n".join(lines) + "\n")
    X = np.ascontiguousarray(holdout.X[chosen])
    for name, onnx in (("prediction", model.onnx), ("quantile", model.quantile_onnx)):
        if onnx is not None:
            expected = run(open_session(onnx), X).astype(np.float32)
            atomic.write_bytes(folder / f"{name}.npy", npy_bytes(expected))
    actual = holdout.actual[chosen].astype(np.float64)
    atomic.write_bytes(folder / "actual.npy", npy_bytes(actual))
    about = {"rows": len(chosen), "of": len(holdout.X), "tolerance": problem.gates.parity_tolerance}
    atomic.write_json(folder / "holdout.json", about)
