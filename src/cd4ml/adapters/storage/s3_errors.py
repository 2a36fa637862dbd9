"""What an error of S3 means, said so that the reader knows what to set; never with a secret."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from cd4ml.errors import Cd4mlError, NotFoundError, ServiceError

__all__ = [
    "calling",
    "is_broken_off",
    "is_lost_condition",
    "is_missing_key",
    "is_unanswered",
    "status",
    "translate",
]

_WRONG_CREDENTIALS = {
    "AuthorizationHeaderMalformed",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidTokenId",
    "InvalidToken",
    "SignatureDoesNotMatch",
}
_LOST = {"ConditionalRequestConflict", "PreconditionFailed"}


def status(error: BaseException | None) -> int:
    """Return the HTTP status of the answer; 0 when there is none."""
    answer = getattr(error, "response", None)
    found = getattr(answer, "status", 0) or getattr(error, "_code", 0) or getattr(error, "_status_code", 0)
    return int(found or 0)


def is_unanswered(error: BaseException | None) -> bool:
    """Tell whether a request may have arrived though no answer came back."""
    from urllib3.exceptions import HTTPError, MaxRetryError, NewConnectionError

    if isinstance(error, MaxRetryError) and error.reason is not None:
        error = error.reason
    return isinstance(error, HTTPError) and not isinstance(error, NewConnectionError)


def is_broken_off(error: BaseException | None) -> bool:
    """Tell whether the connection ended, or fell silent, in the middle of an answer."""
    from urllib3.exceptions import ProtocolError, ReadTimeoutError

    return isinstance(error, ProtocolError | ReadTimeoutError)


def is_lost_condition(error: BaseException | None) -> bool:
    """Tell whether a conditional PUT was refused because its condition did not hold."""
    return getattr(error, "code", None) in _LOST or status(error) in {409, 412}


def is_missing_key(error: BaseException | None) -> bool:
    """Tell whether the object is not there."""
    return getattr(error, "code", None) == "NoSuchKey"


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
    from urllib3.exceptions import HTTPError, ResponseError

    if isinstance(error, S3Error):
        return _refused(str(error.code), endpoint, bucket)
    if isinstance(error, (InvalidResponseError, ServerError)):
        return ServiceError(
            f"{endpoint} answered with HTTP status {status(error)} and not as an S3 server does;"
            " check CD4ML_S3_ENDPOINT"
        )
    if isinstance(error, HTTPError):
        if is_broken_off(error):
            return ServiceError(
                f"the S3 endpoint {endpoint} broke off in the middle of an answer ({type(error).__name__});"
                " try again, and look at its log and at the network when it stays so"
            )
        cause = getattr(error, "reason", None) or error
        if isinstance(cause, ResponseError):
            return ServiceError(
                f"the S3 endpoint {endpoint} keeps failing ({cause}); look at its log, try again"
            )
        reason = type(cause).__name__
        return ServiceError(
            f"the S3 endpoint {endpoint} cannot be reached ({reason}); start it, or set"
            " CD4ML_S3_ENDPOINT to another one, or CD4ML_STORE to a folder"
        )
    return None


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
    if code == "RequestTimeTooSkewed":
        return ServiceError(
            f"the clock here and at {endpoint} differ too much (RequestTimeTooSkewed); set the clock"
        )
    return ServiceError(
        f"the S3 endpoint {endpoint} refused the request ({code}); try again or check its log"
    )
