"""The estimator as a skops file: no pickle, a closed list of types, and the same bytes for the same estimator.

skops names its parts after memory addresses and stamps them with the time; both are replaced by running numbers and
a fixed date.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cd4ml.errors import IntegrityError
from cd4ml.models.fit import Fitted

__all__ = ["TRUSTED", "dump_estimator", "load_estimator", "load_fitted"]

TRUSTED = (
    "numpy.dtype",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.tree._tree.Tree",
)
"""The types beyond skops' own list that a bundle's estimator may hold."""
_SCHEMA = "schema.json"
_FIXED_DATE = (1980, 1, 1, 0, 0, 0)


def dump_estimator(estimator: Any) -> bytes:
    """Return the estimator as skops bytes; the same estimator gives the same bytes."""
    import skops.io

    with zipfile.ZipFile(io.BytesIO(skops.io.dumps(estimator))) as archive:
        schema = archive.read(_SCHEMA).decode()
        numbers: dict[str, str] = {}
        for found in re.finditer(r'"__id__": (\d+)|"file": "(\d+)\.npy"', schema):
            address = found[1] or found[2]
            numbers.setdefault(address, str(len(numbers) + 1))
        parts = {
            f"{numbers[name.removesuffix('.npy')]}.npy": archive.read(name)
            for name in archive.namelist()
            if name != _SCHEMA
        }
    renumbered = re.sub(
        r'("__id__": |"file": ")(\d+)', lambda found: found[1] + numbers[found[2]], schema
    )
    return _zipped(parts, json.dumps(json.loads(renumbered), indent=1, sort_keys=True))


def _zipped(parts: Mapping[str, bytes], schema: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in sorted(parts, key=lambda key: int(key.removesuffix(".npy"))):
            archive.writestr(zipfile.ZipInfo(name, _FIXED_DATE), parts[name], zipfile.ZIP_DEFLATED, 6)
        archive.writestr(zipfile.ZipInfo(_SCHEMA, _FIXED_DATE), schema, zipfile.ZIP_DEFLATED, 6)
    return buffer.getvalue()


def load_estimator(path: Path) -> Any:
    """Return the estimator of a skops file.

    Raises
    ------
    IntegrityError
        If the file holds a type that is not on the closed list, or is no skops file.
    """
    import skops.io
    from skops.io.exceptions import UntrustedTypesFoundException

    try:
        return skops.io.load(path, trusted=list(TRUSTED))
    except UntrustedTypesFoundException as error:
        line = " ".join(str(error).split())
        raise IntegrityError(f"{path.name} holds types that are not allowed: {line}") from error
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError) as error:
        raise IntegrityError(f"{path.name} is no estimator that can be read: {error}") from error


def load_fitted(folder: Path, name: str = "estimator") -> Fitted:
    """Return the fitted model of a bundle with its transform and limits.

    Raises
    ------
    IntegrityError
        As `load_estimator`.
    """
    lineage = json.loads((folder / "lineage.json").read_text())
    return Fitted(estimator=load_estimator(folder / f"{name}.skops"), **lineage["model"])
