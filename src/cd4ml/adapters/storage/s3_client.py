"""Connect to an S3 endpoint: time-outs, region and credentials from the environment."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from cd4ml.errors import ServiceError, UsageError

if TYPE_CHECKING:
    from minio import Minio

__all__ = ["check_endpoint", "connect"]

_CONNECT_TIMEOUT_SECONDS = 3.0
_ROLE_TIMEOUT_SECONDS = 1.0


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


def connect(endpoint: str, retries: int, timeout_seconds: float) -> Minio:
    """Return a client of `endpoint` that gives up within seconds when nobody answers.

    Raises
    ------
    ServiceError
        If there are no credentials in the environment, the AWS credentials file or the machine's role.
    """
    from minio import Minio

    parts = urlsplit(endpoint)
    # Asking for the region costs a request and a right; only Amazon's own servers give a useful answer.
    amazon = (parts.hostname or "").endswith(".amazonaws.com")
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    return Minio(
        parts.netloc,
        secure=parts.scheme == "https",
        region=region or (None if amazon else "us-east-1"),
        credentials=_credentials(endpoint),
        http_client=_pool(_CONNECT_TIMEOUT_SECONDS, timeout_seconds, retries),
    )


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

    again = [500, 502, 503, 504] if retries else []
    return urllib3.PoolManager(
        timeout=urllib3.Timeout(connect=connect_seconds, read=read_seconds),
        maxsize=10,
        cert_reqs="CERT_REQUIRED",
        ca_certs=os.environ.get("AWS_CA_BUNDLE") or os.environ.get("SSL_CERT_FILE") or certifi.where(),
        retries=urllib3.Retry(
            total=retries, connect=min(retries, 1), backoff_factor=0.2, status_forcelist=again
        ),
    )
