"""The store of another environment: its own endpoint and credentials, from variables of its own."""

from __future__ import annotations

import os

from cd4ml.adapters.storage import Storage, open_store
from cd4ml.adapters.storage.s3_client import Account
from cd4ml.errors import UsageError

__all__ = ["PREFIX", "VERIFY_KEY_OF_TARGET", "open_target", "target_account"]

PREFIX = "CD4ML_TARGET_"
VERIFY_KEY_OF_TARGET = f"{PREFIX}VERIFY_KEY"
_KEY, _SECRET = f"{PREFIX}AWS_ACCESS_KEY_ID", f"{PREFIX}AWS_SECRET_ACCESS_KEY"


def open_target(url: str) -> Storage:
    """Open the store of another environment; nothing is read or written yet.

    The endpoint is that of CD4ML_TARGET_S3_ENDPOINT, and the credentials are those of `target_account`.

    Raises
    ------
    UsageError
        If `url` is no store, or one of the credentials lacks the other.
    """
    return open_store(url, endpoint=os.environ.get(f"{PREFIX}S3_ENDPOINT") or None, account=target_account())


def target_account() -> Account | None:
    """Return the credentials in CD4ML_TARGET_AWS_...; None when there are none, and our own are used.

    Raises
    ------
    UsageError
        If key or secret is missing while the other one is there.
    """
    key, secret = os.environ.get(_KEY, ""), os.environ.get(_SECRET, "")
    if bool(key) != bool(secret):
        there, missing = (_KEY, _SECRET) if key else (_SECRET, _KEY)
        raise UsageError(f"{there} is set and {missing} is not; set both, or none to use our own credentials")
    token, region = (os.environ.get(f"{PREFIX}{name}", "") for name in ("AWS_SESSION_TOKEN", "AWS_REGION"))
    return Account(key, secret, token, region) if key else None
