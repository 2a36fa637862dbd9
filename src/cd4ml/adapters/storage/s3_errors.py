"""What an error of S3 means, said so that the reader knows what to set; never with a secret."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from cd4ml.errors import Cd4mlError, NotFoundError, ServiceError

__all__ = [
    "BUSY_STATUSES",
    "calling",
    "is_ambiguous",
    "is_broken_off",
    "is_failing",
    "is_lost_condition",
    "is_missing_key",
    "is_silent",
    "is_unanswered",
    "status",
    "translate",
]

BUSY_STATUSES = (429, 500, 502, 503, 504)
"""HTTP statuses that may be gone at the next attempt."""

_WRONG_CREDENTIALS = {
    "AuthorizationHeaderMalformed",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidTokenId",
    "InvalidToken",
    "SignatureDoesNotMatch",
}
_LOST = {"ConditionalRequestConflict", "PreconditionFailed"}
_THROTTLED = {429, 503}
_SKEW_SECONDS = 15 * 60


def _reason(error: BaseException | None) -> BaseException | None:
    """Return what made the client give up."""
    return getattr(error, "reason", None) or error


def status(error: BaseException | None) -> int:
    """Return the HTTP status of the answer; 0 when there is none."""
    answer = getattr(error, "response", None)
    found = getattr(answer, "status", 0) or getattr(error, "_code", 0) or getattr(error, "_status_code", 0)
    return int(found or 0)


def is_unanswered(error: BaseException | None) -> bool:
    """Tell whether a request may have arrived though no answer came back."""
    from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError

    error = _reason(error)
    return isinstance(error, HTTPError) and not isinstance(error, NewConnectionError | ConnectTimeoutError)


def is_silent(error: BaseException | None) -> bool:
    """Tell whether no answer came in time; the request may be carried out still."""
    from urllib3.exceptions import ReadTimeoutError

    return isinstance(_reason(error), ReadTimeoutError)


def is_broken_off(error: BaseException | None) -> bool:
    """Tell whether the connection ended, or fell silent, in the middle of an answer."""
    from xml.etree.ElementTree import ParseError

    from urllib3.exceptions import ProtocolError, ReadTimeoutError

    return isinstance(error, ProtocolError | ReadTimeoutError | ParseError)


def is_failing(error: BaseException | None) -> bool:
    """Tell whether the server said that it could not do it now; it may be able to at the next attempt."""
    return status(error) in BUSY_STATUSES or getattr(error, "code", None) == "RequestTimeout"


def is_lost_condition(error: BaseException | None) -> bool:
    """Tell whether a conditional PUT was refused because its condition did not hold."""
    return getattr(error, "code", None) in _LOST or status(error) in {409, 412}


def is_missing_key(error: BaseException | None) -> bool:
    """Tell whether the object is not there."""
    return getattr(error, "code", None) == "NoSuchKey"


def is_ambiguous(error: BaseException | None) -> bool:
    """Tell whether an object may have been written though the client failed, and looking shows it."""
    # An upload in parts that is gone was ended, or given up, by an earlier request of ours.
    gone = getattr(error, "code", None) == "NoSuchUpload"
    return gone or is_failing(error) or (is_unanswered(error) and not is_silent(error))


@contextmanager
def calling(endpoint: str, bucket: str) -> Iterator[None]:
    """Raise what the S3 client raises within the block as an error of ours; its cause is the client's."""
    try:
        yield
    except Exception as error:
        ours = translate(error, endpoint, bucket)
        if ours is None:
            raise
        raise ours from error


