"""Files at s3:// and http(s):// addresses: copied here before they are read."""

from __future__ import annotations

import hashlib
import os
import re
import urllib.error
import urllib.request
from http.client import HTTPException, InvalidURL
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from cd4ml.errors import Cd4mlError, NotFoundError, ServiceError, SourceError, UsageError

__all__ = ["TIMEOUT_SECONDS", "fetch", "is_url", "shown", "validator"]

TIMEOUT_SECONDS = 60.0
"""How long a server may be silent."""
_PIECE_BYTES = 1 << 20
_ABSENT = (404, 410)
_REFUSED = (401, 403, 407)
_PLAIN = ("", "identity")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


def is_url(text: str) -> bool:
    """Tell whether `text` is an address that `fetch` understands."""
    return text.startswith(("s3://", "http://", "https://"))


def shown(url: str) -> str:
    """Return an address without what may be secret: user, password, and the query with its signature."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def fetch(url: str, scratch: Path, *, timeout_seconds: float = TIMEOUT_SECONDS) -> Path | None:
    """Copy the object at `url` into a folder of its own below `scratch`; None when there is none.

    Raises
    ------
    SourceError
        If the server refuses the right to read, is silent for `timeout_seconds`, or fewer bytes arrive than
        were promised.
    ServiceError
        If the place cannot be reached or fails.
    """
    _check(url)
    folder = scratch / hashlib.sha256(url.encode()).hexdigest()[:16]
    target = folder / unquote(PurePosixPath(urlsplit(url).path).name)
    if target.is_file():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    if url.startswith("s3://"):
        return _fetch_s3(url, target, timeout_seconds)
    return _fetch_http(url, target, timeout_seconds)


def validator(url: str, *, timeout_seconds: float = TIMEOUT_SECONDS) -> str | None:
    """Return what tells one version of the object from another (ETag and size).

    "" means that the server does not say, so that the object must be read; None that there is no object.
    """
    _check(url)
    if url.startswith("s3://"):
        found = _stat_s3(url, timeout_seconds)
        return f"{found.etag} {found.size}" if found is not None else None
    try:
        answer = _open(url, "HEAD", timeout_seconds)
    except urllib.error.HTTPError:  # some servers allow GET alone
        return ""
    if answer is None:
        return None
    with answer:
        headers = answer.headers
    if not (headers.get("ETag") or headers.get("Last-Modified")):
        return ""
    return f"{headers.get('ETag')} {headers.get('Last-Modified')} {headers.get('Content-Length')}"


def _check(url: str) -> None:
    try:
        parts = urlsplit(url)
        sound = parts.hostname is not None and (parts.port is None or parts.port > 0)
    except ValueError:
        sound = False
    if not sound:
        raise UsageError(
            "expected an address such as https://host/file or s3://bucket/file; found another thing"
        )
    if "@" in parts.netloc:
        raise UsageError(
            f"{shown(url)}: expected an address without a user or password; use a signed address, or S3"
        )


def _open(url: str, method: str, timeout_seconds: float) -> Any:
    """Open an address; None when there is nothing, HTTPError when the server says another thing."""
    request = urllib.request.Request(url, method=method, headers={"Accept-Encoding": "identity"})  # noqa: S310
    try:
        return urllib.request.urlopen(request, timeout=timeout_seconds)  # noqa: S310 (is_url knows the schemes)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in _ABSENT:
            return None
        raise
    except InvalidURL as error:
        raise UsageError(f"expected an address; found {shown(url)!r}. Write blanks in it as %20") from error
    except (OSError, HTTPException) as error:
        raise _broken(url, error, timeout_seconds, "no answer came") from error


def _broken(url: str, error: Exception, timeout_seconds: float, when: str) -> Cd4mlError:
    """Return our error for a connection that failed: silence and cuts are the source's, others outside."""
    cause = getattr(error, "reason", error)  # urllib wraps what happened
    if isinstance(cause, TimeoutError):
        return SourceError(
            f"{shown(url)}: expected an answer; the server was silent for {timeout_seconds:g} seconds"
            f" ({when}). Try again, or copy the file to a folder"
        )
    cut = isinstance(cause, ConnectionError | HTTPException)
    if cut and not isinstance(cause, ConnectionRefusedError):
        return SourceError(
            f"{shown(url)}: expected a whole answer; the connection was cut ({when}). Try again"
        )
    return ServiceError(f"{shown(url)} cannot be reached ({cause}); check the address and the network")


