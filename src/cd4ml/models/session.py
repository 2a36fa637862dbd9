"""ONNX Runtime, set up in one place."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from cd4ml.models.data import FloatArray, Matrix

__all__ = ["feature_names", "open_session", "run"]

_BLOCK_ROWS = 65_536
_ERRORS_ONLY = 3


def open_session(model: bytes, threads: int = 1) -> Any:
    """Return an inference session with so many threads.

    Raises
    ------
    IntegrityError
        If the bytes are no ONNX model.
    """
    import onnxruntime

    from cd4ml.errors import IntegrityError

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
    parts = [
        session.run(["prediction"], {"features": X[start : start + _BLOCK_ROWS]})[0]
        for start in range(0, len(X), _BLOCK_ROWS)
    ]
    return np.concatenate(parts).astype(np.float64) if parts else np.empty(0, dtype=np.float64)


def feature_names(session: Any) -> list[str]:
    """Return the names of the features that the export wrote into the model; none without such an entry."""
    text = session.get_modelmeta().custom_metadata_map.get("features", "[]")
    return [str(name) for name in json.loads(text)]
