"""What the suite relies on."""

import os

import pytest


@pytest.mark.xdist_group("suite")
@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="one process runs all tests")
def test_tests_of_a_group_stay_on_one_worker(request: pytest.FixtureRequest) -> None:
    """Else each worker makes what a group makes once, and what must not run side by side does."""
    assert request.node.nodeid.endswith("@suite")
