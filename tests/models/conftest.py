"""Rows to fit on, made once."""

import pytest

from cd4ml.models.threads import wait_asleep
from tests.models.samples import Rows, make_rows

wait_asleep()


@pytest.fixture(scope="session")
def regression_rows() -> Rows:
    return make_rows()


@pytest.fixture(scope="session")
def classification_rows() -> Rows:
    return make_rows("classification")
