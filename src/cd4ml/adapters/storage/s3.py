"""A store in an S3 bucket, through the `minio` client."""

from __future__ import annotations

import hashlib
import io
import os
import re
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cd4ml.adapters.storage import atomic, s3_client
from cd4ml.adapters.storage.base import check_key, files_beneath, folder_prefix
from cd4ml.adapters.storage.hashing import sha256_bytes, sha256_file
from cd4ml.adapters.storage.s3_errors import is_lost_condition, is_missing_key, translate
from cd4ml.errors import ConflictError, IntegrityError, NotFoundError, ServiceError, UsageError

if TYPE_CHECKING:
    from minio import Minio

__all__ = ["S3Storage"]

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_READ_BYTES = 1 << 20
_SHA256 = "x-amz-meta-sha256"
# How If-Match wants the ETag, by endpoint and bucket: learnt once a process, because it takes five requests.
_etag_forms: dict[tuple[str, str], str] = {}


class S3Storage:
    """Named bytes as objects of a bucket.

    `compare_and_swap` is a conditional PUT (If-None-Match: * or If-Match). Before the first one, a throw-away
    object shows whether the server honours conditions; one that ignores them is refused, because two writers
    would overwrite each other in silence. The version token is the ETag.

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
    """

    def __init__(self, bucket: str, prefix: str = "", endpoint: str | None = None) -> None:
        if not _BUCKET.fullmatch(bucket):
            raise UsageError(
                f"a bucket's name is 3 to 63 lower-case letters, digits, '.' or '-'; got {bucket!r}."
                " Mend CD4ML_STORE"
            )
        self.bucket = bucket
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
        with self._calling():
            self._client.put_object(
                self.bucket,
                self._name(key),
                io.BytesIO(data),
                len(data),
                metadata={_SHA256: sha256_bytes(data)},
            )

    def exists(self, key: str) -> bool:
        """Tell whether `key` has bytes."""
        return self._stat(self._name(key)) is not None

    def list(self, prefix: str) -> list[str]:
        """Return the keys that start with `prefix`, sorted."""
        with self._calling():
            found = self._client.list_objects(self.bucket, self.prefix + prefix, recursive=True)
            names = [str(item.object_name)[len(self.prefix) :] for item in found]
        return sorted(name for name in names if atomic.TEMPORARY_PREFIX not in name)

    def read_versioned(self, key: str) -> tuple[bytes, str] | None:
        """Return the bytes of `key` and their ETag, or None when there is no such key."""
        name = self._name(key)
        try:
            with self._calling(), closing(self._client.get_object(self.bucket, name)) as response:
                data = response.read()
                response.release_conn()
                etag = response.headers.get("etag", "").strip('"')
        except NotFoundError:
            return None
        return data, etag

    def compare_and_swap(self, key: str, data: bytes, expected: str | None) -> str:
        """Write `key` if it still has the ETag `expected` (None: if it is not there)."""
        name = self._name(key)
        return self._put_if(name, data, expected, self._etag_form)

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
        return s3_client.connect(self.endpoint, retries=2)

    @cached_property
    def _single_shot_client(self) -> Minio:
        # A conditional PUT that is sent twice can lose against itself, so it is never retried.
        return s3_client.connect(self.endpoint, retries=0)

    def _name(self, key: str) -> str:
        return self.prefix + check_key(key)

    @contextmanager
    def _calling(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            ours = translate(error, self.endpoint, self.bucket)
            if ours is None:
                raise
            raise ours from error

    def _stat(self, name: str) -> Any | None:
        try:
            with self._calling():
                return self._client.stat_object(self.bucket, name)
        except NotFoundError:
            return None

    def _send(self, path: Path, name: str) -> bool:
        digest = sha256_file(path)
        there = self._stat(name)
        if there and there.size == path.stat().st_size and there.metadata.get(_SHA256) == digest:
            return False
        with self._calling():
            self._client.fput_object(self.bucket, name, str(path), metadata={_SHA256: digest})
        return True

    def _fetch(self, name: str, target: Path) -> bool:
        if target.is_file():
            there = self._stat(name)
            promised = there.metadata.get(_SHA256) if there else None
            if promised and promised == sha256_file(target):
                return False
        with self._calling(), closing(self._client.get_object(self.bucket, name)) as response:
            digest = hashlib.sha256()
            with atomic.stream(target) as writer:
                for chunk in response.stream(_READ_BYTES):
                    digest.update(chunk)
                    writer.write(chunk)
                promised = response.headers.get(_SHA256)
                if promised and promised != digest.hexdigest():
                    raise IntegrityError(
                        f"'s3://{self.bucket}/{name}' was stored with SHA-256 {promised[:12]}… and arrived"
                        " with"
                        f" {digest.hexdigest()[:12]}…; it was changed in the store or on its way: upload"
                        " it again"
                    )
            response.release_conn()
        return True

    def _put_if(self, name: str, data: bytes, expected: str | None, etag_form: str) -> str:
        """Send one conditional PUT; the signature covers its condition as it covers every header."""
        condition = {"If-None-Match": "*"} if expected is None else {"If-Match": etag_form.format(expected)}
        headers = {"Content-Type": "application/octet-stream", _SHA256: sha256_bytes(data), **condition}
        try:
            with self._calling():
                # The public put_object turns every header that it does not know into metadata.
                result = self._single_shot_client._put_object(self.bucket, name, data, headers)
        except (ServiceError, NotFoundError) as error:
            if is_lost_condition(error.__cause__) or (expected and is_missing_key(error.__cause__)):
                raise ConflictError(
                    f"'s3://{self.bucket}/{name}' was changed by another writer; read it again and decide"
                    " anew"
                ) from error.__cause__
            raise
        return str(result.etag)

    @property
    def _etag_form(self) -> str:
        known = _etag_forms.get((self.endpoint, self.bucket))
        if known is None:
            known = _etag_forms[self.endpoint, self.bucket] = self._probe_conditions()
        return known

    def _probe_conditions(self) -> str:
        """Return how If-Match wants the ETag; raise UsageError when the server ignores conditions."""
        name = f"{self.prefix}{atomic.TEMPORARY_PREFIX}probe-{os.urandom(8).hex()}"
        try:
            first = self._put_if(name, b"1", None, "{}")
            if not self._refuses(name, None, "{}"):
                raise self._unconditional("If-None-Match")
            # Amazon and MinIO take both forms; Ceph RGW 16 takes the bare ETag alone.
            form = next((form for form in ('"{}"', "{}") if not self._refuses(name, first, form)), None)
            if form is None or not self._refuses(name, first, form):
                raise self._unconditional("If-Match")
            return form
        finally:
            with suppress(ServiceError), self._calling():
                self._client.remove_object(self.bucket, name)

    def _refuses(self, name: str, expected: str | None, form: str) -> bool:
        try:
            self._put_if(name, b"2", expected, form)
        except ConflictError:
            return True
        return False

    def _unconditional(self, header: str) -> UsageError:
        return UsageError(
            f"the S3 server at {self.endpoint} does not honour {header} on PUT, so two writers could"
            " overwrite each"
            " other in silence; use Amazon S3, MinIO or Ceph RGW, or set CD4ML_STORE to a folder"
        )
