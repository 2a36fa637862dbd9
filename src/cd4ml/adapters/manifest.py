"""The manifest of a bundle: which files it has, and the SHA-256 of each."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cd4ml.adapters.storage import atomic
from cd4ml.adapters.storage.hashing import sha256_file
from cd4ml.errors import IntegrityError, UsageError

__all__ = ["MANIFEST", "SIGNATURE", "bundle_id", "read_manifest", "verify_manifest", "write_manifest"]

MANIFEST = "manifest.json"
SIGNATURE = "manifest.json.sig"


def write_manifest(bundle: Path, **extra: Any) -> str:
    """Write manifest.json over all files of `bundle`, and return the bundle's id.

    The same files and `extra` give the same bytes, wherever and whenever they are written.

    Parameters
    ----------
    bundle : Path
        A folder; a manifest that is there is replaced, and a signature of it is removed because it no longer
        holds.
    **extra
        JSON values that go in beside "files", such as format="1".

    Returns
    -------
    str
        The SHA-256 of manifest.json, 64 hexadecimal digits. It names the content of every file.

    Raises
    ------
    UsageError
        If `bundle` is no folder, has no file, or `extra` would hide the files.
    IntegrityError
        If it holds a symbolic link, whose target the manifest could not vouch for.
    """
    if not bundle.is_dir():
        raise UsageError(f"expected the folder of a bundle; '{bundle}' is none. Give the path of a folder")
    if "files" in extra:
        raise UsageError("'files' is the manifest's own; give the extra entry another name")
    paths = _content(bundle)
    if not paths:
        raise UsageError(f"the bundle '{bundle}' has no file to list; write the model first")
    files = {
        name: {"bytes": path.stat().st_size, "sha256": sha256_file(path)} for name, path in paths.items()
    }
    (bundle / SIGNATURE).unlink(missing_ok=True)
    atomic.write_json(bundle / MANIFEST, {**extra, "files": files})
    return bundle_id(bundle)


def bundle_id(bundle: Path) -> str:
    """Return the SHA-256 of the bundle's manifest.json."""
    path = bundle / MANIFEST
    if not path.is_file():
        raise IntegrityError(
            f"'{bundle}' has no {MANIFEST}, so it is no whole bundle; write or pull it again"
        )
    return sha256_file(path)


def read_manifest(bundle: Path) -> dict[str, Any]:
    """Return the bundle's manifest as it stands, its files not looked at."""
    bundle_id(bundle)
    path = bundle / MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
        files = manifest["files"]
        sound = bool(files) and all(isinstance(entry["sha256"], str) for entry in files.values())
    except (ValueError, TypeError, KeyError, AttributeError):
        sound = False
    if not sound:
        raise IntegrityError(
            f"'{path}' must be JSON with a sha256 for each of its files, and is not; pull or write the"
            " bundle again"
        )
    assert isinstance(manifest, dict)
    return manifest


def verify_manifest(bundle: Path) -> dict[str, Any]:
    """Return the manifest after looking at every file that it names.

    Raises
    ------
    IntegrityError
        If a file was changed, is missing, or is additional; it is named.
    """
    manifest = read_manifest(bundle)
    promised, found = manifest["files"], _content(bundle)
    _refuse(bundle, "is missing", promised.keys() - found.keys())
    _refuse(bundle, "is additional (the manifest does not list it)", found.keys() - promised.keys())
    _refuse(
        bundle,
        "was changed (its SHA-256 is not the manifest's)",
        (name for name, path in found.items() if sha256_file(path) != promised[name]["sha256"]),
    )
    return manifest


def _content(bundle: Path) -> dict[str, Path]:
    """Return every file beneath `bundle` but the manifest and its signature, by relative name."""
    found = {path.relative_to(bundle).as_posix(): path for path in sorted(bundle.rglob("*"))}
    _refuse(bundle, "is a symbolic link", (name for name, path in found.items() if path.is_symlink()))
    return {
        name: path for name, path in found.items() if not path.is_dir() and name not in {MANIFEST, SIGNATURE}
    }


def _refuse(bundle: Path, what: str, names: Iterable[str]) -> None:
    wrong = sorted(names)
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise IntegrityError(
            f"bundle '{bundle}': '{wrong[0]}'{more} {what}; do not use it, pull or build it again"
        )
