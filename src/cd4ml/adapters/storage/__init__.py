"""Stores: named bytes in a folder or in an S3 bucket, behind one interface."""

from __future__ import annotations

import os

from cd4ml.adapters.storage.base import Storage
from cd4ml.adapters.storage.folder import FolderStorage
from cd4ml.adapters.storage.s3 import S3Storage
from cd4ml.adapters.storage.s3_client import Account
from cd4ml.errors import UsageError

__all__ = ["DEFAULT_STORE", "FolderStorage", "S3Storage", "Storage", "open_store"]

DEFAULT_STORE = ".cd4ml/store"


def open_store(
    url: str | None = None, *, endpoint: str | None = None, account: Account | None = None
) -> Storage:
    """Open a store; nothing is read or written yet.

    Parameters
    ----------
    url : str, optional
        A folder or s3://bucket/prefix. By default CD4ML_STORE, and without it `.cd4ml/store` beneath the
        current directory: a newcomer finds it there, and deleting it undoes everything.
    endpoint, account : str, Account, optional
        Of S3, where they are not those of the environment.

    Raises
    ------
    UsageError
        If `url` is neither.
    """
    where = url or os.environ.get("CD4ML_STORE") or DEFAULT_STORE
    scheme, separator, rest = where.partition("://")
    if not separator:
        return FolderStorage(where)
    if scheme == "file":
        return FolderStorage("/" + rest.lstrip("/"))
    bucket, _, prefix = rest.partition("/")
    if scheme != "s3" or not bucket:
        raise UsageError(f"CD4ML_STORE must be a folder or s3://bucket/prefix; got '{where}'")
    return S3Storage(bucket, prefix, endpoint, account=account)
