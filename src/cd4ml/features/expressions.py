"""Expressions over columns: a small language, read by `ast` and never given to `eval`."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cd4ml.errors import ProblemError, nearest
from cd4ml.features import functions
from cd4ml.features.columns import CategoryArray, ColumnLike, ColumnSet, kind_of, length

__all__ = ["Expression"]

Path = tuple[str | int, ...]

_BINARY: dict[type[ast.operator], str] = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//", ast.Mod: "%", ast.Pow: "**",
}  # fmt: skip
_COMPARE: dict[type[ast.cmpop], str] = {
    ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=",
}  # fmt: skip
_MAX_DEPTH = 100
_WORDS = {"true": "True", "false": "False", "null": "is_null(x)", "none": "is_null(x)"}
_HINTS: dict[type[ast.AST], str] = {
    ast.IfExp: "write where(condition, a, b)",
    ast.BitAnd: "write `and`",
    ast.BitOr: "write `or`",
    ast.Attribute: "a dot is not known; a column whose name has one is column('its name')",
}


def _refuse(node: ast.AST, path: Path) -> ProblemError:
    found = _HINTS.get(type(node), f"known: {', '.join(sorted(functions.FUNCTIONS))}")
    what = ast.unparse(node) if isinstance(node, ast.expr) else type(node).__name__
    return ProblemError(f"an expression cannot contain `{what}`; {found}", path)


@dataclass(frozen=True)
class Expression:
    """An expression that was read and may be evaluated on any number of rows.

    Numbers are float64 throughout, whether or not a batch has nulls. A null stays null in arithmetic and
    makes every comparison false. Each row's result depends on this row alone.
    """

    text: str
    columns: frozenset[str]
    path: Path = field(default=(), compare=False)
    _tree: ast.expr = field(default_factory=lambda: ast.Constant(0), compare=False, repr=False)

    @classmethod
    def parse(cls, text: str, path: Path = ()) -> Expression:
        """Read an expression.

        Raises
        ------
        ProblemError
            With `path` when it is not one of this language, or uses no column.
        """
        try:
            tree = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise ProblemError(
                f"expected an expression such as `sales < 0`; found `{text}`, which cannot be read", path
            ) from error
        if _depth(tree) > _MAX_DEPTH:
            raise ProblemError(f"an expression may be {_MAX_DEPTH} levels deep; found more, split it", path)
        names: set[str] = set()
        _check(tree, path, names)
        if not names:
            raise ProblemError(f"expected an expression over columns; `{text}` is the same in each row", path)
        return cls(text, frozenset(names), path, tree)

    def evaluate(self, columns: ColumnSet) -> ColumnLike:
        """Return one value a row: float64, bool, datetime64[s] or CategoryArray.

        Raises
        ------
        ProblemError
            When a column is unknown or an operation does not fit the types.
        """
        for name in sorted(self.columns - columns.keys()):
            raise ProblemError(f"unknown column '{name}'{nearest(name, columns)}", self.path)
        try:
            with np.errstate(all="ignore"):
                value = _evaluate(self._tree, columns)
                return functions.spread(value, length(columns))
        except functions.Mismatch as error:
            raise ProblemError(f"`{self.text}`: {error}", self.path) from error

    def mask(self, columns: ColumnSet) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Return the truth of each row; null is false."""
        value = self.evaluate(columns)
        if kind_of(value) != "number":
            raise ProblemError(f"`{self.text}` must be true or false; found {kind_of(value)}", self.path)
        mask: np.ndarray[Any, np.dtype[np.bool_]] = functions.truth(value)
        return mask


def _depth(tree: ast.AST) -> int:
    """Return the levels of a tree, without recursion."""
    level, depth = [tree], 0
    while level:
        level, depth = [child for node in level for child in ast.iter_child_nodes(node)], depth + 1
    return depth


def _check_call(node: ast.Call, path: Path, names: set[str]) -> None:
    if not isinstance(node.func, ast.Name) or node.keywords:
        raise _refuse(node, path)
    name = node.func.id
    if name == "column":
        if len(node.args) == 1 and isinstance(node.args[0], ast.Constant):
            names.add(str(node.args[0].value))
            return
        raise ProblemError("column() takes one quoted name, e.g. column('hours-per-week')", path)
    if name not in functions.FUNCTIONS:
        raise ProblemError(
            f"unknown function '{name}'{nearest(name, functions.FUNCTIONS) or '; ' + _known()}", path
        )
    expected = functions.FUNCTIONS[name].arguments
    if len(node.args) != expected:
        raise ProblemError(f"{name}() takes {expected} value(s); found {len(node.args)}", path)
    for argument in node.args:
        _check(argument, path, names)


