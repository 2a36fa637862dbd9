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
from cd4ml.adapters.storage.s3_errors import calling, is_lost_condition, is_missing_key, is_unanswered, status
from cd4ml.errors import Cd4mlError, ConflictError, NotFoundError, ServiceError, UsageError

if TYPE_CHECKING:
    from minio import Minio

__all__ = ["ConditionalWriter"]

_ATTEMPTS = 5
_PAUSE_SECONDS = 0.2
_WRITER = "x-amz-meta-writer"
# How If-Match wants the ETag, by endpoint and bucket: learnt once a process, because it takes six requests.
_etag_forms: dict[tuple[str, str], str] = {}


@dataclass(frozen=True)
class ConditionalWriter:
    """Conditional PUTs (If-None-Match: * or If-Match) to one bucket.

    Before the first one a throw-away object shows whether the server honours conditions; one that ignores
    them is refused, because two writers would overwrite each other in silence. An answer that says neither
    yes nor no (Ceph RGW 16 gives HTTP 500 to the loser of a race) is settled by looking at the object: each
    writer leaves a mark of its own beside the data.
    """

    endpoint: str
    bucket: str
    prefix: str
    timeout_seconds: float

    def put(self, name: str, data: bytes, expected: str | None) -> str:
        """Write the object `name` if its ETag is `expected` (None: if it is not there); return the new one.

        Raises
        ------
        ConflictError
            If another writer was first.
        ServiceError
            If the answer was lost on its way and the object is as before: the write may still come.
        UsageError
            If the server does not honour conditions.
        """
        form = _etag_forms.get((self.endpoint, self.bucket))
        if form is None:
            form = _etag_forms[self.endpoint, self.bucket] = self._probe()
        return self._put(name, data, expected, form)

    @cached_property
    def _client(self) -> Minio:
        # A conditional PUT that the client sent twice could lose against itself, so it does not repeat any.
        return s3_client.connect(self.endpoint, retries=0, timeout_seconds=self.timeout_seconds)

    def _put(self, name: str, data: bytes, expected: str | None, form: str) -> str:
        mark = uuid.uuid4().hex
        for attempt in range(_ATTEMPTS):
            try:
                return self._send(name, data, expected, form, mark)
            except (ServiceError, NotFoundError) as error:
                etag = self._settle(error, name, expected, mark, again=attempt > 0)
                if etag:
                    return etag
            time.sleep(_PAUSE_SECONDS * attempt)
        raise ServiceError(
            f"the S3 endpoint {self.endpoint} failed {_ATTEMPTS} times to write 's3://{self.bucket}/{name}';"
            " look at its log and try again"
        )

    def _send(self, name: str, data: bytes, expected: str | None, form: str, mark: str) -> str:
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
            return str(self._client._put_object(self.bucket, name, data, headers).etag)

    def _settle(self, error: Cd4mlError, name: str, expected: str | None, mark: str, again: bool) -> str:
        """Return the new ETag if the write took place after all, or "" if it may be sent again; or raise.

        `again` says that it was sent before: then it may have lost against itself.
        """
        cause = error.__cause__
        lost = is_lost_condition(cause) or bool(expected and is_missing_key(cause))
        if lost and not again:
            raise self._conflict(name) from cause
        if not lost and not is_unanswered(cause) and status(cause) < 500:
            raise error
        etag, writer = self._look(name)
        if writer == mark:
            return str(etag)
        if lost or etag != expected:
            raise self._conflict(name) from cause
        if is_unanswered(cause):
            raise error
        return ""

    def _look(self, name: str) -> tuple[str | None, str]:
        try:
            with calling(self.endpoint, self.bucket):
                found = self._client.stat_object(self.bucket, name)
        except NotFoundError:
            return None, ""
        return str(found.etag), str((found.metadata or {}).get(_WRITER, ""))

    def _conflict(self, name: str) -> ConflictError:
        return ConflictError(
            f"'s3://{self.bucket}/{name}' was changed by another writer; read it again and decide anew"
        )

    def _probe(self) -> str:
        """Return how If-Match wants the ETag; raise UsageError when the server ignores conditions."""
        name = f"{self.prefix}{TEMPORARY_PREFIX}probe-{uuid.uuid4().hex[:12]}"
        try:
            first = self._put(name, b"1", None, "{}")
            if not self._refuses(name, None, "{}"):
                raise self._unconditional("If-None-Match")
            # Amazon and MinIO take both forms; Ceph RGW 16 takes the bare ETag alone.
            form = next((form for form in ('"{}"', "{}") if not self._refuses(name, first, form)), None)
            if form is None or not self._refuses(name, first, form):
                raise self._unconditional("If-Match")
            return form
        finally:
            with suppress(ServiceError), calling(self.endpoint, self.bucket):
                self._client.remove_object(self.bucket, name)

    def _refuses(self, name: str, expected: str | None, form: str) -> bool:
        try:
            self._put(name, b"2", expected, form)
        except ConflictError:
            return True
        return False

    def _unconditional(self, header: str) -> UsageError:
        return UsageError(
            f"the S3 server at {self.endpoint} does not honour {header} on PUT, so two writers could"
            " overwrite each other in silence; use Amazon S3, MinIO or Ceph RGW, or set CD4ML_STORE to a"
            " folder"
        )
