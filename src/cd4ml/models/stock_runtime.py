"""A bundle for a stock runtime: a model.joblib that KServe's sklearnserver loads. It takes features.

`joblib.load` runs what the file names, and scikit-learn reads only what its own version wrote. So the file is
made here from the bundle's skops estimator, scanned, and must predict the holdout where it will be served.
"""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from cd4ml.adapters.manifest import bundle_id, verify_manifest
from cd4ml.adapters.signing import require_signature
from cd4ml.adapters.storage import atomic
from cd4ml.adapters.storage.hashing import sha256_file
from cd4ml.errors import GateRejected, UsageError, nearest
from cd4ml.models.fit import LARGEST, Fitted
from cd4ml.models.form_parity import FormParity, compare_form, judged_outputs
from cd4ml.models.persist import Model, load_model
from cd4ml.models.pickle_scan import scan_joblib

__all__ = ["RUNTIMES", "served_estimator", "write_stock"]

RUNTIMES = {"sklearnserver": "~=1.5.1"}
"""Stock runtimes -> the scikit-learn that they pin (KServe 0.21)."""
_MODEL = "model.joblib"
_LINEAR = ("ridge", "logistic")
_PROTOCOL = 4
_TIMEOUT_SECONDS = 300
# What sklearnserver does: joblib.load once, then predict or, with PREDICT_PROBA, predict_proba; V1's JSON
# comes as float64, V2's FP32 as float32.
_SCRIPT = """
import json, sys, warnings
import joblib, numpy, scipy, sklearn
folder, form, *outputs = sys.argv[1:]
X = numpy.load(folder + "/features.npy", allow_pickle=False)
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    for output in outputs:
        model = joblib.load(folder + "/" + output + ".joblib")
        for dtype in ("float32", "float64"):
            rows = X.astype(dtype)
            made = model.predict_proba(rows)[:, 1] if form == "proba" else model.predict(rows)
            numpy.save(folder + "/" + output + "-" + dtype + ".npy", numpy.asarray(made, dtype="float64"))
versions = {name: module.__version__ for name, module in
            {"joblib": joblib, "numpy": numpy, "scipy": scipy, "scikit-learn": sklearn}.items()}
versions["python"] = sys.version.split()[0]
print(json.dumps({"versions": versions, "warnings": sorted({w.category.__name__ for w in told})}))
"""


def served_estimator(fitted: Fitted) -> Any:
    """Return a scikit-learn estimator whose own `predict` is on the original scale and within its limits.

    For classification it is `predict_proba`. It is made of scikit-learn's and numpy's own parts alone.
    """
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import FunctionTransformer

    estimator = copy.copy(fitted.estimator)
    if hasattr(estimator, "_feature_subsample_rng"):  # for fitting alone
        estimator._feature_subsample_rng = None
    if fitted.family in _LINEAR:  # solved in double, so predicted in double
        double = FunctionTransformer(np.asarray, kw_args={"dtype": "float64"})
        estimator = Pipeline([("double", double), *estimator.steps])
    if fitted.task == "classification" or (fitted.transform == "none" and fitted.minimum is None):
        return estimator
    limits = {"a_min": fitted.lowest, "a_max": LARGEST}
    steps = [("limits", FunctionTransformer(None, np.clip, inv_kw_args=limits, check_inverse=False))]
    if fitted.transform == "log1p":
        steps.append(("scale", FunctionTransformer(np.log1p, np.expm1, check_inverse=False)))
    scale = Pipeline(steps).fit(np.zeros((2, 1)))
    wrapped = TransformedTargetRegressor(estimator, transformer=scale, check_inverse=False)
    wrapped.regressor_, wrapped.transformer_, wrapped._training_dim = estimator, scale, 1
    return wrapped


def write_stock(
    folder: Path,
    out: Path,
    *,
    runtime: str = "sklearnserver",
    scikit_learn: str = "",
    python: Path | None = None,
) -> dict[str, Any]:
    """Write `model.joblib` and `stock.json` into a new folder; with a quantile also `quantile/model.joblib`.

    Parameters
    ----------
    folder : Path
        A bundle; it is verified.
    runtime : str
        One of RUNTIMES.
    scikit_learn : str
        What the runtime has, a version or a specifier such as "~=1.9.0"; by default what it pins.
    python : Path, optional
        The Python of the runtime's environment: the gate loads and predicts there. Without it the gate runs
        in this environment, which must then have the runtime's scikit-learn.

    Returns
    -------
    dict
        stock.json: `parity`, `versions` of the environment in which it was verified, `warnings`, `globals`
        (all that loading it calls), `environment` (variables that the server needs), `sha256`.

    Raises
    ------
    UsageError
        If the bundle cannot be expressed so, or the versions differ and nobody can tell what comes of it.
    GateRejected
        If the model does not load there, or predicts something else than was judged.
    """
    manifest = verify_manifest(folder)
    require_signature(folder)
    model = load_model(folder)
    _check_expressible(str(manifest["problem"]), model)
    wanted = _wanted(runtime, scikit_learn, python)
    judged = judged_outputs(folder)
    with atomic.directory(out) as inside:
        models, names = _write_models(model, inside)
        parity, told = _judge(models, folder, model.fitted.task, judged, python)
        _check_version(told["versions"]["scikit-learn"], wanted)
        found = _told(folder, runtime, wanted, model, told) | {
            "verified_in": "this environment" if python is None else "the environment of --python",
            "parity": parity.require().to_dict(),
            "globals": names,
            "sha256": {
                path.relative_to(inside).as_posix(): sha256_file(path)
                for path in sorted(inside.rglob(_MODEL))
            },
        }
        atomic.write_json(inside / "stock.json", found)
    return found


