"""Stores that every contract test runs against."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cd4ml.adapters.storage import FolderStorage, S3Storage, Storage
from tests.adapters.s3_server import environment, mock_credentials, moto_endpoint, new_bucket


@pytest.fixture(scope="session")
def moto() -> Iterator[str]:
    with moto_endpoint() as endpoint:
        yield endpoint


def _real() -> S3Storage:
    endpoint = os.environ.get("CD4ML_TEST_S3_ENDPOINT")
    if not endpoint:
        pytest.skip("no S3 server: set CD4ML_TEST_S3_ENDPOINT and the AWS variables")
    return new_bucket(endpoint)


@pytest.fixture(params=["folder", "moto", pytest.param("real", marks=pytest.mark.s3)])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Storage]:
    if request.param == "folder":
        yield FolderStorage(tmp_path / "store")
    elif request.param == "real":
        yield _real()
    else:
        with environment(**mock_credentials()):
            yield new_bucket(request.getfixturevalue("moto"))


@pytest.fixture(params=["folder", pytest.param("real", marks=pytest.mark.s3)])
def atomic_storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """A store whose compare-and-swap holds among processes; the mock's does not."""
    return FolderStorage(tmp_path / "store") if request.param == "folder" else _real()
