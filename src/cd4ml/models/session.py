"""ONNX Runtime, set up in one place.

Its packages for Linux (seen in 1.31) tell their maker of each session, with an id of the device: they write
`.ses` among the temporary files and a data base under the home folder, and keep a thread for it. What is
served where, and how often, is nobody else's: that is off, unless `ORT_DISABLE_TELEMETRY` says otherwise.
"""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np

from cd4ml.models.data import FloatArray, Matrix

__all__ = ["feature_names", "onnx_runtime", "open_session", "run"]

_BLOCK_ROWS = 65_536
_ERRORS_ONLY = 3
_OUTPUTS = ["prediction"]


def onnx_runtime() -> Any:
    """Return the module `onnxruntime`; nobody imports it by another way, as the first import decides."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    return onnxruntime


def open_session(model: bytes, threads: int = 1) -> Any:
    """Return an inference session with so many threads.

    Raises
    ------
    IntegrityError
        If the bytes are no ONNX model.
    """
    from cd4ml.errors import IntegrityError

    onnxruntime = onnx_runtime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        line = " ".join(str(error).split())[:200]
        raise IntegrityError(f"expected an ONNX model; ONNX Runtime cannot read it: {line}") from error


def run(session: Any, X: Matrix) -> FloatArray:
    """Return the predictions for a float32 matrix of shape (n, k) as float64 of shape (n,)."""
    if not len(X):
        return np.empty(0, dtype=np.float64)
    parts = [
        session.run(_OUTPUTS, {"features": X[start : start + _BLOCK_ROWS]})[0]
        for start in range(0, len(X), _BLOCK_ROWS)
    ]
    found: FloatArray = (parts[0] if len(parts) == 1 else np.concatenate(parts)).astype(np.float64)
    return found


def feature_names(session: Any) -> list[str]:
    """Return the names of the features that the export wrote into the model; none without such an entry."""
    text = session.get_modelmeta().custom_metadata_map.get("features", "[]")
    return [str(name) for name in json.loads(text)]
