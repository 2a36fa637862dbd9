from collections.abc import Iterator

import pytest

from tests.models.bundles import bundle
from tests.serving.model_server import Running, running


@pytest.fixture(scope="session")
def shop_server() -> Iterator[Running]:
    with running(bundle("shop"), "shop", "--max-body-bytes", "200000") as server:
        yield server


@pytest.fixture(scope="session")
def people_server() -> Iterator[Running]:
    with running(bundle("people"), "people", "--max-body-seconds", "1") as server:
        yield server
