"""Make the bucket of CD4ML_STORE on MinIO, with versions, and the users that may use it; safe to run again.

    python setup.py --policies=DIR --secrets=DIR

DIR of policies has NAME.json, in which $BUCKET and $PREFIX stand for those of CD4ML_STORE. DIR of secrets has
root/user, root/password, and NAME/user, NAME/password of each policy's user. What they hold is never shown.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

_WAIT_SECONDS = 300.0
_LEAST_SECRET = 16


def main(arguments: list[str] | None = None) -> int:
    """Do it and return the exit code: 0 done, 2 wrong use, 6 MinIO does not answer."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--policies", type=Path, required=True)
    parser.add_argument("--secrets", type=Path, required=True)
    parser.add_argument("--wait-seconds", type=float, default=_WAIT_SECONDS)
    given = parser.parse_args(arguments)
    try:
        bucket, prefix = _store(os.environ.get("CD4ML_STORE", ""))
        policies = {
            path.stem: _policy(path, bucket, prefix) for path in sorted(given.policies.glob("*.json"))
        }
        users = {name: _credentials(given.secrets / name) for name in ("root", *policies)}
    except ValueError as error:
        return _said(str(error), 2)
    if len({user for user, _ in users.values()}) < len(users):
        return _said("two of the users have the same name: each needs a key of its own", 2)
    store, admin = _clients(os.environ.get("CD4ML_S3_ENDPOINT", ""), users.pop("root"))
    try:
        _wait(store, given.wait_seconds)
        _bucket(store, bucket)
        for name, (user, password) in users.items():
            admin.policy_add(f"cd4ml-{name}", policy=policies[name])
            admin.user_add(user, password)
            admin.policy_set(f"cd4ml-{name}", user=user)
            _said(f"user '{name}' has the policy cd4ml-{name}")
    except Exception as error:  # of the client, of HTTP, of the server: the Job tries again
        return _said(f"{type(error).__name__}: {error}", 6)
    return 0


def _store(url: str) -> tuple[str, str]:
    """Return bucket, and prefix with a final slash ("" for the whole bucket)."""
    scheme, _, rest = url.partition("://")
    bucket, _, prefix = rest.partition("/")
    if scheme != "s3" or not bucket:
        raise ValueError(f"CD4ML_STORE must be s3://bucket/prefix; found '{url}'")
    return bucket, f"{prefix.strip('/')}/" if prefix.strip("/") else ""


def _policy(path: Path, bucket: str, prefix: str) -> dict[str, Any]:
    text = path.read_text(encoding="utf-8").replace("$BUCKET", bucket).replace("$PREFIX", prefix)
    found: dict[str, Any] = json.loads(text)
    return found


def _credentials(folder: Path) -> tuple[str, str]:
    user, password = ((folder / name).read_text(encoding="utf-8").strip() for name in ("user", "password"))
    if not user or len(password) < _LEAST_SECRET or user.startswith("REPLACE"):
        raise ValueError(
            f"the Secret of '{folder.name}' needs a user and a password of {_LEAST_SECRET} characters or more"
        )
    return user, password


def _clients(endpoint: str, root: tuple[str, str]) -> tuple[Any, Any]:
    from minio import Minio, MinioAdmin
    from minio.credentials.providers import StaticProvider
    from urllib3 import PoolManager, Timeout

    parts = urlsplit(endpoint)
    secure, credentials = parts.scheme == "https", StaticProvider(*root)
    region = os.environ.get("AWS_REGION", "us-east-1")
    # Whoever waits, and the Job, try again; the clients do not.
    http = PoolManager(retries=False, timeout=Timeout(connect=5, read=30))
    common: dict[str, Any] = {
        "credentials": credentials,
        "secure": secure,
        "region": region,
        "http_client": http,
    }
    return Minio(parts.netloc, **common), MinioAdmin(endpoint=parts.netloc, **common)


def _wait(store: Any, wait_seconds: float) -> None:
    """Return when MinIO answers; raise what it said last when it does not in time."""
    end = time.monotonic() + wait_seconds
    while True:
        try:
            store.list_buckets()
        except Exception:
            if time.monotonic() > end:
                raise
            time.sleep(2)
        else:
            return


def _bucket(store: Any, bucket: str) -> None:
    from minio.commonconfig import ENABLED
    from minio.versioningconfig import VersioningConfig

    if not store.bucket_exists(bucket):
        store.make_bucket(bucket)
    store.set_bucket_versioning(bucket, VersioningConfig(ENABLED))
    _said(f"bucket '{bucket}' keeps versions")


def _said(text: str, code: int = 0) -> int:
    sys.stderr.write(f"{text}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
