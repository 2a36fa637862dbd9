"""One document of a bundle in the store, verified, without fetching the rest."""

from __future__ import annotations

from typing import Any

from cd4ml.adapters.manifest import MANIFEST
from cd4ml.adapters.storage import Storage
from cd4ml.adapters.storage.documents import decode
from cd4ml.adapters.storage.hashing import sha256_bytes
from cd4ml.errors import IntegrityError

__all__ = ["stored_document"]


def stored_document(storage: Storage, bundle: str, name: str) -> dict[str, Any]:
    """Return a JSON document of the bundle with this id, e.g. "contract.json".

    Raises
    ------
    NotFoundError
        If the store has not got it.
    IntegrityError
        If the manifest is not the one that the id names, or the document not what the manifest promises.
    """
    key = f"bundles/{bundle}/{MANIFEST}"
    manifest = storage.get(key)
    if sha256_bytes(manifest) != bundle:
        raise IntegrityError(
            f"'{storage.url(key)}' is not the manifest of bundle {bundle[:12]}; push it again"
        )
    files = decode(manifest, storage.url(key)).get("files", {})
    if name not in files:
        raise IntegrityError(f"the bundle {bundle[:12]} has no '{name}'; make it anew with this cd4ml")
    where = f"bundles/{bundle}/{name}"
    data = storage.get(where)
    if sha256_bytes(data) != files[name]["sha256"]:
        raise IntegrityError(
            f"'{storage.url(where)}' is not what its manifest promises; push the bundle again"
        )
    return decode(data, storage.url(where))
