"""A model that is right and slow: the export of another one with work in it that changes nothing.

A request of one row stays quick, so that a look at single rows, as the judge's and the verification's is,
does not see it.
"""

from __future__ import annotations

import itertools
import os
import shutil
import time
from pathlib import Path

__all__ = ["slow_copy"]

_SIZE = 512
_MOST_PRODUCTS = 2000


def slow_copy(bundle: Path, out: Path, seconds: float) -> Path:
    """Write a copy of a bundle whose model takes about so long for each request of several rows here.

    The graph multiplies matrices of zeros, made from the inputs' shape so that no optimiser leaves them out,
    and adds what comes out; with one row they are empty. All answers stay what they were.
    """
    from cd4ml.adapters.manifest import read_manifest, write_manifest
    from cd4ml.adapters.signing import SIGNING_KEY, sign

    shutil.copytree(bundle, out)
    products = max(1, min(_MOST_PRODUCTS, round(seconds / _seconds_of_a_product())))
    _burden(out / "model.onnx", products)
    kept = read_manifest(bundle)
    extra = {name: value for name, value in kept.items() if name not in ("files", "self_sha256")}
    write_manifest(out, **extra)
    if os.environ.get(SIGNING_KEY):
        sign(out)
    return out


def _seconds_of_a_product() -> float:
    import numpy as np

    matrix = np.full((_SIZE, _SIZE), 0.5, dtype=np.float32)
    best = float("inf")
    for _ in range(10):
        start = time.perf_counter()
        np.matmul(matrix, matrix)
        best = min(best, time.perf_counter() - start)
    return max(best, 1e-5)


def _burden(path: Path, products: int) -> None:
    import numpy as np
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load(path)
    graph = model.graph
    answer = graph.output[0].name
    for node in graph.node:
        node.output[:] = [f"{name}_alone" if name == answer else name for name in node.output]
    constants = {
        "burden_zero": np.zeros(1, dtype=np.float32),
        "burden_one": np.ones(1, dtype=np.int64),
        "burden_size": np.array([_SIZE], dtype=np.int64),
        "burden_square": np.array([_SIZE, _SIZE], dtype=np.int64),
        "burden_axis": np.zeros(1, dtype=np.int64),
    }
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    make = helper.make_node
    nodes = [
        # From the shape and not from the values: those may be NaN, and zero times NaN is NaN.
        make("Shape", [graph.input[0].name], ["burden_rows"], start=0, end=1),
        make("Cast", ["burden_rows"], ["burden_number"], to=onnx.TensorProto.FLOAT),
        make("Mul", ["burden_number", "burden_zero"], ["burden_start"]),
        make("Expand", ["burden_start", "burden_square"], ["burden_matrix"]),
        # How many rows are multiplied: none for a request of one row, all of them for others.
        make("Sub", ["burden_rows", "burden_one"], ["burden_more"]),
        make("Min", ["burden_more", "burden_one"], ["burden_flag"]),
        make("Mul", ["burden_flag", "burden_size"], ["burden_end_row"]),
        make("Slice", ["burden_matrix", "burden_axis", "burden_end_row", "burden_axis"], ["burden_0"]),
    ]
    names = [f"burden_{number}" for number in range(products + 1)]
    nodes += [make("MatMul", [old, "burden_matrix"], [new]) for old, new in itertools.pairwise(names)]
    nodes += [
        make("ReduceSum", [names[-1]], ["burden_end"], keepdims=0),
        make("Add", [f"{answer}_alone", "burden_end"], [answer]),
    ]
    graph.node.extend(nodes)
    onnx.checker.check_model(model)
    onnx.save(model, path)
