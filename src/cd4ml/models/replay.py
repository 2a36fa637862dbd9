"""Replay a bundle's holdout where some libraries cannot be imported: `python -m cd4ml.models.replay BUNDLE`.

Reads {"forbidden": [top-level modules]} from standard input and writes one line of JSON.
"""

from __future__ import annotations

import importlib.abc
import json
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

__all__ = ["ImportGuard", "main", "replay"]


class ImportGuard(importlib.abc.MetaPathFinder):
    """Refuses top-level modules that are installed but not allowed."""

    def __init__(self, forbidden: frozenset[str]) -> None:
        self.forbidden = forbidden

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Raise ModuleNotFoundError for what is forbidden; leave the rest to others."""
        if fullname.partition(".")[0] in self.forbidden:
            raise ModuleNotFoundError(
                f"{fullname} is not among the libraries of the serving runtime", name=fullname
            )
        return None


def replay(folder: Path) -> dict[str, Any]:
    """Return how far predictions of a bundle's holdout rows are from those that were recorded in training."""
    import numpy as np

    from cd4ml.models.runtime import Bundle, holdout_rows
    from cd4ml.models.session import onnx_runtime

    bundle, rows = Bundle.load(folder, own=True), holdout_rows(folder)
    size = int(bundle.contract["max_rows"])
    columns = [bundle.columns(rows[start : start + size]) for start in range(0, len(rows), size)]
    made = np.concatenate([bundle.features(part) for part in columns])
    told = [group for part in columns if (group := bundle.groups(part)) is not None]
    worst, identical = 0.0, True
    for name, values in bundle.predict_features(made, np.concatenate(told) if told else None).items():
        found = values.astype(np.float32)
        expected = np.load(folder / "holdout" / f"{name}.npy", allow_pickle=False)
        identical = identical and found.tobytes() == expected.tobytes()
        worst = max(worst, float(np.abs(found.astype(np.float64) - expected).max()))
    trained = np.load(folder / "holdout" / "features.npy", allow_pickle=False)
    detail = _first_difference(bundle.state.names, made, trained)
    versions = {
        "python": sys.version.split()[0],
        "numpy": np.__version__,
        "onnxruntime": onnx_runtime().__version__,
    }
    return {
        "identical": identical and not detail,
        "max_abs": worst,
        "rows": len(rows),
        "versions": versions,
        "detail": detail,
    }


def _first_difference(names: Sequence[str], made: Any, trained: Any) -> str:
    """Return which feature of which row is not what training made of it; "" when all are."""
    import numpy as np

    differ = np.argwhere((made != trained) & ~(np.isnan(made) & np.isnan(trained)))
    if not len(differ):
        return ""
    row, column = differ[0]
    values = f"{made[row, column]:.9g} here, {trained[row, column]:.9g} in training"
    return f"{len(differ)} features differ, first '{names[column]}' of row {row}: {values}"


def main() -> None:
    """Run as a process."""
    libraries = json.load(sys.stdin)
    sys.meta_path.insert(0, ImportGuard(frozenset(libraries["forbidden"])))
    from cd4ml.errors import Cd4mlError

    try:
        found = replay(Path(sys.argv[1]))
    except (Cd4mlError, ImportError, OSError) as error:
        line = " ".join(f"{type(error).__name__}: {error}".split())
        found = {"identical": False, "max_abs": None, "rows": 0, "versions": {}, "detail": line}
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
