"""What was judged of each shipped problem is what is served: V1, V2, batch, embedded and as data."""

from __future__ import annotations

import os

import pytest

from tests.serving.model_server import running
from tests.serving.other_forms import embedded, followed
from tests.serving.parity import batch_faults, faults, form_faults

pytestmark = [pytest.mark.loop, pytest.mark.timeout(900), pytest.mark.xdist_group("shipped")]
NEEDS_TABLES = pytest.mark.skipif(
    "CD4ML_TEST_DATA" not in os.environ, reason="CD4ML_TEST_DATA names no folder of real tables"
)


@pytest.mark.parametrize(
    ("problem", "data"),
    [
        ("sales-forecast", "shop"),
        pytest.param("bike-demand", "bike", marks=NEEDS_TABLES),
        pytest.param("adult-income", "adult", marks=NEEDS_TABLES),
        pytest.param("adult-income-parity", "adult", marks=NEEDS_TABLES),
    ],
)
def test_a_shipped_problem_is_served_as_it_was_judged(ran, tmp_path, problem, data):
    bundle = ran(problem, data)[0] / "bundle"
    with running(bundle, problem) as server:
        assert list(faults(server, bundle, batch=500, alone=300)) == []
    assert list(batch_faults(bundle, tmp_path)) == []
    with embedded(bundle, tmp_path / "wheel") as program, followed(bundle, tmp_path) as follower:
        ways = {"embedded": program, "as data": follower}
        assert list(form_faults(ways, bundle, batch=500, alone=300)) == []
