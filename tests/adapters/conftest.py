"""Stores that every contract test runs against: a folder, and with the marker `s3` an S3 server."""

import os
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from cd4ml.adapters.storage import FolderStorage, Storage
from tests.adapters.s3_server import environment, mock_credentials, moto_endpoint, new_bucket

GIVEN = "CD4ML_TEST_S3_ENDPOINT"


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The server that CD4ML_TEST_S3_ENDPOINT names (the AWS variables are its), or one started here."""
    with nullcontext(os.environ[GIVEN]) if os.environ.get(GIVEN) else moto_endpoint() as endpoint:
        yield endpoint


@pytest.fixture
def endpoint(s3_server: str) -> Iterator[str]:
    with environment(**({} if os.environ.get(GIVEN) else mock_credentials())):
        yield s3_server


@pytest.fixture(params=["folder", pytest.param("s3", marks=pytest.mark.s3)])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "folder":
        return FolderStorage(tmp_path / "store")
    return new_bucket(request.getfixturevalue("endpoint"))
