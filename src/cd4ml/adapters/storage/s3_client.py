"""Connect to an S3 endpoint: time-outs, region and credentials from the environment."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from cd4ml.adapters.storage.s3_errors import BUSY_STATUSES
from cd4ml.errors import ServiceError, UsageError

if TYPE_CHECKING:
    from minio import Minio

__all__ = ["RETRIES", "Account", "check_endpoint", "connect"]

RETRIES = 4
"""How often a request is sent again that the server refused as busy or failing: within about 3 s."""
_CONNECT_TIMEOUT_SECONDS = 3.0
_ROLE_TIMEOUT_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 5.0


@dataclass(frozen=True)
class Account:
    """Credentials of one store, where they are not those of the environment; secrets are never shown.

    Attributes
    ----------
    access_key, secret_key, session_token : str
        As AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN; the token may be "".
    region : str
        As AWS_REGION; "" takes the environment's.
    """

    access_key: str
    secret_key: str = field(repr=False)
    session_token: str = field(default="", repr=False)
    region: str = ""


def check_endpoint(endpoint: str) -> str:
    """Return `endpoint` without a final slash; raise UsageError, which shows no password, when it is none."""
    parts = urlsplit(endpoint)
    if "@" in parts.netloc:
        raise UsageError(
            "CD4ML_S3_ENDPOINT must not hold a user or a password; put them into AWS_ACCESS_KEY_ID and"
            " AWS_SECRET_ACCESS_KEY"
        )
    try:
        sound = (
            parts.scheme in {"http", "https"} and parts.hostname and (parts.port is None or parts.port > 0)
        )
    except ValueError:
        sound = False
    if not sound or parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise UsageError(
            f"CD4ML_S3_ENDPOINT must be http://host:port or https://host without a path; got '{endpoint}'"
        )
    return f"{parts.scheme}://{parts.netloc}"


def connect(endpoint: str, retries: int, timeout_seconds: float, account: Account | None = None) -> Minio:
    """Return a client of `endpoint` that gives up within seconds when nobody answers.

    Without `account`, the credentials are those of the environment.

    Raises
    ------
    ServiceError
        If there are no credentials in the environment, the AWS credentials file or the machine's role.
    """
    from minio import Minio

    parts = urlsplit(endpoint)
    # Asking for the region costs a request and a right; only Amazon's own servers give a useful answer.
    amazon = (parts.hostname or "").endswith(".amazonaws.com")
    region = (
        (account and account.region) or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    )
    return Minio(
        parts.netloc,
        secure=parts.scheme == "https",
        region=region or (None if amazon else "us-east-1"),
        credentials=_static(account) if account else _credentials(endpoint),
        http_client=_pool(_CONNECT_TIMEOUT_SECONDS, timeout_seconds, retries),
    )


def _static(account: Account) -> Any:
    from minio.credentials.providers import StaticProvider

    return StaticProvider(account.access_key, account.secret_key, account.session_token or None)


def _credentials(endpoint: str) -> Any:
    """Return the chain of providers after the first of them has given something."""
    from minio.credentials.providers import (
        AWSConfigProvider,
        ChainedProvider,
        EnvAWSProvider,
        EnvMinioProvider,
        IamAwsProvider,
    )
    from urllib3.exceptions import HTTPError

    role = IamAwsProvider(http_client=_pool(_ROLE_TIMEOUT_SECONDS, _ROLE_TIMEOUT_SECONDS, retries=0))
    chain = ChainedProvider([EnvAWSProvider(), EnvMinioProvider(), AWSConfigProvider(), role])
    try:
        chain.retrieve()
    except (ValueError, OSError, HTTPError):
        raise ServiceError(
            f"no credentials for the S3 endpoint {endpoint}; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        ) from None
    return chain


def _pool(connect_seconds: float, read_seconds: float, retries: int) -> Any:
    import certifi
    import urllib3

    return urllib3.PoolManager(
        timeout=urllib3.Timeout(connect=connect_seconds, read=read_seconds),
        maxsize=10,
        cert_reqs="CERT_REQUIRED",
        ca_certs=os.environ.get("AWS_CA_BUNDLE") or os.environ.get("SSL_CERT_FILE") or certifi.where(),
        # An upload in parts begins and ends with a POST. A server may ask to be left alone for hours: we
        # rather fail after seconds. At the end its answer is told, and not that we gave up.
        retries=urllib3.Retry(
            total=retries,
            connect=min(retries, 1),
            read=min(retries, 1),
            backoff_factor=0.2,
            backoff_max=_LONGEST_PAUSE_SECONDS,
            backoff_jitter=0.1,
            status_forcelist=BUSY_STATUSES if retries else (),
            allowed_methods=urllib3.Retry.DEFAULT_ALLOWED_METHODS | {"POST"},
            respect_retry_after_header=False,
            raise_on_status=False,
        ),
    )
