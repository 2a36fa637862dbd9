"""Two versions of one model, which answer the same rows with other numbers."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from cd4ml.models.runtime import Bundle, holdout_rows
from tests.models import bundles

_KEPT = TemporaryDirectory(prefix="cd4ml-versions-")


@cache
def version(name: str) -> Path:
    """Return the bundle of version "a" or "b"."""
    folder = Path(_KEPT.name) / name
    held = np.arange(300) % 3 == {"a": 0, "b": 1}[name]
    bundles._case(bundles.PEOPLE, bundles.members(), held, False, {"plan": "plan"}).write(
        folder, signed=False
    )
    return folder


def rows(count: int = 3) -> list[dict[str, Any]]:
    """Return rows that both versions answer."""
    return holdout_rows(version("a"))[:count]


@cache
def promised(name: str, count: int = 3) -> tuple[float, ...]:
    """Return what a version answers for `rows`."""
    return tuple(Bundle.load(version(name)).predict_rows(rows(count))["prediction"].tolist())


def close(found: Any, expected: Any) -> bool:
    return np.allclose(found, expected, rtol=0, atol=1e-6)
