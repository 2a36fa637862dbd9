"""Serving beside its peers, in the same run (make bench-serving)."""

import json
import os
from pathlib import Path

import pytest

from tests.bench.serving.bench import FLOORS, run, table

pytestmark = [pytest.mark.bench_serving, pytest.mark.timeout(1800)]


def test_serving_holds_its_floors_against_its_peers():
    found = run()
    print("\n" + table(found))
    if out := os.environ.get("CD4ML_BENCH_OUT"):
        Path(out).write_text(json.dumps(found, indent=1) + "\n")
    assert found["ratios"].keys() == FLOORS.keys()
    assert not found["missed"], table(found)
