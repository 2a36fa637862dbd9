"""A store in an S3 bucket, through the `minio` client."""

from __future__ import annotations

import hashlib
import io
import os
import re
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from cd4ml.adapters.storage import atomic, s3_client
from cd4ml.adapters.storage.base import check_key, files_beneath, folder_prefix, is_own
from cd4ml.adapters.storage.hashing import sha256_bytes, sha256_file
from cd4ml.adapters.storage.s3_conditional import ConditionalWriter
from cd4ml.adapters.storage.s3_errors import calling, is_ambiguous, is_broken_off
from cd4ml.errors import IntegrityError, NotFoundError, ServiceError, UsageError

if TYPE_CHECKING:
    from minio import Minio
    from minio.helpers import ObjectWriteResult

__all__ = ["S3Storage"]

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_READ_BYTES = 1 << 20
_READ_ATTEMPTS = 3
_Read = TypeVar("_Read")
_SHA256 = "x-amz-meta-sha256"


class S3Storage:
    """Named bytes as objects of a bucket.

    `compare_and_swap` is a conditional PUT; see `ConditionalWriter`. The version token is the ETag.

    Parameters
    ----------
    bucket : str
        A bucket that exists; it is never made here.
    prefix : str
        Beneath which all keys stand; "" is the whole bucket.
    endpoint : str, optional
        http://host:port or https://host; CD4ML_S3_ENDPOINT or https://s3.amazonaws.com by default.
        Credentials come from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, then the MinIO
        variables, the AWS credentials file and the machine's role.
    timeout_seconds : float
        How long the server may be silent before it is given up.
    account : Account, optional
        Credentials instead of those of the environment.
    """

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        endpoint: str | None = None,
        timeout_seconds: float = 30.0,
        account: s3_client.Account | None = None,
    ) -> None:
        if not _BUCKET.fullmatch(bucket):
            raise UsageError(
                f"a bucket's name is 3 to 63 lower-case letters, digits, '.' or '-'; got {bucket!r}."
                " Mend CD4ML_STORE"
            )
        self.bucket, self._account = bucket, account
        self._timeout_seconds = timeout_seconds
        self.prefix = folder_prefix(prefix)
        self.endpoint = s3_client.check_endpoint(
            endpoint or os.environ.get("CD4ML_S3_ENDPOINT") or "https://s3.amazonaws.com"
        )

    def __repr__(self) -> str:
        return f"S3Storage({self.bucket!r}, {self.prefix!r}, {self.endpoint!r})"

    def get(self, key: str) -> bytes:
        """Return the bytes of `key`; raise NotFoundError when there are none."""
        found = self.read_versioned(key)
        if found is None:
            raise NotFoundError(f"the store has no '{self.url(key)}'; list what it has, or set CD4ML_STORE")
        return found[0]

    def put(self, key: str, data: bytes) -> None:
        """Write `key`, whatever was there before."""
        name, digest = self._name(key), sha256_bytes(data)
        self._store(
            name,
            digest,
            len(data),
            lambda: self._client.put_object(
                self.bucket, name, io.BytesIO(data), len(data), metadata={_SHA256: digest}
            ),
        )

    def exists(self, key: str) -> bool:
        """Tell whether `key` has bytes."""
        return self._stat(self._name(key)) is not None

    def list(self, prefix: str) -> list[str]:
        """Return the keys that start with `prefix`, sorted; the folder marks of consoles are no keys."""
        names = self._again(lambda: self._listed(prefix))
        keys = [name for name in names if name and not name.endswith("/")]
        return sorted(key for key in keys if not any(is_own(part) for part in key.split("/")))

    def read_versioned(self, key: str) -> tuple[bytes, str] | None:
        """Return the bytes of `key` and their ETag, or None when there is no such key."""
        name, buffer = self._name(key), io.BytesIO()
        try:
            headers = self._again(lambda: self._receive(name, buffer))
        except NotFoundError:
            return None
        return buffer.getvalue(), headers.get("etag", "").strip('"')

    def compare_and_swap(self, key: str, data: bytes, expected: str | None) -> str:
        """Write `key` if it still has the ETag `expected` (None: if it is not there)."""
        return self._writer.put(self._name(key), data, expected)

    def upload(self, folder: Path, prefix: str, last: str = "") -> int:
        """Copy all files beneath `folder` to `prefix`/...; what is there with the same SHA-256 stays."""
        start = folder_prefix(prefix)
        return sum(self._send(path, self._name(start + name)) for name, path in files_beneath(folder, last))

    def download(self, prefix: str, folder: Path) -> int:
        """Copy all keys beneath `prefix`/ to `folder`; what is there with the same SHA-256 stays."""
        start = folder_prefix(prefix)
        keys = self.list(start)
        if not keys:
            raise NotFoundError(f"the store has nothing beneath 's3://{self.bucket}/{self.prefix}{start}'")
        return sum(self._fetch(self._name(key), folder / check_key(key[len(start) :])) for key in keys)

    def delete(self, key: str) -> None:
        """Remove `key`; a key that is not there is no error."""
        with self._calling():
            self._client.remove_object(self.bucket, self._name(key))

    def url(self, key: str) -> str:
        """Return s3://bucket/prefix/key, which KServe takes as storageUri."""
        return f"s3://{self.bucket}/{self._name(key)}"

    @cached_property
    def _client(self) -> Minio:
        return s3_client.connect(self.endpoint, s3_client.RETRIES, self._timeout_seconds, self._account)

    @cached_property
    def _writer(self) -> ConditionalWriter:
        return ConditionalWriter(
            self.endpoint, self.bucket, self.prefix, self._timeout_seconds, self._account
        )

    def _name(self, key: str) -> str:
        return self.prefix + check_key(key)

    def _calling(self) -> AbstractContextManager[None]:
        return calling(self.endpoint, self.bucket)

    def _listed(self, prefix: str) -> tuple[str, ...]:
        with self._calling():
            found = self._client.list_objects(self.bucket, self.prefix + prefix, recursive=True)
            return tuple(str(item.object_name)[len(self.prefix) :] for item in found)

    def _stat(self, name: str) -> Any | None:
        """Return the object's headers; None when it is not there, though its bucket is."""
        try:
            with self._calling():
                return self._client.stat_object(self.bucket, name)
        except NotFoundError:
            pass
        try:  # the answer to a HEAD does not tell whether the object is missing or the whole bucket
            with self._calling(), closing(self._client.get_object(self.bucket, name)):
                return self._client.stat_object(self.bucket, name)
        except NotFoundError:
            return None

    def _send(self, path: Path, name: str) -> bool:
        digest, size = sha256_file(path), path.stat().st_size
        if self._has(name, digest, size):
            return False
        self._store(
            name,
            digest,
            size,
            lambda: self._client.fput_object(self.bucket, name, str(path), metadata={_SHA256: digest}),
        )
        return True

    def _has(self, name: str, digest: str, size: int) -> bool:
        there = self._stat(name)
        return bool(there and there.size == size and there.metadata.get(_SHA256) == digest)

    def _store(self, name: str, digest: str, size: int, send: Callable[[], ObjectWriteResult]) -> None:
        """Send an object; what looks like a failure is none when the object is there with this content."""
        try:
            etag = self._again(lambda: self._sent(send))
        except ServiceError as error:
            if not is_ambiguous(error.__cause__) or not self._has(name, digest, size):
                raise
            return
        # To the end of an upload in parts a server may answer 200 with an error in the body; then there is no
        # ETag, and with Ceph RGW 16 there never is one.
        if not etag and not self._has(name, digest, size):
            raise ServiceError(
                f"the S3 endpoint {self.endpoint} did not put the parts of 's3://{self.bucket}/{name}'"
                " together; try again, and look at its log"
            )

    def _sent(self, send: Callable[[], ObjectWriteResult]) -> str:
        with self._calling():
            return send().etag or ""

    def _fetch(self, name: str, target: Path) -> bool:
        if target.is_file():
            there = self._stat(name)
            promised = there.metadata.get(_SHA256) if there else None
            if promised and promised == sha256_file(target):
                return False
        with atomic.stream(target) as writer:
            self._again(lambda: self._receive(name, writer))
        return True

    def _receive(self, name: str, writer: BinaryIO) -> Any:
        """Write the object's bytes to `writer` from its start; return the headers of the answer.

        Raises
        ------
        IntegrityError
            If the bytes have not the SHA-256 with which they were stored.
        """
        digest = hashlib.sha256()
        writer.seek(0)
        writer.truncate()
        with self._calling(), closing(self._client.get_object(self.bucket, name)) as response:
            for chunk in response.stream(_READ_BYTES):
                digest.update(chunk)
                writer.write(chunk)
            response.release_conn()
        promised, found = response.headers.get(_SHA256), digest.hexdigest()
        if promised and promised != found:
            raise IntegrityError(
                f"'s3://{self.bucket}/{name}' was stored with SHA-256 {promised[:12]}… and arrived with"
                f" {found[:12]}…; it was changed in the store or on its way: upload it again"
            )
        return response.headers

    def _again(self, read: Callable[[], _Read]) -> _Read:
        """Return what `read` gives; a connection that breaks within an answer is tried again."""
        for _ in range(_READ_ATTEMPTS - 1):
            try:
                return read()
            except ServiceError as error:
                if not is_broken_off(error.__cause__):
                    raise
        return read()
