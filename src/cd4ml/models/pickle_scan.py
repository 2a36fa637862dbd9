"""What a pickle would import, found by walking its opcodes; nothing in it runs.

Loading a pickle calls what it names. So the names are held against a closed list of classes and functions,
each by its whole name: a module's prefix would let in what else the module has.

References
----------
.. [1] The pickle virtual machine is described in the standard library's `pickletools`.
"""

from __future__ import annotations

import io
import pickletools
from pathlib import Path
from typing import Any

from cd4ml.errors import IntegrityError

__all__ = ["ALLOWED", "pickled_globals", "scan_joblib"]

_CLASSES = {
    "numpy": (
        "asarray",
        "clip",
        "dtype",
        "expm1",
        "log1p",
        "ndarray",
    ),
    "numpy._core.multiarray": (
        "_reconstruct",
        "scalar",
    ),
    "sklearn._loss._loss": (
        "CyAbsoluteError",
        "CyHalfBinomialLoss",
        "CyHalfPoissonLoss",
        "CyHalfSquaredError",
        "CyPinballLoss",
    ),
    "sklearn._loss.link": (
        "IdentityLink",
        "Interval",
        "LogLink",
        "LogitLink",
    ),
    "sklearn._loss.loss": (
        "AbsoluteError",
        "HalfBinomialLoss",
        "HalfPoissonLoss",
        "HalfSquaredError",
        "PinballLoss",
    ),
    "sklearn.compose._target": ("TransformedTargetRegressor",),
    "sklearn.ensemble._forest": (
        "RandomForestClassifier",
        "RandomForestRegressor",
    ),
    "sklearn.ensemble._hist_gradient_boosting.binning": ("_BinMapper",),
    "sklearn.ensemble._hist_gradient_boosting.gradient_boosting": (
        "HistGradientBoostingClassifier",
        "HistGradientBoostingRegressor",
    ),
    "sklearn.ensemble._hist_gradient_boosting.predictor": ("TreePredictor",),
    "sklearn.impute._base": ("SimpleImputer",),
    "sklearn.linear_model._logistic": ("LogisticRegression",),
    "sklearn.linear_model._ridge": ("Ridge",),
    "sklearn.pipeline": ("Pipeline",),
    "sklearn.preprocessing._data": ("StandardScaler",),
    "sklearn.preprocessing._function_transformer": ("FunctionTransformer",),
    "sklearn.preprocessing._label": ("LabelEncoder",),
    "sklearn.tree._classes": (
        "DecisionTreeClassifier",
        "DecisionTreeRegressor",
    ),
    "sklearn.tree._tree": ("Tree",),
}
ALLOWED = frozenset(f"{module}.{name}" for module, names in _CLASSES.items() for name in names)
"""What the estimators of our families are made of."""
_TEXTS = frozenset({"SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "UNICODE"})
_PUTS = frozenset({"PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"})
_GETS = frozenset({"GET", "BINGET", "LONG_BINGET"})
_REFUSED = frozenset({"INST", "EXT1", "EXT2", "EXT4", "PERSID", "BINPERSID"})
_MARK = object()


def scan_joblib(path: Path, allowed: frozenset[str] = ALLOWED) -> list[str]:
    """Return what a .joblib file imports, sorted, after holding it against a closed list.

    Files that joblib wrote with arrays outside of the pickle, or compressed, cannot be walked and are
    refused; `stock_runtime` writes one pickle, which `joblib.load` reads as well.

    Raises
    ------
    IntegrityError
        If it imports anything else, which is named, or is no pickle that can be walked to its end.
    """
    try:
        found = pickled_globals(path.read_bytes())
    except IntegrityError as error:
        raise IntegrityError(f"'{path.name}' was refused: {error}") from None
    if strange := sorted(found - allowed):
        raise IntegrityError(
            f"'{path.name}' was refused: loading it would call {', '.join(strange[:5])}, which"
            f" {'are' if len(strange) > 1 else 'is'} not among the classes that a model is made of"
        )
    return sorted(found)


def pickled_globals(data: bytes) -> set[str]:
    """Return the names, with their modules, that a pickle imports.

    Raises
    ------
    IntegrityError
        If it names them in a way that cannot be told without running it, or goes on after its end.
    """
    walk, stream = _Walk(), io.BytesIO(data)
    try:
        for opcode, argument, _ in pickletools.genops(stream):
            walk.step(opcode, argument)
    except (ValueError, IndexError, KeyError, UnicodeDecodeError) as error:
        line = " ".join(str(error).split())[:120]
        raise IntegrityError(f"it is no pickle that can be walked to its end ({line})") from None
    if stream.read(1):
        raise IntegrityError("it goes on after the end of its pickle")
    return walk.found


class _Walk:
    """The pickle machine's stack with nothing on it but texts and marks."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.found: set[str] = set()

    def step(self, opcode: Any, argument: Any) -> None:
        """Do what an opcode does to the stack."""
        name = opcode.name
        if name in _REFUSED:
            raise IntegrityError(f"it uses the opcode {name}")
        if name in _PUTS:
            self.memo[len(self.memo) if name == "MEMOIZE" else int(argument)] = self.stack[-1]
        elif name in _GETS:
            self.stack.append(self.memo[int(argument)])
        elif name == "DUP":
            self.stack.append(self.stack[-1])
        elif name == "MARK":
            self.stack.append(_MARK)
        elif name == "POP":
            self.stack.pop()
        elif name in _TEXTS:
            self.stack.append(argument)
        elif name == "GLOBAL":
            self._import(*argument.split(" ", 1))
        elif name == "STACK_GLOBAL":
            attribute, module = self.stack.pop(), self.stack.pop()
            self._import(module, attribute)
        else:
            self._other(opcode)

    def _import(self, module: Any, attribute: Any) -> None:
        if not (isinstance(module, str) and isinstance(attribute, str)):
            raise IntegrityError("it imports what cannot be told without running it")
        self.found.add(f"{module}.{attribute}")
        self.stack.append(None)

    def _other(self, opcode: Any) -> None:
        before = list(opcode.stack_before)
        if pickletools.markobject in before:
            while self.stack.pop() is not _MARK:
                pass
            before = before[: before.index(pickletools.markobject)]
        for _ in before:
            if self.stack.pop() is _MARK:
                raise IntegrityError(f"the opcode {opcode.name} finds a mark in place of a value")
        self.stack.extend(None for _ in opcode.stack_after)