def _write_models(model: Model, inside: Path) -> tuple[dict[str, Path], list[str]]:
    """Return the file of each output, and all names that loading them calls."""
    parts = {"prediction": (model.fitted, inside)}
    if model.quantile is not None:
        parts["quantile"] = (model.quantile, inside / "quantile")
    names = set[str]()
    for fitted, place in parts.values():
        place.mkdir(exist_ok=True)
        atomic.write_bytes(place / _MODEL, pickle.dumps(served_estimator(fitted), protocol=_PROTOCOL))
        names |= set(scan_joblib(place / _MODEL))
    return {output: place / _MODEL for output, (_, place) in parts.items()}, sorted(names)


def _check_expressible(problem: str, model: Model) -> None:
    if model.treatment is not None and model.treatment.needs_groups:
        raise UsageError(
            f"'{problem}' has {model.treatment.label}: a stock runtime sees features alone, not the groups of"
            " rows. Embed the model ('cd4ml models embed') or call its server"
        )


def _wanted(runtime: str, scikit_learn: str, python: Path | None) -> str:
    """Return the specifier that the runtime's scikit-learn must hold; "" is what `python` has."""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    if runtime not in RUNTIMES:
        raise UsageError(
            f"expected a runtime of {', '.join(RUNTIMES)}; found '{runtime}'{nearest(runtime, RUNTIMES)}"
        )
    if python is not None and not python.is_file():
        raise UsageError(f"expected the Python of the runtime's environment; found no '{python}'")
    wanted = f"=={scikit_learn}" if scikit_learn[:1].isdigit() else scikit_learn
    try:
        SpecifierSet(wanted)
    except InvalidSpecifier:
        raise UsageError(f"expected a version such as 1.5.2 or ~=1.5.1; found '{scikit_learn}'") from None
    if python is not None:
        return wanted
    here = metadata.version("scikit-learn")
    wanted = wanted or RUNTIMES[runtime]
    if here not in SpecifierSet(wanted):
        raise UsageError(
            f"the runtime has scikit-learn {wanted} and this environment {here}: nobody can tell whether it"
            " reads this model. Give the runtime's Python with --python, or serve it with an image that has"
            f" scikit-learn {here} and say --sklearn-version {here}"
        )
    return wanted


def _check_version(found: str, wanted: str) -> None:
    from packaging.specifiers import SpecifierSet

    if found not in SpecifierSet(wanted):
        raise UsageError(f"expected scikit-learn {wanted} in the runtime's environment; found {found}")


def _judge(
    models: Mapping[str, Path], bundle: Path, task: str, judged: Mapping[str, Any], python: Path | None
) -> tuple[FormParity, dict[str, Any]]:
    """Load and predict in the environment that will serve it; the worse of both number formats counts."""
    with tempfile.TemporaryDirectory(prefix="cd4ml-stock-") as temporary:
        place = Path(temporary)
        for output, model in models.items():
            (place / f"{output}.joblib").write_bytes(model.read_bytes())
        (place / "features.npy").write_bytes((bundle / "holdout" / "features.npy").read_bytes())
        told = _try(place, "proba" if task == "classification" else "value", list(models), python)
        expected = {output: judged[output] for output in models}
        parities = []
        for dtype in ("float32", "float64"):
            found = {name: np.load(place / f"{name}-{dtype}.npy", allow_pickle=False) for name in models}
            parities.append(compare_form("stock", expected, found))
    return max(parities, key=lambda parity: parity.largest_difference), told


def _try(place: Path, form: str, outputs: list[str], python: Path | None) -> dict[str, Any]:
    # absolute, but no link resolved: a virtual environment is known by its path
    command = [
        str(python.absolute() if python else sys.executable),
        "-I",
        "-c",
        _SCRIPT,
        str(place),
        form,
        *outputs,
    ]
    try:
        done = subprocess.run(  # noqa: S603 - our own text
            command, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False, cwd=place
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise GateRejected(f"the model could not be tried in '{command[0]}': {error}") from None
    if done.returncode:
        line = (done.stderr.strip().splitlines() or ["no word"])[-1][:300]
        raise GateRejected(f"the runtime's environment cannot load and predict the model: {line}")
    told: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return told


def _told(folder: Path, runtime: str, wanted: str, model: Model, told: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of stock.json that says what it is, and for whom."""
    here, there = metadata.version("scikit-learn"), str(told["versions"]["scikit-learn"])
    warnings = [f"the runtime warned of {name}" for name in told["warnings"]]
    if there != here:
        warnings.append(
            f"made with scikit-learn {here}, verified with {there}: the holdout agrees, no more is known"
        )
    classifies = model.fitted.task == "classification"
    return {
        "bundle": bundle_id(folder),
        "runtime": runtime,
        "scikit_learn": {"made_with": here, "wanted": wanted, "verified_with": there},
        "versions": dict(told["versions"]),
        "warnings": warnings,
        "input": {
            "features": list(model.names),
            "dtype": "FP32",
            "missing": "NaN; V1's JSON has none, V2 has",
        },
        "output": "the second of two probabilities" if classifies else "the prediction",
        "environment": {"PREDICT_PROBA": "true"} if classifies else {},
    }
