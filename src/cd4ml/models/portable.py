"""A bundle as plain ONNX with its contract and samples: for C#, Java, JavaScript, where ONNX Runtime is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cd4ml.adapters.storage import atomic
from cd4ml.adapters.storage.hashing import sha256_file
from cd4ml.errors import UsageError
from cd4ml.models.export import INPUT, OUTPUT
from cd4ml.models.form_parity import FormParity, compare_form, judged_outputs
from cd4ml.models.portable_contract import feature_contract, feature_schema, json_rows
from cd4ml.models.portable_readme import readme_text
from cd4ml.models.portable_rows import NULL_TEXT, fold, row_inputs, why_not
from cd4ml.models.runtime import MODEL, QUANTILE_MODEL, Bundle, holdout_rows
from cd4ml.models.session import open_session

__all__ = ["SAMPLE_ROWS", "Portable", "probe_inputs", "write_portable"]

SAMPLE_ROWS = 50
"""Rows with their predictions that another team tests with."""
_FILES = {"prediction": MODEL, "quantile": QUANTILE_MODEL}
_UNSEEN = "no text that training saw"


@dataclass(frozen=True)
class Portable:
    """What was written.

    Attributes
    ----------
    parity : FormParity
        The worst of all files.
    inputs : str
        "rows" where there are models that take rows, else "features".
    why : str
        Why features are not folded in; "" where they are.
    """

    parity: FormParity
    inputs: str
    why: str


def write_portable(folder: Path, out: Path) -> Portable:
    """Write the model, its contract, samples and examples into a new folder.

    Parameters
    ----------
    folder : Path
        A bundle; it is verified.
    out : Path
        Appears when all is right.

    Raises
    ------
    GateRejected
        If plain ONNX Runtime does not predict what was judged.
    UsageError
        If the bundle treats predictions by group: a plain model would leave the treatment out unnoticed.
    """
    bundle = Bundle.load(folder)
    if bundle.treatment is not None and bundle.treatment.needs_groups:
        raise UsageError(
            f"'{bundle.problem.name}' has {bundle.treatment.label}, which plain ONNX would leave out; embed"
            " it ('cd4ml models embed') or call it"
        )
    rows, judged = holdout_rows(folder), judged_outputs(folder)
    X = np.load(folder / "holdout" / "features.npy", allow_pickle=False)
    why = why_not(bundle)
    with atomic.directory(out) as inside:
        parities = [_write_models(folder, inside, X, judged)]
        contract = feature_contract(bundle)
        if not why:
            parities.append(_write_folded(bundle, folder, inside, rows, judged))
            contract["rows"] = {
                "schema": bundle.contract["inputs"],
                "null_text": NULL_TEXT,
                "files": sorted(path.name for path in inside.glob("rows-*.onnx")),
            }
        atomic.write_json(inside / "contract.json", contract)
        atomic.write_json(inside / "features.schema.json", feature_schema(contract))
        atomic.write_json(inside / "sample.json", _sample(X, rows, judged, not why))
        atomic.write_text(inside / "README.md", readme_text(bundle, sorted(judged), why))
        hashes = {path.name: sha256_file(path) for path in sorted(inside.iterdir())}
        atomic.write_json(inside / "portable.json", {"bundle": bundle.id, "sha256": hashes})
    worst = max(parities, key=lambda parity: parity.largest_difference)
    return Portable(worst, "features" if why else "rows", why)


def _write_models(folder: Path, inside: Path, X: Any, judged: dict[str, Any]) -> FormParity:
    found = {}
    for output, name in _FILES.items():
        if output in judged:
            atomic.write_bytes(inside / name, (folder / name).read_bytes())
            found[output] = _run((inside / name).read_bytes(), {INPUT: X})
    return compare_form("portable", judged, found).require()


def _run(model: bytes, inputs: dict[str, Any]) -> Any:
    return open_session(model).run([OUTPUT], inputs)[0]


def _write_folded(
    bundle: Bundle, folder: Path, inside: Path, rows: list[dict[str, Any]], judged: dict[str, Any]
) -> FormParity:
    """Write models that take rows; judge them on the holdout, and on it with nulls and unseen texts."""
    probes = probe_inputs(bundle, rows)
    expected = bundle.outputs(bundle.columns(probes[: int(bundle.contract["max_rows"])]))
    probes = probes[: len(next(iter(expected.values())))]
    found, probed = {}, {}
    for output, name in _FILES.items():
        if output in judged:
            model = fold(bundle, (folder / name).read_bytes())
            atomic.write_bytes(inside / f"rows-{name}", model)
            found[output] = _run(model, row_inputs(bundle, rows))
            probed[output] = _run(model, row_inputs(bundle, probes))
    parities = [
        compare_form("portable (rows)", judged, found).require(),
        compare_form("portable (rows, nulls and unseen texts)", expected, probed).require(),
    ]
    return max(parities, key=lambda parity: parity.largest_difference)


def probe_inputs(bundle: Bundle, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return holdout rows with a field at a time set to null or to an unseen text, where it may be."""
    made = []
    for name, field in bundle.inputs.items():
        values: list[Any] = [None] if field["nullable"] else []
        if field["kind"] in ("text", "category") and "enum" not in field:
            values += [_UNSEEN, ""]
        made += [{**rows[i], name: value} for value in values for i in range(min(5, len(rows)))]
    return made or rows[:1]


def _sample(X: Any, rows: list[dict[str, Any]], judged: dict[str, Any], folded: bool) -> dict[str, Any]:
    sample: dict[str, Any] = {"features": json_rows(X[:SAMPLE_ROWS])}
    if folded:
        sample["rows"] = rows[:SAMPLE_ROWS]
    return sample | {name: values[:SAMPLE_ROWS].tolist() for name, values in judged.items()}
