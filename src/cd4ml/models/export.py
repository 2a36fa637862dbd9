"""Export to ONNX: deterministic, in float32, with predictions on the original scale.

The trees of an ensemble are written by skl2onnx; the rest is written here:
imputation -> trees, or a linear model in double -> link of the loss -> inverse of the transform -> limits.

skl2onnx 1.20 leaves the exponential out for HistGradientBoosting with `loss="poisson"`, and writes wrong
splits for `categorical_features`, both silently: the first is appended here, the second refused.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from cd4ml.errors import Cd4mlError, UsageError
from cd4ml.models.fit import LARGEST, Fitted
from cd4ml.models.thresholds import final_estimator

__all__ = ["INPUT", "MAX_BYTES", "OPSETS", "OUTPUT", "onnx_bytes", "to_onnx"]

INPUT, OUTPUT = "features", "prediction"
OPSETS = {"": 18, "ai.onnx.ml": 3}
_IR_VERSION = 8
MAX_BYTES = 1_500_000_000
"""A protobuf message ends at 2 GiB."""


@dataclass
class _Graph:
    """Nodes and constants under construction; `last` is the name of the newest output."""

    nodes: list[Any] = field(default_factory=list)
    constants: list[Any] = field(default_factory=list)
    last: str = INPUT

    def constant(self, values: npt.ArrayLike, dtype: type[np.generic]) -> str:
        """Add a constant and return its name."""
        from onnx import numpy_helper

        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values, dtype=dtype), name))
        return name

    def add(self, operator: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Add a node with one output, which becomes `last`."""
        from onnx import helper

        name = f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, domain=domain, **attributes))
        self.last = name
        return name


def to_onnx(fitted: Fitted, names: list[str] | tuple[str, ...], *, max_bytes: int = MAX_BYTES) -> bytes:
    """Return the model as ONNX bytes; the same estimator gives the same bytes.

    Input `features` is float32 of shape (n, k) with NaN for no value; output `prediction` is float32 of shape
    (n,): the value on the original scale, or the probability of the positive class.

    Parameters
    ----------
    names : sequence of str
        Names of the k features, kept in the model's metadata.
    max_bytes : int
        Larger models are refused.

    Raises
    ------
    UsageError
        If the number of names is not that of the features, or the estimator has `categorical_features`.
    Cd4mlError
        If the model is too large for one file.
    """
    estimator = fitted.estimator
    if estimator.n_features_in_ != len(names):
        raise UsageError(f"the model has {estimator.n_features_in_} features; found {len(names)} names")
    if getattr(final_estimator(estimator), "is_categorical_", None) is not None:
        raise UsageError(
            "categorical_features cannot be exported; give categories as numbers (kind: category)"
        )
    graph = _Graph()
    _impute(graph, estimator, np.float64 if fitted.family in ("ridge", "logistic") else np.float32)
    if fitted.family in ("ridge", "logistic"):
        _linear(graph, estimator)
    else:
        _trees(graph, final_estimator(estimator), len(names), fitted.task)
    _original_scale(graph, fitted)
    return _bytes(graph, fitted, list(names), max_bytes)


def _impute(graph: _Graph, estimator: Any, dtype: type[np.generic]) -> None:
    from onnx import TensorProto

    if dtype is np.float64:
        graph.add("Cast", graph.last, to=TensorProto.DOUBLE)
    if not hasattr(estimator, "steps"):
        return
    values = graph.last
    medians = graph.constant(estimator.named_steps["impute"].statistics_, dtype)
    graph.add("Where", graph.add("IsNaN", values), medians, values)


def _linear(graph: _Graph, estimator: Any) -> None:
    """Standardise and multiply in double, as the estimator does; only the result is cut to float32."""
    scaler, model = estimator.named_steps["scale"], estimator.named_steps["model"]
    graph.add("Sub", graph.last, graph.constant(scaler.mean_, np.float64))
    graph.add("Div", graph.last, graph.constant(scaler.scale_, np.float64))
    graph.add("MatMul", graph.last, graph.constant(np.ravel(model.coef_), np.float64))
    graph.add("Add", graph.last, graph.constant(np.ravel(model.intercept_)[0], np.float64))
    if hasattr(model, "classes_"):
        graph.add("Sigmoid", graph.last)


def _trees(graph: _Graph, model: Any, features: int, task: str) -> None:
    """Take over the nodes that skl2onnx writes for an ensemble, under names that do not change."""
    from skl2onnx import to_onnx as convert
    from skl2onnx.common.data_types import FloatTensorType

    options = {id(model): {"zipmap": False}} if task == "classification" else None
    made = convert(
        model,
        initial_types=[(INPUT, FloatTensorType([None, features]))],
        target_opset=OPSETS,
        options=options,
    )
    wanted = "probabilities" if task == "classification" else made.graph.output[0].name
    renamed = {INPUT: graph.last}
    for index, initializer in enumerate(made.graph.initializer):
        renamed[initializer.name] = initializer.name = f"tree_constant_{index}"
        graph.constants.append(initializer)
    for index, node in enumerate(made.graph.node):
        for place, name in enumerate(node.input):
            node.input[place] = renamed.get(name, name)
        for place, name in enumerate(node.output):
            renamed[name] = node.output[place] = f"tree_{index}_{place}"
        node.name, node.doc_string = f"tree_{index}", ""
        graph.nodes.append(node)
    graph.last = renamed[wanted]
    if task == "classification":
        graph.add("Gather", graph.last, graph.constant(1, np.int64), axis=1)


def _original_scale(graph: _Graph, fitted: Fitted) -> None:
    """Undo link and transform in double (expm1 near 0 would lose digits in float32), and keep the limits."""
    from onnx import TensorProto

    if fitted.family not in ("ridge", "logistic"):
        graph.add("Cast", graph.last, to=TensorProto.DOUBLE)
    if fitted.loss == "poisson":
        graph.add("Exp", graph.last)
    if fitted.transform == "log1p":
        graph.add("Exp", graph.last)
        graph.add("Sub", graph.last, graph.constant(1.0, np.float64))
    low = graph.constant(fitted.lowest, np.float64)
    graph.add("Clip", graph.last, low, graph.constant(LARGEST, np.float64))
    graph.add("Cast", graph.last, to=TensorProto.FLOAT)
    graph.add("Reshape", graph.last, graph.constant([-1], np.int64))
    graph.nodes[-1].output[0] = OUTPUT


def _bytes(graph: _Graph, fitted: Fitted, names: list[str], max_bytes: int) -> bytes:
    import json

    from onnx import TensorProto, checker, helper

    made = helper.make_graph(
        graph.nodes,
        "cd4ml",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [None, len(names)])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [None])],
        graph.constants,
    )
    model = helper.make_model(
        made,
        opset_imports=[helper.make_opsetid(domain, version) for domain, version in sorted(OPSETS.items())],
        ir_version=_IR_VERSION,
        producer_name="cd4ml",
    )
    helper.set_model_props(model, {"features": json.dumps(names)})
    size = model.ByteSize()
    if size > max_bytes:
        raise Cd4mlError(
            f"the exported {fitted.family} has {size / 1e9:.3g} GB, more than one file holds; lower "
            "n_estimators or raise min_samples_leaf"
        )
    checker.check_model(model, full_check=True)
    return onnx_bytes(model)


def onnx_bytes(model: Any) -> bytes:
    """Return the bytes of a model, the same for equal models."""
    return bytes(model.SerializeToString(deterministic=True))
