"""Stores that every contract test runs against: a folder, and with the marker `s3` an S3 server."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cd4ml.adapters.storage import FolderStorage, Storage
from tests.adapters.ceph_rgw import RGW_CREDENTIALS, rgw_endpoint, rgw_is_installed
from tests.adapters.s3_server import environment, mock_credentials, moto_endpoint, new_bucket

GIVEN = "CD4ML_TEST_S3_ENDPOINT"


@pytest.fixture(scope="session")
def s3_server() -> Iterator[tuple[str, dict[str, str | None]]]:
    """An S3 server and the environment that opens it.

    The one that CD4ML_TEST_S3_ENDPOINT names (the AWS variables are its); else Ceph RGW where it is
    installed; else moto, a mock.
    """
    if os.environ.get(GIVEN):
        yield os.environ[GIVEN], {}
    elif rgw_is_installed():
        with rgw_endpoint() as endpoint:
            yield endpoint, RGW_CREDENTIALS
    else:
        with moto_endpoint() as endpoint:
            yield endpoint, mock_credentials()


@pytest.fixture
def endpoint(s3_server: tuple[str, dict[str, str | None]]) -> Iterator[str]:
    url, credentials = s3_server
    with environment(**credentials):
        yield url


@pytest.fixture
def real_endpoint(endpoint: str) -> str:
    """A server that checks signatures, keeps what it is given and has races: no mock."""
    if not (os.environ.get(GIVEN) or rgw_is_installed()):
        pytest.skip(f"needs a real S3 server: install radosgw ceph-mon ceph-osd, or set {GIVEN}")
    return endpoint


@pytest.fixture(params=["folder", pytest.param("s3", marks=pytest.mark.s3)])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "folder":
        return FolderStorage(tmp_path / "store")
    return new_bucket(request.getfixturevalue("endpoint"))
