"""The manifest of a bundle: which files it has, and the SHA-256 of each, and of itself.

Whoever alters a bundle on purpose can write a new manifest too: against that help the bundle's id, which is
told elsewhere (verdict, registry), and the signature (`cd4ml.adapters.signing`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cd4ml.adapters.storage import atomic
from cd4ml.adapters.storage.hashing import sha256_bytes, sha256_file
from cd4ml.errors import IntegrityError, UsageError

__all__ = ["MANIFEST", "SIGNATURE", "bundle_id", "read_manifest", "verify_manifest", "write_manifest"]

MANIFEST = "manifest.json"
SIGNATURE = "manifest.json.sig"
_OWN = "self_sha256"
"""SHA-256 of the manifest's text without this entry: damage to the manifest itself is found too."""


def write_manifest(bundle: Path, /, **extra: Any) -> str:
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
        If `bundle` is no folder, has no file, or `extra` would hide the manifest's own entries.
    IntegrityError
        If it holds a symbolic link, whose target the manifest could not vouch for, or what is no file at all.
    """
    if not bundle.is_dir():
        raise UsageError(f"expected the folder of a bundle; '{bundle}' is none. Give the path of a folder")
    if taken := sorted({"files", _OWN} & extra.keys()):
        raise UsageError(f"'{taken[0]}' is the manifest's own; give the extra entry another name")
    paths = _content(bundle)
    if not paths:
        raise UsageError(f"the bundle '{bundle}' has no file to list; write the model first")
    files = {
        name: {"bytes": path.stat().st_size, "sha256": sha256_file(path)} for name, path in paths.items()
    }
    (bundle / SIGNATURE).unlink(missing_ok=True)
    manifest = json.loads(atomic.dumps({**extra, "files": files}))  # as it will be read
    atomic.write_json(bundle / MANIFEST, {**manifest, _OWN: _own_hash(manifest)})
    return bundle_id(bundle)


def bundle_id(bundle: Path, what: str = "bundle") -> str:
    """Return the SHA-256 of the manifest.json of a bundle, or of `what` else has one."""
    path = bundle / MANIFEST
    if not path.is_file():
        raise IntegrityError(
            f"'{bundle}' has no {MANIFEST}, so it is no whole {what}; write or pull it again"
        )
    return sha256_file(path)


def read_manifest(bundle: Path, what: str = "bundle") -> dict[str, Any]:
    """Return the bundle's manifest, its files not looked at.

    Raises
    ------
    IntegrityError
        If there is none, or one that is not as `write_manifest` wrote it to the last byte.
    """
    bundle_id(bundle, what)
    text = (bundle / MANIFEST).read_bytes()
    try:
        manifest: dict[str, Any] = json.loads(text)
        rest = {name: value for name, value in manifest.items() if name != _OWN}
        entries = all(isinstance(entry["sha256"], str) for entry in manifest["files"].values())
        sound = bool(manifest["files"]) and entries and manifest[_OWN] == _own_hash(rest)
        sound = sound and atomic.dumps(manifest).encode() == text
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        sound = False
    if not sound:
        raise IntegrityError(
            f"{what} '{bundle}': '{MANIFEST}' was changed (it is not as it was written); do not use it,"
            " pull or build it again"
        )
    return manifest


def verify_manifest(bundle: Path, what: str = "bundle") -> dict[str, Any]:
    """Return the manifest after looking at every file that it names.

    Parameters
    ----------
    what : str
        What messages call the folder.

    Raises
    ------
    IntegrityError
        If a file was changed, is missing, or is additional; it is named. So is the manifest itself.
    """
    manifest = read_manifest(bundle, what)
    promised, found = manifest["files"], _content(bundle, what)
    _refuse(bundle, "is missing", promised.keys() - found.keys(), what)
    _refuse(bundle, "is additional (the manifest does not list it)", found.keys() - promised.keys(), what)
    _refuse(
        bundle,
        "was changed (its SHA-256 is not the manifest's)",
        (name for name, path in found.items() if sha256_file(path) != promised[name]["sha256"]),
        what,
    )
    return manifest


def _own_hash(manifest: dict[str, Any]) -> str:
    return sha256_bytes(atomic.dumps(manifest).encode())


def _content(bundle: Path, what: str = "bundle") -> dict[str, Path]:
    """Return every file beneath `bundle` but the manifest and its signature, by relative name."""
    found = {path.relative_to(bundle).as_posix(): path for path in sorted(bundle.rglob("*"))}
    links = (name for name, path in found.items() if path.is_symlink())
    _refuse(bundle, "is a symbolic link", links, what)
    files = {name: path for name, path in found.items() if not path.is_dir()}
    strange = (name for name, path in files.items() if not path.is_file())
    _refuse(bundle, "is no regular file", strange, what)
    return {name: path for name, path in files.items() if name not in {MANIFEST, SIGNATURE}}


def _refuse(bundle: Path, why: str, names: Iterable[str], what: str) -> None:
    wrong = sorted(names)
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise IntegrityError(
            f"{what} '{bundle}': '{wrong[0]}'{more} {why}; do not use it, pull or build it again"
        )
