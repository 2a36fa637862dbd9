"""Compare-and-swap on S3: a PUT that the server carries out only while the object is as it was read."""

from __future__ import annotations

import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from cd4ml.adapters.storage import s3_client
from cd4ml.adapters.storage.atomic import TEMPORARY_PREFIX
from cd4ml.adapters.storage.hashing import sha256_bytes
from cd4ml.adapters.storage.s3_errors import (
    calling,
    is_failing,
    is_lost_condition,
    is_missing_key,
    is_silent,
    is_unanswered,
)
from cd4ml.errors import Cd4mlError, ConflictError, NotFoundError, ServiceError, UsageError

if TYPE_CHECKING:
    from minio import Minio

__all__ = ["ConditionalWriter"]

_ATTEMPTS = 5
_PAUSE_SECONDS = 0.1
_WRITER = "x-amz-meta-writer"


@dataclass(frozen=True)
class _Server:
    """How a bucket's server wants the ETag in If-Match, and whether the bucket keeps versions."""

    etag_form: str
    versioned: bool


# By endpoint and bucket: learnt once a process, because it takes six requests.
_servers: dict[tuple[str, str], _Server] = {}


@dataclass(frozen=True)
class ConditionalWriter:
    """Conditional PUTs (If-None-Match: * or If-Match) to one bucket.

    Before the first one a throw-away object shows whether the server honours conditions; one that ignores
    them is refused, because two writers would overwrite each other in silence. Ceph RGW 16 ignores them where
    the bucket keeps versions, so a bucket that begins to is probed again. An answer that says neither yes nor
    no (Ceph RGW 16 gives HTTP 500 to the loser of a race), or that is lost, is settled by looking at the
    object: each writer leaves a mark of its own beside the data.
    """

    endpoint: str
    bucket: str
    prefix: str
    timeout_seconds: float
    account: s3_client.Account | None = None

    def put(self, name: str, data: bytes, expected: str | None) -> str:
        """Write the object `name` if its ETag is `expected` (None: if it is not there); return the new one.

        Raises
        ------
        ConflictError
            If another writer was first.
        ServiceError
            If the server keeps failing, or no answer comes in time and the object is as before: the write may
            still come.
        UsageError
            If the server does not honour conditions.
        """
        here = (self.endpoint, self.bucket)
        server = _servers.get(here)
        if server is None:
            server = _servers[here] = self._probe()
        etag, versioned = self._put(name, data, expected, server.etag_form)
        if versioned not in {None, server.versioned}:
            _servers.pop(here, None)
            _servers[here] = self._probe()
        return etag

    @cached_property
    def _client(self) -> Minio:
        # A conditional PUT that the client sent twice could lose against itself, so it does not repeat any.
        return s3_client.connect(self.endpoint, 0, self.timeout_seconds, self.account)

    @cached_property
    def _observer(self) -> Minio:
        return s3_client.connect(self.endpoint, s3_client.RETRIES, self.timeout_seconds, self.account)

    def _put(self, name: str, data: bytes, expected: str | None, form: str) -> tuple[str, bool | None]:
        """Return the new ETag, and whether the bucket keeps versions (None: the answer was lost)."""
        mark = uuid.uuid4().hex
        told: Cd4mlError | None = None
        for attempt in range(_ATTEMPTS):
            time.sleep(_PAUSE_SECONDS * (2**attempt - 1))
            try:
                return self._send(name, data, expected, form, mark)
            except (ServiceError, NotFoundError) as error:
                told, etag = error, self._settle(error, name, expected, mark, again=attempt > 0)
                if etag:
                    return etag, None
        raise ServiceError(
            f"'s3://{self.bucket}/{name}' could not be written at {_ATTEMPTS} attempts: {told}"
        ) from told

    def _send(
        self, name: str, data: bytes, expected: str | None, form: str, mark: str
    ) -> tuple[str, bool | None]:
        """Send one conditional PUT; the signature covers its condition as it covers every header."""
        condition = {"If-None-Match": "*"} if expected is None else {"If-Match": form.format(expected)}
        headers = {
            "Content-Type": "application/octet-stream",
            "x-amz-meta-sha256": sha256_bytes(data),
            _WRITER: mark,
            **condition,
        }
        with calling(self.endpoint, self.bucket):
            # The public put_object turns every header that it does not know into metadata.
            written = self._client._put_object(self.bucket, name, data, headers)
        return str(written.etag), bool(written.version_id)

    def _settle(self, error: Cd4mlError, name: str, expected: str | None, mark: str, again: bool) -> str:
        """Return the new ETag if the write took place after all, or "" if it may be sent again; or raise.

        `again` says that it was sent before: then it may have lost against itself. Sending again is safe,
        for what was sent before and arrives late has the same condition: one of the two is refused.
        """
        cause = error.__cause__
        lost = is_lost_condition(cause) or bool(expected and is_missing_key(cause))
        if lost and not again:
            raise self._conflict(name) from cause
        if not lost and not is_unanswered(cause) and not is_failing(cause):
            raise error
        etag, writer = self._look(name)
        if writer == mark:
            return str(etag)
        if lost or etag != expected:
            raise self._conflict(name) from cause
        if is_silent(cause):
            raise error
        return ""

    def _look(self, name: str) -> tuple[str | None, str]:
        """Return the ETag and the writer's mark of the object, (None, "") when it is not there."""
        try:
            with calling(self.endpoint, self.bucket):
                found = self._observer.stat_object(self.bucket, name)
        except NotFoundError:
            return None, ""
        return str(found.etag), str((found.metadata or {}).get(_WRITER, ""))

    def _conflict(self, name: str) -> ConflictError:
        return ConflictError(
            f"'s3://{self.bucket}/{name}' was changed by another writer; read it again and decide anew"
        )

    def _probe(self) -> _Server:
        """Return how the server wants its conditions; raise UsageError when it ignores them."""
        name = f"{self.prefix}{TEMPORARY_PREFIX}probe-{uuid.uuid4().hex[:12]}"
        try:
            first, versioned = self._put(name, b"1", None, "{}")
            if not self._refuses(name, None, "{}"):
                raise self._unconditional("If-None-Match")
            # Amazon and MinIO take both forms; Ceph RGW 16 takes the bare ETag alone.
            form = next((form for form in ('"{}"', "{}") if not self._refuses(name, first, form)), None)
            if form is None or not self._refuses(name, first, form):
                raise self._unconditional("If-Match")
            return _Server(form, bool(versioned))
        finally:
            with suppress(Cd4mlError), calling(self.endpoint, self.bucket):
                self._observer.remove_object(self.bucket, name)

    def _refuses(self, name: str, expected: str | None, form: str) -> bool:
        try:
            self._put(name, b"2", expected, form)
        except ConflictError:
            return True
        return False

    def _unconditional(self, header: str) -> UsageError:
        if kept := self._versioning():
            return UsageError(
                f"the S3 server at {self.endpoint} does not honour {header} on PUT to the bucket"
                f" '{self.bucket}', whose versioning is '{kept}', so two writers could overwrite each other"
                " in silence; set CD4ML_STORE to a bucket that never kept versions"
            )
        return UsageError(
            f"the S3 server at {self.endpoint} does not honour {header} on PUT, so two writers could"
            " overwrite each other in silence; use Amazon S3, MinIO or Ceph RGW, or set CD4ML_STORE to a"
            " folder"
        )

    def _versioning(self) -> str:
        """Return "Enabled" or "Suspended", or "" where versions never were kept or nobody tells."""
        try:
            with calling(self.endpoint, self.bucket):
                found = str(self._observer.get_bucket_versioning(self.bucket).status)
        except (Cd4mlError, ValueError):
            return ""
        return found if found in {"Enabled", "Suspended"} else ""
