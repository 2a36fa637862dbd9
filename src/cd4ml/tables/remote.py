"""Files at s3:// and http(s):// addresses: copied here before they are read."""

from __future__ import annotations

import hashlib
import os
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from cd4ml.errors import NotFoundError, ServiceError, SourceError

__all__ = ["fetch", "is_url", "validator"]

_TIMEOUT_SECONDS = 60.0
_PIECE_BYTES = 1 << 20
_ABSENT = (403, 404, 410)


def is_url(text: str) -> bool:
    """Tell whether `text` is an address that `fetch` understands."""
    return text.startswith(("s3://", "http://", "https://"))


def fetch(url: str, scratch: Path) -> Path | None:
    """Copy the object at `url` into a folder of its own below `scratch`; None when there is none.

    Raises
    ------
    ServiceError
        If the place cannot be reached or refuses.
    SourceError
        If fewer bytes arrive than were promised.
    """
    folder = scratch / hashlib.sha256(url.encode()).hexdigest()[:16]
    target = folder / PurePosixPath(urlsplit(url).path).name
    if target.is_file():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    return _fetch_s3(url, target) if url.startswith("s3://") else _fetch_http(url, target)


def validator(url: str) -> str | None:
    """Return what tells one version of the object from another (ETag and size); None when nobody says."""
    if url.startswith("s3://"):
        found = _stat_s3(url)
        return f"{found.etag} {found.size}" if found is not None else None
    headers = _head(url)
    if headers is None or not (headers.get("ETag") or headers.get("Last-Modified")):
        return None
    return f"{headers.get('ETag')} {headers.get('Last-Modified')} {headers.get('Content-Length')}"


def _open(url: str, method: str) -> Any:
    """Open an address; None when there is nothing.  A password in the address never reaches a message."""
    request = urllib.request.Request(url, method=method, headers={"Accept-Encoding": "identity"})  # noqa: S310
    try:
        return urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS)  # noqa: S310 (is_url knows the schemes)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in _ABSENT:
            return None
        raise ServiceError(
            f"expected {_shown(url)}; the server answered {error.code} {error.reason}. Try again later"
        ) from error
    except OSError as error:
        raise ServiceError(
            f"{_shown(url)} cannot be reached ({error}); check the address and the network"
        ) from error


def _head(url: str) -> Any:
    answer = _open(url, "HEAD")
    if answer is None:
        return None
    with answer:
        return answer.headers


def _fetch_http(url: str, target: Path) -> Path | None:
    answer = _open(url, "GET")
    if answer is None:
        return None
    promised, count = answer.headers.get("Content-Length"), 0
    try:
        with answer, target.open("wb") as file:
            while piece := answer.read(_PIECE_BYTES):
                file.write(piece)
                count += len(piece)
    except (OSError, HTTPException) as error:
        target.unlink(missing_ok=True)
        raise ServiceError(f"{_shown(url)}: the connection broke after {count} bytes; try again") from error
    if promised is not None and count != int(promised):
        target.unlink(missing_ok=True)
        raise SourceError(f"{_shown(url)}: expected {promised} bytes, found {count}. Try again")
    return target


def _shown(url: str) -> str:
    """Return the address without user and password."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()


def _s3(url: str) -> tuple[Any, str, str, str]:
    from cd4ml.adapters.storage import s3_client

    endpoint = s3_client.check_endpoint(os.environ.get("CD4ML_S3_ENDPOINT") or "https://s3.amazonaws.com")
    bucket, _, key = url.removeprefix("s3://").partition("/")
    return s3_client.connect(endpoint, retries=2), endpoint, bucket, key


def _stat_s3(url: str) -> Any:
    from cd4ml.adapters.storage.s3_errors import translate

    client, endpoint, bucket, key = _s3(url)
    try:
        return client.stat_object(bucket, key)
    except Exception as error:
        ours = translate(error, endpoint, bucket)
        if isinstance(ours, NotFoundError):
            return None
        raise ours or error from error


def _fetch_s3(url: str, target: Path) -> Path | None:
    from cd4ml.adapters.storage.s3_errors import translate

    client, endpoint, bucket, key = _s3(url)
    try:
        client.fget_object(bucket, key, str(target))
    except Exception as error:
        ours = translate(error, endpoint, bucket)
        if isinstance(ours, NotFoundError):
            return None
        raise ours or error from error
    return target
