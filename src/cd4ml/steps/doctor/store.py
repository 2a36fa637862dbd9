"""The store, and the keys that sign what is in it."""

from __future__ import annotations

import os
import tempfile
import uuid
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from cd4ml.domain.checkup import Answer, fail, ok, warn
from cd4ml.errors import Cd4mlError, ConflictError
from cd4ml.steps.doctor.check import ALL, Check, Settings

if TYPE_CHECKING:
    from cd4ml.adapters.storage import Storage

__all__ = ["PROBES", "store_checks"]

PROBES = "doctor/"
"""Where the objects are that show that the store can be written; they are removed again."""


def store_checks(settings: Settings) -> list[Check]:
    """Return the checks of the areas "store" and "signing"."""
    return [
        Check("store", "place", partial(_place, settings), uses=ALL),
        Check("store", "read", partial(_read, settings), uses=ALL),
        Check("store", "compare-and-swap", partial(_swap, settings), uses=ALL),
        Check("signing", "signing key", _signing_key),
        Check("signing", "verify keys", _verify_keys),
    ]


def _place(settings: Settings) -> Answer:
    from cd4ml.adapters.storage import FolderStorage, open_store

    store = open_store(settings.store or None)
    where = store.url(PROBES.rstrip("/")).removesuffix(f"/{PROBES.rstrip('/')}")
    if not isinstance(store, FolderStorage):
        return ok(where)
    if settings.use == "cluster":
        fix = "export CD4ML_STORE=s3://BUCKET/PREFIX, CD4ML_S3_ENDPOINT and the keys"
        return warn(where, "s3://bucket/prefix: pods of a cluster do not see this folder", fix)
    return ok(where if store.root.exists() else f"{where}; it is made by the first run")


def _read(settings: Settings) -> Answer:
    from cd4ml.adapters.storage import open_store

    store = open_store(settings.store or None)
    names = {key.split("/")[1] for key in store.list("models/") if key.count("/") > 1}
    if names:
        return ok(f"it has {len(names)} {'model' if len(names) == 1 else 'models'}")
    return ok("no models yet")


def _swap(settings: Settings) -> Answer:
    """Write an object, see that the loser of a race is told so, and remove it."""
    from cd4ml.adapters.storage import FolderStorage, open_store

    store = open_store(settings.store or None)
    if not isinstance(store, FolderStorage) or store.root.exists():
        return _probe(store)
    # Looking must not make a store where there is none.
    parent = next(folder for folder in store.root.parents if folder.exists())
    try:
        with tempfile.TemporaryDirectory(prefix=".cd4ml-doctor-", dir=parent) as folder:
            return _probe(FolderStorage(Path(folder) / "store"))
    except OSError as error:
        return fail(
            f"'{store.root}' cannot be made: {error.strerror}", fix="set CD4ML_STORE to another folder"
        )


def _probe(store: Storage) -> Answer:
    key = f"{PROBES}{uuid.uuid4().hex}"
    try:
        token = store.compare_and_swap(key, b"1", None)
        if not _loses(store, key, None):
            return _no_swap("an object was written over though it should not have been there")
        store.compare_and_swap(key, b"2", token)
        if not _loses(store, key, token):
            return _no_swap("an object was written over though it had changed")
        if store.get(key) != b"2":
            return _no_swap("what was written is not what is read")
    finally:
        with suppress(Cd4mlError):
            store.delete(key)
    if store.exists(key):
        return warn(
            "written, but the probe cannot be removed", "a right to delete", f"delete '{store.url(key)}'"
        )
    return ok("written, the loser of a race was refused, removed")


def _loses(store: Storage, key: str, expected: str | None) -> bool:
    """Tell whether a writer who does not know the newest content is refused."""
    try:
        store.compare_and_swap(key, b"3", expected)
    except ConflictError:
        return True
    return False


def _no_swap(found: str) -> Answer:
    fix = (
        "use a store with conditional writes (If-Match, If-None-Match), such as MinIO, Ceph RGW or Amazon S3"
    )
    return fail(found, "the loser of a race is refused", fix)


def _signing_key() -> Answer:
    from cd4ml.adapters.signing import SIGNING_KEY, sign_message

    signed = sign_message(b"cd4ml doctor")
    if signed is None:
        fix = f"cd4ml models keys --out keys, then export {SIGNING_KEY}=keys/private.pem"
        return warn("not set: nobody vouches for what is made here", SIGNING_KEY, fix)
    return ok(f"key {signed['key_id']}")


def _verify_keys() -> Answer:
    from cd4ml.adapters.signing import SIGNING_KEY, VERIFY_KEY, sign_message, signature_of

    if not os.environ.get(VERIFY_KEY):
        fix = f"export {VERIFY_KEY}=keys/public.pem"
        return warn("not set: bundles by anybody are taken", VERIFY_KEY, fix)
    message = b"cd4ml doctor"
    if not os.environ.get(SIGNING_KEY):
        return ok(_keys())
    found = signature_of(message, sign_message(message))
    if found.state != "valid":
        fix = f"add the public key of {SIGNING_KEY} to {VERIFY_KEY}"
        return fail(f"{_keys()}; the signing key {found.key_id} is not among them", fix=fix)
    return ok(f"{_keys()}, the signing key's among them")


def _keys() -> str:
    from cd4ml.adapters.signing import verify_key_ids

    return f"keys {', '.join(verify_key_ids())}"