def translate(error: Exception, endpoint: str, bucket: str) -> Cd4mlError | None:
    """Return our error for one of the S3 client, or None when it is none of its errors."""
    from minio.error import InvalidResponseError, S3Error, ServerError
    from urllib3.exceptions import HTTPError

    if isinstance(error, S3Error | InvalidResponseError | ServerError):
        return _answered(error, endpoint, bucket)
    if is_broken_off(error):
        return ServiceError(
            f"the S3 endpoint {endpoint} broke off in the middle of an answer ({type(error).__name__});"
            " try again, and look at its log and at the network when it stays so"
        )
    if isinstance(error, HTTPError):
        reason = type(_reason(error)).__name__
        return ServiceError(
            f"the S3 endpoint {endpoint} cannot be reached ({reason}); start it, or set"
            " CD4ML_S3_ENDPOINT to another one, or CD4ML_STORE to a folder"
        )
    return None


def _answered(error: Exception, endpoint: str, bucket: str) -> Cd4mlError:
    code = str(getattr(error, "code", "") or "")
    if status(error) in BUSY_STATUSES:
        return _failing(f"{code}, HTTP {status(error)}".lstrip(", "), status(error), endpoint)
    if code == "RequestTimeTooSkewed" or (status(error) == 403 and _skewed(error)):
        return ServiceError(f"the clock here {_said_clock(error, endpoint)}; {_MEND_CLOCK}")
    if code:
        return _refused(code, endpoint, bucket)
    return ServiceError(
        f"{endpoint} answered with HTTP status {status(error)} and not as an S3 server does;"
        " check CD4ML_S3_ENDPOINT"
    )


_MEND_CLOCK = "S3 allows 15 minutes: set the clock ('timedatectl set-ntp true', or 'chronyc makestep')"


def _ahead_seconds(error: Exception) -> float | None:
    """Return how far our clock is ahead of the one in the answer; None when it tells no time."""
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    try:
        there = parsedate_to_datetime(headers.get("Date", ""))
        return (datetime.now(UTC) - there).total_seconds()
    except (TypeError, ValueError):
        return None


def _skewed(error: Exception) -> bool:
    """Tell a wrong clock by the answer's own date: the answer to a HEAD has no other word for it."""
    ahead = _ahead_seconds(error)
    return ahead is not None and abs(ahead) > _SKEW_SECONDS


def _said_clock(error: Exception, endpoint: str) -> str:
    ahead = _ahead_seconds(error)
    if ahead is None or not _skewed(error):
        return f"and at {endpoint} differ too much (RequestTimeTooSkewed)"
    side = "ahead of" if ahead > 0 else "behind"
    return f"is {abs(ahead) / 60:.0f} minutes {side} the one at {endpoint} (RequestTimeTooSkewed)"


def _failing(what: str, found: int, endpoint: str) -> ServiceError:
    if found in _THROTTLED:
        return ServiceError(
            f"the S3 endpoint {endpoint} is too busy ({what}) and stayed so when asked again; wait, let fewer"
            " processes use it at a time, or look at its log"
        )
    return ServiceError(f"the S3 endpoint {endpoint} keeps failing ({what}); look at its log, try again")


def _refused(code: str, endpoint: str, bucket: str) -> Cd4mlError:
    if code == "NoSuchKey":
        return NotFoundError(f"the bucket '{bucket}' at {endpoint} has no such object")
    if code == "NoSuchBucket":
        return ServiceError(
            f"the bucket '{bucket}' does not exist at {endpoint}; create it ('aws s3 mb s3://{bucket}' or"
            f" 'mc mb ALIAS/{bucket}'), or set CD4ML_STORE"
        )
    if code in _WRONG_CREDENTIALS:
        return ServiceError(
            f"the S3 endpoint {endpoint} refused the credentials ({code}); check AWS_ACCESS_KEY_ID,"
            " AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN and AWS_REGION"
        )
    if code == "AccessDenied":
        return ServiceError(
            f"the S3 endpoint {endpoint} denied access to the bucket '{bucket}' (AccessDenied); check"
            " AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and the rights of their user on this bucket"
        )
    return ServiceError(
        f"the S3 endpoint {endpoint} refused the request ({code}); try again or check its log"
    )
