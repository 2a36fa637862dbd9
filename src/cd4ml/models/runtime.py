"""A bundle that predicts: features, ONNX Runtime, nothing else. This is what serving uses."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cd4ml.adapters.manifest import bundle_id, read_manifest, verify_manifest
from cd4ml.adapters.signing import Signature, require_signature
from cd4ml.domain.treatment import Treatment, decide
from cd4ml.errors import DataError, IntegrityError, UsageError
from cd4ml.features.columns import ColumnSet
from cd4ml.features.plan import Plan, compile_plan
from cd4ml.features.state import State
from cd4ml.features.transform import transform
from cd4ml.models.data import FloatArray, IntArray, Matrix
from cd4ml.models.rows import columns_from_rows, from_lines
from cd4ml.models.session import feature_names, open_session, run
from cd4ml.models.treated import group_codes, load_treatment
from cd4ml.problem import Problem

__all__ = ["FEATURES", "FORMAT", "MODEL", "QUANTILE_MODEL", "Bundle", "holdout_rows"]

FORMAT = "1"
"""What manifest.json says of the layout of files; a reader refuses another one."""
MODEL, QUANTILE_MODEL, FEATURES = "model.onnx", "model-quantile.onnx", "features"


@dataclass(frozen=True)
class Bundle:
    """A loaded bundle.

    Attributes
    ----------
    id : str
        SHA-256 of its manifest.
    problem, plan, state
        What features are made of.
    contract : mapping
        contract.json.
    signature : Signature or None
        What its signature is worth; None where it was not looked at. Show its `warning`.
    treatment : Treatment or None
        What is done to predictions by group.
    history : str
        Id of the history table that replaced its own history, see `cd4ml.models.history`; "" for its own.
    """

    id: str
    folder: Path
    problem: Problem
    plan: Plan
    state: State
    contract: Mapping[str, Any]
    manifest: Mapping[str, Any]
    signature: Signature | None
    _session: Any
    _quantile_session: Any
    treatment: Treatment | None = None
    history: str = ""

    @classmethod
    def load(cls, folder: Path, verify: bool = True, threads: int = 1, *, own: bool = False) -> Bundle:
        """Read a bundle.

        Parameters
        ----------
        verify : bool
            First check the SHA-256 of each file and, where CD4ML_VERIFY_KEY is set, that one of its keys
            signed.
        threads : int
            Threads of ONNX Runtime within one prediction; 1 is best for single rows, and repeats to the bit.
            More add up trees in another order: the last digits of float32 may differ.
        own : bool
            The bundle was written by this process or its parent just now: nobody needs to vouch for it.

        Raises
        ------
        IntegrityError
            If a file was changed, is missing, additional or of another format, or the signature is not right.
        """
        manifest = verify_manifest(folder) if verify else read_manifest(folder)
        if manifest.get("format") != FORMAT:
            raise IntegrityError(
                f"expected a bundle of format {FORMAT}; '{folder}' has {manifest.get('format')!r}. Use the"
                " cd4ml that wrote it"
            )
        signature = require_signature(folder, () if own else None) if verify else None
        return cls._read(folder, manifest, signature, threads)

    @classmethod
    def _read(
        cls, folder: Path, manifest: Mapping[str, Any], signature: Signature | None, threads: int
    ) -> Bundle:
        try:
            problem = Problem.model_validate_json((folder / "problem.json").read_bytes())
            contract = json.loads((folder / "contract.json").read_bytes())
            session = open_session((folder / MODEL).read_bytes(), threads)
            quantile = folder / QUANTILE_MODEL
            second = open_session(quantile.read_bytes(), threads) if quantile.is_file() else None
            state = State.load(folder / FEATURES)
            treatment = load_treatment(folder)
            fits = all(feature_names(s) == list(state.names) for s in (session, second) if s is not None)
        except (OSError, ValueError) as error:
            line = " ".join(str(error).split())[:300]
            raise IntegrityError(f"bundle '{folder.name}' cannot be read: {line}") from error
        if not fits:
            raise IntegrityError(
                f"bundle '{folder.name}': its model and its features are not of one training; make it anew"
            )
        plan, identity = compile_plan(problem), bundle_id(folder)
        parts = (problem, plan, state, contract, manifest, signature, session, second, treatment)
        return cls(identity, folder, *parts)

    @property
    def inputs(self) -> Mapping[str, Any]:
        """Field -> JSON Schema of what a caller sends."""
        fields: Mapping[str, Any] = self.contract["inputs"]["properties"]
        return fields

    @property
    def quantile(self) -> float | None:
        """The quantile of the second output; None when there is none."""
        return self.contract["quantile"] if self._quantile_session is not None else None

    def features(self, columns: ColumnSet) -> Matrix:
        """Return the features of rows, float32 of shape (n, k)."""
        return transform(self.plan, self.state, columns)

    def groups(self, columns: ColumnSet) -> IntArray | None:
        """Return the group of each row, shape (n,); None where predictions do not depend on it."""
        if self.treatment is None or not self.treatment.needs_groups:
            return None
        return group_codes(self.plan, self.state, self.treatment, columns)

    def predict(self, columns: ColumnSet) -> FloatArray:
        """Return the predictions for rows given as columns, with their treatment, shape (n,)."""
        return self.predict_features(self.features(columns), self.groups(columns))["prediction"]

    def decide(self, columns: ColumnSet) -> FloatArray:
        """Return 1 for rows that are called positive and 0 for others, shape (n,).

        By the threshold of the row's group where the bundle has such a treatment, else from a probability of
        0.5.

        Raises
        ------
        UsageError
            If the bundle does not classify.
        """
        if self.problem.task != "classification":
            raise UsageError(
                f"decisions belong to classification; '{self.problem.name}' is {self.problem.task}"
            )
        found = self.predict_features(self.features(columns), self.groups(columns))
        return found["decision"] if "decision" in found else decide(found["prediction"])

    def predict_features(self, X: Matrix, groups: IntArray | None = None) -> dict[str, FloatArray]:
        """Return the outputs for a feature matrix.

        Parameters
        ----------
        groups : int64 array of shape (n,), optional
            What `groups` returns for these rows.

        Returns
        -------
        dict
            `prediction`; `quantile` where the bundle has it; `decision`, 0 or 1, where groups have
            thresholds.

        Raises
        ------
        UsageError
            If the bundle treats by group and no groups are given.
        """
        X = np.ascontiguousarray(X)
        found = {"prediction": run(self._session, X)}
        if self.treatment is not None and self.treatment.needs_groups:
            if groups is None:
                raise UsageError(f"predictions need the rows' groups: the model has {self.treatment.label}")
            found["prediction"] = self.treatment.recalibrate(found["prediction"], groups)
            if self.treatment.thresholds is not None:
                found["decision"] = self.treatment.decide(found["prediction"], groups)
        if self._quantile_session is not None:
            found["quantile"] = run(self._quantile_session, X)
        return found

    def outputs(self, columns: ColumnSet) -> dict[str, FloatArray]:
        """Return the outputs for rows given as columns, see `predict_features`."""
        return self.predict_features(self.features(columns), self.groups(columns))

    def columns(self, rows: Sequence[Mapping[str, Any]]) -> ColumnSet:
        """Return rows as a caller sends them as columns.

        Raises
        ------
        DataError
            Naming row and field, what is allowed and what was found.
        """
        return columns_from_rows(self.contract, rows)

    def predict_rows(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, FloatArray]:
        """Return the outputs for rows as a caller sends them; raises as `columns`."""
        return self.outputs(self.columns(rows))


def holdout_rows(folder: Path) -> list[dict[str, Any]]:
    """Return the holdout rows that a bundle carries, as a caller sends them.

    Raises
    ------
    DataError
        If it has none.
    """
    path = folder / "holdout" / "inputs.jsonl"
    rows = from_lines(path.read_text(encoding="utf-8")) if path.is_file() else []
    if not rows:
        raise DataError(f"expected holdout rows in the bundle '{folder.name}'; found none")
    return rows
