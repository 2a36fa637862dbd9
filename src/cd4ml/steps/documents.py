"""What the steps hand to each other as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cd4ml.errors import IntegrityError

if TYPE_CHECKING:
    from cd4ml.problem import Problem

__all__ = ["problem_of", "read"]


def read(path: Path) -> Any:
    """Return the JSON at `path`; IntegrityError when it is missing or cut off."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise IntegrityError(
            f"expected {path.name} in {path.parent}; it is missing. Run the step before again"
        ) from None
    except json.JSONDecodeError as error:
        raise IntegrityError(f"{path} is not whole JSON: {error}. Run the step that wrote it again") from None


def problem_of(path: Path) -> Problem:
    """Return the problem that the fingerprint step wrote to `path`."""
    from cd4ml.adapters.problem_files import loads

    return loads(path.read_text(encoding="utf-8"), origin=path.name)
