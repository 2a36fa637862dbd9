"""Features folded into the ONNX model, where a row alone makes them: numbers and categories as they come.

Then a team sends columns as they are and needs no code for features. Exact or not at all: what needs history,
joined tables, derived columns or a calendar is left to the contract.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cd4ml.features.plan import CategoryFeature, NumberFeature
from cd4ml.models.export import INPUT, onnx_bytes
from cd4ml.models.runtime import Bundle

__all__ = ["NULL_TEXT", "fold", "row_inputs", "why_not"]

NULL_TEXT = "<null>"
"""What stands for null where a text is expected, as ONNX texts cannot be null."""
_TEXTS = ("text", "category")


def why_not(bundle: Bundle) -> str:
    """Return why a row alone does not make the features; "" where it does."""
    kinds = {name: field["kind"] for name, field in bundle.inputs.items()}
    for feature in bundle.plan.features:
        if not isinstance(feature, NumberFeature | CategoryFeature):
            return f"feature '{feature.name}' needs a history or a calendar"
        if feature.column not in kinds:
            return f"feature '{feature.name}' is made of a joined or derived column"
        kind = kinds[feature.column]
        if isinstance(feature, CategoryFeature) and kind not in _TEXTS:
            return f"feature '{feature.name}' takes {kind} values as a category"
        if isinstance(feature, NumberFeature) and kind in (*_TEXTS, "date", "timestamp"):
            return f"feature '{feature.name}' takes {kind} values as a number"
        if (
            isinstance(feature, CategoryFeature)
            and NULL_TEXT in bundle.state.vocabularies[feature.name].texts
        ):
            return f"'{NULL_TEXT}' is a value of '{feature.column}'"
    return ""


def fold(bundle: Bundle, model: bytes) -> bytes:
    """Return a model that takes the columns of rows: one input of shape (rows, 1) for each.

    Numbers and flags are float64, with NaN for null; texts are strings, with NULL_TEXT for null. `why_not`
    must be "".
    """
    import onnx
    from onnx import TensorProto, helper

    loaded = onnx.load_from_string(model)
    nodes: list[Any] = []
    constants: list[Any] = []
    used = {feature.column: feature for feature in bundle.plan.features}  # type: ignore[union-attr]
    inputs = [
        helper.make_tensor_value_info(
            column,
            TensorProto.STRING if isinstance(feature, CategoryFeature) else TensorProto.DOUBLE,
            [None, 1],
        )
        for column, feature in used.items()
    ]
    parts = [
        _category(nodes, constants, bundle, feature, place)
        if isinstance(feature, CategoryFeature)
        else _number(nodes, constants, feature.column, place)  # type: ignore[union-attr]
        for place, feature in enumerate(bundle.plan.features)
    ]
    nodes.append(helper.make_node("Concat", parts, [INPUT], name="fold_concat", axis=1))
    graph = helper.make_graph(
        nodes + list(loaded.graph.node),
        loaded.graph.name,
        inputs,
        list(loaded.graph.output),
        constants + list(loaded.graph.initializer),
    )
    loaded.graph.CopyFrom(graph)
    onnx.checker.check_model(loaded, full_check=True)
    return onnx_bytes(loaded)


def _number(nodes: list[Any], constants: list[Any], column: str, place: int) -> str:
    """A number as float32; what is too large for it is no value, as in `features.transform`."""
    from onnx import TensorProto, helper, numpy_helper

    names = [f"fold_{place}_{part}" for part in ("cast", "infinite", "nan", "value")]
    constants.append(numpy_helper.from_array(np.array(np.nan, dtype=np.float32), names[2]))
    nodes.append(helper.make_node("Cast", [column], [names[0]], name=names[0], to=TensorProto.FLOAT))
    nodes.append(helper.make_node("IsInf", [names[0]], [names[1]], name=names[1]))
    nodes.append(helper.make_node("Where", [names[1], names[2], names[0]], [names[3]], name=names[3]))
    return names[3]


def _category(
    nodes: list[Any], constants: list[Any], bundle: Bundle, feature: CategoryFeature, place: int
) -> str:
    from onnx import TensorProto, helper, numpy_helper

    words = bundle.state.vocabularies[feature.name]
    one_hot, by_share = feature.encoding == "one_hot", feature.encoding == "frequency"
    values = list(words.shares) if by_share else list(map(float, range(len(words.texts))))
    codes, hot = f"fold_{place}_code", f"fold_{place}_hot"
    nodes.append(
        helper.make_node(
            "LabelEncoder",
            [feature.column],
            [codes],
            name=codes,
            domain="ai.onnx.ml",
            keys_strings=[*words.texts, NULL_TEXT],
            values_floats=[*values, float("nan")],
            default_float=0.0 if by_share else float(len(words.texts)),
        )
    )
    if not one_hot:
        return codes
    every = numpy_helper.from_array(np.arange(len(words.texts) + 1, dtype=np.float32), f"fold_{place}_every")
    constants.append(every)
    nodes.append(helper.make_node("Equal", [codes, every.name], [f"{hot}_flag"], name=f"{hot}_flag"))
    nodes.append(helper.make_node("Cast", [f"{hot}_flag"], [hot], name=hot, to=TensorProto.FLOAT))
    return hot


def row_inputs(bundle: Bundle, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return rows, as a caller sends them, as the inputs of `fold`'s model."""
    made: dict[str, Any] = {}
    for feature in bundle.plan.features:
        column: str = feature.column  # type: ignore[union-attr]
        values = [row.get(column) for row in rows]
        if isinstance(feature, CategoryFeature):
            texts = [NULL_TEXT if value is None else value for value in values]
            made[column] = np.array(texts, dtype=object)[:, None]
        else:
            numbers = [np.nan if value is None else float(value) for value in values]
            made[column] = np.array(numbers, dtype=np.float64)[:, None]
    return made