def _known() -> str:
    return "known: " + ", ".join(sorted(functions.FUNCTIONS))


def _check_all(nodes: Iterable[ast.expr], path: Path, names: set[str]) -> None:
    for node in nodes:
        _check(node, path, names)


def _check_compare(node: ast.Compare, path: Path, names: set[str]) -> None:
    _check(node.left, path, names)
    for operator, right in zip(node.ops, node.comparators, strict=True):
        if isinstance(operator, ast.In | ast.NotIn):
            if not isinstance(right, ast.Tuple | ast.List):
                raise ProblemError(
                    f"`in` needs a list of values in brackets; found `{ast.unparse(right)}`", path
                )
            for item in right.elts:
                _literal(item, path)
        elif type(operator) in _COMPARE:
            _check(right, path, names)
        else:
            raise ProblemError(
                f"an expression cannot contain `{ast.unparse(node)}`; for nulls write is_null(x)", path
            )


def _literal(node: ast.expr, path: Path) -> bool | int | float | str:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = _literal(node.operand, path)
        if not isinstance(inner, str):
            return -inner
    if isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float | str):
        if not isinstance(node.value, str) and not abs(node.value) <= sys.float_info.max:
            raise ProblemError("expected a number of ordinary size; found a larger one", path)
        return node.value
    raise ProblemError(f"expected a number or a quoted text; found `{ast.unparse(node)}`", path)


def _check(node: ast.expr, path: Path, names: set[str]) -> None:
    match node:
        case ast.Constant():
            _literal(node, path)
        case ast.Name():
            if node.id in _WORDS:
                raise ProblemError(f"unknown word '{node.id}'; write {_WORDS[node.id]}", path)
            names.add(node.id)
        case ast.Call():
            _check_call(node, path, names)
        case ast.BinOp():
            if type(node.op) not in _BINARY:
                raise _refuse(node.op if type(node.op) in _HINTS else node, path)
            _check_all((node.left, node.right), path, names)
        case ast.UnaryOp(op=ast.USub() | ast.Not() | ast.UAdd()):
            _check(node.operand, path, names)
        case ast.BoolOp():
            _check_all(node.values, path, names)
        case ast.Compare():
            _check_compare(node, path, names)
        case _:
            raise _refuse(node, path)


def _evaluate_compare(node: ast.Compare, columns: ColumnSet) -> Any:
    left = _evaluate(node.left, columns)
    result: Any = True
    for operator, comparator in zip(node.ops, node.comparators, strict=True):
        if isinstance(operator, ast.In | ast.NotIn):
            values = [_literal(item, ()) for item in comparator.elts]  # type: ignore[attr-defined]
            found: Any = functions.contained(left, values, isinstance(operator, ast.NotIn))
            right: Any = left
        else:
            right = _evaluate(comparator, columns)
            found = functions.compare(_COMPARE[type(operator)], left, right)
        result = np.logical_and(result, found)
        left = right
    return result


def _evaluate_call(node: ast.Call, columns: ColumnSet) -> Any:
    name = node.func.id  # type: ignore[attr-defined]
    if name == "column":
        return _load(columns[str(node.args[0].value)])  # type: ignore[attr-defined]
    return functions.FUNCTIONS[name].call(*(_evaluate(argument, columns) for argument in node.args))


def _load(column: ColumnLike) -> ColumnLike:
    if isinstance(column, CategoryArray) or column.dtype.kind in "bM":
        return column
    return column.astype(np.float64, copy=False)


def _evaluate_operator(node: ast.BinOp | ast.UnaryOp | ast.BoolOp, columns: ColumnSet) -> Any:
    if isinstance(node, ast.BinOp):
        left, right = _evaluate(node.left, columns), _evaluate(node.right, columns)
        return functions.arithmetic(_BINARY[type(node.op)], left, right)
    if isinstance(node, ast.BoolOp):
        parts = [functions.truth(_evaluate(value, columns)) for value in node.values]
        join = np.logical_and if isinstance(node.op, ast.And) else np.logical_or
        return join.reduce(np.broadcast_arrays(*parts))
    value = _evaluate(node.operand, columns)
    if isinstance(node.op, ast.Not):
        return np.logical_not(functions.truth(value))
    signed = functions.number(value, "a sign")
    return -signed if isinstance(node.op, ast.USub) else signed


def _evaluate(node: ast.expr, columns: ColumnSet) -> Any:
    match node:
        case ast.Constant():
            return node.value
        case ast.Name():
            return _load(columns[node.id])
        case ast.Call():
            return _evaluate_call(node, columns)
        case ast.Compare():
            return _evaluate_compare(node, columns)
        case _:
            return _evaluate_operator(node, columns)  # type: ignore[arg-type]  # _check lets nothing else in