def _fetch_http(url: str, target: Path, timeout_seconds: float) -> Path | None:
    try:
        answer = _open(url, "GET", timeout_seconds)
    except urllib.error.HTTPError as error:
        raise _unwilling(url, error) from error
    if answer is None:
        return None
    with answer:
        packing = answer.headers.get("Content-Encoding", "").lower()
        if packing not in _PLAIN:
            raise SourceError(
                f"{shown(url)}: expected the file as it is; the server packs it ({packing})."
                " Switch that off, or name the packed file"
            )
        try:
            _copy(answer, url, target, timeout_seconds)
        except BaseException:
            target.unlink(missing_ok=True)
            raise
    return target


def _unwilling(url: str, error: urllib.error.HTTPError) -> Cd4mlError:
    what = f"the server answered {error.code} {error.reason}"
    if error.code in _REFUSED:
        return SourceError(
            f"{shown(url)}: expected the right to read it; {what}. Check the address and"
            " your rights; some servers say so of a file that is absent"
        )
    if error.code >= 500 or error.code == 429:
        return ServiceError(f"{shown(url)}: expected a file; {what}. Try again later")
    return SourceError(f"{shown(url)}: expected a file; {what}. Check the address")


def _copy(answer: Any, url: str, target: Path, timeout_seconds: float) -> None:
    """Copy an answer's bytes, and hold their number against the one that was promised."""
    promised, count = answer.headers.get("Content-Length"), 0
    with target.open("wb") as file:
        while True:
            try:
                piece = answer.read(_PIECE_BYTES)
            except (OSError, HTTPException) as error:
                raise _broken(url, error, timeout_seconds, f"after {count} bytes") from error
            if not piece:
                break
            file.write(piece)
            count += len(piece)
    if promised is not None and count != int(promised):
        raise SourceError(
            f"{shown(url)}: expected {promised} bytes; the connection was cut after {count}. Try again"
        )


def _s3(url: str, timeout_seconds: float) -> tuple[Any, str, str, str]:
    from cd4ml.adapters.storage import s3_client

    endpoint = s3_client.check_endpoint(os.environ.get("CD4ML_S3_ENDPOINT") or "https://s3.amazonaws.com")
    bucket, _, key = url.removeprefix("s3://").partition("/")
    if not _BUCKET.fullmatch(bucket) or not key:
        raise UsageError(
            f"expected s3://bucket/file with a bucket of 3 to 63 lower-case signs; found '{url}'"
        )
    return s3_client.connect(endpoint, retries=2, timeout_seconds=timeout_seconds), endpoint, bucket, key


def _stat_s3(url: str, timeout_seconds: float) -> Any:
    from cd4ml.adapters.storage.s3_errors import calling

    client, endpoint, bucket, key = _s3(url, timeout_seconds)
    try:
        with calling(endpoint, bucket):
            return client.stat_object(bucket, key)
    except NotFoundError:
        return None


def _fetch_s3(url: str, target: Path, timeout_seconds: float) -> Path | None:
    from cd4ml.adapters.storage.s3_errors import calling

    client, endpoint, bucket, key = _s3(url, timeout_seconds)
    try:
        with calling(endpoint, bucket):
            _stream(client.get_object(bucket, key), target)
    except NotFoundError:
        return None
    return target


def _stream(answer: Any, target: Path) -> None:
    try:
        with target.open("wb") as file:
            for piece in answer.stream(_PIECE_BYTES):
                file.write(piece)
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    finally:
        answer.close()
        answer.release_conn()
