"""What the commands of the pages find: a shop, a trained bundle, a registry with a champion."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

from cd4ml.adapters.manifest import write_manifest
from cd4ml.adapters.registry import Registry
from cd4ml.adapters.storage import open_store
from tests.docs.blocks import ROOT

__all__ = ["add_third", "bare", "copy", "environment"]

_LINKED = ("components", "images", "requirements", "scripts", "src", "setup.cfg", "Makefile")
_WRAPPERS = {"cd4ml": "-m cd4ml.cli", "python": "", "python3": ""}
_MADE = ("files", "self_sha256")
"""What a manifest says of the files, and of itself."""


def environment(folder: Path) -> dict[str, str]:
    """Return the environment of a page's commands: this interpreter's cd4ml, and a store of their own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CD4ML_", "AWS_"))}
    path = f"{folder}/.venv/bin:{Path(sys.executable).parent}:{os.environ['PATH']}"
    python = f"{ROOT / 'src'}:{ROOT}"
    here = {"CD4ML_ACTOR": "docs", "NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost"}
    return {**kept, **here, "PATH": path, "PYTHONPATH": python, "HOME": str(folder)}


def bare(folder: Path) -> Path:
    """Make a clone in which nothing was done yet."""
    folder.mkdir()
    for name in _LINKED:
        if (ROOT / name).exists():
            (folder / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / "manifests", folder / "manifests")
    (folder / ".venv/bin").mkdir(parents=True)
    _wrap(folder)
    return folder


def add_third(folder: Path) -> None:
    """Register a version that waits for its approval, and predicts what the first one does."""
    bundle = shutil.copytree(folder / "out/bundle", folder / "out/third")
    told = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    for name in ("manifest.json", "manifest.json.sig"):
        (bundle / name).unlink(missing_ok=True)
    (bundle / "card.md").write_text("The third one\n", encoding="utf-8")
    write_manifest(bundle, **{name: value for name, value in told.items() if name not in _MADE})
    registry = Registry(open_store(str(folder / ".cd4ml/store")))
    registry.push(bundle, "sales-forecast", verdict="needs_approval")


def copy(workspace: Path, folder: Path) -> Path:
    """Give a page a folder of its own, with nothing served."""
    shutil.copytree(workspace, folder, symlinks=True, ignore=shutil.ignore_patterns("serve"))
    _wrap(folder)
    return folder


def _wrap(folder: Path) -> None:
    """Make .venv/bin lead to this interpreter and to this tree."""
    for name, words in _WRAPPERS.items():
        file = folder / ".venv/bin" / name
        file.write_text(f'#!/bin/sh\nexec {sys.executable} {words} "$@"\n', encoding="utf-8")
        file.chmod(0o755)
